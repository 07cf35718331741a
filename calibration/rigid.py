"""Rotations and rigid transforms as arrays: exponential, logarithm, inverse, the nearest, the best fit."""

import numpy as np
from numpy.typing import ArrayLike

from kinecast.calibration.camera import Float
from kinecast.calibration.fixed import times


def cross_matrix(v: Float) -> Float:
    """(…, 3, 3) matrices with ``cross_matrix(v) @ u == cross(v, u)``."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def rotation(vector_rad: ArrayLike) -> Float:
    """(…, 3) rotation vectors → (…, 3, 3) matrices (Rodrigues). What runs live calls it: no BLAS in here."""
    v = np.asarray(vector_rad, dtype=np.float64)
    a2 = (v * v).sum(-1)[..., None, None]
    a = np.sqrt(a2)
    small = a < 1e-4  # there the series is exact to 1e-17
    safe = np.where(small, 1.0, a)
    s = np.where(small, 1 - a2 / 6, np.sin(safe) / safe)
    c = np.where(small, 0.5 - a2 / 24, (1 - np.cos(safe)) / (safe * safe))
    S = cross_matrix(v)
    return np.asarray(np.eye(3) + s * S + c * times(S, S))


def rotation_vector(R: Float) -> Float:
    """(…, 3, 3) matrices → (…, 3) rotation vectors, angles up to π."""
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_matrix(R.reshape(-1, 3, 3)).as_rotvec()
    return np.asarray(flat).reshape(*R.shape[:-2], 3)


def angle_rad(R: Float) -> Float:
    """(…,) how far (…, 3, 3) matrices turn."""
    return np.asarray(np.linalg.norm(rotation_vector(R), axis=-1))


def transform(R: ArrayLike, t: ArrayLike) -> Float:
    """(…, 4, 4) from (…, 3, 3) and (…, 3)."""
    R, t = np.asarray(R, dtype=np.float64), np.asarray(t, dtype=np.float64)
    out = np.zeros((*t.shape[:-1], 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = R, t, 1.0
    return out


def inverse(T: Float) -> Float:
    """Inverse of (…, 4, 4) rigid transforms."""
    R = np.swapaxes(T[..., :3, :3], -1, -2)
    return transform(R, -(R @ T[..., :3, 3:])[..., 0])


def step(w: Float, v: Float) -> Float:
    """(…, 4, 4) of a small motion: turn by the rotation vectors ``w`` (…, 3), then shift by ``v`` (…, 3)."""
    return transform(rotation(w), v)


def orthonormal(T: Float) -> Float:
    """(…, 4, 4) with the rounding of many products taken out of the rotation."""
    return transform(nearest_rotation(T[..., :3, :3]), T[..., :3, 3])


def nearest_rotation(M: Float) -> Float:
    """The rotations R (…, 3, 3) with the greatest trace(Rᵀ M): those nearest to matrices M (…, 3, 3).

    Its twin without LAPACK, for what runs live, is :func:`kinecast.engines.fixed.nearest_rotations`.
    """
    u, _, vt = np.linalg.svd(M)
    u[..., :, 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return np.asarray(u @ vt)


def similarity(
    target: Float, source: Float, scaled: bool = True, turns: tuple[Float, Float] | None = None
) -> tuple[Float, float]:
    """(4, 4) rigid transform and scale s: target ≈ T · (s · source), least squares over (n, 3) points (Umeyama 1991).

    turns: rotations (n, 3, 3) of target and source, target ≈ R · source; they steer what few points leave open.
    NaN where points that are fewer than three, or all on one line, leave the rotation open.
    """
    if not len(source):
        return np.full((4, 4), np.nan), float("nan")
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    H = b.T @ a
    if turns is not None:
        # as heavy as the points, so that two cameras, or many on a line, do not spin about their line
        weight = max(float((a * a).sum()), 1e-9) / len(a)
        H = H + weight * np.einsum("nij,nkj->ik", turns[0], turns[1])
    sigma = np.linalg.svd(H, compute_uv=False)
    if sigma[1] < 1e-9 * max(sigma[0], 1e-12):
        return np.full((4, 4), np.nan), float("nan")
    R = nearest_rotation(H)
    s = float((b * (a @ R.T)).sum() / (a * a).sum()) if scaled else 1.0
    return transform(R, target.mean(axis=0) - s * R @ source.mean(axis=0)), s
