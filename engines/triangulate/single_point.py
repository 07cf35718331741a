"""One point from its views, compiled: the linear solution, Gauss–Newton on the reprojection, symmetric 3 × 3 systems.

Coordinates are normalised and undistorted, so a camera is its (3, 4) [R | t]. Nothing here allocates and no fast-math
is used: NaN has a meaning.
"""

import math

import numpy as np

from kinecast.capture.compiled import kernel


@kernel(inline="always")
def project(P, x):  # type: ignore[no-untyped-def]
    z = P[2, 0] * x[0] + P[2, 1] * x[1] + P[2, 2] * x[2] + P[2, 3]
    if z < 0.05:  # nearer than 5 cm or behind: no lens sees it
        return np.nan, np.nan, z
    u = (P[0, 0] * x[0] + P[0, 1] * x[1] + P[0, 2] * x[2] + P[0, 3]) / z
    v = (P[1, 0] * x[0] + P[1, 1] * x[1] + P[1, 2] * x[2] + P[1, 3]) / z
    return u, v, z


@kernel(inline="always")
def copy3(to, of):  # type: ignore[no-untyped-def]
    # not to[:] = of: that compiles, for seconds, what tells of shapes that do not fit
    to[0], to[1], to[2] = of[0], of[1], of[2]


@kernel
def solve3(A, g, x):  # type: ignore[no-untyped-def]
    """x = A⁻¹ g for symmetric A (its upper triangle: xx xy xz yy yz zz); False where A is singular."""
    a, b, c, d, e, f = A[0], A[1], A[2], A[3], A[4], A[5]
    m0, m1, m2 = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * m0 + b * m1 + c * m2
    if not det > 1e-12 * a * d * f:
        return False
    i = 1.0 / det
    x[0] = (m0 * g[0] + m1 * g[1] + m2 * g[2]) * i
    x[1] = (m1 * g[0] + (a * f - c * c) * g[1] + (b * c - a * e) * g[2]) * i
    x[2] = (m2 * g[0] + (b * c - a * e) * g[1] + (a * d - b * b) * g[2]) * i
    return True


@kernel
def inverse3(A, out):  # type: ignore[no-untyped-def]
    """Inverse of a symmetric A (upper triangle) into ``out`` (3, 3); False where singular."""
    a, b, c, d, e, f = A[0], A[1], A[2], A[3], A[4], A[5]
    m0, m1, m2 = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * m0 + b * m1 + c * m2
    if not det > 1e-12 * a * d * f:
        return False
    i = 1.0 / det
    out[0, 0], out[0, 1], out[0, 2] = m0 * i, m1 * i, m2 * i
    out[1, 0], out[1, 1], out[1, 2] = m1 * i, (a * f - c * c) * i, (b * c - a * e) * i
    out[2, 0], out[2, 1], out[2, 2] = m2 * i, (b * c - a * e) * i, (a * d - b * b) * i
    return True


@kernel
def linear(P, xy, w, x, A, g):  # type: ignore[no-untyped-def]
    """Weighted linear (DLT, inhomogeneous) point over the views with w > 0."""
    A[:] = 0.0
    g[:] = 0.0
    for k in range(P.shape[0]):
        if not w[k] > 0:
            continue
        s = w[k] * w[k]
        for r in range(2):
            q = xy[k, r]
            m0, m1 = q * P[k, 2, 0] - P[k, r, 0], q * P[k, 2, 1] - P[k, r, 1]
            m2, m3 = q * P[k, 2, 2] - P[k, r, 2], q * P[k, 2, 3] - P[k, r, 3]
            A[0] += s * m0 * m0
            A[1] += s * m0 * m1
            A[2] += s * m0 * m2
            A[3] += s * m1 * m1
            A[4] += s * m1 * m2
            A[5] += s * m2 * m2
            g[0] -= s * m0 * m3
            g[1] -= s * m1 * m3
            g[2] -= s * m2 * m3
    return solve3(A, g, x)


@kernel
def gauss_newton(P, xy, w, x, c2, steps, A, g, dx):  # type: ignore[no-untyped-def]
    """Refine x on the reprojection; c2 > 0: Geman–McClure weights of that squared scale (in σ), 0: least squares.

    A is left as the normal matrix of the last step. False where a view loses the point or the step is singular.
    """
    for _ in range(steps):
        A[:] = 0.0
        g[:] = 0.0
        for k in range(P.shape[0]):
            if not w[k] > 0:
                continue
            u, v, z = project(P[k], x)
            if not math.isfinite(u):
                return False
            iz = 1.0 / z
            ru, rv = u - xy[k, 0], v - xy[k, 1]
            s = w[k] * w[k]
            if c2 > 0:
                q = 1.0 / (1.0 + s * (ru * ru + rv * rv) / c2)
                s *= q * q
            a0, a1 = (P[k, 0, 0] - u * P[k, 2, 0]) * iz, (P[k, 0, 1] - u * P[k, 2, 1]) * iz
            a2, b0 = (P[k, 0, 2] - u * P[k, 2, 2]) * iz, (P[k, 1, 0] - v * P[k, 2, 0]) * iz
            b1, b2 = (P[k, 1, 1] - v * P[k, 2, 1]) * iz, (P[k, 1, 2] - v * P[k, 2, 2]) * iz
            A[0] += s * (a0 * a0 + b0 * b0)
            A[1] += s * (a0 * a1 + b0 * b1)
            A[2] += s * (a0 * a2 + b0 * b2)
            A[3] += s * (a1 * a1 + b1 * b1)
            A[4] += s * (a1 * a2 + b1 * b2)
            A[5] += s * (a2 * a2 + b2 * b2)
            g[0] -= s * (a0 * ru + b0 * rv)
            g[1] -= s * (a1 * ru + b1 * rv)
            g[2] -= s * (a2 * ru + b2 * rv)
        if not solve3(A, g, dx):
            return False
        x[0] += dx[0]
        x[1] += dx[1]
        x[2] += dx[2]
        if dx[0] * dx[0] + dx[1] * dx[1] + dx[2] * dx[2] < 1e-12:  # a micrometre
            break
    return math.isfinite(x[0] + x[1] + x[2])
