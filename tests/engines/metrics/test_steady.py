"""Steadiness, reprojection and coverage against cases worked by hand or by the noise put in."""

import numpy as np
import pytest

from kinecast.engines.metrics import (
    bone_stability,
    coverage,
    jitter,
    jitter_m,
    limb_bones,
    limb_joints,
    reprojection,
    reprojection_errors,
)
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World, ring_rig


def test_bone_stability_by_hand() -> None:
    x = np.zeros((4, 3, 3))
    x[:, 1, 0] = [1.0, 1.0, 3.0, 3.0]  # lengths 1 1 3 3: mean 2, deviation 1: 0.5
    x[:, 2, 1] = 4.0  # and one that never changes
    result = bone_stability(x, [(0, 1), (0, 2)])
    assert result.by_bone == ((0.5, 2.0), (0.0, 4.0))
    assert (result.std_over_mean, result.n, result.of) == (0.25, 8, 8)
    x[1:, 2] = np.nan  # one sighting says nothing of stability
    result = bone_stability(x, [(0, 1), (0, 2)])
    assert result.std_over_mean == 0.5 and (result.n, result.of) == (5, 8)


def test_limbs_are_eight_between_twelve_joints_and_the_truth_is_rigid() -> None:
    assert len(limb_bones()) == 8 and len(limb_joints()) == 12
    parents = skeleton("halpe26").parents
    assert all(parents[b] == a for a, b in limb_bones())
    world = World(1, seed=0)
    x = np.stack([world.points_world(k * 33_000_000)[0] for k in range(60)])
    assert bone_stability(x).std_over_mean < 1e-9


def test_reprojection_by_hand() -> None:
    errors = np.array([[1.0, 2, 3], [4, np.nan, 100]])
    r = reprojection(errors)
    assert (r.median, r.mean, r.n, r.of) == (3.0, 22.0, 5, 6)
    assert r.p90 == pytest.approx(4 + 0.6 * 96)  # numpy's linear percentile between the 4th and 5th of 5
    assert r.kept == pytest.approx(5 / 6) and reprojection(errors, of=10).kept == 0.5
    assert np.isnan(reprojection([]).median)


def test_reprojection_errors_use_the_lens() -> None:
    rig = ring_rig(3)
    x = World(2, seed=1).points_world(0)
    uv = np.stack([c.project(x)[0] for c in rig], axis=1)
    uv[1, 2, 5] += [3.0, 4.0]
    uv[0, 0, 0] = np.nan
    e = reprojection_errors(x, uv, rig)
    assert e.shape == (2, 3, 26) and e[1, 2, 5] == pytest.approx(5.0) and np.isnan(e[0, 0, 0])
    assert np.nansum(e) == pytest.approx(5.0)
    with pytest.raises(ValueError, match="expected"):
        reprojection_errors(x, uv[:, :2], rig)


def test_jitter_by_hand() -> None:
    """x = t³ has the third derivative 6 everywhere; a parabola has none."""
    t_ns = np.arange(20) * 10_000_000
    t = t_ns / 1e9
    x = np.zeros((20, 1, 3))
    x[:, 0, 0] = t**3
    assert jitter(x, t_ns).value == pytest.approx(6.0, rel=1e-6)
    x[:, 0, 0] = 5 * t**2 + t
    assert jitter(x, t_ns).value < 1e-6 * 1e6  # 1e-15 m of rounding over (10 ms)³
    assert jitter_m(x, t_ns).value < 1e-12


def test_jitter_in_metres_gives_back_the_noise_put_in() -> None:
    rng = np.random.default_rng(0)
    t_ns = np.arange(2000) * 33_333_333
    x = rng.normal(0, 0.004, (2000, 2, 3)) + (t_ns / 1e9)[:, None, None] * 0.5
    # RMS of the distance is σ √3; over 12000 correlated samples its error stays under 5 %
    assert jitter_m(x, t_ns).value == pytest.approx(0.004 * np.sqrt(3), rel=0.05)


def test_a_gap_is_not_a_jerk() -> None:
    t_ns = np.arange(12) * 10_000_000
    x = np.zeros((12, 1, 3))
    x[6:, 0, 0] = 7.0  # somewhere else after half a second
    assert jitter(x, t_ns).value > 0
    t_ns[6:] += 500_000_000
    score = jitter(x, t_ns)
    assert score.value == 0 and score.n == 3 + 3
    assert jitter(x[:3], t_ns[:3]).n == 0


def test_coverage_of_honest_and_of_boastful_covariances() -> None:
    """Shares of the χ² distribution; over n draws within 4 standard errors."""
    rng = np.random.default_rng(1)
    n = 4000
    A = rng.normal(size=(n, 3, 3))
    cov = A @ A.transpose(0, 2, 1) + 0.1 * np.eye(3)
    e = np.einsum("nij,nj->ni", np.linalg.cholesky(cov), rng.normal(size=(n, 3)))
    honest = np.array([0.1987, 0.7385, 0.9707])
    share, count = coverage(e, cov)
    assert count == n and (np.abs(share - honest) < 4 * np.sqrt(honest * (1 - honest) / n)).all()
    assert (coverage(e, cov / 4)[0] < honest - 0.05).all()
    e[0] = np.nan
    assert coverage(e, cov)[1] == n - 1
