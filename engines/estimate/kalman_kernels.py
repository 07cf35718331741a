"""Compiled constant-velocity Kalman filter, one joint at a time: state (position, velocity), white acceleration."""

import math

import numpy as np

from kinecast.capture.compiled import kernel
from kinecast.engines.fixed import jacobi


@kernel
def predict(x, P, dt, accel):  # type: ignore[no-untyped-def]
    """Move states x (P, J, 6) and covariances P (P, J, 6, 6) on by dt seconds; accel in m/s², of a step that long."""
    q = accel * accel
    q0, q1, q2 = q * dt**4 / 4, q * dt**3 / 2, q * dt * dt
    for p in range(x.shape[0]):
        for j in range(x.shape[1]):
            if not math.isfinite(x[p, j, 0]):
                continue
            c = P[p, j]
            for i in range(3):
                x[p, j, i] += dt * x[p, j, 3 + i]
            for a in range(3):  # F C Fᵀ in place: rows, then columns
                for b in range(6):
                    c[a, b] += dt * c[3 + a, b]
            for b in range(3):
                for a in range(6):
                    c[a, b] += dt * c[a, 3 + b]
            for i in range(3):
                c[i, i] += q0
                c[i, 3 + i] += q1
                c[3 + i, i] += q1
                c[3 + i, 3 + i] += q2


@kernel
def update(x, P, rows, z, R, floor2, jump2, speed2):  # type: ignore[no-untyped-def]
    """Correct the people ``rows`` (n,) by measurements z (n, J, 3) with covariance R (n, J, 3, 3), NaN where none.

    floor2 (m²) is added to every measurement: joints are not points. A joint never seen, or further off than jump2
    (squared σ), starts afresh there with speed2 (m²/s²) for the variance of its velocity.
    """
    S, Si, K, d, old = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((6, 3)), np.zeros(3), np.zeros((6, 6))
    for n in range(len(rows)):
        p = rows[n]
        for j in range(x.shape[1]):
            if not math.isfinite(z[n, j, 0]):
                continue
            c = P[p, j]
            fresh = not math.isfinite(x[p, j, 0])
            if not fresh:
                for a in range(3):
                    d[a] = z[n, j, a] - x[p, j, a]
                    for b in range(3):
                        S[a, b] = c[a, b] + R[n, j, a, b]
                    S[a, a] += floor2
                m0 = S[1, 1] * S[2, 2] - S[1, 2] * S[1, 2]
                m1 = S[0, 2] * S[1, 2] - S[0, 1] * S[2, 2]
                m2 = S[0, 1] * S[1, 2] - S[0, 2] * S[1, 1]
                i = 1.0 / (S[0, 0] * m0 + S[0, 1] * m1 + S[0, 2] * m2)
                Si[0, 0], Si[0, 1], Si[0, 2] = m0 * i, m1 * i, m2 * i
                Si[1, 0], Si[1, 1] = m1 * i, (S[0, 0] * S[2, 2] - S[0, 2] * S[0, 2]) * i
                Si[1, 2] = (S[0, 1] * S[0, 2] - S[0, 0] * S[1, 2]) * i
                Si[2, 0], Si[2, 1], Si[2, 2] = Si[0, 2], Si[1, 2], (S[0, 0] * S[1, 1] - S[0, 1] * S[0, 1]) * i
                far = 0.0
                for a in range(3):
                    for b in range(3):
                        far += d[a] * Si[a, b] * d[b]
                fresh = not far < jump2
            if fresh:
                c[:] = 0.0
                for a in range(3):
                    x[p, j, a] = z[n, j, a]
                    x[p, j, 3 + a] = 0.0
                    c[3 + a, 3 + a] = speed2
                    for b in range(3):
                        c[a, b] = R[n, j, a, b]
                    c[a, a] += floor2
                continue
            old[:] = c
            for a in range(6):
                for b in range(3):
                    K[a, b] = old[a, 0] * Si[0, b] + old[a, 1] * Si[1, b] + old[a, 2] * Si[2, b]
                x[p, j, a] += K[a, 0] * d[0] + K[a, 1] * d[1] + K[a, 2] * d[2]
            for a in range(6):
                for b in range(a, 6):
                    c[a, b] = old[a, b] - (K[a, 0] * old[0, b] + K[a, 1] * old[1, b] + K[a, 2] * old[2, b])
                    c[b, a] = c[a, b]


@kernel
def _along(x, P, d, y, r):  # type: ignore[no-untyped-def]
    """Correct one joint by a measurement of the component of its position along d (3,): y further, variance r."""
    g = np.zeros(6)
    for i in range(6):
        g[i] = P[i, 0] * d[0] + P[i, 1] * d[1] + P[i, 2] * d[2]
    s = g[0] * d[0] + g[1] * d[1] + g[2] * d[2] + r
    for i in range(6):
        x[i] += g[i] * y / s
        for k in range(6):
            P[i, k] -= g[i] * g[k] / s


@kernel
def _whitening(S, B):  # type: ignore[no-untyped-def]
    """B (3, 3) ← L⁻¹ of S = L Lᵀ (3, 3), positive definite."""
    a = math.sqrt(S[0, 0])
    b, d = S[1, 0] / a, S[2, 0] / a
    c = math.sqrt(S[1, 1] - b * b)
    e = (S[2, 1] - d * b) / c
    f = math.sqrt(S[2, 2] - d * d - e * e)
    B[0, 0], B[0, 1], B[0, 2] = 1 / a, 0.0, 0.0
    B[1, 0], B[1, 1], B[1, 2] = -b / (a * c), 1 / c, 0.0
    B[2, 0], B[2, 1], B[2, 2] = (b * e - c * d) / (a * c * f), -e / (c * f), 1 / f


@kernel
def update_correlated(x, P, z, ray, across, R, floor2, speed2):  # type: ignore[no-untyped-def]
    """Correct x (T, J, 6) and P (T, J, 6, 6) by points z (T, J, 3) whose errors last, NaN where none.

    A joint on a ray (T, J, 3; NaN: none) is measured in the two directions across it, ± across (T, J), like any other;
    the rest has the covariance R (T, J, 3, 3). Its errors are the same from one call to the next, so in every direction
    in which the prediction is surer than R the measurement is left out, and elsewhere it is weighed so that the result
    is as sure as R: P' = min(P, R) in the coordinates that make both diagonal. Many such measurements then never make
    a joint surer than one, and the change from a prediction to them has no step.
    """
    B, M, U, W = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    values, y = np.zeros(3), np.zeros(3)
    for p in range(x.shape[0]):
        for j in range(x.shape[1]):
            if not math.isfinite(z[p, j, 0]):
                continue
            at, c = z[p, j], P[p, j]
            on = math.isfinite(ray[p, j, 0])
            S = R[p, j] + floor2 * np.eye(3)
            if not math.isfinite(x[p, j, 0]):
                x[p, j, :3] = at
                x[p, j, 3:] = 0.0
                c[:] = 0.0
                c[:3, :3] = S
                for i in range(3):
                    c[3 + i, 3 + i] = speed2
                    if on:
                        c[i, i] += across[p, j] ** 2
                continue
            if on:
                d = ray[p, j] / math.sqrt((ray[p, j] ** 2).sum())
                k = 0 if abs(d[0]) < 0.6 else 1
                axis = np.zeros(3)
                axis[k] = 1.0
                u = np.cross(d, axis)
                u /= math.sqrt((u * u).sum())
                v = np.cross(d, u)
                for n in range(2):
                    w = u if n == 0 else v
                    _along(x[p, j], c, w, (w * (at - x[p, j, :3])).sum(), across[p, j] ** 2 + floor2)
                prior, most = 0.0, 0.0
                for a in range(3):
                    for b in range(3):
                        prior += d[a] * c[a, b] * d[b]
                        most += d[a] * S[a, b] * d[b]
                if prior > most:
                    _along(x[p, j], c, d, (d * (at - x[p, j, :3])).sum(), prior * most / (prior - most))
                continue
            # R = L Lᵀ, L⁻¹ P L⁻ᵀ = U Λ Uᵀ: in the coordinates Uᵀ L⁻¹ the measurement is 1 and the prediction Λ
            _whitening(S, B)
            for a in range(3):
                for b in range(3):
                    M[a, b] = 0.0
                    for i in range(3):
                        for k in range(3):
                            M[a, b] += B[a, i] * c[i, k] * B[b, k]
            jacobi(M, values, U)
            for n in range(3):
                y[n] = 0.0
                for i in range(3):
                    W[n, i] = U[0, n] * B[0, i] + U[1, n] * B[1, i] + U[2, n] * B[2, i]
                    y[n] += W[n, i] * (at[i] - x[p, j, i])
            for n in range(3):
                if values[n] > 1.0:
                    _along(x[p, j], c, W[n], y[n], values[n] / (values[n] - 1.0))


@kernel
def coast(x, P, seen, keep, most2):  # type: ignore[no-untyped-def]
    """Joints that were not seen (seen (P, J) False) move with the rest of their body, or lose speed by ``keep`` where
    nothing of it was seen; a joint whose position is less sure than most2 (m²) is forgotten."""
    mean = np.zeros(3)
    for p in range(x.shape[0]):
        mean[:] = 0.0
        n = 0
        for j in range(x.shape[1]):
            if seen[p, j] and math.isfinite(x[p, j, 0]):
                mean += x[p, j, 3:]
                n += 1
        for j in range(x.shape[1]):
            if seen[p, j] or not math.isfinite(x[p, j, 0]):
                continue
            for i in range(3):
                x[p, j, 3 + i] = mean[i] / n if n >= 3 else keep * x[p, j, 3 + i]
            if P[p, j, 0, 0] + P[p, j, 1, 1] + P[p, j, 2, 2] > 3 * most2:
                x[p, j] = np.nan


@kernel
def centres(points):  # type: ignore[no-untyped-def]
    """(n, 3) median of the known joints of points (n, J, 3), axis by axis; NaN where none is known."""
    out = np.full((points.shape[0], 3), np.nan)
    buffer = np.empty(points.shape[1])
    for p in range(points.shape[0]):
        for i in range(3):
            n = 0
            for j in range(points.shape[1]):
                if math.isfinite(points[p, j, i]):
                    buffer[n] = points[p, j, i]
                    n += 1
            if n:
                out[p, i] = np.median(buffer[:n])
    return out


@kernel
def median_distances(a, b):  # type: ignore[no-untyped-def]
    """(n, m) median distance of the joints of bodies a (n, J, ≥3) and b (m, J, ≥3); inf where they share under four."""
    out = np.full((a.shape[0], b.shape[0]), np.inf)
    buffer = np.empty(a.shape[1])
    for p in range(a.shape[0]):
        for q in range(b.shape[0]):
            n = 0
            for j in range(a.shape[1]):
                d = 0.0
                for i in range(3):
                    d += (a[p, j, i] - b[q, j, i]) ** 2
                if math.isfinite(d):
                    buffer[n] = d
                    n += 1
            if n >= 4:
                out[p, q] = math.sqrt(np.median(buffer[:n]))
    return out
