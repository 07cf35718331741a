"""Compiled triangulation of one joint after another: all pairs or reweighting to start, Gauss–Newton to finish.

Coordinates are normalised and undistorted, so a camera is its (3, 4) [R | t]. Nothing here allocates in the loops and
no fast-math is used: NaN has a meaning.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.observations import distort
from kinecast.engines.triangulate.single_point import copy3, gauss_newton, inverse3, linear, project

Float = NDArray[np.float64]


class Observed(NamedTuple):
    """What is given of P people in C views. P (C, 3, 4), centre (C, 3), K, lens and fisheye are those of the cameras.

    xy: (P, C, J, 2), confidence: (P, C, J), sigma: (P, C), factor: (C, J), prior: (P, J, 3) and prior_sd: (P, J): see
    :func:`engines.triangulate.solve.triangulate`.
    """

    P: Float
    centre: Float
    K: Float
    lens: Float
    fisheye: NDArray[np.bool_]
    xy: Float
    confidence: Float
    sigma: Float
    factor: Float
    prior: Float
    prior_sd: Float


class Settings(NamedTuple):
    """most_paired: views of which all pairs are tried. robust2: squared robust scale, σ². gate: of inliers, σ.

    least_sine2: squared sine of the least angle between rays. prior_vote: of the prediction, a view's being 1.
    surprise_m: how far from the expectation (and 4 of its σ) two views alone may put a joint. loose_steps, steps: of
    Gauss–Newton, at each of the wider scales and at the last.
    """

    most_paired: int
    robust2: float
    gate: float
    least_sine2: float
    prior_vote: float
    surprise_m: float
    loose_steps: int
    steps: int


class Solved(NamedTuple):
    """What is written: the arrays of :class:`engines.triangulate.solve.Solution`, in its order."""

    points: Float
    covariance: Float
    confidence: Float
    residual: Float
    views: NDArray[np.uint32]
    chi2: Float
    freedom: Float


class Work(NamedTuple):
    """Room for one joint. A (6,), g, dx: normal equations and step; x: the point; best: the best hypothesis so far.

    w (C,) weights and q (C, 2) coordinates of its views; pair, used (C,): the weights of a pair and of the inliers.
    """

    A: Float
    g: Float
    dx: Float
    x: Float
    best: Float
    w: Float
    pair: Float
    used: Float
    q: Float


@kernel
def _score(P, xy, w, x, c2, prior, prior_sd, prior_vote):  # type: ignore[no-untyped-def]
    """How well x explains all views, each worth its confidence-like weight; the prediction votes too, softly."""
    total = 0.0
    for k in range(P.shape[0]):
        if not w[k] > 0:
            continue
        u, v, _ = project(P[k], x)
        if math.isfinite(u):
            du, dv = u - xy[k, 0], v - xy[k, 1]
            total += 1.0 / (1.0 + w[k] * w[k] * (du * du + dv * dv) / c2)
    if prior_sd > 0:
        d2 = (x[0] - prior[0]) ** 2 + (x[1] - prior[1]) ** 2 + (x[2] - prior[2]) ** 2
        total += prior_vote / (1.0 + d2 / (9.0 * prior_sd * prior_sd))
    return total


@kernel
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


@kernel
def _leverage(P, u, v, z, covariance):  # type: ignore[no-untyped-def]
    """Trace of the covariance, in normalised coordinates, that a point's covariance has where it is seen."""
    total = 0.0
    for r in range(2):
        t = u if r == 0 else v
        for a in range(3):
            for b in range(3):
                total += (P[r, a] - t * P[2, a]) * (P[r, b] - t * P[2, b]) * covariance[a, b]
    return total / (z * z)


@kernel
def _views_of(given, p, j, w, q):  # type: ignore[no-untyped-def]
    """Number of views of joint j of person p; w (C,) ← their weights 1/σ, 0 where there is none, q (C, 2) ← where."""
    n = 0
    for k in range(w.shape[0]):
        w[k] = 0.0
        a, at = given.confidence[p, k, j], given.xy[p, k, j]
        if a > 0 and math.isfinite(at[0]) and math.isfinite(at[1]) and given.sigma[p, k] > 0:
            w[k] = a / (given.sigma[p, k] * given.factor[k, j])
            q[k, 0], q[k, 1] = at[0], at[1]
            n += 1
    return n


@kernel
def _from_pairs(P, q, w, prior, sd, c2, vote, work):  # type: ignore[no-untyped-def]
    """Score of the best hypothesis that two views make, −1 where none do; it is left in ``work.best``."""
    best = -1.0
    for i in range(P.shape[0]):
        if not w[i] > 0:
            continue
        for k in range(i + 1, P.shape[0]):
            if not w[k] > 0:
                continue
            work.pair[:] = 0.0
            work.pair[i], work.pair[k] = w[i], w[k]
            if not linear(P, q, work.pair, work.x, work.A, work.g):
                continue
            s = _score(P, q, w, work.x, c2, prior, sd, vote)
            if s > best:
                best = s
                copy3(work.best, work.x)
    return best


@kernel
def _from_all(P, q, w, prior, sd, settings, work):  # type: ignore[no-untyped-def]
    """The same of many views: the linear point, loosened step by step; the prediction is a second place to start."""
    best, x, c2 = -1.0, work.x, settings.robust2
    for start in range(2):
        if start == 0:
            if not linear(P, q, w, x, work.A, work.g):
                continue
        elif sd > 0:
            copy3(x, prior)
        else:
            continue
        fine = True
        for scale in (64.0, 16.0, 4.0):
            fine = fine and gauss_newton(P, q, w, x, scale * c2, settings.loose_steps, work.A, work.g, work.dx)
        if fine:
            s = _score(P, q, w, x, c2, prior, sd, settings.prior_vote)
            if s > best:
                best = s
                copy3(work.best, x)
    return best


@kernel
def _robust_point(P, q, w, n, prior, sd, settings, work):  # type: ignore[no-untyped-def]
    """Whether n views give a point; it is left in ``work.x``, its normal matrix in ``work.A``."""
    c2 = settings.robust2
    if n == 2:
        if not linear(P, q, w, work.x, work.A, work.g):
            return False
        c2 = 0.0
    else:
        if n <= settings.most_paired:
            best = _from_pairs(P, q, w, prior, sd, c2, settings.prior_vote, work)
        else:
            best = _from_all(P, q, w, prior, sd, settings, work)
        if best < 0:
            return False
        copy3(work.x, work.best)
    # to the end with soft weights: a view that comes to the edge of the gate must not make the joint jump
    return gauss_newton(P, q, w, work.x, c2, settings.steps, work.A, work.g, work.dx)


@kernel
def _inliers(P, q, w, x, gate, used):  # type: ignore[no-untyped-def]
    """Number of views within the gate (σ) of x; used (C,) ← their weights, 0 of the others."""
    n = 0
    for k in range(P.shape[0]):
        used[k] = 0.0
        if w[k] > 0:
            u, v, _z = project(P[k], x)
            if math.isfinite(u) and w[k] * math.hypot(u - q[k, 0], v - q[k, 1]) < gate:
                used[k] = w[k]
                n += 1
    return n


@kernel
def _clear(out, p, j):  # type: ignore[no-untyped-def]
    out.points[p, j] = np.nan
    out.covariance[p, j] = np.nan
    out.residual[p, j] = np.nan
    out.confidence[p, j] = 0.0
    out.views[p, j] = 0
    out.chi2[p, :, j] = 0.0
    out.freedom[p, :, j] = 0.0


@kernel
def _take(given, c2, work, p, j, agree, out):  # type: ignore[no-untyped-def]
    """Write the joint at ``work.x`` that ``agree`` views stand for; False where one of them does not see it.

    c2: 0 where the weights of the last step were those of the views themselves.
    """
    x, w, q, used = work.x, work.w, work.q, work.used
    total = usable = px2 = 0.0
    inside = True
    for k in range(w.shape[0]):
        if w[k] > 0:
            usable += given.confidence[p, k, j]
        if used[k] > 0:
            u, v, z = project(given.P[k], x)
            inside = inside and math.isfinite(u)
            total += given.confidence[p, k, j]
            r2 = (u - q[k, 0]) ** 2 + (v - q[k, 1]) ** 2
            # a residual is smaller than the noise by what this view itself moved the point: its leverage
            s = used[k] * used[k]
            out.chi2[p, k, j] = s * r2
            if c2 > 0:
                s /= (1.0 + s * r2 / c2) ** 2
            out.freedom[p, k, j] = max(0.0, 2.0 - s * _leverage(given.P[k], u, v, z, out.covariance[p, j]))
            a0, a1 = distort(u, v, given.lens[k], given.fisheye[k])
            b0, b1 = distort(q[k, 0], q[k, 1], given.lens[k], given.fisheye[k])
            d0, d1 = a0 - b0, a1 - b1
            px2 += (given.K[k, 0, 0] * d0) ** 2 + (given.K[k, 1, 1] * d1) ** 2
            out.views[p, j] |= np.uint32(1) << np.uint32(k)
    if not inside:
        return False
    copy3(out.points[p, j], x)
    out.residual[p, j] = math.sqrt(px2 / agree)
    out.confidence[p, j] = min(1.0, total / agree * total / usable)
    return True


@kernel
def solve_points(given, settings, out):  # type: ignore[no-untyped-def]
    """Triangulate every joint of every person into ``out``."""
    people, C, J = given.confidence.shape
    work = Work(
        np.zeros(6), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(C), np.zeros(C), np.zeros(C),
        np.zeros((C, 2)),
    )  # fmt: skip
    x, w, q, used = work.x, work.w, work.q, work.used
    for p in range(people):
        for j in range(J):
            _clear(out, p, j)
            n = _views_of(given, p, j, w, q)
            if n < 2:
                continue
            prior = given.prior[p, j]
            sd = given.prior_sd[p, j] if math.isfinite(prior[0]) else 0.0
            if not _robust_point(given.P, q, w, n, prior, sd, settings, work):
                continue
            agree = _inliers(given.P, q, w, x, settings.gate, used)
            if agree < 2 or _widest_sine2(given.centre, x, used) < settings.least_sine2:
                continue
            if agree == 2 and sd > 0:
                # two rays nearly meet in many wrong places too: far from where the joint must be, better not seen
                d2 = (x[0] - prior[0]) ** 2 + (x[1] - prior[1]) ** 2 + (x[2] - prior[2]) ** 2
                if d2 > (settings.surprise_m + 4.0 * sd) ** 2:
                    continue
            fine = inverse3(work.A, out.covariance[p, j])
            if not fine or not _take(given, settings.robust2 if n > 2 else 0.0, work, p, j, agree, out):
                _clear(out, p, j)


@kernel
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
