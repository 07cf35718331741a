"""Derivatives against finite differences, and the covariance against what noise really does."""

import numpy as np
import pytest

from kinecast.calibration.camera import LensModel
from kinecast.calibration.lens import KINDS, NAMES, camera_of, project
from kinecast.calibration.rigid import rotation, step, transform
from kinecast.calibration.solve.bundle import Free, Observations, State, linearise, solve

LENSES: dict[LensModel, np.ndarray] = {
    "brown": np.array([900, 905, 630, 350, -0.3, 0.1, 0.002, -0.003, 0.05, 0.02, 0.01, 0.003]),
    "fisheye": np.array([500, 505, 630, 350, -0.03, 0.01, 0.002, -0.003]),
}
EPS = 1e-6  # central differences: error of some 1e-7 px from rounding, curvature below it


@pytest.mark.parametrize("model", LENSES)
def test_lens_derivatives_and_projection(model: LensModel) -> None:
    rng = np.random.default_rng(0)
    lens = LENSES[model]
    points = rng.uniform(-1, 1, (40, 3)) + np.array([0, 0, 2.5])
    px, by_point, by_lens = project(model, lens, points)
    assert np.abs(camera_of("c", (1280, 720), model, lens, np.eye(4)).project(points)[0] - px).max() < 1e-9
    for i in range(3):
        d = np.eye(3)[i] * EPS
        slope = (project(model, lens, points + d)[0] - project(model, lens, points - d)[0]) / (2 * EPS)
        assert np.abs(slope - by_point[:, :, i]).max() < 1e-5
    for i in range(len(NAMES[model])):
        d = np.eye(len(lens))[i] * EPS
        slope = (project(model, lens + d, points)[0] - project(model, lens - d, points)[0]) / (2 * EPS)
        assert np.abs(slope - by_lens[:, :, i]).max() < 1e-5


def scene(noise_px: float, seed: int, poses: int = 20) -> tuple[Observations, State]:
    rng = np.random.default_rng(seed)
    still = np.random.default_rng(5)  # the scene itself is the same for every seed
    T = np.stack([np.eye(4), transform(rotation([0, -0.6, 0.0]), [1.0, 0.0, 0.5])])
    where = still.uniform(-0.4, 0.4, (poses, 3)) + np.array([0.0, 0.0, 2.5])
    boards = transform(rotation(still.normal(0, 0.5, (poses, 3))), where)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(4)), -1).reshape(-1, 2) * 0.06
    corner = np.concatenate([grid, np.zeros((20, 1))], axis=1)
    camera, pose = (v.ravel() for v in np.meshgrid(np.arange(2), np.arange(poses), indexing="ij"))
    camera, pose, point = np.repeat(camera, 20), np.repeat(pose, 20), np.tile(corner, (2 * poses, 1))
    lens = np.array([900.0, 900, 640, 360, -0.1, 0.05, 0, 0, 0, 0, 0, 0])
    state = State(T, boards, (lens, lens), still.normal(0, 0.3, (poses, 6)), np.array([0.0, 0.03]))
    seen = Observations(camera, pose, point, np.zeros((len(point), 2)), np.where(camera == 1, 0.01, 0.0))
    px = -linearise(seen, state, ["brown", "brown"], derivatives=False).residual
    return Observations(camera, pose, point, px + rng.normal(0, noise_px, px.shape), seen.lag_s), state


def test_derivatives_of_poses_lenses_and_offsets() -> None:
    seen, state = scene(0.0, 0)
    line = linearise(seen, state, ["brown", "brown"])
    for i in range(6):
        d = np.zeros(6)
        d[i] = EPS
        for c in range(2):
            ends = []
            for sign in (1, -1):
                T = state.cam_from_world.copy()
                T[c] = step(sign * d[:3], sign * d[3:]) @ T[c]
                moved = State(T, state.world_from_board, state.lenses, state.twist, state.offset_s)
                ends.append(linearise(seen, moved, ["brown", "brown"], derivatives=False).residual)
            slope = (ends[1] - ends[0]) / (2 * EPS)  # residuals are seen − projected
            mine = seen.camera == c
            assert np.abs(slope[mine] - line.by_camera[mine, :, i]).max() < 1e-4
        ends = []
        for sign in (1, -1):
            boards = state.world_from_board @ step(sign * d[:3], sign * d[3:])
            # the twist is in the board's axes and turns with it; its change is of second order in the lag
            moved = State(state.cam_from_world, boards, state.lenses, state.twist * 0, state.offset_s)
            ends.append(linearise(seen, moved, ["brown", "brown"], derivatives=False).residual)
        still = State(state.cam_from_world, state.world_from_board, state.lenses, state.twist * 0, state.offset_s)
        slope = (ends[1] - ends[0]) / (2 * EPS)
        assert np.abs(slope - linearise(seen, still, ["brown", "brown"]).by_pose[:, :, i]).max() < 1e-4
    ends = []
    for sign in (1, -1):
        moved = State(
            state.cam_from_world, state.world_from_board, state.lenses, state.twist, state.offset_s + sign * EPS
        )
        ends.append(linearise(seen, moved, ["brown", "brown"], derivatives=False).residual)
    # the velocity is that of the board's own axes; over a lag of 40 ms at 0.5 rad/s they turn by 0.02
    slope = (ends[1] - ends[0]) / (2 * EPS)
    assert np.abs(slope - line.by_camera[:, :, -1]).max() < 0.05 * np.abs(slope).max()


def test_errors_are_as_large_as_the_covariance_says() -> None:
    """Ten solves with other noise: errors of the second camera's place over their σ have a mean square near 1."""
    score = []
    for seed in range(10):
        seen, state = scene(0.2, seed)
        free = Free(np.array([False, True]), (KINDS["focal"],) * 2, True, np.zeros(2, bool))
        found = solve(seen, state, ["brown", "brown"], free)
        assert found.converged and found.undetermined == 0
        # the scale of Student's t under Gaussian noise is 0.82 σ at four degrees of freedom
        assert found.scale_px == pytest.approx(0.82 * 0.2, rel=0.1)
        # the gauge of the scene is held by the first camera; v is in the second camera's axes
        error = found.state.cam_from_world[1][:3, 3] - state.cam_from_world[1][:3, 3]
        sd = [found.sd(1, n) for n in ("vx", "vy", "vz")]
        score.append(error / sd)
    assert 0.25 < float(np.mean(np.square(score))) < 2.5


def test_gross_errors_count_for_little() -> None:
    """One corner in twenty is off by 50 px: the place is still within 5 times the error of clean noise."""
    seen, state = scene(0.2, 3)
    bad = np.random.default_rng(1).random(len(seen)) < 0.05
    seen.px[bad] += 50.0
    free = Free(np.array([False, True]), (KINDS["focal"],) * 2, False, np.zeros(2, bool))
    found = solve(seen, state, ["brown", "brown"], free)
    assert found.weight[bad].max() < 0.05
    error = np.linalg.norm(found.state.cam_from_world[1][:3, 3] - state.cam_from_world[1][:3, 3])
    assert error < 5 * found.position_sd_m(1)
