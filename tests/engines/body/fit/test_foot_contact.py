"""Feet that stand are held where they stand, at any height, and let go when they move."""

import numpy as np
import pytest

from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.synth.moving_body import UPRIGHT, BodyMotion, body_motion, observe_body

SIGMA_PX, FRAMES, STEP = 4.0, 60, 45
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
BODY = load_body()
FEET = [skeleton("halpe26").index(f"{s}_{p}") for s in ("left", "right") for p in ("heel", "big_toe")]


def waver(height_m: float) -> BodyMotion:
    """Somebody who stands with swinging arms, and after ``STEP`` frames glides off at 1.5 m/s."""
    R = np.tile(retargeted(load_prior(), BODY).reference, (FRAMES, 1, 1, 1))
    R[:, 0] = UPRIGHT
    t = np.arange(FRAMES) / 30
    for j, phase in ((16, 0.0), (17, 2.0)):
        R[:, j] = R[:, j] @ matrices(np.outer(0.5 * np.sin(3 * t + phase), [1.0, 0.0, 0.0]))
    at = np.tile([0.0, 0.0, 0.9 + height_m], (FRAMES, 1))
    at[STEP:, 0] = 1.5 * (t[STEP:] - t[STEP - 1])
    return body_motion(BODY, keypoint_terms(BODY, "halpe26"), R, at, np.zeros(10))


def run(motion: BodyMotion, contact: bool) -> list[Fit]:
    cameras = camera_arrays(RIG)
    px, confidence = observe_body(RIG, motion.points, WhiteNoise(SIGMA_PX, 0.05, 0.15))
    xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(RIG)], axis=1)
    w = confidence * (cameras.focal_px[:, None] / SIGMA_PX) ** 2
    prior = retargeted(load_prior(), BODY).arrays
    s = BodySolver(BODY, "halpe26", cameras, prior, RIG.up_world, motion.betas, contact)
    fits = [s.fit(round(i * 1e9 / 30), 1, xy[i], w[i]) for i in range(FRAMES)]
    return [f for f in fits if f is not None]


def slide_mps(fits: list[Fit]) -> float:
    feet = np.stack([f.points for f in fits])[10:STEP, FEET]
    return float(np.linalg.norm(np.diff(feet, axis=0), axis=-1).mean() * 30)


@pytest.mark.parametrize("height_m", [0.0, 0.4])
def test_standing_feet_slide_less_than_half_as_much(height_m: float) -> None:
    motion = waver(height_m)
    free, held = run(motion, False), run(motion, True)
    assert slide_mps(held) < 0.5 * slide_mps(free)
    assert np.mean([f.contacts.all() for f in held[15:STEP]]) > 0.8


def test_feet_that_leave_are_let_go() -> None:
    motion = waver(0.0)
    held = run(motion, True)
    assert not held[STEP + 5].contacts.any()
    error = np.linalg.norm(np.stack([f.points for f in held])[STEP:, FEET] - motion.points[STEP:, FEET], axis=-1)
    assert error.mean() < 3 * SIGMA_PX * 4.0 / camera_arrays(RIG).focal_px.mean()
