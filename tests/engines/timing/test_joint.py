"""The joint normal equations against a slow twin that keeps the points as unknowns."""

import numpy as np

from kinecast.calibration.camera import Rig
from kinecast.engines.observations import CameraArrays, camera_arrays
from kinecast.engines.synth import ring_rig
from kinecast.engines.timing.joint import SCALE, UNKNOWNS, Normal
from kinecast.engines.triangulate.solve import SIGMA_BODY_M, SIGMA_PX

JOINTS = 5


def scene(cameras: CameraArrays, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    points = rng.uniform([-1, -1, 0.2], [1, 1, 1.8], (1, JOINTS, 3))
    velocity = np.tile(rng.normal(size=(1, 1, 3)), (1, JOINTS, 1))
    h = np.einsum("cij,pnj->pcni", cameras.P[:, :, :3], points) + cameras.P[:, None, :, 3]
    xy = h[..., :2] / h[..., 2:] + rng.normal(0, 0.004, (1, len(cameras), JOINTS, 2))
    return xy, rng.uniform(0.5, 1, xy.shape[:3]), points, velocity


def dense(cameras: CameraArrays, xy: np.ndarray, w: np.ndarray, X: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows of r = A dX + B θ of all views and joints, points among the unknowns, derivatives by differences."""
    C, D = len(cameras), UNKNOWNS * len(cameras)

    def view(c: int, point: np.ndarray, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        p = cameras.P[c, :, :3] @ (point - theta[0] * v) + cameras.P[c, :, 3]
        p = p + np.cross(theta[1:], p)
        return p[:2] / p[2]

    rows, right = [], []
    for j in range(JOINTS):
        for c in range(C):
            here = view(c, X[j], np.zeros(4), V[j])
            r = xy[c, j] - here
            z = (cameras.P[c, :, :3] @ X[j] + cameras.P[c, :, 3])[2]
            s = np.hypot(SIGMA_PX / cameras.focal_px[c], SIGMA_BODY_M / z) / w[c, j]
            g = 1 / (1 + r @ r / (SCALE * s) ** 2) / s
            row = np.zeros((2, D + 3 * JOINTS))
            for k in range(4):
                step = np.eye(4)[k] * 1e-6
                row[:, UNKNOWNS * c + k] = (view(c, X[j], step, V[j]) - view(c, X[j], -step, V[j])) / 2e-6
            for k in range(3):
                step = np.eye(3)[k] * 1e-6
                row[:, D + 3 * j + k] = (view(c, X[j] + step, np.zeros(4), V[j]) - here) / 1e-6
            rows.append(g * row)
            right.append(g * r)
    M, y = np.concatenate(rows), np.concatenate(right)
    H, b = M.T @ M, M.T @ y
    inner = np.linalg.inv(H[D:, D:])
    return H[:D, :D] - H[:D, D:] @ inner @ H[D:, :D], b[:D] - H[:D, D:] @ inner @ b[D:]


def test_the_points_are_taken_out_exactly() -> None:
    rig: Rig = ring_rig(4, lens=False)
    cameras = camera_arrays(rig)
    xy, confidence, points, velocity = scene(cameras, np.random.default_rng(0))
    normal = Normal(4)
    following = normal.add(cameras, xy, confidence, points, velocity, 2, most=JOINTS)
    assert normal.joints == JOINTS and following == 2  # began with joint 2, so joint 1 was the last
    N, b = dense(cameras, xy[0], confidence[0], points[0], velocity[0])
    # one-sided differences of 1e-6 are right to about 1e-6 of the largest entry
    np.testing.assert_allclose(normal.N, N, atol=3e-6 * np.abs(N).max())
    np.testing.assert_allclose(normal.b, b, atol=3e-6 * np.abs(b).max())


def test_joints_of_two_views_and_unknown_ones_are_left_out() -> None:
    cameras = camera_arrays(ring_rig(4))
    xy, confidence, points, velocity = scene(cameras, np.random.default_rng(1))
    confidence[0, 2:, 0] = 0
    points[0, 1] = np.nan
    velocity[:] = velocity[:, :1]
    normal = Normal(4)
    normal.add(cameras, xy, confidence, points, velocity, 0, most=JOINTS)
    assert normal.joints == JOINTS - 2
