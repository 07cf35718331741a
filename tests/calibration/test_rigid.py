"""Rotations against SciPy, the nearest rotation against its twin without LAPACK, the best fit against what was made."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinecast.calibration.rigid import nearest_rotation, rotation, rotation_vector, similarity
from kinecast.engines.fixed import nearest_rotations

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.99e-4, 1.01e-4, 0.3, 3.1])
def test_rotation_is_that_of_scipy_and_comes_back(angle: float) -> None:
    axes = np.random.default_rng(0).normal(size=(20, 3))
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    R = rotation(vectors)
    # 1 − cos a is rounded at eps and divided by a²: times a² again in the matrix, so entries stay right to a few eps
    assert np.abs(R - Rotation.from_rotvec(vectors).as_matrix()).max() < 20 * EPS
    # near π an entry's error grows by 1 / sin a
    assert np.abs(rotation_vector(R) - vectors).max() < 40 * EPS / max(np.sin(angle), 0.04) * max(angle, 1)


def test_nearest_rotation_is_its_twin_and_never_a_mirror() -> None:
    M = np.random.default_rng(1).normal(size=(200, 3, 3))
    assert (np.linalg.det(M) < 0).any()
    R = nearest_rotation(M)
    assert np.allclose(np.linalg.det(R), 1.0)
    # the trace is what is maximised: there, an angle that is off by e costs e², so compare the traces
    ours, twin = np.einsum("nij,nij->n", R, M), np.einsum("nij,nij->n", nearest_rotations(M), M)
    assert np.abs(ours - twin).max() < 100 * EPS * np.abs(M).sum(axis=(1, 2)).max()
    assert np.allclose(nearest_rotation(M[0]), R[0], atol=0, rtol=1e-14)


def test_similarity_finds_what_was_made() -> None:
    rng = np.random.default_rng(2)
    source, R, t = rng.normal(size=(12, 3)), rotation([0.4, -2.0, 0.7]), np.array([3.0, -1.0, 8.0])
    T, s = similarity(2.3 * source @ R.T + t, source)
    assert s == pytest.approx(2.3, rel=1e-12)
    assert np.allclose(T[:3, :3], R, atol=1e-12) and np.allclose(T[:3, 3], t, atol=1e-11)
    assert similarity(source @ R.T + t, source, scaled=False)[1] == 1.0
    mirrored = similarity(source * [1, 1, -1], source)[0]
    assert np.linalg.det(mirrored[:3, :3]) == pytest.approx(1.0)


def test_turns_steer_what_two_points_leave_open() -> None:
    R = rotation([0.2, 0.9, -0.4])
    source = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    turns = rotation([[0.1, 0.2, 0.3], [-1.0, 0.4, 0.0]])
    assert np.isnan(similarity(source @ R.T, source, scaled=False)[0]).all()
    T, _ = similarity(source @ R.T, source, scaled=False, turns=(R @ turns, turns))
    assert np.allclose(T[:3, :3], R, atol=1e-12)
