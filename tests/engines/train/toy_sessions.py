"""A data set as ``kinecast dataset build`` writes it, of toy motion whose truth is known, before a ring of cameras."""

from pathlib import Path

import numpy as np

from kinecast.calibration.formats import native
from kinecast.capture.atomic_write import atomic_write
from kinecast.engines.synth import ring_rig
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.shards import Manifest, Session, Shard, ShardFile, write_shard
from kinecast.engines.train.data.synthetic_batches import Augment, MotionClips

HZ = 30.0
RIG = ring_rig(3)
SIGMA_PX = 3.0


def shard_of(points_m: np.ndarray, rng: np.random.Generator, refused: slice = slice(0, 0)) -> Shard:
    """points_m: (N, 26, 3), world, z up; what the rig sees of them, and truth for the fitted body."""
    n, c = len(points_m), len(RIG.names)
    px = np.stack([camera.project(points_m.reshape(-1, 3))[0].reshape(n, 26, 2) for camera in RIG.cameras], axis=1)
    px = px + rng.normal(0, SIGMA_PX, px.shape)
    bad, f4 = np.zeros(n, np.uint16), np.float32
    bad[refused] = 2
    quality = np.zeros(n, f4)
    return Shard(
        np.round(np.arange(n) * 1e9 / HZ).astype(np.int64), np.tile(np.arange(n)[:, None], (1, c)), px.astype(f4),
        np.full((n, c, 26), 0.9, f4), points_m.astype(f4), np.zeros((n, 24, 3), f4), np.zeros((n, 3), f4),
        np.zeros(10, f4), np.zeros((n, 24, 3), f4), np.zeros((n, 24), f4), points_m.astype(f4), *[quality] * 4, bad,
    )  # fmt: skip


def walk(motion: MotionClips, rng: np.random.Generator, frames: int) -> np.ndarray:
    """(T, 26, 3) of a random body, z up, near the middle of the room."""
    points = motion.sequence(rng, int(rng.integers(len(motion.share))), 0.0, frames, HZ)
    points = points[..., [0, 2, 1]] * np.array([1, -1, 1])
    middle = points.mean((0, 1))
    return points - [middle[0], middle[1], 0.0]


def write_dataset(folder: Path, clips: list[Clip], splits: dict[str, int], frames: int = 150, seed: int = 0) -> Path:
    """splits: how many sessions of one person each there are of each split."""
    rng = np.random.default_rng(seed)
    motion = MotionClips(clips, Augment(arms=0.0, upright=1.0))
    atomic_write(folder / "rigs/toy.toml", native.dumps(RIG))
    manifest = Manifest("toy", {})
    for split, count in splits.items():
        for _ in range(count):
            key = f"{len(manifest.sessions) + 1000 * seed:016x}"
            file = f"shards/{key}/person1-0000.npz"
            digest, size = write_shard(folder / file, shard_of(walk(motion, rng, frames), rng))
            shard = ShardFile(file, digest, size, 1, split, frames, frames)
            manifest.sessions[key] = Session(
                key, f"{key}.mcap", key, "toy", RIG.names, "rigs/toy.toml", "", "0", split, (shard,), {}
            )
    manifest.save(folder)
    return folder
