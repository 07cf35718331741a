"""The root across its ray: exact from a true pose, and as uncertain as it says."""

import numpy as np

from kinecast.engines.lift.depth import root_in_virtual
from kinecast.engines.lift.rows import Outputs
from kinecast.engines.lift.sigma import read_sigma
from kinecast.engines.virtual_camera import into_virtual, normalise, root_code
from tests.engines.lift.toy_lifter import project, walker

SIGMA = read_sigma({}, 26)
FOCAL = np.full((60, 2), 1000.0)


def test_a_true_pose_at_a_true_depth_is_a_true_place() -> None:
    points = walker(np.arange(60) / 30)
    say = np.ones((60, 26))
    say[:, 10:] = 0  # what is not seen has no say
    frames = normalise(project(points), say)
    virtual = into_virtual(frames.cam_from_virtual, points)
    root = virtual[:, 19]
    gamma = np.stack([np.log(root[:, 2] / frames.k_m), np.full(60, 2 * np.log(0.05))], -1)
    out = Outputs(virtual, virtual, None, root_code(root, frames.extent), np.zeros((60, 3)), gamma)  # type: ignore[arg-type]
    relative = virtual - root[:, None]
    sd = np.full(virtual.shape, 0.05)
    for depth in ("gamma", "trajectory"):
        found, covariance = root_in_virtual(depth, out, relative, sd, frames, FOCAL, np.zeros(60), SIGMA)
        assert np.abs(found - root).max() < 1e-9
    found, covariance = root_in_virtual("gamma", out, relative, sd, frames, FOCAL, np.zeros(60), SIGMA)
    assert np.allclose(np.sqrt(covariance[:, 2, 2]), 0.05 * root[:, 2])
    # what remains across the ray is the 4 px that no averaging takes away
    across = np.sqrt(covariance[:, 0, 0] - (0.05 * root[:, 0]) ** 2)
    assert np.allclose(across, root[:, 2] * 4 / 1000, rtol=1e-6)
    # unseen: the place is the trajectory's, and vague
    blind = normalise(project(points), np.zeros((60, 26)))
    lost, wide = root_in_virtual("trajectory", out, relative, sd, blind, FOCAL, np.full(60, 0.5), SIGMA)
    assert np.isfinite(lost).all()
    assert (np.einsum("nii->ni", wide) >= 0.5**2).all()  # half a second's walk along every axis


def test_a_depth_that_is_none_is_no_number() -> None:
    points = walker(np.zeros(3))
    frames = normalise(project(points), np.ones((3, 26)))
    gamma = np.array([[20.0, 0], [-9.0, 0], [0.0, 0]])
    out = Outputs(points, points, None, None, None, gamma)  # type: ignore[arg-type]
    sd = np.full(points.shape, 0.05)
    root, _ = root_in_virtual("gamma", out, points - points[:, 19:20], sd, frames, FOCAL[:3], np.zeros(3), SIGMA)
    assert np.isnan(root[:2]).all()
    assert np.isfinite(root[2]).all()
