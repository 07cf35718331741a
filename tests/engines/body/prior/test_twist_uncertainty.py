"""What is stated of turns that no keypoint tells: on motion that neither the prior nor the numbers were made of."""

import numpy as np

from kinecast.engines.body.fit.solver import BodySolver
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.body.prior.twist_uncertainty import GUESSES_DEG, inflate_twist_sd
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.synth.moving_body import moving_body, observe_body

SIGMA_PX = 4.0
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
CAMERAS = camera_arrays(RIG)
BODY = load_body()
INDEX = skeleton("smpl24").index


def test_what_keypoints_tell_stays_and_nothing_gets_surer() -> None:
    sd = np.random.default_rng(1).uniform(0.001, 0.6, (5, 24, 3))
    wide = inflate_twist_sd(sd)
    assert wide.shape == sd.shape and (wide >= sd).all()
    arms = [INDEX(f"{s}_{n}") for s in ("left", "right") for n in GUESSES_DEG]
    others = [j for j in range(24) if j not in arms]
    assert np.allclose(wide[:, others], sd[:, others], rtol=1e-12)
    # a tenth of the prior's variance: a hundredth of the guess's error
    told = np.deg2rad(np.array([axes[0][0] for axes in GUESSES_DEG.values()])) * np.sqrt(0.1)
    turn = np.full((24, 3), 0.01)
    for name, value in zip(GUESSES_DEG, told, strict=True):
        turn[INDEX(f"left_{name}"), 0] = value
    for name, value in zip(GUESSES_DEG, told, strict=True):
        free, guess = np.deg2rad(np.array(GUESSES_DEG[name][0])) ** 2
        assert np.isclose(inflate_twist_sd(turn)[INDEX(f"left_{name}"), 0] ** 2, value**2 + 0.01 * (guess - free))


def test_twists_of_forearm_and_hand_are_within_what_is_stated() -> None:
    """Seeds that the measured numbers know nothing of; elbows and wrists are waved by 0.2 to 0.3 rad."""
    off, sd, posterior = [], [], []
    rows = [INDEX(f"{s}_{n}") for s in ("left", "right") for n in ("elbow", "wrist")]
    for seed in (31, 32, 33):
        motion = moving_body(BODY, keypoint_terms(BODY, "halpe26"), 60, seed=seed)
        px, confidence = observe_body(RIG, motion.points, WhiteNoise(SIGMA_PX, 0.05, 0.15), seed)
        xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(RIG)], axis=1)
        w = confidence * (CAMERAS.focal_px[:, None] / SIGMA_PX) ** 2
        prior = retargeted(load_prior(), BODY).arrays
        solver = BodySolver(BODY, "halpe26", CAMERAS, prior, RIG.up_world, motion.betas)
        fits = [solver.fit(round(i * 1e9 / 30), 1, xy[i], w[i]) for i in range(len(xy))]
        R = np.stack([f.R for f in fits if f is not None])
        off.append(rotvecs(np.swapaxes(motion.rotations, -1, -2) @ R)[:, rows, 0])
        raw = np.stack([f.turn_sd_rad for f in fits if f is not None])
        sd.append(inflate_twist_sd(raw)[:, rows, 0])
        posterior.append(raw[:, rows, 0])
    z = np.abs(np.concatenate(off)) / np.concatenate(sd)
    # three motions of two seconds are a dozen independent twists: 68 and 95 % give or take 13 and 6
    assert (z < 1).mean() > 0.55 and (z < 2).mean() > 0.89
    assert np.sqrt((z**2).mean()) > 0.4  # nor is it said of everything that nothing is known
    narrow = np.abs(np.concatenate(off)) / np.concatenate(posterior)
    assert (z < 2).mean() > (narrow < 2).mean()
