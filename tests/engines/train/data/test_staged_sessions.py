"""Sessions staged of motion clips: what the cameras report is what stands before them, and the truth travels along."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.synth import ring_rig
from kinecast.engines.train.data.detector_noise import load_noise, other_detector
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.staged_sessions import (
    APART_M,
    AUGMENT,
    messages,
    simulate_session,
    split_clips,
    unseen_classes,
)
from kinecast.engines.train.data.synthetic_batches import ROOT, MotionClips
from kinecast.nodes.evaluate.ground_truth import staged as recordings
from kinecast.nodes.evaluate.ground_truth import synthetic
from kinecast.nodes.recording.file import Recording
from tests.engines.train import toys

RIG = ring_rig(4, (1280, 720), radius_m=5.0, seed=3)
MODEL = other_detector(load_noise())
EXACT = replace(
    MODEL, bias=(0.0,) * 26, slow=(0.0,) * 26, fast=(0.0,) * 26, missing=(0.0,) * 26, burst_hz=0.0, swap_hz=0.0
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("staged")
    for name in ("dance/a", "dance/b", "dance/c", "wash/a"):
        toys.write_bvh(folder / f"{name}.bvh", frames=150, seed=len(name))
    return list(read_clips(folder, rest_directions(load_body().J_template), 60.0))


def test_only_whole_classes_that_nothing_is_learnt_from_are_unseen(clips: list[Clip]) -> None:
    learnt, held = [clips[0]], clips[1:]
    assert [c.name for c in unseen_classes(learnt, held)] == ["wash/a"]


def test_a_class_is_divided_between_learning_and_asking_and_a_single_clip_is_cut(clips: list[Clip]) -> None:
    learn, ask = split_clips(clips)
    assert [c.name for c in learn] == ["dance/a", "dance/c", "wash/a, first half"]
    assert [c.name for c in ask] == ["dance/b", "wash/a, second half"]
    assert len(learn[-1].good) + len(ask[-1].good) == len(clips[-1].good)
    with pytest.raises(KinecastError, match="no class of motion is held out whole"):
        split_clips([])


def test_a_detector_without_error_reports_the_projections_of_the_truth(clips: list[Clip]) -> None:
    staged = simulate_session(MotionClips(clips, AUGMENT), RIG, EXACT, 2, 1.0, 30.0, seed=4)
    between = np.linalg.norm(np.diff(staged.points[:, :, ROOT, :2].mean(axis=0), axis=0), axis=-1)
    assert between == pytest.approx(APART_M, abs=1e-9)
    upright = staged.points[..., 17, 2] - staged.points[..., 16, 2]
    assert staged.points.shape == (30, 2, 26, 3) and np.isfinite(upright).all()
    for camera, told in zip(RIG.cameras, messages(staged, 4), strict=True):
        px, _ = camera.project(staged.points)
        for k, message in enumerate(told):
            assert message.t_capture_ns == round(k * 1e9 / 30) and message.frame_seq == k
            for found in message.keypoints_px:  # in any order
                off = np.nanmax(np.linalg.norm(px[k] - found, axis=-1), axis=-1)
                assert off.min() < 0.01  # float32 of some hundred pixels, through a lens


def test_a_staged_session_is_fused_recorded_and_knows_its_truth(clips: list[Clip], tmp_path: Path) -> None:
    staged = simulate_session(MotionClips(clips, AUGMENT), RIG, MODEL, 2, 1.0, 30.0, seed=5)
    sets, people = recordings.write(staged, tmp_path / "a.mcap", 5)
    assert sets == 30 and people >= 2
    truth = synthetic.read(tmp_path / "a.mcap")
    assert len(truth.frames) == len(truth.times_ns) and truth.complete
    for k, t_ns in truth.times_ns.items():
        n = round(t_ns * 30 / 1e9)
        np.testing.assert_allclose(np.stack(list(truth.frames[k].values())), staged.points[n], atol=1e-6)
    again = simulate_session(MotionClips(clips, AUGMENT), RIG, MODEL, 2, 1.0, 30.0, seed=5)
    recordings.write(again, tmp_path / "b.mcap", 5)
    a, b = (
        [m.keypoints_px for _, _, m in Recording.open(tmp_path / f"{n}.mcap").messages(("keypoints",))] for n in "ab"
    )
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))
    with pytest.raises(KinecastError):
        recordings.write(staged, tmp_path / "a.mcap", 5)
