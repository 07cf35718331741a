"""Rigid transforms as (…, 4, 4) arrays: exponential, logarithm, inverse, mean."""

import numpy as np
from numpy.typing import ArrayLike

from kinecast.calibration.camera import Float


def cross_matrix(v: Float) -> Float:
    """(…, 3, 3) matrices with ``cross_matrix(v) @ u == cross(v, u)``."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def rotation(vector_rad: ArrayLike) -> Float:
    """(…, 3) rotation vectors → (…, 3, 3) matrices (Rodrigues)."""
    v = np.asarray(vector_rad, dtype=np.float64)
    a2 = (v * v).sum(-1)[..., None, None]
    a = np.sqrt(a2)
    small = a2 < 1e-12
    safe = np.where(small, 1.0, a)
    s = np.where(small, 1 - a2 / 6, np.sin(safe) / safe)
    c = np.where(small, 0.5 - a2 / 24, (1 - np.cos(safe)) / (safe * safe))
    S = cross_matrix(v)
    return np.asarray(np.eye(3) + s * S + c * (S @ S))


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
    u, _, vt = np.linalg.svd(T[..., :3, :3])
    return transform(u @ vt, T[..., :3, 3])
