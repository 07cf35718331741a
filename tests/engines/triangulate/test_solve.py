"""Robust triangulation against a slow twin, against lies, and against its own covariance."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import chi2

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.observations import CameraArrays, camera_arrays
from kinecast.engines.synth import ring_rig
from kinecast.engines.triangulate.solve import ROBUST_SIGMA, NoiseScale, Solution, noise_sigma, triangulate

SIGMA_PX = 3.0


def scene(rig: Rig, n: int = 26, people: int = 1, seed: int = 0, sigma_px: float = SIGMA_PX) -> tuple[np.ndarray, ...]:
    """Points (P, J, 3) m within a room, and what each view says of them: xy (P, C, J, 2), undistorted."""
    rng = np.random.default_rng(seed)
    X = rng.uniform([-1, -1, 0.1], [1, 1, 1.8], (people, n, 3))
    xy = np.stack([c.undistort(c.project(X)[0] + rng.normal(0, sigma_px, (people, n, 2))) for c in rig], axis=1)
    return X, xy, np.where(np.isfinite(xy[..., 0]), 1.0, 0.0)


def flat_sigma(cameras: CameraArrays, people: int = 1, sigma_px: float = SIGMA_PX) -> np.ndarray:
    return np.broadcast_to(sigma_px / cameras.focal_px, (people, len(cameras))).copy()


def solve(rig: Rig, xy: np.ndarray, conf: np.ndarray, prior: np.ndarray | None = None, sd: float = 0.1) -> Solution:
    cameras = camera_arrays(rig)
    P, _, J = conf.shape
    known = np.full((P, J, 3), np.nan) if prior is None else prior
    return triangulate(cameras, xy, conf, flat_sigma(cameras, P), known, np.full((P, J), sd))


@pytest.mark.parametrize("cameras", [2, 3, 4, 6, 8])
def test_it_is_the_minimum_that_scipy_finds(cameras: int) -> None:
    rig = ring_rig(cameras)
    X, xy, conf = scene(rig, 12)
    conf = conf * np.random.default_rng(1).uniform(0.5, 1, conf.shape)
    got = solve(rig, xy, conf)
    arrays = camera_arrays(rig)
    for j in np.flatnonzero(np.isfinite(got.points_world_m[0, :, 0])):
        w = conf[0, :, j] * arrays.focal_px / SIGMA_PX
        c2 = ROBUST_SIGMA**2 if np.count_nonzero(w) > 2 else np.inf

        def miss(x: np.ndarray, j: int = j, w: np.ndarray = w) -> np.ndarray:
            h = arrays.P @ np.r_[x, 1]
            return np.nan_to_num(h[:, :2] / h[:, 2:] - xy[0, :, j]) * w[:, None]

        def loss(x: np.ndarray, miss: Callable[[np.ndarray], np.ndarray] = miss, c2: float = c2) -> float:
            z = np.sum(miss(x) ** 2, axis=1)
            return float(np.sum(z / (1 + z / c2)))  # Geman–McClure

        start = X[0, j]
        twin = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000}).x
        # reweighting converges slowly where a view is half out; it goes on to a micrometre a step, and a σ is 5 mm
        sigma = np.sqrt(np.trace(got.covariance_m2[0, j]) / 3)
        assert np.linalg.norm(got.points_world_m[0, j] - twin) < 0.01 * sigma
        J = np.stack([(miss(twin + e) - miss(twin - e)) / 2e-6 for e in np.eye(3) * 1e-6], axis=-1)  # (C, 2, 3)
        soft = 1 / (1 + np.sum(miss(twin) ** 2, axis=1) / c2) ** 2
        normal = np.einsum("c,cki,ckj->ij", soft, J, J)
        np.testing.assert_allclose(got.covariance_m2[0, j], np.linalg.inv(normal), rtol=0.1, atol=0.05 * sigma**2)
    # 2 views with 3 px of noise may be refused for their angle or for missing by > 3.5 σ
    assert np.isfinite(got.points_world_m[0, :, 0]).mean() >= (0.8 if cameras == 2 else 0.97)


def test_the_covariance_is_that_of_the_errors() -> None:
    rig = ring_rig(4)
    X, xy, conf = scene(rig, 26, people=60, seed=3)
    got = solve(rig, xy, conf)
    ok = np.isfinite(got.points_world_m[..., 0])
    d = (got.points_world_m - X)[ok]
    m = np.einsum("ni,nij,nj->n", d, np.linalg.inv(got.covariance_m2[ok]), d)
    n = len(m)
    for share in (0.6827, 0.9545, 0.9973):
        seen = float(np.mean(m < chi2.ppf(share, 3)))
        # binomial, 4 σ, and 2 % for what the gate at 3.5 σ takes away
        assert abs(seen - share) < 4 * np.sqrt(share * (1 - share) / n) + 0.02


def test_the_residual_is_in_pixels_of_the_original_picture() -> None:
    rig = ring_rig(4, seed=2)
    _, xy, conf = scene(rig, 26, seed=5)
    got = solve(rig, xy, conf)
    for j in range(26):
        used = np.flatnonzero(got.used(4)[0, :, j])
        e = [rig.cameras[c].project(got.points_world_m[0, j])[0] - rig.cameras[c].distort(xy[0, c, j]) for c in used]
        assert got.residual_px[0, j] == pytest.approx(np.sqrt(np.mean(np.sum(np.square(e), axis=1))), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(cameras=st.integers(4, 8), seed=st.integers(0, 1000), liar=st.integers(0, 3), far=st.floats(60, 400))
def test_one_lying_view_is_outvoted(cameras: int, seed: int, liar: int, far: float) -> None:
    rig = ring_rig(cameras)
    X, xy, conf = scene(rig, 8, seed=seed, sigma_px=1.0)
    lie = np.random.default_rng(seed).uniform(0, 2 * np.pi, 8)
    f = camera_arrays(rig).focal_px[liar]
    xy[0, liar] += far / f * np.stack([np.cos(lie), np.sin(lie)], axis=-1)
    got = solve(rig, xy, conf)
    seen = np.isfinite(got.points_world_m[0, :, 0])
    fooled = got.used(cameras)[0, liar] & seen
    error = np.linalg.norm(got.points_world_m[0] - X[0], axis=-1)
    # 1 px at 5 m and f = 960 px is 5 mm; the truth needs three views that agree, and has them
    assert np.all(error[seen & ~fooled] < 0.06)
    # a lie along the epipolar lines of all others at once does not exist for views spread around
    assert fooled.sum() <= 1


def test_two_cameras_at_one_place_refuse() -> None:
    a = ring_rig(2).cameras[0]
    b = Camera("b", a.size_px, a.K * [[1.1], [1.1], [1]], a.distortion, a.cam_from_world)
    X, xy, conf = scene(Rig((a, b)), sigma_px=0.5)
    got = solve(Rig((a, b)), xy, conf)
    assert np.isnan(got.points_world_m).all() and not got.confidence.any() and not got.views.any()
    # the same pair beside a third camera elsewhere is of use
    rig = Rig((a, b, ring_rig(2).cameras[1]))
    X, xy, conf = scene(rig, sigma_px=0.5)
    assert np.nanmedian(np.linalg.norm(solve(rig, xy, conf).points_world_m - X, axis=-1)) < 0.02


def test_a_point_behind_a_camera_is_not_seen() -> None:
    rig = ring_rig(2)
    arrays = camera_arrays(rig)
    behind = np.array([12.0, 0.5, 1.0])  # outside the ring: in front of one camera, behind the other
    h = arrays.P @ np.r_[behind, 1]
    assert (h[:, 2] < 0).any()
    xy = np.broadcast_to((h[:, :2] / h[:, 2:])[None, :, None], (1, 2, 4, 2)).copy()
    assert np.isnan(solve(rig, xy, np.ones((1, 2, 4))).points_world_m).all()


def test_fewer_than_two_views_is_not_seen() -> None:
    rig = ring_rig(4)
    _, xy, conf = scene(rig)
    conf[:, 1:] = 0
    got = solve(rig, xy, conf)
    assert np.isnan(got.points_world_m).all() and np.isnan(got.residual_px).all()
    xy[:, 1:] = np.nan
    assert np.isnan(solve(rig, xy, np.ones_like(conf)).points_world_m).all()


def test_two_views_that_contradict_each_other_are_not_seen() -> None:
    rig = ring_rig(4).subset(("cam01", "cam02"))
    _, xy, conf = scene(rig, sigma_px=0.5)
    xy[0, 1, :, 1] += 0.2  # 190 px; the epipolar lines of two cameras at 90° run across
    assert np.isnan(solve(rig, xy, conf).points_world_m).all()


def test_two_views_alone_do_not_put_a_joint_far_from_where_it_must_be() -> None:
    rig = ring_rig(2)
    X, xy, conf = scene(rig, sigma_px=0.5)
    assert np.isfinite(solve(rig, xy, conf, X, 0.03).points_world_m).mean() > 0.8
    assert np.isnan(solve(rig, xy, conf, X + np.array([0.5, 0, 0]), 0.03).points_world_m).all()


def test_the_expectation_chooses_and_does_not_move() -> None:
    rig = ring_rig(4)
    X, xy, conf = scene(rig)
    plain, helped = solve(rig, xy, conf), solve(rig, xy, conf, X + 0.05)
    both = (plain.views == helped.views)[0]
    assert both.mean() > 0.9
    np.testing.assert_allclose(plain.points_world_m[0, both], helped.points_world_m[0, both], atol=1e-6)


@pytest.mark.parametrize("cameras", [3, 4, 7])
def test_the_order_of_cameras_does_not_matter(cameras: int) -> None:
    rig = ring_rig(cameras)
    _, xy, conf = scene(rig, people=3)
    xy[:, 0, ::3] += 0.1
    order = np.random.default_rng(0).permutation(cameras)
    a = solve(rig, xy, conf)
    b = solve(rig.subset(tuple(rig.names[c] for c in order)), xy[:, order].copy(), conf[:, order].copy())
    np.testing.assert_allclose(a.points_world_m, b.points_world_m, atol=1e-6)
    assert np.array_equal(a.used(cameras)[:, order], b.used(cameras))


def test_a_person_closer_up_has_more_noise_in_the_picture() -> None:
    cameras = camera_arrays(ring_rig(4))
    near, far = noise_sigma(cameras, np.full((1, 4), 2.0)), noise_sigma(cameras, np.full((1, 4), 8.0))
    assert np.all(near > far) and np.all(far * cameras.focal_px > 1.0)
    assert not noise_sigma(cameras, np.full((1, 4), -1.0)).any()  # behind: no weight at all


def learnt(rig: Rig, factor: np.ndarray, frames: int) -> np.ndarray:
    """(C, J) what NoiseScale makes of so many frames of two people with ``factor`` (C, J) times the model's noise."""
    cameras = camera_arrays(rig)
    noise = NoiseScale(len(rig), 26)
    for k in range(frames):
        _, clean, conf = scene(rig, people=2, seed=k, sigma_px=0.0)
        f = factor[None, :, :, None] * (SIGMA_PX / cameras.focal_px)[None, :, None, None]
        xy = clean + f * np.random.default_rng(1000 + k).normal(size=clean.shape)
        empty, sigma = np.full((2, 26, 3), np.nan), flat_sigma(cameras, 2)
        noise.learn(triangulate(cameras, xy, conf, sigma, empty, np.ones((2, 26)), noise.factor))
    return noise.factor


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.0])
def test_the_noise_scale_finds_the_noise(factor: float) -> None:
    found = learnt(ring_rig(5), np.full((5, 26), factor), 100)
    # 200 views of a joint in a camera, 280 degrees of freedom: a standard deviation of 4 %, less by what it leans on
    assert found.mean() == pytest.approx(factor, rel=0.05)
    assert found.std() < 0.08 * factor


def test_a_bad_camera_and_a_badly_placed_joint_are_told_from_the_rest() -> None:
    factor = np.ones((5, 26))
    factor[2] = 1.6
    factor[:, 7] *= 1.6
    found = learnt(ring_rig(5), factor, 100)
    usual = np.ones((5, 26), bool)
    usual[2], usual[:, 7] = False, False
    # a factor leans on its camera by 60 of about 340 degrees of freedom: a sixth of the gap between variances
    assert found[usual].mean() == pytest.approx(1.0, rel=0.08)
    assert np.delete(found[2], 7).mean() > 1.35 and np.delete(found[:, 7], 2).mean() > 1.35


def test_leverage_and_freedom_add_up() -> None:
    rig = ring_rig(5)
    _, xy, conf = scene(rig, 26, seed=8, sigma_px=0.1)
    got = solve(rig, xy, conf)
    views = got.used(5).sum(axis=1)
    whole = np.isfinite(got.points_world_m[..., 0])
    # the weights are one where residuals are small, and then the leverages of the views sum to three
    np.testing.assert_allclose(got.freedom.sum(axis=1)[whole], (2 * views - 3)[whole], atol=0.02)
    assert not got.freedom[~got.used(5)].any() and not got.chi2[~got.used(5)].any()
