"""Compiled triangulation of one joint after another: all pairs or reweighting to start, Gauss–Newton to finish.

Coordinates are normalised and undistorted, so a camera is its (3, 4) [R | t]. Nothing here allocates in the loops and
no fast-math is used: NaN has a meaning.
"""

import math

import numba as nb
import numpy as np

from kinecast.engines.observations import distort


@nb.njit(cache=True, inline="always")
def _project(P, x):  # type: ignore[no-untyped-def]
    z = P[2, 0] * x[0] + P[2, 1] * x[1] + P[2, 2] * x[2] + P[2, 3]
    if z < 0.05:  # nearer than 5 cm or behind: no lens sees it
        return np.nan, np.nan, z
    u = (P[0, 0] * x[0] + P[0, 1] * x[1] + P[0, 2] * x[2] + P[0, 3]) / z
    v = (P[1, 0] * x[0] + P[1, 1] * x[1] + P[1, 2] * x[2] + P[1, 3]) / z
    return u, v, z


@nb.njit(cache=True)
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


@nb.njit(cache=True)
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


@nb.njit(cache=True)
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


@nb.njit(cache=True)
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
            u, v, z = _project(P[k], x)
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


@nb.njit(cache=True)
def _score(P, xy, w, x, c2, prior, prior_sd, prior_vote):  # type: ignore[no-untyped-def]
    """How well x explains all views, each worth its confidence-like weight; the prediction votes too, softly."""
    total = 0.0
    for k in range(P.shape[0]):
        if not w[k] > 0:
            continue
        u, v, _ = _project(P[k], x)
        if math.isfinite(u):
            du, dv = u - xy[k, 0], v - xy[k, 1]
            total += 1.0 / (1.0 + w[k] * w[k] * (du * du + dv * dv) / c2)
    if prior_sd > 0:
        d2 = (x[0] - prior[0]) ** 2 + (x[1] - prior[1]) ** 2 + (x[2] - prior[2]) ** 2
        total += prior_vote / (1.0 + d2 / (9.0 * prior_sd * prior_sd))
    return total


@nb.njit(cache=True)
def _widest_sine2(centre, x, used):  # type: ignore[no-untyped-def]
    """Squared sine of the widest angle between the rays of the used views at x."""
    best = 0.0
    for i in range(centre.shape[0]):
        if not used[i] > 0:
            continue
        a0, a1, a2 = x[0] - centre[i, 0], x[1] - centre[i, 1], x[2] - centre[i, 2]
        na = a0 * a0 + a1 * a1 + a2 * a2
        for k in range(i + 1, centre.shape[0]):
            if not used[k] > 0:
                continue
            b0, b1, b2 = x[0] - centre[k, 0], x[1] - centre[k, 1], x[2] - centre[k, 2]
            nb2 = b0 * b0 + b1 * b1 + b2 * b2
            c0, c1, c2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
            s2 = (c0 * c0 + c1 * c1 + c2 * c2) / (na * nb2 + 1e-30)
            best = max(best, s2)
    return best


@nb.njit(cache=True)
def _spread(P, u, v, z, covariance):  # type: ignore[no-untyped-def]
    """Trace of the covariance, in normalised coordinates, that a point's covariance has where it is seen."""
    total = 0.0
    for r in range(2):
        t = u if r == 0 else v
        for a in range(3):
            for b in range(3):
                total += (P[r, a] - t * P[2, a]) * (P[r, b] - t * P[2, b]) * covariance[a, b]
    return total / (z * z)


@nb.njit(cache=True)
def solve_points(  # type: ignore[no-untyped-def]
    P, centre, K, lens, fisheye, xy, confidence, sigma, factor, prior, prior_sd, setup,
    points, covariance, conf, residual, views, chi2, freedom,
):  # fmt: skip
    """Triangulate every joint of every person; see :func:`engines.triangulate.solve.triangulate` for the arrays.

    setup: most views for all pairs, squared robust scale (σ²), inlier gate (σ), least squared sine, prior's vote, and
    how far from the expectation (m, and 4 of its σ) two views alone may put a joint.
    """
    most, c2, gate, least_sine2, vote, surprise = setup[0], setup[1], setup[2], setup[3], setup[4], setup[5]
    people, C, J = confidence.shape
    A, g, dx, x, best_x = np.zeros(6), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    w, pair, used, q = np.zeros(C), np.zeros(C), np.zeros(C), np.zeros((C, 2))
    for p in range(people):
        for j in range(J):
            points[p, j] = np.nan
            covariance[p, j] = np.nan
            residual[p, j] = np.nan
            conf[p, j] = 0.0
            views[p, j] = 0
            n = 0
            for k in range(C):
                w[k] = 0.0
                chi2[p, k, j] = 0.0
                freedom[p, k, j] = 0.0
                a = confidence[p, k, j]
                if a > 0 and math.isfinite(xy[p, k, j, 0]) and math.isfinite(xy[p, k, j, 1]) and sigma[p, k] > 0:
                    w[k] = a / (sigma[p, k] * factor[k, j])
                    q[k, 0], q[k, 1] = xy[p, k, j, 0], xy[p, k, j, 1]
                    n += 1
            if n < 2:
                continue
            sd = prior_sd[p, j] if math.isfinite(prior[p, j, 0]) else 0.0
            best = -1.0
            if n == 2:
                if linear(P, q, w, x, A, g):
                    best = 1.0
                    best_x[:] = x
            elif n <= most:
                for i in range(C):
                    if not w[i] > 0:
                        continue
                    for k in range(i + 1, C):
                        if not w[k] > 0:
                            continue
                        pair[:] = 0.0
                        pair[i], pair[k] = w[i], w[k]
                        if not linear(P, q, pair, x, A, g):
                            continue
                        s = _score(P, q, w, x, c2, prior[p, j], sd, vote)
                        if s > best:
                            best = s
                            best_x[:] = x
            else:
                # many views: the linear point, loosened step by step; the prediction is a second place to start
                for start in range(2):
                    if start == 0:
                        if not linear(P, q, w, x, A, g):
                            continue
                    elif sd > 0:
                        x[:] = prior[p, j]
                    else:
                        continue
                    fine = True
                    for scale in (64.0, 16.0, 4.0):
                        fine = fine and gauss_newton(P, q, w, x, scale * c2, 2, A, g, dx)
                    if fine:
                        s = _score(P, q, w, x, c2, prior[p, j], sd, vote)
                        if s > best:
                            best = s
                            best_x[:] = x
            if best < 0:
                continue
            x[:] = best_x
            # to the end with soft weights: a view that comes to the edge of the gate must not make the joint jump
            if not gauss_newton(P, q, w, x, c2 if n > 2 else 0.0, 24, A, g, dx):
                continue
            agree = 0
            for k in range(C):
                used[k] = 0.0
                if w[k] > 0:
                    u, v, _z = _project(P[k], x)
                    if math.isfinite(u) and w[k] * math.hypot(u - q[k, 0], v - q[k, 1]) < gate:
                        used[k] = w[k]
                        agree += 1
            if agree < 2 or _widest_sine2(centre, x, used) < least_sine2:
                continue
            if agree == 2 and sd > 0:
                # two rays nearly meet in many wrong places too: far from where the joint must be, better not seen
                d2 = (x[0] - prior[p, j, 0]) ** 2 + (x[1] - prior[p, j, 1]) ** 2 + (x[2] - prior[p, j, 2]) ** 2
                if d2 > (surprise + 4.0 * sd) ** 2:
                    continue
            if not inverse3(A, covariance[p, j]):
                covariance[p, j] = np.nan
                continue
            total = usable = px2 = 0.0
            inside = True
            for k in range(C):
                if w[k] > 0:
                    usable += confidence[p, k, j]
                if used[k] > 0:
                    u, v, z = _project(P[k], x)
                    inside = inside and math.isfinite(u)
                    total += confidence[p, k, j]
                    r2 = (u - q[k, 0]) ** 2 + (v - q[k, 1]) ** 2
                    # a residual is smaller than the noise by what this view itself moved the point: its leverage
                    s = used[k] * used[k]
                    chi2[p, k, j] = s * r2
                    if n > 2:
                        s /= (1.0 + s * r2 / c2) ** 2
                    freedom[p, k, j] = max(0.0, 2.0 - s * _spread(P[k], u, v, z, covariance[p, j]))
                    a0, a1 = distort(u, v, lens[k], fisheye[k])
                    b0, b1 = distort(q[k, 0], q[k, 1], lens[k], fisheye[k])
                    d0, d1 = a0 - b0, a1 - b1
                    px2 += (K[k, 0, 0] * d0) ** 2 + (K[k, 1, 1] * d1) ** 2
                    views[p, j] |= np.uint32(1) << np.uint32(k)
            if not inside:
                views[p, j] = 0
                covariance[p, j] = np.nan
                chi2[p, :, j] = 0.0
                freedom[p, :, j] = 0.0
                continue
            points[p, j] = x
            residual[p, j] = math.sqrt(px2 / agree)
            conf[p, j] = min(1.0, total / agree * total / usable)


@nb.njit(cache=True)
def learn_noise(  # type: ignore[no-untyped-def]
    chi2, freedom, memory, of_all, of_camera, of_joint, step, least, most, sum_chi2, sum_freedom, factor
):
    """Take chi2 and freedom (P, C, J) of one set into the sums (C, J) and the factors (C, J), in place.

    See :class:`engines.triangulate.solve.NoiseScale`.
    """
    people, C, J = chi2.shape
    new_chi2, new_freedom = np.zeros((C, J)), np.zeros((C, J))
    for p in range(people):
        for j in range(J):
            n = 0
            for k in range(C):
                n += freedom[p, k, j] > 0
            if n >= 3:
                for k in range(C):
                    new_chi2[k, j] += chi2[p, k, j]
                    new_freedom[k, j] += freedom[p, k, j]
    all_chi2 = all_freedom = 0.0
    for k in range(C):
        for j in range(J):
            keep = max(0.0, 1.0 - new_freedom[k, j] / memory)
            sum_chi2[k, j] = keep * sum_chi2[k, j] + new_chi2[k, j] * factor[k, j] ** 2
            sum_freedom[k, j] = keep * sum_freedom[k, j] + new_freedom[k, j]
            all_chi2 += sum_chi2[k, j]
            all_freedom += sum_freedom[k, j]
    total = (all_chi2 + of_all) / (all_freedom + of_all)
    low, high = max(total / (step * step), least * least), min(total * step * step, most * most)
    for k in range(C):
        a, b = sum_chi2[k].sum(), sum_freedom[k].sum()
        camera = (a + of_camera * total) / (b + of_camera)
        for j in range(J):
            joint = (sum_chi2[k, j] + of_joint * camera) / (sum_freedom[k, j] + of_joint)
            factor[k, j] = math.sqrt(min(max(joint, low), high))
