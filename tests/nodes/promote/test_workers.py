"""Held-out sessions answered by several workers: the same answers as by one, also where a worker is killed."""

import os
import signal
from dataclasses import fields, replace
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.engines.train.data.detector_noise import load_noise
from kinecast.engines.train.data.motion import read_clips
from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler, ShardSource, shard_sources
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.nodes.promote.lifter_benchmarks import (
    PredictedErrors,
    ShardBenchmark,
    benchmark_shard,
    benchmark_shards,
    predict_errors,
)
from tests.engines.train import toys
from tests.engines.train.toy_sessions import write_dataset
from tests.nodes.promote.toys import LIFTER

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ShardSource], tuple[Path, Path]]:
    """Three held-out sessions and two lifters that know nothing."""
    from kinecast.engines.lift.network import LifterNetwork

    folder = tmp_path_factory.mktemp("workers")
    toys.write_bvh(folder / "motion/clip.bvh", frames=120, seed=0)
    clips = list(read_clips(folder / "motion", rest_directions(load_body().J_template), 60.0))
    write_dataset(folder / "data", clips, {"test": 3}, frames=60)
    for seed in (0, 1):
        torch.manual_seed(seed)
        sigma = {"joints": 0.1, "depth": "trajectory"}
        write_lifter(folder / f"{seed}.safetensors", LifterNetwork(LIFTER).state_dict(), LIFTER, sigma=sigma)
    return shard_sources([folder / "data"], "test"), (folder / "0.safetensors", folder / "1.safetensors")


def same(a: PredictedErrors, b: PredictedErrors) -> bool:
    return all(getattr(a, f.name).tobytes() == getattr(b, f.name).tobytes() for f in fields(PredictedErrors))


def test_shard_by_shard_is_all_at_once(exam: tuple[list[ShardSource], tuple[Path, Path]]) -> None:
    shards, lifters = exam
    told = benchmark_shards(shards, lifters)
    truth = PseudoLabelSampler(shards, load_noise(), CameraRanges(), 1, 2, LIFTER.rate_hz, 0, virtual=0.0, flip=0.0)
    for path, answers in zip(lifters, told, strict=True):
        assert same(answers, predict_errors(read_lifter(path, "halpe26"), truth.heldout_clips()))
    assert len(told[0].frames) and not same(*told)


def test_a_damaged_shard_is_named(exam: tuple[list[ShardSource], tuple[Path, Path]], tmp_path: Path) -> None:
    shards, lifters = exam
    with pytest.raises(KinecastError, match=f"{shards[0].session.name}.*missing"):
        benchmark_shards([replace(shards[0], folder=tmp_path)], lifters)


def _dies_once(job: ShardBenchmark) -> tuple[PredictedErrors, ...]:
    mark = job.lifters[0].parent / "killed"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return benchmark_shard(job)


@pytest.mark.alone
@pytest.mark.timeout(600)  # Ray and its workers start in seconds, or in a minute where every core is busy
def test_a_worker_killed_under_ray_leaves_the_same_answers(
    exam: tuple[list[ShardSource], tuple[Path, Path]],
) -> None:
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'kinecast[ray]'")
    shards, lifters = exam
    here, there = benchmark_shards(shards, lifters), benchmark_shards(shards, lifters, workers=2, function=_dies_once)
    assert (lifters[0].parent / "killed").exists()
    assert all(same(a, b) for a, b in zip(here, there, strict=True))
