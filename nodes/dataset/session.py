"""One recording made into shards: a pure function of the recording and the recipe, in this process or in any other."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.version import kinecast_version
from kinecast.engines.body.fit.solver import FLAG_SHAPE_BEYOND, FLAG_SIDES, FLAG_UNSEEN, Fit
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.pose_prior import coordinates
from kinecast.engines.body.sequence.fit_sequence import Frame, fit_sequence
from kinecast.engines.observations import keypoints_of
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.shards import SKELETON, Session, Shard, ShardFile, session_of, sha256_of, write_shard
from kinecast.nodes.dataset.gates import Evidence, Gates, apply_gates, counts
from kinecast.nodes.fusion.bodies import BodyStage
from kinecast.nodes.recording.file import MODELS, Recording
from kinecast.nodes.recording.frame_sets import FrameSetBundle, iter_frame_sets

Float = NDArray[np.float64]

DONE = "session.json"
FRAMES = 2048  # a shard: a minute or so of one person, some MB
MIN_FRAMES = 10
SKETCH = 16
# no keypoint tells where a hand is
_JUDGED = [j for j, name in enumerate(skeleton("smpl24").joints) if not name.endswith("hand")]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How sessions are made into data. test, validate: percent of the sessions, and of the people of the others."""

    body: str = "neutral"
    device: str = "auto"
    gates: Gates = field(default_factory=Gates)
    test: int = 20
    validate: int = 10

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: what changes the result."""
        return {"gates": self.gates.as_dict(), "test": self.test, "validate": self.validate}

    def check(self) -> None:
        """Raise KinecastError where a number cannot be meant."""
        for name in ("test", "validate"):
            if not 0 <= getattr(self, name) <= 100:
                raise KinecastError(f"{name} is {getattr(self, name)}: give percent, 0 to 100")
        for name, value in self.gates.as_dict().items():
            if not value >= 0:
                raise KinecastError(f"the gate {name} is {value}: give 0 or more")


def content_key(recording: Recording) -> str:
    """16 hex digits of what the cameras saw, whatever was made of it: a fitted or smoothed copy has the same."""
    return content_and_sketch(recording)[0]


def content_and_sketch(recording: Recording) -> tuple[str, tuple[str, ...]]:
    """(key, sketch) of what the cameras saw. A part of a recording, or a damaged copy, has another key.

    The sketch is the least ``SKETCH`` of the hashes of what was seen of people: recordings that share a fifth of their
    frames or more have one of them in common (but for 3 in 100 pairs), others none.
    """
    total, least = 0, list[int]()
    for _, _, m in recording.messages(("keypoints",)):
        digest = hashlib.sha256(f"{m.camera} {m.frame_seq} {m.t_capture_ns} {m.skeleton}".encode())
        digest.update(m.keypoints_px.tobytes() + m.confidence.tobytes())
        value = int.from_bytes(digest.digest()[:16])
        total += value  # messages may come in any order
        if m.confidence.any():  # frames of nobody are alike in many recordings
            least = sorted({*least, value})[:SKETCH] if len(least) < SKETCH or value < least[-1] else least
    return f"{total % (1 << 128):032x}"[-16:], tuple(f"{value >> 64:016x}" for value in least)


def split_of(key: str, person: int | None, recipe: Recipe) -> str:
    """train, validate or test: by session, and of the sessions to learn from by person. A function of the key alone."""
    part = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 100
    if part < recipe.test:
        return "test"
    mine = int(hashlib.sha256(f"{key} {person}".encode()).hexdigest()[:8], 16) % 100
    return "validate" if person is not None and mine < recipe.validate else "train"


@dataclass(slots=True)
class _Rows:
    """Of one person, frame by frame."""

    frames: list[Frame] = field(default_factory=list)
    seqs: list[NDArray[np.int64]] = field(default_factory=list)
    px: list[Float] = field(default_factory=list)
    confidence: list[Float] = field(default_factory=list)
    points: list[Float] = field(default_factory=list)


def build_session(path: Path, folder: Path, recipe: Recipe) -> Session:
    """Write the shards of a recording below ``folder`` and say what they are; what is there and whole is kept.

    Raises KinecastError where the recording has no end, no people, no rig, or keypoints that do not fit.
    """
    recording = Recording.open(path)
    if any(s.cut_short for s in recording.segments):  # its key would be another once it is whole
        raise KinecastError("it has no end: wait until it is recorded, or make it whole with `kinecast recover`")
    key, sketch = content_and_sketch(recording)
    if wrong := recording.unreadable:
        raise KinecastError(
            f"{path}: {wrong.total()} messages of {', '.join(sorted(wrong))} cannot be read: they are damaged, or of a "
            "skeleton that is not known or has another number of joints"
        )
    kept = load_finished(folder, key, recipe)
    if kept is not None:
        return kept
    stage, people = _read(recording, recipe)
    shards: list[ShardFile] = []
    refused: dict[str, int] = {}
    for person, rows in sorted(people.items()):
        for n, shard in enumerate(_shards(stage, rows, recipe)):
            file = f"shards/{key}/person{person}-{n:04d}.npz"
            digest, size = write_shard(folder / file, shard)
            split, good = split_of(key, person, recipe), int((shard.refused == 0).sum())
            shards.append(ShardFile(file, digest, size, person, split, len(shard.t_ns), good))
            for reason, count in counts(shard.refused).items():
                refused[reason] = refused.get(reason, 0) + count
    if not shards:
        raise KinecastError(
            f"{path}: no body could be fitted to anybody in it, for the views have no keypoints that they share; "
            "`kinecast info` shows what there is"
        )
    rig = native.dumps(recording.rig).encode()
    rig_file = f"rigs/{hashlib.sha256(rig).hexdigest()[:16]}.toml"
    atomic_write(folder / rig_file, rig)
    about = recording.about
    session = Session(
        key, path.name, about.get("recording", ""), about.get("session", ""), stage.cameras.names, rig_file,
        (recording.attachment(MODELS) or b"").decode(errors="replace"), kinecast_version(),
        split_of(key, None, recipe), tuple(shards), refused, tuple(recording.damage()), sketch,
    )  # fmt: skip
    done = {"recipe": recipe.as_dict(), "body_id": stage.body.id, "session": asdict(session)}
    atomic_write(folder / "shards" / key / DONE, json.dumps(done, indent=1, sort_keys=True) + "\n")
    return session


def load_finished(folder: Path, key: str, recipe: Recipe) -> Session | None:
    """The session as it was built before, or None where it was not, not to its end, or by another recipe."""
    try:
        done = json.loads((folder / "shards" / key / DONE).read_text())
        session = session_of(done["session"])
        made_by = done["recipe"], done["body_id"], session.key
        rig = sha256_of(folder / session.rig)[:16]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if made_by != (json.loads(json.dumps(recipe.as_dict())), load_body(recipe.body).id, key):
        return None
    if rig != Path(session.rig).stem:
        return None
    for shard in session.shards:
        file = folder / shard.file
        if not file.is_file() or file.stat().st_size != shard.bytes or sha256_of(file) != shard.sha256:
            return None
    return session


def _read(recording: Recording, recipe: Recipe) -> tuple[BodyStage, dict[int, _Rows]]:
    """What every view saw of every person."""
    rig, stage, people = recording.rig, None, dict[int, _Rows]()
    for joined in iter_frame_sets(recording):
        poses = joined.poses
        if poses is None:
            continue
        _fitting(recording.path, rig, joined)
        if stage is None:
            stage = BodyStage(rig, joined.frameset.cameras, recipe.body)
        # the live stage runs along, for it learns how large the noise is
        given = stage.views_of(joined.frameset, joined.keypoints)
        stage.step(joined.frameset, joined.keypoints, poses, given)
        seen = stage.observations(joined.frameset, joined.keypoints, poses, given)
        px, confidence, _ = keypoints_of(poses, joined.keypoints, stage.cameras.names, SKELETON)
        seqs = dict(zip(joined.frameset.cameras, joined.frameset.frame_seqs.tolist(), strict=True))
        for p, person in enumerate(poses.person_ids.tolist()):
            rows, points = people.setdefault(person, _Rows()), poses.points_world_m[p].astype(np.float64)
            rows.frames.append(Frame(joined.frameset.t_set_ns, *seen.of(p), points))
            rows.seqs.append(np.array([seqs.get(n, -1) for n in stage.cameras.names], np.int64))
            rows.px.append(px[p])
            rows.confidence.append(confidence[p])
            rows.points.append(points)
    people = {i: rows for i, rows in people.items() if len(rows.frames) >= MIN_FRAMES}
    if stage is None or not people:
        raise KinecastError(f"{recording.path}: nobody is in it for {MIN_FRAMES} frames; `kinecast info` shows it")
    return stage, people


def _fitting(path: Path, rig: Rig, joined: FrameSetBundle) -> None:
    """KinecastError where the keypoints are of another skeleton, or the rig of other pictures."""
    assert joined.poses is not None
    if joined.poses.skeleton != SKELETON:
        raise KinecastError(f"{path}: its people are {joined.poses.skeleton}, a data set holds {SKELETON}")
    for name, view in joined.keypoints.items():
        if name not in rig.names:
            raise KinecastError(f"{path}: camera {name} is not in its rig; was it recorded with another one?")
        have, want = tuple(view.size_px), tuple(rig[name].size_px)
        if have != want:
            raise KinecastError(
                f"{path}: pictures of {name} are {have[0]}×{have[1]}, but its rig says {want[0]}×{want[1]}"
            )


def _shards(stage: BodyStage, rows: _Rows, recipe: Recipe) -> Iterator[Shard]:
    """The body of one person, judged, in pieces."""
    order = np.argsort([f.t_ns for f in rows.frames], kind="stable")
    frames = [rows.frames[i] for i in order]
    found = fit_sequence(stage.fresh_solver, stage.cameras, frames, recipe.device)
    kept = [i for i, fit in enumerate(found) if fit is not None]
    fits = [fit for fit in found if fit is not None]
    if len(fits) < MIN_FRAMES:
        return
    halves = _halves(stage, frames, fits[0].constants, recipe)
    frames, order, other = [frames[i] for i in kept], order[kept], [[h[i] for i in kept] for h in halves]
    evidence = evidence_of(stage, frames, fits, other, recipe.gates)
    refused = apply_gates(evidence, recipe.gates)
    f4 = np.float32

    def stack(values: list[Any], dtype: Any = f4) -> NDArray[Any]:
        return np.stack(values).astype(dtype)

    rotations = rotvecs(stack([f.R for f in fits], np.float64)).astype(f4)
    for a in range(0, len(fits), FRAMES):
        b = min(a + FRAMES, len(fits))
        part, mine = order[a:b], fits[a:b]
        yield Shard(
            np.array([f.t_ns for f in frames[a:b]], np.int64), stack([rows.seqs[i] for i in part], np.int64),
            stack([rows.px[i] for i in part]), stack([rows.confidence[i] for i in part]),
            stack([rows.points[i] for i in part]), rotations[a:b], stack([f.t for f in mine]),
            mine[0].betas.astype(f4), stack([f.joints for f in mine]), stack([f.joint_sd_m for f in mine]),
            stack([f.points for f in mine]), evidence.residual_px[a:b].astype(f4), evidence.explained[a:b].astype(f4),
            evidence.other_px[a:b].astype(f4), evidence.apart_m[a:b].astype(f4), refused[a:b],
        )  # fmt: skip


def _halves(stage: BodyStage, frames: list[Frame], shape: Float, recipe: Recipe) -> list[list[Fit | None]]:
    """The fits to each half of the views, shape and habits held; none where there are fewer than four views."""
    C = len(stage.cameras.names)
    if C < 4:
        return []
    out = []
    for half in (0, 1):
        mine = np.arange(C) % 2 == half
        part = [Frame(f.t_ns, f.xy, f.w * mine[:, None], f.start) for f in frames]
        # judged by where joints and keypoints are, alone: feet need not be held, nor need it be known how sure they are
        out.append(fit_sequence(stage.fresh_solver, stage.cameras, part, recipe.device, shape, False, False))
    return out


def evidence_of(
    stage: BodyStage, frames: list[Frame], fits: list[Fit], halves: list[list[Fit | None]], gates: Gates
) -> Evidence:
    """What the gates judge of the fits of one person; see :class:`nodes.dataset.gates.Evidence`."""
    xy, w = np.stack([f.xy for f in frames]), np.stack([f.w for f in frames])
    w = np.where(np.isfinite(xy).all(axis=-1), w, 0.0)
    C, N = w.shape[1], len(fits)
    other_px, apart = np.full(N, np.nan), np.full(N, np.nan)
    P, focal = stage.cameras.P, stage.cameras.focal_px
    for i in range(N):
        pair = [h[i] for h in halves]
        if len(pair) < 2 or pair[0] is None or pair[1] is None:
            continue
        apart[i] = np.median(np.linalg.norm(pair[0].joints - pair[1].joints, axis=-1)[_JUDGED])
        off = []
        for half in (0, 1):
            fit = pair[half]
            assert fit is not None
            for c in np.flatnonzero(np.arange(C) % 2 != half):
                there = w[i, c] > 0
                q = fit.points[there] @ P[c, :, :3].T + P[c, :, 3]
                off.append(focal[c] * np.linalg.norm(q[:, :2] / q[:, 2:] - xy[i, c, there], axis=-1))
        errors_px = np.concatenate(off)
        other_px[i] = np.nanmedian(errors_px) if len(errors_px) else np.nan
    R = np.stack([f.R for f in fits])
    xi = coordinates(stage.solver.prior.reference, R)
    beyond = np.maximum(xi - stage.solver.prior.high, 0.0) + np.maximum(stage.solver.prior.low - xi, 0.0)
    flags = np.array([f.flags for f in fits])
    return Evidence(
        np.array([f.t_ns - frames[0].t_ns for f in frames]) / 1e9,
        ((w > 0).sum(axis=2) >= gates.keypoints).sum(axis=1),
        np.array([f.residual_px for f in fits]), np.array([f.explained for f in fits]), other_px, apart,
        np.stack([f.start for f in frames]), np.stack([f.points for f in fits]), np.stack([f.joints for f in fits]),
        beyond.max(axis=1), np.linalg.norm(rotvecs(np.swapaxes(R[:-1], -1, -2) @ R[1:]), axis=-1),
        (flags & FLAG_SIDES) > 0, (flags & FLAG_UNSEEN) > 0, (flags & FLAG_SHAPE_BEYOND) > 0,
    )  # fmt: skip
