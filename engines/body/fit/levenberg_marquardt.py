"""Levenberg–Marquardt for one person: data, pose prior, joint limits, the past and the shape in one cost. Compiled.

Nothing here knows cameras by name, people or time: :mod:`engines.body.fit.solver` does. The prior is a mixture of
Gaussians over the logarithms of the 23 joints against a mean pose; the best component is chosen once, at the start, and
held (max-mixture, Olson & Agarwal 2013). The shape is told what every frame says of it once the pose is marginalised
out (Schur complement), so that frames far apart are worth as much as a batch.
"""

from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.covariance import contradicted, shifts_into, spread_into
from kinecast.engines.body.fit.kernels import (
    Seen,
    cholesky,
    cholesky_solve,
    data_into,
    invert_lower_transposed,
    keypoints_into,
    normal_into,
    pose_into,
    shape_into,
)
from kinecast.engines.body.model.rotations import (
    FAST,
    between_into,
    exp_into,
    log_into,
    multiply_into,
    right_inverse_into,
)

Float = NDArray[np.float64]

# Of the pose prior, when the shape is told: a habit that the prior does not know (a stoop) must not become a length.
SHAPE_PRIOR = 0.02


class PriorArrays(NamedTuple):
    """reference: (J, 3, 3) mean local rotations. mean: (G, D), precision: (G, D, D), log_weight: (G,) with the
    normalisation, D = 3 (J − 1), of a mixture of G Gaussians over log(referenceᵀ R), the root left out.
    low, high: (D,) joint limits in the same coordinates.
    """

    reference: Float
    mean: Float
    precision: Float
    log_weight: Float
    low: Float
    high: Float


class Past(NamedTuple):
    """Where the person is expected. R: (J, 3, 3); w: (J, 3) 1/rad², 0 where nothing is expected; t: (3,), wt: 1/m².

    beta: (B,), beta_info: (B, B): what is known of the shape; beta_sure: (B, B), how well, what persists counted.
    """

    R: Float
    w: Float
    t: Float
    wt: float
    beta: Float
    beta_info: Float
    beta_sure: Float


class Weights(NamedTuple):
    """c2: see ``data_into``. prior: of the mixture. limit: 1/rad² beyond a limit. steps: at most. small_rad: a step
    below this is the last. gain: the cost falls by less than this share: done. persistent, common: share of the
    variance of the keypoints' noise that stays from frame to frame, and that all keypoints of a view have in common.
    """

    c2: float
    prior: float
    limit: float
    steps: int
    small_rad: float
    gain: float
    persistent: float = 0.0
    common: float = 0.0


@nb.njit(cache=True, fastmath=FAST)
def prior_coordinates(prior, R, xi):  # type: ignore[no-untyped-def]
    """xi (D,) ← log(referenceᵀ R) of all joints but the root."""
    D = np.empty((3, 3))
    for j in range(1, R.shape[0]):
        between_into(prior.reference[j], R[j], D)
        log_into(D, xi[3 * (j - 1) : 3 * j])


@nb.njit(cache=True, fastmath=FAST)
def quadratic(A, v):  # type: ignore[no-untyped-def]
    """vᵀ A v."""
    total = 0.0
    for i in range(v.shape[0]):
        s = 0.0
        for j in range(v.shape[0]):
            s += A[i, j] * v[j]
        total += s * v[i]
    return total


@nb.njit(cache=True, fastmath=FAST)
def choose(prior, xi):  # type: ignore[no-untyped-def]
    """The component that explains xi best."""
    best, at = -1e300, 0
    for g in range(prior.mean.shape[0]):
        score = prior.log_weight[g] - 0.5 * quadratic(prior.precision[g], xi - prior.mean[g])
        if score > best:
            best, at = score, g
    return at


@nb.njit(cache=True, fastmath=FAST)
def expectation_cost(prior, past, weights, component, R, t, beta, n, xi, turned):  # type: ignore[no-untyped-def]
    """Cost of everything but the data; fills xi (D,) and turned (J, 3), the turns since the past."""
    cost = 0.0
    D = np.empty((3, 3))
    prior_coordinates(prior, R, xi)
    if weights.prior > 0.0:
        cost += weights.prior * quadratic(prior.precision[component], xi - prior.mean[component])
    for i in range(xi.shape[0]):
        over = max(xi[i] - prior.high[i], 0.0) + min(xi[i] - prior.low[i], 0.0)
        cost += weights.limit * over * over
    for j in range(R.shape[0]):
        if past.w[j, 0] + past.w[j, 1] + past.w[j, 2] > 0.0:
            between_into(past.R[j], R[j], D)
            log_into(D, turned[j])
            for i in range(3):
                cost += past.w[j, i] * turned[j, i] ** 2
    for i in range(3):
        cost += past.wt * (t[i] - past.t[i]) ** 2
    for a in range(n):
        for b in range(n):
            cost += (beta[a] - past.beta[a]) * past.beta_info[a, b] * (beta[b] - past.beta[b])
    return cost


@nb.njit(cache=True, fastmath=FAST)
def add_prior(prior, weights, component, blocks, xi, H, h):  # type: ignore[no-untyped-def]
    """Add the half gradient of prior and limits to h and their information to the lower triangle of H.

    blocks: (D, D) the component's precision turned into the steps' axes, times its weight.
    """
    A, D = np.empty((3, 3)), xi.shape[0]
    J = D // 3 + 1
    grad = np.zeros(D)
    if weights.prior > 0.0:
        off = xi - prior.mean[component]
        for i in range(D):
            s = 0.0
            for k in range(D):
                s += prior.precision[component, i, k] * off[k]
            grad[i] = weights.prior * s
        for i in range(D):
            for k in range(i + 1):
                H[3 + i, 3 + k] += blocks[i, k]
    for j in range(1, J):
        o = 3 * (j - 1)
        right_inverse_into(xi[o : o + 3], A)
        for i in range(3):
            over = max(xi[o + i] - prior.high[o + i], 0.0) + min(xi[o + i] - prior.low[o + i], 0.0)
            if over != 0.0:
                grad[o + i] += weights.limit * over
                for a in range(3):
                    for b in range(a + 1):
                        H[3 * j + a, 3 * j + b] += weights.limit * A[i, a] * A[i, b]
        for a in range(3):
            h[3 * j + a] += A[0, a] * grad[o] + A[1, a] * grad[o + 1] + A[2, a] * grad[o + 2]


@nb.njit(cache=True, fastmath=FAST)
def add_past(past, t, beta, n, turned, H, h):  # type: ignore[no-untyped-def]
    """The same of what was known before: pose, place and shape."""
    J = past.R.shape[0]
    A, at = np.empty((3, 3)), 3 * J
    for j in range(J):
        if past.w[j, 0] + past.w[j, 1] + past.w[j, 2] > 0.0:
            right_inverse_into(turned[j], A)
            for a in range(3):
                for i in range(3):
                    h[3 * j + a] += A[i, a] * past.w[j, i] * turned[j, i]
                for b in range(a + 1):
                    for i in range(3):
                        H[3 * j + a, 3 * j + b] += past.w[j, i] * A[i, a] * A[i, b]
    for i in range(3):
        h[at + i] += past.wt * (t[i] - past.t[i])
        H[at + i, at + i] += past.wt
    for a in range(n):
        for b in range(n):
            h[at + 3 + a] += past.beta_info[a, b] * (beta[b] - past.beta[b])
        for b in range(a + 1):
            H[at + 3 + a, at + 3 + b] += past.beta_info[a, b]


@nb.njit(cache=True, fastmath=FAST)
def prior_blocks(prior, component, weight, xi, out):  # type: ignore[no-untyped-def]
    """out (D, D) ← weight · Jᵀ Λ J, lower triangle: the precision in the axes of the joints' steps at xi."""
    n = xi.shape[0] // 3
    A = np.empty((n, 3, 3))
    T = np.empty((3, 3))
    for j in range(n):
        right_inverse_into(xi[3 * j : 3 * j + 3], A[j])
    Q = prior.precision[component]
    for j in range(n):
        for k in range(j + 1):
            for i in range(3):
                for b in range(3):
                    T[i, b] = (
                        Q[3 * j + i, 3 * k] * A[k, 0, b]
                        + Q[3 * j + i, 3 * k + 1] * A[k, 1, b]
                        + Q[3 * j + i, 3 * k + 2] * A[k, 2, b]
                    )
            for a in range(3):
                for b in range(3):
                    out[3 * j + a, 3 * k + b] = weight * (
                        A[j, 0, a] * T[0, b] + A[j, 1, a] * T[1, b] + A[j, 2, a] * T[2, b]
                    )


@nb.njit(cache=True, fastmath=FAST)
def tell_shape(H, h, n, told, pull):  # type: ignore[no-untyped-def]
    """told (n, n), pull (n,) ← information and half gradient of one frame on the betas, pose and place marginalised.

    H, h: of data and some of the pose prior, without the past, which would count the frames before once more.
    """
    m = H.shape[0] - n
    A, L, y, z = np.empty((m, m)), np.empty((m, m)), np.empty((n, m)), np.empty(m)
    pull[:] = 0.0
    for i in range(m):
        for j in range(i + 1):
            A[i, j] = H[i, j]
        A[i, i] += 1.0  # a radian, a metre: what the data do not see must not make it singular
    for a in range(n):
        for b in range(n):
            told[a, b] = 0.0
    if not cholesky(A, L, m):
        return
    for a in range(n):
        for i in range(m):
            s = H[m + a, i]
            for k in range(i):
                s -= L[i, k] * y[a, k]
            y[a, i] = s / L[i, i]
    for i in range(m):
        s = h[i]
        for k in range(i):
            s -= L[i, k] * z[k]
        z[i] = s / L[i, i]
    for a in range(n):
        s = h[m + a]
        for i in range(m):
            s -= y[a, i] * z[i]
        pull[a] = s
        for b in range(a + 1):
            s = H[m + a, m + b]
            for i in range(m):
                s -= y[a, i] * y[b, i]
            told[a, b] = s
            told[b, a] = s


@nb.njit(cache=True, fastmath=FAST)
def sure(past, weights, n, turned, blocks, H):  # type: ignore[no-untyped-def]
    """Lower triangle of H, the information at the fit ← what of it may be stated, errors that persist counted.

    To that share the past is left out and the prior counts whole; see :mod:`engines.body.fit.covariance`.
    """
    J, D = past.R.shape[0], blocks.shape[0]
    at = 3 * J + 3
    A, keep = np.empty((3, 3)), weights.persistent
    if keep > 0.0:
        if weights.prior > 0.0:
            whole = keep * (1.0 - weights.prior) / weights.prior
            for i in range(D):
                for k in range(i + 1):
                    H[3 + i, 3 + k] += whole * blocks[i, k]
        for j in range(J):
            if past.w[j, 0] + past.w[j, 1] + past.w[j, 2] > 0.0:
                right_inverse_into(turned[j], A)
                for a in range(3):
                    for b in range(a + 1):
                        for i in range(3):
                            H[3 * j + a, 3 * j + b] -= keep * past.w[j, i] * A[i, a] * A[i, b]
        for i in range(3):
            H[3 * J + i, 3 * J + i] -= keep * past.wt
    for a in range(n):
        for b in range(a + 1):
            H[at + a, at + b] += past.beta_sure[a, b] - past.beta_info[a, b]


@nb.njit(cache=True, fastmath=FAST)
def solve_one(bones, seen, prior, past, weights, n, R, t, beta, joint_var, turn_var, points, told, pull, told_at):  # type: ignore[no-untyped-def]
    """Fit in place: R (J, 3, 3), t (3,), the first n of beta. Returns (cost, steps taken, parameters the data tell).

    joint_var (J,), turn_var (J, 3): posterior variances, m² and rad². points: (K, 3) fitted keypoints.
    told: (n, n) and pull: (n,) at the betas ``told_at`` (n,), see ``tell_shape``.
    """
    J, K = R.shape[0], seen.X.shape[0]
    N, D = 3 * J + 3 + n, 3 * (J - 1)
    rest, offset = np.empty((J, 3)), np.empty(bones.offset.shape)
    G, p, x, M, g = np.empty((J, 3, 3)), np.empty((J, 3)), np.empty((K, 3)), np.empty((K, 3, 3)), np.empty((K, 3))
    G2, p2, x2, M2, g2 = np.empty_like(G), np.empty_like(p), np.empty_like(x), np.empty_like(M), np.empty_like(g)
    xi, turned = np.empty(D), np.zeros((J, 3))
    H, A, L = np.empty((N, N)), np.empty((N, N)), np.empty((N, N))
    frame_H, frame_h = np.empty((N if n else 0, N if n else 0)), np.empty(N)
    h, step, E = np.empty(N), np.empty(N), np.empty((3, 3))
    R2, t2, beta2 = R.copy(), t.copy(), beta.copy()
    blocks = np.empty((D, D))
    prior_coordinates(prior, R, xi)
    component = choose(prior, xi) if weights.prior > 0.0 else 0
    if weights.prior > 0.0:
        prior_blocks(prior, component, weights.prior, xi, blocks)
    shape_into(bones, beta, rest, offset)
    cost, damping, taken = 1e300, 1e-4, 0
    for it in range(weights.steps + 1):
        if n:
            shape_into(bones, beta2, rest, offset)
        pose_into(bones.parents, rest, R2, t2, G2, p2)
        keypoints_into(bones, offset, G2, p2, x2)
        new = data_into(seen, x2, weights.c2, M2, g2)
        new += expectation_cost(prior, past, weights, component, R2, t2, beta2, n, xi, turned)
        if new < cost:
            small = it > 0 and (cost - new < weights.gain * cost)
            cost, taken = new, it
            R[:], t[:], beta[:] = R2, t2, beta2
            G, G2, p, p2, x, x2, M, M2, g, g2 = G2, G, p2, p, x2, x, M2, M, g2, g
            damping = max(damping * 0.2, 1e-7)
            if small and it < weights.steps:
                break
            if it == weights.steps:
                break
            normal_into(bones, offset, G, p, x, M, g, n, H, h)
            if n:
                frame_H[:] = (1.0 - SHAPE_PRIOR) * H
                frame_h[:] = (1.0 - SHAPE_PRIOR) * h
            add_prior(prior, weights, component, blocks, xi, H, h)
            if n:
                frame_H[:] += SHAPE_PRIOR * H
                frame_h[:] += SHAPE_PRIOR * h
                told_at[:] = beta
            add_past(past, t, beta, n, turned, H, h)
        else:
            damping = damping * 10.0 + 1e-6
            if it == weights.steps or damping > 1e6:
                break
        while True:
            for i in range(N):
                for j in range(i):
                    A[i, j] = H[i, j]
                A[i, i] = H[i, i] * (1.0 + damping) + damping + 1e-9
            if cholesky(A, L, N) or damping > 1e9:
                break
            damping = damping * 10.0 + 1e-6
        cholesky_solve(L, h, N, step)
        largest = 0.0
        for i in range(3 * J + 3):
            largest = max(largest, abs(step[i]))
        if largest < weights.small_rad:
            break
        for j in range(J):
            for i in range(3):
                step[3 * j + i] = -step[3 * j + i]
            exp_into(step[3 * j : 3 * j + 3], E)
            multiply_into(R[j], E, R2[j])
        for i in range(3):
            t2[i] = t[i] - step[3 * J + i]
        for b in range(n):
            beta2[b] = beta[b] - step[3 * J + 3 + b]
    points[:] = x
    if n:
        tell_shape(frame_H, frame_h, n, told, pull)
    shape_into(bones, beta, rest, offset)
    data_into(seen, x, weights.c2, M, g)
    if contradicted(seen, x, weights.c2, M):
        expectation_cost(prior, past, weights, component, R, t, beta, n, xi, turned)
        normal_into(bones, offset, G, p, x, M, g, n, H, h)
        add_prior(prior, weights, component, blocks, xi, H, h)
        add_past(past, t, beta, n, turned, H, h)
    sure(past, weights, n, turned, blocks, H)
    for i in range(N):
        for j in range(i):
            A[i, j] = H[i, j]
        A[i, i] = H[i, i] + 1e-6  # 1000 rad or m where nothing at all is known
    joint_var[:] = 1e6
    turn_var[:] = 1e6
    parameters = 0.0
    if cholesky(A, L, N):
        C = seen.P.shape[0] if weights.common > 0.0 else 0
        columns = np.empty((N, N + 2 * C))
        invert_lower_transposed(L, N, columns)
        # of the views alone: places of rest and given points are not judged by their residuals
        views = Seen(seen.P, seen.xy, seen.w, seen.X, np.zeros(seen.info.shape))
        data_into(views, x, weights.c2, M, g)
        if C:
            shifts = np.empty((2 * C, N))
            shifts_into(bones, views, offset, G, p, x, weights.c2, weights.common, n, shifts)
            for c in range(2 * C):
                cholesky_solve(L, shifts[c], N, step)
                columns[:, N + c] = step
        parameters = spread_into(bones, rest, offset, G, M, columns, n, joint_var, turn_var)
    return cost, taken, parameters
