"""Errors of a lifter on a benchmark, clip by clip, so that two lifters can be compared pair by pair.

Clips of one resampling unit (a block of a person's session seen by all its cameras, a clip seen by several) share their
name: they err together, and the bootstrap draws them together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.lift.sigma import read_sigma
from kinecast.engines.lift.weights import LifterFile, read_lifter
from kinecast.engines.metrics import p_mpjpe
from kinecast.engines.metrics.joints import joint_errors
from kinecast.engines.synth import World
from kinecast.engines.train.data.detector_noise import NoiseModel, load_noise
from kinecast.engines.train.data.heldout_clips import ROOT, HeldoutClip
from kinecast.engines.train.data.pinhole_views import before_cameras, detect
from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler, ShardSource
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.synthetic_batches import batch_of
from kinecast.engines.train.lifter.validate import LiftedBatch, lift_batch
from kinecast.engines.virtual_camera import out_of_virtual
from kinecast.nodes.dataset.workers import map_jobs

Float = NDArray[np.float64]
MEASURES = ("pose", "aligned", "place", "velocity")  # means over frames, m and m/s
WORLDS, WALK_S, VIEWS = 6, 10.0, 2  # of the synthetic benchmark, two people each


@dataclass(frozen=True, slots=True, eq=False)
class PredictedErrors:
    """Sums over the frames of Q clips. unit: (Q,) of resampling, by name; action: (Q,). frames: (Q,), those counted.

    sums: (Q, len(MEASURES)) of MPJPE about the root, P-MPJPE, distance of the root, velocity of the error. joints:
    (Q, J) of each joint's error. inside: (Q,) share of the errors along an axis inside 2 of the told σ, times frames.
    """

    unit: NDArray[np.str_]
    action: NDArray[np.str_]
    frames: Float
    sums: Float
    joints: Float
    inside: Float


def predict_errors(file: LifterFile, clips: Iterable[HeldoutClip]) -> PredictedErrors:
    """What one lifter makes of all clips, in torch, whole windows; as it runs live it gives the same to 1e-5 (see
    parity)."""
    network = _network(file)
    sigma = read_sigma(file.meta.get("sigma", {}), file.config.joints)
    rows = []
    for clip in clips:
        out = lift_batch(network, clip.batch)
        on = np.flatnonzero(clip.batch.weight[0] > 0)
        if len(on):
            row = _sums(file, sigma.depth, sigma.joints, clip, out, on)
            rows.append((clip.name, clip.action, float(len(on)), *row))
    names, actions, frames, sums, joints, inside = zip(*rows, strict=True) if rows else ([], [], [], [], [], [])
    j = file.config.joints
    return PredictedErrors(
        np.array(names, np.str_), np.array(actions, np.str_), np.array(frames, np.float64),
        np.array(sums, np.float64).reshape(-1, len(MEASURES)), np.array(joints, np.float64).reshape(-1, j),
        np.array(inside, np.float64),
    )  # fmt: skip


@lru_cache(maxsize=2)  # the current one and the candidate, used shard after shard
def _network(file: LifterFile) -> LifterNetwork:
    import torch

    torch.set_num_threads(1)
    network = LifterNetwork(file.config)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in file.tensors.items()}, strict=False)
    return network


@dataclass(frozen=True, slots=True)
class ShardBenchmark:
    """A shard of a data set that lifters of these files, all of one rate, are tried on. It is small: workers read the
    files."""

    shard: ShardSource
    lifters: tuple[Path, ...]


def benchmark_shard(shard_benchmark: ShardBenchmark) -> tuple[PredictedErrors, ...]:
    """Errors of each lifter in every view of the people of one shard, as they were really seen."""
    files = [_lifter(path, path.stat().st_mtime_ns) for path in shard_benchmark.lifters]
    hz = files[0].config.rate_hz
    sampler = PseudoLabelSampler(
        (shard_benchmark.shard,), load_noise(), CameraRanges(), 1, 2, hz, 0, virtual=0.0, flip=0.0
    )
    clips = list(sampler.heldout_clips())
    return tuple(predict_errors(file, clips) for file in files)


@lru_cache(maxsize=2)
def _lifter(path: Path, _: int) -> LifterFile:
    return read_lifter(path, "halpe26")


def benchmark_shards(
    shards: Sequence[ShardSource], lifters: tuple[Path, ...], workers: int = 1, address: str = "",
    function: Callable[[ShardBenchmark], tuple[PredictedErrors, ...]] = benchmark_shard,
) -> tuple[PredictedErrors, ...]:  # fmt: skip
    """Errors of each lifter on all shards, in their order, by this process or by workers (see :func:`map_jobs`).

    One shard is open at a time in each process. function: of one; a test gives one that dies. Raises KinecastError
    where a shard is damaged, or a worker died again and again.
    """
    by_shard: dict[int, tuple[PredictedErrors, ...]] = {}
    paths = tuple(p.absolute() for p in lifters)
    jobs = [ShardBenchmark(replace(s, folder=s.folder.absolute()), paths) for s in shards]
    for i, result in map_jobs(function, jobs, workers, address):
        if isinstance(result, KinecastError):
            raise KinecastError(f"held-out session {shards[i].session.name}: {result}")
        by_shard[i] = result
    return tuple(
        PredictedErrors(
            *(
                np.concatenate([getattr(by_shard[i][k], f.name) for i in range(len(shards))])
                for f in fields(PredictedErrors)
            )
        )
        for k in range(len(lifters))
    )


def _sums(
    file: LifterFile, depth: str, sigma_factor: Float, clip: HeldoutClip, out: LiftedBatch, on: NDArray[np.int64]
) -> tuple[Float, Float, float]:
    b, hz = clip.batch, file.config.rate_hz
    predicted = out.corrected_m[0] - out.corrected_m[0][:, ROOT : ROOT + 1]
    error = predicted - b.relative_m[0].astype(np.float64)
    each = joint_errors(predicted[on], b.relative_m[0, on].astype(np.float64))
    aligned = p_mpjpe(predicted[on], b.relative_m[0, on].astype(np.float64)).value
    place = np.linalg.norm(out.root_m[depth][0, on] - b.root_m[0, on], axis=-1)
    in_camera = out_of_virtual(b.cam_from_virtual[0].astype(np.float64), error)
    pairs = on[1:][np.diff(on) == 1]
    moved = np.linalg.norm(in_camera[pairs] - in_camera[pairs - 1], axis=-1).mean() * hz if len(pairs) else 0.0
    inside = np.nan
    if out.sd_m is not None:
        others = [j for j in range(error.shape[1]) if j != ROOT]
        inside = float((np.abs(error[on]) <= 2 * sigma_factor * out.sd_m[0, on])[:, others].mean())
    n = len(on)
    return np.array([each.mean(-1).sum(), aligned * n, place.sum(), moved * n]), each.sum(0), inside * n


def synthetic_clips(noise: NoiseModel, rate_hz: float) -> Iterator[HeldoutClip]:
    """Walkers of the synthetic world before random cameras, always the same: a benchmark that needs no data."""
    for seed in range(WORLDS):
        world = World(people=2, seed=1000 + seed)
        frames = round(WALK_S * rate_hz)
        points = np.stack([world.points_world(round(i * 1e9 / rate_hz)) for i in range(frames)])
        for person in range(points.shape[1]):
            y_up = points[:, person][..., [0, 2, 1]] * np.array([1.0, 1.0, -1.0])
            for view in range(VIEWS):
                rng = np.random.default_rng((seed, person, view, 17))
                seen = before_cameras(y_up[None], rng, CameraRanges(), np.zeros(1, np.int64))
                batch = batch_of(seen, *detect(seen, noise, rng, rate_hz), rate_hz)
                none = np.zeros(frames, bool)
                yield HeldoutClip(f"world {seed}/{person}", "walking", batch, none, none)
