"""Pseudo ground truth as sequences to learn from and to be tested on: what views really saw, and the fitted body.

Shards are opened as they are needed: a step draws from a few that are open, and others take their place every so many
steps, so that memory does not grow with the data set. Every batch is a function of (seed, step, rank) alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.heldout_clips import LYING_RAD, NECK, HeldoutClip
from kinecast.engines.train.data.pinhole_views import NEAREST_M, PinholeView, before_cameras, detect, mirror_share
from kinecast.engines.train.data.random_cameras import CameraRanges, VirtualCameras
from kinecast.engines.train.data.shards import Session, Shard, ShardFile, load_manifest, read_shard
from kinecast.engines.train.data.synthetic_batches import HALPE, ROOT, Batch, batch_of

Float = NDArray[np.float64]
F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

GAP_S = 0.1  # between two frames that are further apart nothing is interpolated
MIN_FRAMES = 16  # frames of a sequence
MIN_JOINTS = 5  # a view that shows fewer shows nobody, see engines.train.data.synthetic_batches.detect
OPEN, STEPS_OPEN = 16, 25  # shards that are open at once, and for how many steps
BLOCK_S = 5.0  # a block that counts as one independent piece of evidence


@dataclass(frozen=True, slots=True, eq=False)
class ViewTrack:
    """One person before one camera at the model's rate. T frames.

    xy: (T, 26, 2) undistorted normalised; confidence: (T, 26), 0 where missing. points_cam: (T, 26, 3) metres in the
    camera's axes, held where not ``good``. good: (T,) no gate refused the frame. up: (3,) the world's, camera axes.
    """

    session: str
    action: str
    person: int
    camera: str
    xy: F32
    confidence: F32
    points_cam: F32
    good: Bool
    focal_px: float
    up: Float


@dataclass(frozen=True, slots=True)
class ShardSource:
    """A shard of a data set that is not open yet."""

    folder: Path
    session: Session
    file: ShardFile

    def open(self, rate_hz: float) -> list[ViewTrack]:
        """The person before every camera that saw enough; KinecastError where the shard or its rig is damaged."""
        shard = read_shard(self.folder / self.file.file)
        return view_tracks(shard, load_rig(self.folder / self.session.rig), self.session, self.file.person, rate_hz)


def shard_sources(folders: Sequence[Path], split: str) -> list[ShardSource]:
    """Every shard of a split that has any ground truth. KinecastError where the folders hold one session twice."""
    out, seen = [], dict[str, Path]()
    for folder in folders:
        for key, session in sorted(load_manifest(folder).sessions.items()):
            if key in seen:
                raise KinecastError(f"{folder}: session {key} ({session.name}) is in {seen[key]} too; give it once")
            seen[key] = folder
            out += [
                ShardSource(folder, session, f) for f in session.shards if f.split == split and f.accepted >= MIN_FRAMES
            ]
    return out


def view_tracks(shard: Shard, rig: Rig, session: Session, person: int, rate_hz: float) -> list[ViewTrack]:
    """A shard's person before each camera, resampled in time. Raises KinecastError where numbers are not finite."""
    good = shard.refused == 0
    if not np.isfinite(shard.body_points_m[good]).all():
        raise KinecastError(
            f"session {session.key}: a point of the body of person {person} is no number; build it again"
        )
    if shard.frame_seqs.shape[1] != len(session.cameras) or not set(session.cameras) <= set(rig.names):
        raise KinecastError(
            f"session {session.key}: the rig or a shard of it is of other cameras than {', '.join(session.cameras)}; "
            "build it again"
        )
    t_s = (shard.t_ns - shard.t_ns[0]) / 1e9
    at = np.arange(0.0, t_s[-1] + 0.5 / rate_hz, 1 / rate_hz)
    low, part, near = _between(t_s, at)
    points = shard.body_points_m.astype(np.float64)
    points[~good] = 0.0
    fine = _both(good[:, None], low, part)[:, 0] & near
    world = _mixed(points, low, part)
    world[~fine] = _held(world, fine)
    out = []
    for c, name in enumerate(session.cameras):
        camera = rig[name]
        px = shard.keypoints_px[:, c].astype(np.float64)
        xy = camera.undistort(px)
        confidence = np.where(np.isfinite(xy).all(-1), shard.confidence[:, c], 0.0)
        seen = _both(confidence > 0, low, part) & near[:, None]
        seen &= (seen.sum(axis=1) >= MIN_JOINTS)[:, None]
        if not (seen.any(axis=1) & fine).sum() >= MIN_FRAMES:
            continue
        interpolated = np.where(seen, _mixed(confidence, low, part), 0.0)
        where = np.where(seen[..., None], _mixed(np.where(confidence[..., None] > 0, xy, 0.0), low, part), 0.0)
        R, t = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
        focal_px = float(np.sqrt(camera.K[0, 0] * camera.K[1, 1]))
        seen_xy, seen_say, cam = (a.astype(np.float32) for a in (where, interpolated, world @ R.T + t))
        action = session.session or session.name
        out.append(ViewTrack(session.key, action, person, name, seen_xy, seen_say, cam, fine, focal_px, R[:, 2].copy()))
    return out


@dataclass(frozen=True, eq=False)
class PseudoLabelSampler:
    """Batches of crops by number, as :class:`engines.train.data.synthetic_batches.Sampler` gives them.

    size, frames: of a batch. virtual: share of the sequences that are seen by random ``cameras`` with drawn ``noise``,
    not by the views that were there; flip: share that is mirrored.
    """

    shards: Sequence[ShardSource]
    noise: NoiseModel
    cameras: CameraRanges
    size: int
    frames: int
    rate_hz: float
    seed: int
    virtual: float = 0.3
    flip: float = 0.5
    _open: dict[int, list[ViewTrack]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.shards:
            raise KinecastError(f"no person with {MIN_FRAMES} frames of ground truth in this split of the data sets")

    @cached_property
    def share(self) -> Float:
        """Of each shard: its frames of ground truth."""
        accepted = np.array([s.file.accepted for s in self.shards], np.float64)
        return np.asarray(accepted / accepted.sum())

    def resized(self, size: int, frames: int) -> "PseudoLabelSampler":
        """Other batches of the same shards, which stay open."""
        return replace(self, size=size, frames=frames)

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step on one of the machines; KinecastError where a shard is damaged or holds nobody."""
        people = self._people(step // STEPS_OPEN, rank)
        rng = np.random.default_rng((self.seed, step, rank, 11))
        length = np.array([p.good.sum() for p in people], np.float64)
        crops = [people[i] for i in rng.choice(len(people), self.size, p=length / length.sum())]
        starts = [int(rng.integers(0, max(len(p.good) - self.frames, 0) + 1)) for p in crops]
        return self._cropped(crops, starts, rng)

    def _cropped(self, crops: list[ViewTrack], starts: list[int], rng: np.random.Generator) -> Batch:
        view, xy, confidence, weight = _stacked(crops, starts, self.frames)
        mirrored = rng.random(len(crops)) < self.flip
        moved = rng.random(len(crops)) < self.virtual
        rolls = rng.integers(2**63)
        out = view.points_cam.copy()
        out[mirrored] = mirror_share(_rows(view, mirrored), 1.0, rng).points_cam
        xy[mirrored] = xy[mirrored][:, :, list(HALPE.flip)] * np.array([-1, 1], np.float32)
        confidence[mirrored] = confidence[mirrored][:, :, list(HALPE.flip)]
        view = PinholeView(out, view.cameras, view.clip)
        parts = []
        if not moved.all():
            mine = _rows(view, ~moved)
            parts.append((~moved, batch_of(mine, xy[~moved], confidence[~moved], _seen(mine.points_cam), self.rate_hz)))
        if moved.any():
            ups = np.stack([np.where([m, False, False], -p.up, p.up) for m, p in zip(mirrored, crops, strict=True)])
            world = np.einsum("bij,btnj->btni", _upright(ups[moved]), out[moved].astype(np.float64))
            fresh = np.random.default_rng(int(rolls))
            seen = before_cameras(world, fresh, self.cameras, view.clip[moved])
            parts.append((moved, batch_of(seen, *detect(seen, self.noise, fresh, self.rate_hz), self.rate_hz)))
        joined = concat_batches(*(b for _, b in parts))
        order = np.concatenate([np.flatnonzero(m) for m, _ in parts])
        return replace(joined, weight=joined.weight * weight[order])

    def _people(self, block: int, rank: int) -> list[ViewTrack]:
        rng = np.random.default_rng((self.seed, block, rank, 13))
        count = min(OPEN, len(self.shards))
        chosen = set(rng.choice(len(self.shards), count, replace=False, p=self.share).tolist())
        for other in set(self._open) - chosen:
            del self._open[other]
        people = []
        for i in sorted(chosen):
            if i not in self._open:
                self._open[i] = self.shards[i].open(self.rate_hz)
            people += self._open[i]
        if not people:
            raise KinecastError(
                f"{self.shards[0].folder}: nobody was seen by any camera in {count} shards; build it again"
            )
        return people

    def heldout_clips(self) -> Iterator[HeldoutClip]:
        """Every block of up to ``BLOCK_S`` of every person in every view that was there, in order."""
        frames = round(BLOCK_S * self.rate_hz)
        for source in self.shards:
            for person in source.open(self.rate_hz):
                # the past of a block is the person's own: an answer is as old as it is in life
                for n, start in enumerate(range(0, len(person.good), frames)):
                    stop = min(start + frames, len(person.good))
                    if (person.good[start:stop] & (person.confidence[start:stop] > 0).any(1)).sum() < MIN_FRAMES:
                        continue
                    yield _heldout_clip(person, max(0, start - frames), start, stop, n, self.rate_hz)


def _heldout_clip(person: ViewTrack, past: int, start: int, stop: int, number: int, rate_hz: float) -> HeldoutClip:
    view, xy, confidence, weight = _stacked([person], [past], stop - past)
    batch = batch_of(view, xy, confidence, _seen(view.points_cam), rate_hz)
    weight_in_block = batch.weight * weight
    weight_in_block[:, : start - past] = 0.0
    points = person.points_cam[past:stop].astype(np.float64)
    trunk = points[:, NECK] - points[:, ROOT]
    lying = trunk @ person.up < np.cos(LYING_RAD) * np.linalg.norm(trunk, axis=-1)
    name = f"{person.session}/{person.person}/{number}"
    return HeldoutClip(name, person.action, replace(batch, weight=weight_in_block), lying, np.zeros(len(lying), bool))


def concat_batches(*batches: Batch) -> Batch:
    """The sequences of several batches of equal length as one."""
    if len(batches) == 1:
        return batches[0]
    return Batch(*(np.concatenate([getattr(b, f.name) for b in batches]) for f in fields(Batch)))


def _stacked(crops: list[ViewTrack], starts: list[int], frames: int) -> tuple[PinholeView, F32, F32, F32]:
    """Crops (B, T) from their starts; one that is too short stands still, with weight 0."""
    index = [np.minimum(s + np.arange(frames), len(p.good) - 1) for p, s in zip(crops, starts, strict=True)]
    points, xy, confidence = (
        np.stack([getattr(p, name)[i] for p, i in zip(crops, index, strict=True)])
        for name in ("points_cam", "xy", "confidence")
    )
    weight = np.stack([p.good[i] & (s + np.arange(frames) < len(p.good))
                       for p, i, s in zip(crops, index, starts, strict=True)]).astype(np.float32)  # fmt: skip
    n = len(crops)
    focal = np.array([p.focal_px for p in crops])
    cameras = VirtualCameras(np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)), focal, np.zeros((n, 2)))
    return PinholeView(points, cameras, np.arange(n)), xy, confidence, weight


def _rows(view: PinholeView, which: Bool) -> PinholeView:
    c = view.cameras
    return PinholeView(
        view.points_cam[which].copy(), VirtualCameras(c.R[which], c.t[which], c.focal_px[which], c.size_px[which]),
        view.clip[which],
    )  # fmt: skip


def _seen(points_cam: F32) -> F32:
    """The true keypoints on the plane z = 1."""
    return np.asarray(points_cam[..., :2] / np.maximum(points_cam[..., 2:], NEAREST_M), np.float32)


def _upright(ups: Float) -> Float:
    """(B, 3, 3) turns that bring each direction (B, 3) to +y."""
    y = ups / np.linalg.norm(ups, axis=-1, keepdims=True)
    other = np.where(np.abs(y[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]])
    z = np.cross(other, y)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    return np.stack([np.cross(y, z), y, z], axis=1)


def _between(t_s: Float, at: Float) -> tuple[NDArray[np.int64], Float, Bool]:
    """Index of the frame before each time, how far it is past it (0 … 1), and whether both are near."""
    low = np.clip(np.searchsorted(t_s, at, side="right") - 1, 0, max(len(t_s) - 2, 0))
    high = np.minimum(low + 1, len(t_s) - 1)
    gap = t_s[high] - t_s[low]
    part = np.clip(np.where(gap > 0, (at - t_s[low]) / np.maximum(gap, 1e-9), 0.0), 0.0, 1.0)
    part = np.where(part < 0.02, 0.0, np.where(part > 0.98, 1.0, part))  # frames that come nearly on time
    return low, part, (gap <= GAP_S) | (part == 0) | (part == 1)


def _mixed(values: NDArray[np.floating], low: NDArray[np.int64], part: Float) -> Float:
    high = np.minimum(low + 1, len(values) - 1)
    share = part.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[low] * (1 - share) + values[high] * share, np.float64)


def _both(flags: Bool, low: NDArray[np.int64], part: Float) -> Bool:
    """Where both frames that a time lies between have the flag (only the one that counts, at a frame itself)."""
    high = np.minimum(low + 1, len(flags) - 1)
    share = part.reshape(-1, *[1] * (flags.ndim - 1))
    return np.asarray((flags[low] | (share == 1)) & (flags[high] | (share == 0)))


def _held(world: Float, fine: Bool) -> Float:
    """For the frames that are not fine: the last fine one, or the first."""
    if not fine.any():
        return np.zeros_like(world[~fine])
    last = np.maximum.accumulate(np.where(fine, np.arange(len(fine)), -1))
    last[last < 0] = int(np.argmax(fine))
    return np.asarray(world[last[~fine]])
