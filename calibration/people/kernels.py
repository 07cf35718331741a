"""Inner loops of the bundle over people: cameras and points, with the points eliminated one by one.

A camera's unknowns are seven: a turn ω (rad) and a shift τ (m) of its own frame, cam_from_world ← [exp ω, τ] ·
cam_from_world, and its clock δ (s, stamps minus time). A joint's residual is xy + ẋ δ − π(R X + t), in its σ. The loss
is Geman and McClure's, ρ(s) = s / (1 + s/c²), of the squared residual s. Points are eliminated by the Schur complement
(Triggs et al. 2000, *Bundle adjustment, a modern synthesis*, section 6).
"""

import math

import numpy as np

from kinecast.capture.compiled import kernel

CAMERA = 7
NEAR_M = 0.05
LAMBDA_POINT = 1e-9


@kernel
def invert3(H, M):  # type: ignore[no-untyped-def]
    """M ← the inverse of the symmetric (3, 3) H; False where it has none."""
    a, b, c, d, e, f = H[0, 0], H[0, 1], H[0, 2], H[1, 1], H[1, 2], H[2, 2]
    A, B, C = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * A + b * B + c * C
    if not (det > 1e-12 * (a * d * f + 1e-300)):
        return False
    M[0, 0], M[0, 1], M[0, 2] = A / det, B / det, C / det
    M[1, 0], M[1, 1], M[1, 2] = B / det, (a * f - c * c) / det, (b * c - a * e) / det
    M[2, 0], M[2, 1], M[2, 2] = C / det, (b * c - a * e) / det, (a * d - b * b) / det
    return True


@kernel
def point_cost(R, t, delta, X, xy, vel, sigma, c2):  # type: ignore[no-untyped-def]
    """Σ ρ over the views (C,) of one point X (3,); behind a camera costs as much as a residual can."""
    total = 0.0
    for c in range(len(sigma)):
        if not sigma[c] < np.inf:
            continue
        z = R[c, 2, 0] * X[0] + R[c, 2, 1] * X[1] + R[c, 2, 2] * X[2] + t[c, 2]
        if not z > NEAR_M:
            total += c2
            continue
        u = (R[c, 0, 0] * X[0] + R[c, 0, 1] * X[1] + R[c, 0, 2] * X[2] + t[c, 0]) / z
        v = (R[c, 1, 0] * X[0] + R[c, 1, 1] * X[1] + R[c, 1, 2] * X[2] + t[c, 1]) / z
        du = (xy[c, 0] + vel[c, 0] * delta[c] - u) / sigma[c]
        dv = (xy[c, 1] + vel[c, 1] * delta[c] - v) / sigma[c]
        s = du * du + dv * dv
        total += s / (1.0 + s / c2)
    return total


@kernel
def _step(R, t, delta, X, xy, vel, sigma, c2, H, M, g):  # type: ignore[no-untyped-def]
    """One Gauss–Newton step of one point, in place; False where it has none."""
    H[:] = 0.0
    g[:] = 0.0
    A = np.empty((2, 3))
    for c in range(len(sigma)):
        if not sigma[c] < np.inf:
            continue
        z = R[c, 2, 0] * X[0] + R[c, 2, 1] * X[1] + R[c, 2, 2] * X[2] + t[c, 2]
        if not z > NEAR_M:
            continue
        u = (R[c, 0, 0] * X[0] + R[c, 0, 1] * X[1] + R[c, 0, 2] * X[2] + t[c, 0]) / z
        v = (R[c, 1, 0] * X[0] + R[c, 1, 1] * X[1] + R[c, 1, 2] * X[2] + t[c, 1]) / z
        for i in range(3):
            A[0, i] = (R[c, 0, i] - u * R[c, 2, i]) / z / sigma[c]
            A[1, i] = (R[c, 1, i] - v * R[c, 2, i]) / z / sigma[c]
        du = (xy[c, 0] + vel[c, 0] * delta[c] - u) / sigma[c]
        dv = (xy[c, 1] + vel[c, 1] * delta[c] - v) / sigma[c]
        w = 1.0 / (1.0 + (du * du + dv * dv) / c2) ** 2
        for i in range(3):
            g[i] += w * (A[0, i] * du + A[1, i] * dv)
            for k in range(3):
                H[i, k] += w * (A[0, i] * A[0, k] + A[1, i] * A[1, k])
    for i in range(3):
        H[i, i] += LAMBDA_POINT * H[i, i] + 1e-12
    if not invert3(H, M):
        return False
    for i in range(3):
        X[i] += M[i, 0] * g[0] + M[i, 1] * g[1] + M[i, 2] * g[2]
    return True


@kernel
def _meet(R, t, delta, xy, vel, a, b, X):  # type: ignore[no-untyped-def]
    """X ← the middle of the shortest line between the rays of cameras a and b; False where they are parallel."""
    da, db, oa, ob = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    ua, va = xy[a, 0] + vel[a, 0] * delta[a], xy[a, 1] + vel[a, 1] * delta[a]
    ub, vb = xy[b, 0] + vel[b, 0] * delta[b], xy[b, 1] + vel[b, 1] * delta[b]
    for i in range(3):
        da[i] = R[a, 0, i] * ua + R[a, 1, i] * va + R[a, 2, i]
        db[i] = R[b, 0, i] * ub + R[b, 1, i] * vb + R[b, 2, i]
        oa[i] = -(R[a, 0, i] * t[a, 0] + R[a, 1, i] * t[a, 1] + R[a, 2, i] * t[a, 2])
        ob[i] = -(R[b, 0, i] * t[b, 0] + R[b, 1, i] * t[b, 1] + R[b, 2, i] * t[b, 2])
    aa = ab = bb = pa = pb = 0.0
    for i in range(3):
        aa += da[i] * da[i]
        ab += da[i] * db[i]
        bb += db[i] * db[i]
        pa += da[i] * (ob[i] - oa[i])
        pb += db[i] * (ob[i] - oa[i])
    det = aa * bb - ab * ab
    if not det > 1e-5 * aa * bb:
        return False
    la, lb = (pa * bb - pb * ab) / det, (pa * ab - pb * aa) / det
    for i in range(3):
        X[i] = 0.5 * (oa[i] + la * da[i] + ob[i] + lb * db[i])
    return True


@kernel
def triangulate(R, t, delta, xy, vel, sigma, c2, X):  # type: ignore[no-untyped-def]
    """X (M, 3) ← the point of least robust cost: from pairs of views (20 at most), then Gauss–Newton; NaN: none."""
    H, M = np.empty((3, 3)), np.empty((3, 3))
    g, best = np.empty(3), np.empty(3)
    for m in range(len(X)):
        lowest = np.inf
        tried = 0
        for a in range(xy.shape[1]):
            if not sigma[m, a] < np.inf:
                continue
            for b in range(a + 1, xy.shape[1]):
                if not sigma[m, b] < np.inf or tried >= 20:
                    continue
                if _meet(R, t, delta, xy[m], vel[m], a, b, g):
                    tried += 1
                    cost = point_cost(R, t, delta, g, xy[m], vel[m], sigma[m], c2)
                    if cost < lowest:
                        lowest = cost
                        best[:] = g
        X[m] = np.nan
        if lowest == np.inf:
            continue
        point = best.copy()
        for _ in range(6):
            if not _step(R, t, delta, point, xy[m], vel[m], sigma[m], c2, H, M, g):
                break
        cost = point_cost(R, t, delta, point, xy[m], vel[m], sigma[m], c2)
        X[m] = point if cost <= lowest else best


@kernel
def total_cost(R, t, delta, X, xy, vel, sigma, c2):  # type: ignore[no-untyped-def]
    """Σ ρ over all points (M, 3) that are known."""
    total = 0.0
    for m in range(len(X)):
        if math.isfinite(X[m, 0]):
            total += point_cost(R, t, delta, X[m], xy[m], vel[m], sigma[m], c2)
    return total


@kernel
def _camera_rows(R, t, delta, X, xy, vel, sigma, c2, A, B, r, w):  # type: ignore[no-untyped-def]
    """Jacobians by point A (C, 2, 3) and by camera B (C, 2, 7), residuals r (C, 2), all in σ; weights w (C,)."""
    for c in range(len(sigma)):
        w[c] = 0.0
        if not sigma[c] < np.inf:
            continue
        x = R[c, 0, 0] * X[0] + R[c, 0, 1] * X[1] + R[c, 0, 2] * X[2] + t[c, 0]
        y = R[c, 1, 0] * X[0] + R[c, 1, 1] * X[1] + R[c, 1, 2] * X[2] + t[c, 1]
        z = R[c, 2, 0] * X[0] + R[c, 2, 1] * X[1] + R[c, 2, 2] * X[2] + t[c, 2]
        if not z > NEAR_M:
            continue
        u, v = x / z, y / z
        s = 1.0 / sigma[c]
        r[c, 0], r[c, 1] = (xy[c, 0] + vel[c, 0] * delta[c] - u) * s, (xy[c, 1] + vel[c, 1] * delta[c] - v) * s
        w[c] = 1.0 / (1.0 + (r[c, 0] ** 2 + r[c, 1] ** 2) / c2) ** 2
        for i in range(3):
            A[c, 0, i] = (R[c, 0, i] - u * R[c, 2, i]) / z * s
            A[c, 1, i] = (R[c, 1, i] - v * R[c, 2, i]) / z * s
        B[c, 0, 0], B[c, 0, 1], B[c, 0, 2] = -u * v * s, (1 + u * u) * s, -v * s
        B[c, 1, 0], B[c, 1, 1], B[c, 1, 2] = -(1 + v * v) * s, u * v * s, u * s
        B[c, 0, 3], B[c, 0, 4], B[c, 0, 5] = s / z, 0.0, -u / z * s
        B[c, 1, 3], B[c, 1, 4], B[c, 1, 5] = 0.0, s / z, -v / z * s
        B[c, 0, 6], B[c, 1, 6] = -vel[c, 0] * s, -vel[c, 1] * s


@kernel
def reduced(R, t, delta, X, xy, vel, sigma, c2, damp, cell, N, b, scores):  # type: ignore[no-untyped-def]
    """Add every point to the reduced normal equations N (7C, 7C) and b (7C,), its point eliminated.

    damp: of the points' own blocks, as in Levenberg and Marquardt's method. cell: (M,) row of ``scores`` (K, 7C) that
    a point's share of b is added to.
    """
    cameras = xy.shape[1]
    A, B, r, w = np.zeros((cameras, 2, 3)), np.zeros((cameras, 2, CAMERA)), np.zeros((cameras, 2)), np.zeros(cameras)
    H, M, g = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(3)
    G, MG, dx = np.zeros((cameras, 3, CAMERA)), np.zeros((3, CAMERA)), np.zeros(3)
    for m in range(len(X)):
        if not math.isfinite(X[m, 0]):
            continue
        _camera_rows(R, t, delta, X[m], xy[m], vel[m], sigma[m], c2, A, B, r, w)
        H[:] = 0.0
        g[:] = 0.0
        views = 0
        for c in range(cameras):
            if not w[c] > 0:
                continue
            views += 1
            for i in range(3):
                g[i] += w[c] * (A[c, 0, i] * r[c, 0] + A[c, 1, i] * r[c, 1])
                for k in range(3):
                    H[i, k] += w[c] * (A[c, 0, i] * A[c, 0, k] + A[c, 1, i] * A[c, 1, k])
        for i in range(3):
            H[i, i] += damp * H[i, i] + 1e-12
        if views < 2 or not invert3(H, M):
            continue
        for i in range(3):
            dx[i] = M[i, 0] * g[0] + M[i, 1] * g[1] + M[i, 2] * g[2]
        for c in range(cameras):
            if w[c] > 0:
                for i in range(3):
                    for k in range(CAMERA):
                        G[c, i, k] = w[c] * (A[c, 0, i] * B[c, 0, k] + A[c, 1, i] * B[c, 1, k])
        for c in range(cameras):
            if not w[c] > 0:
                continue
            o = CAMERA * c
            for k in range(CAMERA):
                value = w[c] * (B[c, 0, k] * r[c, 0] + B[c, 1, k] * r[c, 1])
                for i in range(3):
                    value -= G[c, i, k] * dx[i]
                b[o + k] += value
                scores[cell[m], o + k] += value
                for n in range(CAMERA):
                    N[o + k, o + n] += w[c] * (B[c, 0, k] * B[c, 0, n] + B[c, 1, k] * B[c, 1, n])
            for i in range(3):
                for k in range(CAMERA):
                    MG[i, k] = M[i, 0] * G[c, 0, k] + M[i, 1] * G[c, 1, k] + M[i, 2] * G[c, 2, k]
            for d in range(cameras):
                if w[d] > 0:
                    for k in range(CAMERA):
                        for n in range(CAMERA):
                            N[CAMERA * d + k, o + n] -= (
                                G[d, 0, k] * MG[0, n] + G[d, 1, k] * MG[1, n] + G[d, 2, k] * MG[2, n]
                            )


@kernel
def back(R, t, delta, X, xy, vel, sigma, c2, damp, step, out):  # type: ignore[no-untyped-def]
    """out (M, 3) ← the points after the cameras took ``step`` (7C,): X + H⁻¹ (g − G step)."""
    cameras = xy.shape[1]
    A, B, r, w = np.zeros((cameras, 2, 3)), np.zeros((cameras, 2, CAMERA)), np.zeros((cameras, 2)), np.zeros(cameras)
    H, M, g = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(3)
    for m in range(len(X)):
        out[m] = X[m]
        if not math.isfinite(X[m, 0]):
            continue
        _camera_rows(R, t, delta, X[m], xy[m], vel[m], sigma[m], c2, A, B, r, w)
        H[:] = 0.0
        g[:] = 0.0
        for c in range(cameras):
            if not w[c] > 0:
                continue
            e0, e1 = r[c, 0], r[c, 1]
            for k in range(CAMERA):
                e0 -= B[c, 0, k] * step[CAMERA * c + k]
                e1 -= B[c, 1, k] * step[CAMERA * c + k]
            for i in range(3):
                g[i] += w[c] * (A[c, 0, i] * e0 + A[c, 1, i] * e1)
                for k in range(3):
                    H[i, k] += w[c] * (A[c, 0, i] * A[c, 0, k] + A[c, 1, i] * A[c, 1, k])
        for i in range(3):
            H[i, i] += damp * H[i, i] + 1e-12
        if invert3(H, M):
            for i in range(3):
                out[m, i] += M[i, 0] * g[0] + M[i, 1] * g[1] + M[i, 2] * g[2]


@kernel
def residuals(R, t, delta, X, xy, vel, sigma, out):  # type: ignore[no-untyped-def]
    """out (M, C) ← distance of each view from the projection, normalised units; NaN where missing or behind."""
    for m in range(len(X)):
        for c in range(sigma.shape[1]):
            out[m, c] = np.nan
            if not sigma[m, c] < np.inf or not math.isfinite(X[m, 0]):
                continue
            z = R[c, 2, 0] * X[m, 0] + R[c, 2, 1] * X[m, 1] + R[c, 2, 2] * X[m, 2] + t[c, 2]
            if not z > NEAR_M:
                continue
            u = (R[c, 0, 0] * X[m, 0] + R[c, 0, 1] * X[m, 1] + R[c, 0, 2] * X[m, 2] + t[c, 0]) / z
            v = (R[c, 1, 0] * X[m, 0] + R[c, 1, 1] * X[m, 1] + R[c, 1, 2] * X[m, 2] + t[c, 1]) / z
            out[m, c] = math.hypot(xy[m, c, 0] + vel[m, c, 0] * delta[c] - u, xy[m, c, 1] + vel[m, c, 1] * delta[c] - v)
