"""Joints that others imply."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinecast.engines.body.model.body import pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.estimate.implied_joints import imply_joints, joint_roles
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


def test_uncertainty_grows_with_noise_and_with_what_is_hidden() -> None:
    top = H.index("head_top")
    sd = [float(np.sqrt(np.trace(fill(hide, sigma)[2][0, top]) / 3)) for hide, sigma in
          (([], 0.005), ([], 0.03), ([*EARS, *FACE], 0.03))]  # fmt: skip
    assert 0.02 < sd[0] < sd[1] < sd[2] < 0.15


HEADS = {"straight": (0, 0, 0), "bowed": (60, 0, 0), "back": (-30, 0, 0), "turned": (0, 60, 0), "tilted": (0, 0, 30),
         "bowed and turned": (45, 45, 0)}  # fmt: skip
SEEN = {"all": ((), 0.055), "one side": (("right_ear", "right_eye"), 0.075), "no ear": (tuple(EARS), 0.085)}


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("angles", HEADS.values(), ids=HEADS)
def test_a_bowed_or_turned_head_has_its_top_where_it_is(angles: tuple[int, int, int], seen: str) -> None:
    """Of the free body, forty shapes; the line from the neck through the ears misses the top of a bowed head."""
    body, hidden, within_m = load_body(), *SEEN[seen]
    rng = np.random.default_rng(0)
    pose, betas = np.zeros((40, 24, 3)), np.zeros((40, body.betas))
    betas[:, :5] = rng.normal(0, 1, (40, 5))
    turn = Rotation.from_euler("YXZ", [angles[1], angles[0], angles[2]], degrees=True).as_rotvec() / 2
    for joint in ("neck", "head"):
        pose[:, skeleton("smpl24").index(joint)] = turn
    rotations, joints, _ = pose_joints(body, pose, betas)
    truth = keypoint_terms(body, "halpe26").place(rotations, joints, betas)
    x, top = truth.copy(), H.index("head_top")
    x[:, [top, *(H.index(n) for n in hidden)]] = np.nan
    C = np.broadcast_to(np.eye(3) * 1e-4, (*x.shape, 3)).copy()
    done = imply_joints(x, C, np.ones(x.shape[:2]), R)
    assert done[:, top].all()
    error = x[:, top] - truth[:, top]
    assert np.median(np.linalg.norm(error, axis=1)) < within_m
    assert (np.einsum("pi,pij,pj->p", error, np.linalg.inv(C[:, top]), error) < 14.16).mean() >= 0.97  # 3 sigma
    for ear in (n for n in hidden if n in EARS):
        j = H.index(ear)
        assert done[:, j].all() and np.median(np.linalg.norm(x[:, j] - truth[:, j], axis=1)) < within_m


def test_nothing_is_made_of_nothing_and_the_measured_stays() -> None:
    _, x, _, conf, done = fill(["left_shoulder", "left_hip"])
    assert not done.any() and np.isnan(x[:, IMPLIED]).all() and not conf[:, IMPLIED].any()
    truth = World(people=1).points_world(0).copy()
    x, C, conf = truth.copy(), np.zeros((1, 26, 3, 3)), np.ones((1, 26))
    assert not imply_joints(x, C, conf, R).any()
    np.testing.assert_array_equal(x, truth)
