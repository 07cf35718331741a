"""What the solver must not swallow, bodies of other layouts, and noise that is not new in every frame."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.body.fit.solver import FLAG_RESIDUAL, FLAG_SHAPE_BEYOND, BodySolver, Fit
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.synth.moving_body import UPRIGHT, BodyMotion, body_motion, moving_body, observe_body
from tests.engines.body.toy import parents_of

SIGMA_PX = 4.0
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
CAMERAS = camera_arrays(RIG)
POINT_SD_M = SIGMA_PX * 4.0 / CAMERAS.focal_px.mean()  # what one view says of a point at 4 m


def solver(body: BodyModel, persistent: float = 0.0, common: float = 0.0) -> BodySolver:
    prior = retargeted(load_prior(), body).arrays
    return BodySolver(body, "halpe26", CAMERAS, prior, RIG.up_world, persistent=persistent, common=common)


def views(points: np.ndarray, shift_px: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """xy (T, C, K, 2) and w (T, C, K) of points (T, K, 3); shift_px: added to the pixels."""
    px, confidence = observe_body(RIG, np.nan_to_num(points), WhiteNoise(SIGMA_PX, 0.0, 0.0))
    confidence = confidence * np.isfinite(points[:, None, :, 0])
    px = px + shift_px
    xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(RIG)], axis=1)
    return xy, confidence * (CAMERAS.focal_px[:, None] / SIGMA_PX) ** 2


def run(s: BodySolver, xy: np.ndarray, w: np.ndarray) -> list[Fit]:
    fits = [s.fit(round(i * 1e9 / 30), 1, xy[i], w[i]) for i in range(len(xy))]
    return [f for f in fits if f is not None]


def standing(body: BodyModel, turn: np.ndarray, scale: float = 1.0) -> BodyMotion:
    """Somebody who stands for twelve frames, a body of the mean shape made larger or smaller."""
    R = np.tile(retargeted(load_prior(), body).reference, (12, 1, 1, 1))
    R[:, 0] = turn @ UPRIGHT
    m = body_motion(body, keypoint_terms(body, "halpe26"), R, np.tile([0.0, 0.0, 0.9], (12, 1)), np.zeros(body.betas))
    return BodyMotion(m.rotations, m.trans, m.betas, m.joints * scale, m.points * scale)


@pytest.mark.parametrize("stature_m", [0.9, 2.1])
def test_a_child_and_a_giant_are_never_wrong_in_silence(stature_m: float) -> None:
    body = load_body()
    m = standing(body, np.eye(3), stature_m / body.stature_m(np.zeros(10)))
    last = run(solver(body), *views(m.points))[-1]
    wrong = np.linalg.norm(last.joints - m.joints[-1], axis=-1).mean() > POINT_SD_M
    assert not wrong or last.flags & (FLAG_RESIDUAL | FLAG_SHAPE_BEYOND)
    if stature_m < 1.0:
        assert last.flags & (FLAG_RESIDUAL | FLAG_SHAPE_BEYOND)


def test_nonsense_from_one_view_is_told() -> None:
    """Keypoints that lie anywhere in the picture, new in every frame, are nobody."""
    rng = np.random.default_rng(0)
    size = np.array(RIG.cameras[0].size_px, float) if hasattr(RIG, "cameras") else np.array([1920.0, 1080.0])
    px = rng.uniform(0.1, 0.9, (8, 26, 2)) * size
    xy, w = np.zeros((8, 4, 26, 2)), np.zeros((8, 4, 26))
    xy[:, 0] = next(iter(RIG)).undistort(px)
    w[:, 0] = (CAMERAS.focal_px[0] / SIGMA_PX) ** 2
    fits = run(solver(load_body()), xy, w)
    assert all(f.flags & FLAG_RESIDUAL for f in fits)


def test_upside_down_with_sides_exchanged_is_told() -> None:
    body = load_body()
    xy, w = views(standing(body, matrices(np.array([np.pi, 0.0, 0.0]))).points)
    flip = list(skeleton("halpe26").flip)
    assert run(solver(body), xy[:, :, flip], w[:, :, flip])[-1].flags & FLAG_RESIDUAL
    assert not run(solver(body), xy, w)[-1].flags & FLAG_RESIDUAL


def write_as_smplx(path: Path, betas: int) -> None:
    """The light free body in SMPL-X's layout: 55 joints, as many betas, fingers where the hand was."""
    light = load_body("light")
    regressor, weights = np.zeros((55, len(light.v_template))), np.zeros((len(light.v_template), 55))
    regressor[:22], weights[:, :22] = light.J_regressor[:22], light.weights[:, :22]
    regressor[22:25] = light.J_regressor[15]
    regressor[25:40], regressor[40:] = light.J_regressor[22], light.J_regressor[23]
    weights[:, 28], weights[:, 43] = light.weights[:, 22], light.weights[:, 23]
    tree = np.stack([parents_of(55), np.arange(55)]).astype(np.uint32)
    np.savez(
        path, v_template=light.v_template, shapedirs=light.shapedirs[:, :, :betas], J_regressor=regressor,
        weights=weights, kintree_table=tree, f=light.faces, posedirs=np.zeros((len(light.v_template), 3, 9 * 54)),
    )  # fmt: skip


@pytest.mark.parametrize("betas", [4, 10])
def test_a_body_of_55_joints_and_other_betas_is_fitted(tmp_path: Path, betas: int) -> None:
    write_as_smplx(tmp_path / "SMPLX_NEUTRAL.npz", betas)
    body = load_body(str(tmp_path / "SMPLX_NEUTRAL.npz"))
    assert body.kind == "smplx" and body.betas == betas
    # its mesh is not a published one: no face, no feet, 13 joints and the crown are all that is seen
    motion = moving_body(body, keypoint_terms(body, "halpe26"), 30, betas=np.full(betas, 0.5), seed=3)
    fits = run(solver(body), *views(motion.points))
    error = np.linalg.norm(np.stack([f.joints for f in fits]) - motion.joints, axis=-1)
    limbs = [skeleton("smpl24").index(f"{s}_{j}") for s in ("left", "right") for j in ("elbow", "wrist", "knee")]
    assert fits[-1].betas.shape == (betas,)
    assert np.median(error[5:, limbs]) < POINT_SD_M


def test_errors_that_stay_are_stated() -> None:
    """Every keypoint of every view off by the same in all frames, and whole views off: averaging does not help."""
    body, rng = load_body(), np.random.default_rng(4)
    motion = moving_body(body, keypoint_terms(body, "halpe26"), 60, betas=np.zeros(10), seed=2)
    lasting = 1.7 * SIGMA_PX * rng.normal(size=(1, 4, 26, 2)) + SIGMA_PX * rng.normal(size=(1, 4, 1, 2))
    xy, w = views(motion.points, lasting)
    w = w / 5.0  # 1.7² + 1 + 1 of the variance: the noise is as large as is said, and 0.8 of it stays
    w[:, 2:] = 0.0
    ratio = []
    for persistent, common in ((0.0, 0.0), (0.8, 0.2)):
        fits = run(solver(body, persistent, common), xy, w)[10:]
        met = np.linalg.norm(np.stack([f.joints for f in fits]) - motion.joints[10:], axis=-1)
        ratio.append(np.sqrt(3 * np.mean([f.joint_sd_m**2 for f in fits]) / np.mean(met**2)))
    assert ratio[1] > 1.2 * ratio[0]
    assert 0.6 < ratio[1] < 1.7
