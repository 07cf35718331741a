"""The smoother against the whole least-squares problem solved at once, and what it must not invent."""

import numpy as np

from kinecast.engines.estimate.rts import BREAK_S, FLOOR_M, smooth

RNG = np.random.default_rng(3)


def test_it_equals_the_batch_solution_of_the_same_model() -> None:
    n, psd, sigma = 12, 4.0, 0.02
    t = np.cumsum(RNG.uniform(0.02, 0.05, n))
    z = np.cumsum(RNG.normal(0, 0.002, (n, 1, 3)), axis=0)  # within σ, so that every point keeps its weight
    got = smooth(t, z, np.broadcast_to(np.eye(3) * sigma**2, (n, 1, 3, 3)), psd)
    noise = sigma**2 + FLOOR_M**2
    for axis in range(3):
        H, g = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
        H[0, 0] += 1 / 100.0
        H[1, 1] += 1 / 9.0
        g[0] += z[0, 0, axis] / 100.0
        for k in range(n):
            H[2 * k, 2 * k] += 1 / noise
            g[2 * k] += z[k, 0, axis] / noise
            if k:
                dt = t[k] - t[k - 1]
                W = np.linalg.inv(psd * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]))
                J = np.array([[-1, -dt, 1, 0], [0, -1, 0, 1]])
                H[2 * k - 2 : 2 * k + 2, 2 * k - 2 : 2 * k + 2] += J.T @ W @ J
        x = np.linalg.solve(H, g)
        np.testing.assert_allclose(got.points_m[:, 0, axis], x[::2], atol=1e-8)
        np.testing.assert_allclose(got.velocity_mps[:, 0, axis], x[1::2], atol=1e-7)
        np.testing.assert_allclose(got.covariance_m2[:, 0, axis, axis], np.diag(np.linalg.inv(H))[::2], rtol=1e-5)


def test_an_even_motion_is_left_as_it_is_and_noise_is_halved() -> None:
    t = np.arange(60) / 30
    truth = np.stack([t, 0.5 * np.sin(3 * t), 1 + 0 * t], axis=-1)[:, None]
    noisy = truth + RNG.normal(0, 0.015, truth.shape)
    cov = np.broadcast_to(np.eye(3) * 0.015**2, (60, 1, 3, 3))
    even = smooth(t, truth[..., [0, 2, 2]], cov)
    np.testing.assert_allclose(even.points_m, truth[..., [0, 2, 2]], atol=1e-3)
    error = np.linalg.norm(smooth(t, noisy, cov).points_m - truth, axis=-1)
    assert error.mean() < 0.6 * np.linalg.norm(noisy - truth, axis=-1).mean()


def test_nothing_is_invented_in_gaps_and_far_gaps_part_the_path() -> None:
    t = np.concatenate([np.arange(20) / 30, 2 * BREAK_S + np.arange(20, 40) / 30])
    z = np.zeros((40, 2, 3))
    z[20:] = 1.0
    z[5:9, 1] = np.nan
    got = smooth(t, z, np.broadcast_to(np.eye(3) * 1e-4, (40, 2, 3, 3)))
    assert np.isnan(got.points_m[5:9, 1]).all() and np.isfinite(got.points_m[:, 0]).all()
    np.testing.assert_allclose(got.points_m[:20, 0], 0, atol=1e-6)
    np.testing.assert_allclose(got.points_m[20:, 0], 1, atol=1e-6)


def test_one_point_far_off_hardly_bends_the_path() -> None:
    t = np.arange(40) / 30
    z = np.zeros((40, 1, 3))
    z[20] = 0.3  # twenty σ
    got = smooth(t, z, np.broadcast_to(np.eye(3) * 0.015**2, (40, 1, 3, 3)))
    assert np.abs(got.points_m).max() < 0.03  # plain least squares: about 0.3 / 4
