"""The bundle over people: derivatives, what no picture shows, and whether its uncertainty covers its error."""

import numpy as np

from kinecast.calibration.people import kernels
from kinecast.calibration.people.bundle import adjust, data_of, triangulated
from kinecast.calibration.people.camera_poses import (
    aligned,
    camera_poses_of,
    free_directions,
    pose_error,
    without_free,
)
from kinecast.calibration.rigid import rotation
from tests.calibration.people.walks import RIG4, kicked, walk

TRUTH = camera_poses_of(RIG4)


def test_the_reduced_equations_are_the_gradient_of_the_cost() -> None:
    """With the points at their best, the derivative of the cost by a camera is −2 b: against central differences."""
    data = data_of(walk().rows(np.arange(len(walk())) < 20))
    at = kicked(TRUTH, 0.01, 0.002)
    c2 = 36.0
    X = np.full((len(data.row), 3), np.nan)
    kernels.triangulate(at.R, at.t, at.delta_s, data.xy, data.velocity, data.sigma, c2, X)
    for _ in range(30):  # to the very bottom, so that the points' own gradient is nothing
        step = np.empty_like(X)
        kernels.back(at.R, at.t, at.delta_s, X, data.xy, data.velocity, data.sigma, c2, 0.0, np.zeros(28), step)
        X = step
    N, b = np.zeros((28, 28)), np.zeros(28)
    kernels.reduced(
        at.R, at.t, at.delta_s, X, data.xy, data.velocity, data.sigma, c2, 0.0, np.zeros(len(X), np.int64), N, b,
        np.zeros((1, 28)),
    )  # fmt: skip

    def cost(step: np.ndarray) -> float:
        p = at.moved(step)
        return float(kernels.total_cost(p.R, p.t, p.delta_s, X, data.xy, data.velocity, data.sigma, c2))

    h = np.tile([1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6], 4)
    numeric = np.array([(cost(h * e) - cost(-h * e)) / (2 * h[0]) for e in np.eye(28)])
    np.testing.assert_allclose(-2 * b, numeric, rtol=1e-4, atol=1e-4 * np.abs(numeric).max())
    np.testing.assert_allclose(N, N.T, atol=1e-9 * np.abs(N).max())


def test_free_directions_change_no_picture() -> None:
    """Turning, moving and scaling the world leaves the residuals as they are, to first order in a step of 1e-5."""
    few = walk().rows(np.arange(len(walk())) < 20)
    still = triangulated(few, TRUTH)
    for g in free_directions(TRUTH).T:
        other = triangulated(few, TRUTH.moved(1e-5 * g))
        assert abs(other.cost - still.cost) < 1e-5 * still.cost
    P = without_free(TRUTH)
    assert np.abs(P @ free_directions(TRUTH)).max() < 1e-9 and np.abs(P @ P - P).max() < 1e-9


def test_laying_one_rig_on_another_undoes_any_world() -> None:
    moved = TRUTH.in_world(2.3, rotation([0.4, -2.0, 0.7]), np.array([3.0, -1.0, 8.0]))
    assert pose_error(moved, TRUTH)[0].max() < 1e-9 and pose_error(moved, TRUTH)[1].max() < 1e-6
    assert pose_error(moved, TRUTH, scale=False)[0].max() > 0.5
    assert np.abs(aligned(moved, TRUTH).t - TRUTH.t).max() < 1e-9


def test_a_kicked_rig_comes_back_and_the_uncertainty_covers_the_error() -> None:
    """24 free numbers of which 7 are taken out: rms of error / σ is 1 where σ is right; 0.3 to 1.6 is its scatter."""
    found = adjust(walk(), kicked(TRUTH, 0.05, 0.01), clocks=True)
    laid = aligned(found.places, TRUTH)
    error = (without_free(TRUTH) @ laid.step_to(TRUTH)).reshape(-1, 7)
    sigma = np.sqrt(np.diag(found.cov)).reshape(-1, 7)
    assert 0.3 < np.sqrt(np.mean((error[:, :6] / sigma[:, :6]) ** 2)) < 1.6
    assert np.abs(error[:, 6]).max() < 0.003
    assert np.linalg.norm(error[:, 3:6], axis=1).max() < 0.010


def test_held_cameras_stay() -> None:
    start = kicked(TRUTH, 0.02, 0.004)
    found = adjust(walk(), start, places=np.array([False, True, True, False]))
    assert np.array_equal(found.places.R[[0, 3]], start.R[[0, 3]])
    assert not np.allclose(found.places.t[1], start.t[1])
