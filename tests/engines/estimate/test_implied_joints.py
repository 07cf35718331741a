"""Joints that others imply."""

import numpy as np
import pytest

from kinecast.engines.estimate.implied_joints import HEAD, imply_joints, joint_roles
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World

H = skeleton("halpe26")
R = joint_roles("halpe26")
IMPLIED = [H.index(n) for n in ("neck", "mid_hip", "head_top")]


def fill(hide: list[str], sigma_m: float = 0.01) -> tuple[np.ndarray, ...]:
    truth = World(people=3, seed=2).points_world(400_000_000)
    x = truth.copy()
    x[:, IMPLIED] = np.nan
    x[:, [H.index(n) for n in hide]] = np.nan
    C = np.where(np.isnan(x)[..., None], np.nan, np.eye(3) * sigma_m**2)
    conf = np.where(np.isnan(x[..., 0]), 0.0, 0.8)
    return truth, x, C, conf, imply_joints(x, C, conf, R)


def test_middles_are_exact_and_marked() -> None:
    truth, x, C, conf, done = fill([])
    assert done[:, IMPLIED].all() and done.sum() == 9
    for name, part in (("neck", "shoulder"), ("mid_hip", "hip")):
        j = H.index(name)
        middle = (truth[:, H.index(f"left_{part}")] + truth[:, H.index(f"right_{part}")]) / 2
        np.testing.assert_allclose(x[:, j], middle, atol=1e-12)
        np.testing.assert_allclose(C[:, j], np.broadcast_to(np.eye(3) * 0.5e-4, (3, 3, 3)), atol=1e-12)
        assert np.all(conf[:, j] == 0.8)


EARS = ["left_ear", "right_ear"]
FACE = ["left_eye", "right_eye"]


@pytest.mark.parametrize(
    ("hide", "within_m"),
    [([], 0.06), (EARS[:1], 0.07), (EARS[1:], 0.07), (EARS, 0.09), ([*EARS, *FACE], 0.09), ([*EARS, "nose"], 0.09)],
    ids=["all", "right ear", "left ear", "no ear", "nose alone", "eyes alone"],
)
def test_the_top_of_the_head_follows_from_what_is_seen(hide: list[str], within_m: float) -> None:
    truth, x, _, _, done = fill(hide)
    top = H.index("head_top")
    assert done[:, top].all()
    # the synthetic head has other proportions (shoulders at 0.818, not 0.79): 0.13 · 1.75 m · the difference of factors
    assert np.linalg.norm(x[:, top] - truth[:, top], axis=-1).max() < within_m


def test_the_ways_to_the_head_agree() -> None:
    top = H.index("head_top")
    both = fill([])[1][:, top]
    for hide in (EARS[:1], EARS[1:], EARS):
        assert np.linalg.norm(fill(hide)[1][:, top] - both, axis=-1).max() < 0.06


def test_uncertainty_grows_with_the_lever() -> None:
    _, _, C, _, _ = fill([])
    sd = np.sqrt(C[0, H.index("head_top"), 0, 0])
    assert sd == pytest.approx(0.01 * np.sqrt((HEAD - 1) ** 2 / 2 + HEAD**2 / 2))


def test_nothing_is_made_of_nothing_and_the_measured_stays() -> None:
    _, x, _, conf, done = fill(["left_shoulder", "left_hip"])
    assert not done.any() and np.isnan(x[:, IMPLIED]).all() and not conf[:, IMPLIED].any()
    truth = World(people=1).points_world(0).copy()
    x, C, conf = truth.copy(), np.zeros((1, 26, 3, 3)), np.ones((1, 26))
    assert not imply_joints(x, C, conf, R).any()
    np.testing.assert_array_equal(x, truth)
