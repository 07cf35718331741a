"""The exam asks every lifter the same, and a perfect answer gets perfect marks."""

import numpy as np
import pytest

from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.train.data.detector_noise import load_noise
from kinecast.engines.train.data.heldout_clips import HeldoutClip, heldout_clips
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.lifter.benchmark import AGES, ClipPredictions
from kinecast.engines.train.lifter.validate import LiftedBatch, root_at_depth, root_ray
from tests.engines.train import toys


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("motion")
    for i in range(2):
        toys.write_bvh(folder / f"clip{i}.bvh", frames=90, seed=i)
    return list(read_clips(folder, rest_directions(load_body().J_template), 60.0))


def asked(clips: list[Clip]) -> list[HeldoutClip]:
    return list(heldout_clips(clips, load_noise(), CameraRanges(), 30.0, views=2))


def answer(question: HeldoutClip, off_m: float = 0.0, sd_m: float = 0.05, depth_factor: float = 1.0) -> LiftedBatch:
    b = question.batch
    rng = np.random.default_rng(0)
    relative = b.relative_m.astype(np.float64) + rng.normal(0, 1, b.relative_m.shape) * off_m
    root = b.root_m.astype(np.float64) * depth_factor
    return LiftedBatch(
        relative, relative, np.full(relative.shape, sd_m), {"k": root, "gamma": root},
        {"gamma": np.full(root.shape[:2], 0.1)}, None,
    )  # fmt: skip


def test_the_same_questions_whoever_else_is_asked(clips: list[Clip]) -> None:
    both, alone = asked(clips), asked(clips[1:])
    assert [q.name for q in both] == ["clip0", "clip0", "clip1", "clip1"]
    assert np.array_equal(both[2].batch.features, alone[0].batch.features)
    assert not np.array_equal(both[2].batch.features, both[3].batch.features)  # another camera
    assert not any(q.lying.any() for q in both)  # the toy bends by 20°
    rare = np.concatenate([q.rare for q in both])
    assert 0.05 < rare.mean() < 0.15


def test_the_truth_gets_full_marks(clips: list[Clip]) -> None:
    answers = ClipPredictions(30.0)
    for q in asked(clips):
        answers.add(q, answer(q))
    told = answers.report({"joints": 1.0, "log_gamma": 1.0})
    assert told["mpjpe_m"] == pytest.approx(0, abs=1e-9) and told["velocity_m_s"] == pytest.approx(0, abs=1e-6)
    assert told["pck_150"] == 1.0 and told["root"]["gamma"]["ap_root_25cm"] == pytest.approx(1.0)  # type: ignore[index]
    assert told["root"]["k"]["mrpe_m"] == pytest.approx(0, abs=1e-6)  # type: ignore[index]
    assert set(told["by_age"]) == {"0", "1–8", "9–26", "27–80", "81–242", "243+"} and len(AGES) == 6  # type: ignore[call-overload]


def test_errors_that_were_put_in_come_out(clips: list[Clip]) -> None:
    answers = ClipPredictions(30.0)
    for q in asked(clips):
        answers.add(q, answer(q, off_m=0.05, sd_m=0.05, depth_factor=1.1))
    told = answers.report({"joints": 1.0, "log_gamma": 1.0})
    # the mean length of a normal vector of 0.05 m an axis; relative to a root that errs too: √2 times it, the root
    # itself (1 of 26 joints) being 0
    mean = 0.05 * np.sqrt(8 / np.pi)
    assert told["mpjpe_m"] == pytest.approx(mean * np.sqrt(2) * 25 / 26, rel=0.03)
    assert told["p_mpjpe_m"] == pytest.approx(mean, rel=0.1)  # 7 of 78 numbers are fitted away
    inside = told["inside_sigma"]["joints"]  # type: ignore[index]
    assert inside == pytest.approx([0.683, 0.954, 0.997], abs=0.02)
    assert told["root"]["gamma"]["depth_share"] == pytest.approx(0.1, abs=1e-3)  # type: ignore[index]
    # log 1.1 is 0.095, inside one σ of 0.1, everywhere
    assert told["inside_sigma"]["depth by gamma"][0] == 1.0  # type: ignore[index]


def test_the_ray_of_the_root_is_where_the_keypoints_say(clips: list[Clip]) -> None:
    b = asked(clips)[0].batch
    features = np.concatenate([b.clean, np.ones_like(b.clean[..., :1])], -1).astype(np.float64)
    relative, root = b.relative_m.astype(np.float64), b.root_m.astype(np.float64)
    ray = root_ray(relative, features, b.extent.astype(np.float64), root[..., 2])
    on = b.weight > 0
    # to first order in depth over distance: the mean of quotients is not the quotient of means
    assert np.abs(root_at_depth(ray, relative, root[..., 2]) - root)[on].max() < 0.05
