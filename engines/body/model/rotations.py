"""Rotations for compiled code: exponential, logarithm and the Jacobian that joins them. Radians, column vectors.

The pose of a body is 24 matrices; steps are rotation vectors δ applied from the right, R ← R · exp(δ), so that a step
of a joint is told in that joint's own axes. Formulas: Solà, Deray, Atchuthan, *A micro Lie theory for state
estimation in robotics* (2018), appendix B.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel

Float = NDArray[np.float64]

# reductions may be reordered so that they vectorise; NaN and infinity keep their meaning
FAST = {"reassoc", "contract", "arcp", "nsz"}


@kernel(fastmath=FAST)
def exp_into(v, R):  # type: ignore[no-untyped-def]
    """R (3, 3) ← exp of the rotation vector v (3,)."""
    x, y, z = v[0], v[1], v[2]
    t2 = x * x + y * y + z * z
    if t2 < 1e-12:
        a, b = 1.0 - t2 / 6.0, 0.5 - t2 / 24.0
    else:
        t = math.sqrt(t2)
        a, b = math.sin(t) / t, (1.0 - math.cos(t)) / t2
    R[0, 0] = 1.0 - b * (y * y + z * z)
    R[0, 1] = -a * z + b * x * y
    R[0, 2] = a * y + b * x * z
    R[1, 0] = a * z + b * x * y
    R[1, 1] = 1.0 - b * (x * x + z * z)
    R[1, 2] = -a * x + b * y * z
    R[2, 0] = -a * y + b * x * z
    R[2, 1] = a * x + b * y * z
    R[2, 2] = 1.0 - b * (x * x + y * y)


@kernel(fastmath=FAST)
def log_into(R, v):  # type: ignore[no-untyped-def]
    """v (3,) ← rotation vector of R (3, 3), of length 0 to π."""
    x, y, z = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    s = 0.5 * math.sqrt(x * x + y * y + z * z)
    c = 0.5 * (R[0, 0] + R[1, 1] + R[2, 2] - 1.0)
    t = math.atan2(s, c)
    if s > 1e-3 or c > 0.0:
        f = 0.5 + t * t / 12.0 if t < 1e-4 else 0.5 * t / s
        v[0], v[1], v[2] = f * x, f * y, f * z
        return
    # near half a turn the antisymmetric part vanishes: the axis is the largest column of R + Rᵀ − 2 c I
    i = 0
    if R[1, 1] > R[0, 0]:
        i = 1
    if R[2, 2] > R[i, i]:
        i = 2
    n = 0.0
    for k in range(3):
        v[k] = R[i, k] + R[k, i]
        if k == i:
            v[k] -= 2.0 * c
        n += v[k] * v[k]
    f = t / math.sqrt(n)
    if v[0] * x + v[1] * y + v[2] * z < 0.0:
        f = -f
    for k in range(3):
        v[k] *= f


@kernel(fastmath=FAST)
def right_inverse_into(v, J):  # type: ignore[no-untyped-def]
    """J (3, 3) ← inverse right Jacobian at v: log(exp(v) · exp(δ)) = v + J δ for small δ."""
    x, y, z = v[0], v[1], v[2]
    t2 = x * x + y * y + z * z
    if t2 < 1e-6:
        b = 1.0 / 12.0 + t2 / 720.0
    else:
        t = math.sqrt(t2)
        b = (1.0 - 0.5 * t * math.cos(0.5 * t) / math.sin(0.5 * t)) / t2
    J[0, 0] = 1.0 - b * (y * y + z * z)
    J[0, 1] = -0.5 * z + b * x * y
    J[0, 2] = 0.5 * y + b * x * z
    J[1, 0] = 0.5 * z + b * x * y
    J[1, 1] = 1.0 - b * (x * x + z * z)
    J[1, 2] = -0.5 * x + b * y * z
    J[2, 0] = -0.5 * y + b * x * z
    J[2, 1] = 0.5 * x + b * y * z
    J[2, 2] = 1.0 - b * (x * x + y * y)


@kernel(fastmath=FAST)
def multiply_into(A, B, C):  # type: ignore[no-untyped-def]
    """C ← A B, all (3, 3); C is neither A nor B."""
    for i in range(3):
        for j in range(3):
            C[i, j] = A[i, 0] * B[0, j] + A[i, 1] * B[1, j] + A[i, 2] * B[2, j]


@kernel(fastmath=FAST)
def between_into(A, B, C):  # type: ignore[no-untyped-def]
    """C ← Aᵀ B: the turn from A to B in A's axes. C is neither A nor B."""
    for i in range(3):
        for j in range(3):
            C[i, j] = A[0, i] * B[0, j] + A[1, i] * B[1, j] + A[2, i] * B[2, j]


@kernel(fastmath=FAST)
def straighten(R):  # type: ignore[no-untyped-def]
    """Take rounding out of rotations R (N, 3, 3) in place (Gram–Schmidt), for those that are multiplied for hours."""
    for n in range(R.shape[0]):
        a = 1.0 / math.sqrt(R[n, 0, 0] ** 2 + R[n, 1, 0] ** 2 + R[n, 2, 0] ** 2)
        for k in range(3):
            R[n, k, 0] *= a
        d = R[n, 0, 0] * R[n, 0, 1] + R[n, 1, 0] * R[n, 1, 1] + R[n, 2, 0] * R[n, 2, 1]
        for k in range(3):
            R[n, k, 1] -= d * R[n, k, 0]
        a = 1.0 / math.sqrt(R[n, 0, 1] ** 2 + R[n, 1, 1] ** 2 + R[n, 2, 1] ** 2)
        for k in range(3):
            R[n, k, 1] *= a
        R[n, 0, 2] = R[n, 1, 0] * R[n, 2, 1] - R[n, 2, 0] * R[n, 1, 1]
        R[n, 1, 2] = R[n, 2, 0] * R[n, 0, 1] - R[n, 0, 0] * R[n, 2, 1]
        R[n, 2, 2] = R[n, 0, 0] * R[n, 1, 1] - R[n, 1, 0] * R[n, 0, 1]


@kernel
def _exp_all(v, R):  # type: ignore[no-untyped-def]
    for n in range(v.shape[0]):
        exp_into(v[n], R[n])


@kernel
def _log_all(R, v):  # type: ignore[no-untyped-def]
    for n in range(R.shape[0]):
        log_into(R[n], v[n])


def matrices(rotvec: Float) -> Float:
    """Rotation vectors (..., 3) → matrices (..., 3, 3)."""
    v = np.ascontiguousarray(rotvec, np.float64).reshape(-1, 3)
    out = np.empty((len(v), 3, 3))
    _exp_all(v, out)
    return out.reshape(*np.shape(rotvec)[:-1], 3, 3)


def rotvecs(R: Float) -> Float:
    """Matrices (..., 3, 3) → rotation vectors (..., 3) of length 0 to π."""
    flat = np.ascontiguousarray(R, np.float64).reshape(-1, 3, 3)
    out = np.empty((len(flat), 3))
    _log_all(flat, out)
    return out.reshape(*np.shape(R)[:-2], 3)
