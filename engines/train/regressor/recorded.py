"""People of recordings for the SPIN loop: what every view gave, cut from the shards of data sets. No truth is used.

A round draws so many scenes and reads the shards that they are in one after another; no more than one shard is open, so
that memory is that of the scenes, however many sessions there are. The world is turned so that y is up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.regressor import STEP_S
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.train.data.pseudo_labels import MIN_JOINTS, ShardSource, shard_sources
from kinecast.engines.train.data.shards import Shard, load_manifest, read_shard
from kinecast.engines.train.regressor.synthetic import PLAIN, Scenes, seen

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

# Scenes of a shard begin this far apart: no multiple of the step between two frames of a window, so that those that
# overlap are of other frames
EVERY_S = 0.23
NEAR_S = 0.026  # a frame this near to the time asked is that of the time: half of a frame at 20 Hz, and rounding
LEAST_ACCEPTED = 0.5  # of the frames of a scene


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Scenes before equally many cameras, each with a key of its own.

    R: (S, T, 24, 3, 3) and betas: (S, T, B) of the fits that shards have, of all views; None where nothing is known.
    recorded: of recordings, not of the synthetic world.
    """

    scenes: Scenes
    keys: tuple[str, ...]
    recorded: bool = False
    R: Float | None = None
    betas: Float | None = None

    def only(self, which: Bool) -> "Group":
        """Some of the scenes."""
        some = np.flatnonzero(which)
        own = {f.name: getattr(self.scenes, f.name) for f in fields(Scenes)}
        kept = {k: v if k in ("from_halpe", "action") else v[some] for k, v in own.items()}
        kept["action"] = tuple(self.scenes.action[i] for i in some)
        R, betas = (None if v is None else v[some] for v in (self.R, self.betas))
        return replace(self, scenes=Scenes(**kept), keys=tuple(self.keys[i] for i in some), R=R, betas=betas)

    def people(self) -> list[Scenes]:
        """Every scene on its own, as a benchmark takes them."""
        every = np.arange(len(self.keys))
        return [self.only(every == i).scenes for i in every]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Scenes of ``frames`` frames, at most ``count`` a round, of the shards of one split of data sets.

    ours: the data sets of our own body, whose fits may begin the dictionary; those of another body are not taken.
    """

    shards: Sequence[ShardSource]
    frames: int
    count: int
    seed: int
    ours: frozenset[Path]

    def draw(self, number: int, truth: bool = False) -> list[Group]:
        """The scenes of a round, a group for each number of cameras: a function of (seed, number) and the data alone.

        truth: with ``points``, the pseudo ground truth of all views, to be compared with. KinecastError where a
        shard is damaged or no scene is found.
        """
        rng = np.random.default_rng((self.seed, 29, number))
        accepted = np.array([s.file.accepted for s in self.shards], np.float64)
        which = rng.choice(len(self.shards), self.count, p=accepted / accepted.sum())
        where = rng.random(self.count)
        cut: dict[int, list[Group]] = {}
        for i in np.unique(which).tolist():
            for group in self._cut(self.shards[i], where[which == i], truth):
                cut.setdefault(group.scenes.P.shape[1], []).append(group)
        if not cut:
            raise KinecastError(
                f"{self.shards[0].folder}: no scene of {self.frames} frames, {STEP_S:g} s apart, in which half are "
                "ground truth: record longer, or build with other gates"
            )
        return [_joined(groups) for _, groups in sorted(cut.items())]

    def _cut(self, source: ShardSource, where: Float, truth: bool) -> list[Group]:
        shard = read_shard(source.folder / source.file.file)
        if not ((shard.confidence >= 0) & (shard.confidence <= 1)).all():
            raise KinecastError(
                f"{source.folder / source.file.file}: a confidence is no number from 0 to 1; build it again"
            )
        rig = load_rig(source.folder / source.session.rig)
        t_s = (shard.t_ns - shard.t_ns[0]) / 1e9
        slots = max(1, int((t_s[-1] - (self.frames - 1) * STEP_S) / EVERY_S) + 1)
        out = []
        for slot in np.unique((where * slots).astype(int)).tolist():
            at = slot * EVERY_S + STEP_S * np.arange(self.frames)
            index = np.abs(t_s[None] - at[:, None]).argmin(axis=1)
            there = (np.abs(t_s[index] - at) <= NEAR_S) & (shard.refused[index] == 0)
            if there.mean() < LEAST_ACCEPTED:
                continue
            key = f"{source.file.sha256[:16]}/{slot}"
            who = f"{source.session.key}/{source.file.person}"
            out.append(
                _scene(shard, rig, source.session.cameras, index, there, (key, who), source.folder in self.ours, truth)
            )
        return out


def recorded(folders: Sequence[Path], split: str, frames: int, count: int, seed: int) -> Recorded | None:
    """Those of a split; None where it has nobody. KinecastError where a folder is no data set or a session is twice."""
    found = shard_sources(folders, split)
    body = load_body().id
    ours = frozenset(f for f in folders if load_manifest(f).body_id == body)
    return Recorded(found, frames, count, seed, ours) if found else None


def _scene(
    shard: Shard, rig: Rig, cameras: Sequence[str], index: NDArray[np.int64], there: Bool, name: tuple[str, str],
    known: bool, truth: bool,
) -> Group:  # fmt: skip
    turn = y_up(rig.up_world)
    P = np.stack([rig[c].P_normalised for c in cameras])
    P[..., :3] = P[..., :3] @ turn.T
    T, C = len(index), len(cameras)
    xy, say = np.zeros((T, C, 26, 2)), np.zeros((T, C, 26))
    for c, camera in enumerate(cameras):
        xy[:, c] = rig[camera].undistort(shard.keypoints_px[index, c].astype(np.float64))
        say[:, c] = np.where(np.isfinite(xy[:, c]).all(-1) & there[:, None], shard.confidence[index, c], 0.0)
    say *= ((say > 0).sum(-1) >= MIN_JOINTS)[..., None]
    points = np.full((T, len(PLAIN), 3), np.nan)
    if truth:
        body = shard.body_points_m[index].astype(np.float64)
        points = np.where(there[:, None, None], np.einsum("jk,tkd->tjd", PLAIN, body) @ turn.T, np.nan)
    key, who = name
    scene = seen(P[None], xy[None], say[None], points=points[None], R=np.full((1, T, 24, 3, 3), np.nan),
                 action=(who,), from_halpe=PLAIN)  # fmt: skip
    if not known:
        return Group(scene, (key,), True)
    R = matrices(shard.rotations_rad[index].astype(np.float64))
    R[:, 0] = turn @ R[:, 0]
    return Group(scene, (key,), True, R[None], np.tile(shard.betas.astype(np.float64), (1, T, 1)))


def y_up(up: Float) -> Float:
    """(3, 3) y_up_from_world: the direction ``up`` becomes +y."""
    y = up / np.linalg.norm(up)
    z = np.cross([1.0, 0.0, 0.0], y) if abs(y[0]) < 0.9 else np.cross([0.0, 0.0, 1.0], y)
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])


def _joined(groups: list[Group]) -> Group:
    """As one; what shards say of fits only where all of them do."""
    rows = [g.scenes for g in groups]
    own = {f.name: np.concatenate([getattr(s, f.name) for s in rows]) for f in fields(Scenes)
           if f.name not in ("action", "from_halpe")}  # fmt: skip
    scenes = Scenes(**own, action=tuple(a for s in rows for a in s.action), from_halpe=PLAIN)
    keys = tuple(k for g in groups for k in g.keys)
    if any(g.R is None for g in groups):
        return Group(scenes, keys, True)
    R, betas = (np.concatenate([getattr(g, n) for g in groups]) for n in ("R", "betas"))
    return Group(scenes, keys, True, R, betas)
