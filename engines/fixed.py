"""Linear algebra of small matrices, compiled, in one order of sums wherever it runs: see :mod:`calibration.fixed`.

LAPACK, which ``numpy.linalg`` calls both from Python and from compiled code, is BLAS below.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel

Float = NDArray[np.float64]

SWEEPS = 12  # of Jacobi: four are enough for 3 or 4 rows, and it ends when there is nothing left to turn


@kernel
def jacobi(A, values, vectors):  # type: ignore[no-untyped-def]
    """values (n,) and vectors (n, n), a column each, in no order ← symmetric A (n, n), which is spent (Jacobi 1846)."""
    n = len(values)
    for i in range(n):
        for k in range(n):
            vectors[i, k] = 1.0 if i == k else 0.0
    for _ in range(SWEEPS):
        off = False
        for p in range(n - 1):
            for q in range(p + 1, n):
                if not abs(A[p, q]) > 1e-17 * (abs(A[p, p]) + abs(A[q, q])):
                    continue
                off = True
                half = (A[q, q] - A[p, p]) / (2.0 * A[p, q])
                t = math.copysign(1.0, half) / (abs(half) + math.sqrt(half * half + 1.0))
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for k in range(n):
                    x, y = A[k, p], A[k, q]
                    A[k, p], A[k, q] = c * x - s * y, s * x + c * y
                for k in range(n):
                    x, y = A[p, k], A[q, k]
                    A[p, k], A[q, k] = c * x - s * y, s * x + c * y
                for k in range(n):
                    x, y = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * x - s * y, s * x + c * y
                A[p, q] = A[q, p] = 0.0
        if not off:
            break
    for i in range(n):
        values[i] = A[i, i]


@kernel
def nearest_rotation(M, R):  # type: ignore[no-untyped-def]
    """R (3, 3) ← the rotation with the greatest trace(Rᵀ M), by its quaternion (Horn 1987)."""
    N, values, vectors = np.empty((4, 4)), np.empty(4), np.empty((4, 4))
    N[0, 0] = M[0, 0] + M[1, 1] + M[2, 2]
    N[1, 1] = M[0, 0] - M[1, 1] - M[2, 2]
    N[2, 2] = M[1, 1] - M[0, 0] - M[2, 2]
    N[3, 3] = M[2, 2] - M[0, 0] - M[1, 1]
    N[0, 1] = N[1, 0] = M[2, 1] - M[1, 2]
    N[0, 2] = N[2, 0] = M[0, 2] - M[2, 0]
    N[0, 3] = N[3, 0] = M[1, 0] - M[0, 1]
    N[1, 2] = N[2, 1] = M[0, 1] + M[1, 0]
    N[1, 3] = N[3, 1] = M[0, 2] + M[2, 0]
    N[2, 3] = N[3, 2] = M[1, 2] + M[2, 1]
    jacobi(N, values, vectors)
    k = 0
    for i in range(1, 4):
        if values[i] > values[k]:
            k = i
    w, x, y, z = vectors[0, k], vectors[1, k], vectors[2, k], vectors[3, k]
    n = math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / n, x / n, y / n, z / n
    R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@kernel
def inverse3(A, out):  # type: ignore[no-untyped-def]
    """out (3, 3) ← the inverse of a symmetric A (3, 3) that is not singular."""
    m0 = A[1, 1] * A[2, 2] - A[1, 2] * A[1, 2]
    m1 = A[0, 2] * A[1, 2] - A[0, 1] * A[2, 2]
    m2 = A[0, 1] * A[1, 2] - A[0, 2] * A[1, 1]
    i = 1.0 / (A[0, 0] * m0 + A[0, 1] * m1 + A[0, 2] * m2)
    out[0, 0], out[0, 1], out[0, 2] = m0 * i, m1 * i, m2 * i
    out[1, 1] = (A[0, 0] * A[2, 2] - A[0, 2] * A[0, 2]) * i
    out[1, 2] = (A[0, 1] * A[0, 2] - A[0, 0] * A[1, 2]) * i
    out[2, 2] = (A[0, 0] * A[1, 1] - A[0, 1] * A[0, 1]) * i
    out[1, 0], out[2, 0], out[2, 1] = out[0, 1], out[0, 2], out[1, 2]


@kernel
def _nearest_all(M, R):  # type: ignore[no-untyped-def]
    for n in range(len(M)):
        nearest_rotation(M[n], R[n])


def nearest_rotations(M: Float) -> Float:
    """The rotations R (…, 3, 3) with the greatest trace(Rᵀ M) of matrices M (…, 3, 3): those nearest to them."""
    flat = np.ascontiguousarray(M, np.float64).reshape(-1, 3, 3)
    out = np.empty_like(flat)
    _nearest_all(flat, out)
    return out.reshape(M.shape)


@kernel
def eliminate(A, B):  # type: ignore[no-untyped-def]
    """B (n, m) ← A⁻¹ B by Gauss with the greatest pivot; A (n, n) is spent. Returns log |det A|, NaN if singular."""
    n, log_abs_det = len(A), 0.0
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(A[i, k]) > abs(A[best, k]):
                best = i
        if not abs(A[best, k]) > 0.0:
            B[:] = np.nan
            return np.nan
        if best != k:
            for j in range(n):
                A[k, j], A[best, j] = A[best, j], A[k, j]
            for j in range(B.shape[1]):
                B[k, j], B[best, j] = B[best, j], B[k, j]
        log_abs_det += math.log(abs(A[k, k]))
        for i in range(k + 1, n):
            f = A[i, k] / A[k, k]
            if f != 0.0:
                for j in range(k + 1, n):
                    A[i, j] -= f * A[k, j]
                for j in range(B.shape[1]):
                    B[i, j] -= f * B[k, j]
    for k in range(n - 1, -1, -1):
        for i in range(k + 1, n):
            f = A[k, i]
            for j in range(B.shape[1]):
                B[k, j] -= f * B[i, j]
        for j in range(B.shape[1]):
            B[k, j] /= A[k, k]
    return log_abs_det


def solve(A: Float, B: Float) -> Float:
    """A⁻¹ B of A (n, n) and B (n,) or (n, m); NaN where A is singular."""
    out = np.array(B, np.float64, order="C").reshape(len(A), -1)
    eliminate(np.array(A, np.float64, order="C"), out)
    return out.reshape(np.shape(B))


def inverse(A: Float) -> Float:
    """A⁻¹ (n, n); NaN where A is singular."""
    return solve(A, np.eye(len(A)))


def log_det(A: Float) -> float:
    """log |det A| of A (n, n); NaN where it is singular."""
    return float(eliminate(np.array(A, np.float64, order="C"), np.empty((len(A), 0))))
