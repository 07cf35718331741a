"""What is expected of a person before the data: a prior of poses, limits of joints, the past and the shape. Compiled.

The prior is a mixture of Gaussians over the logarithms of the 23 joints against a mean pose; the best component is
chosen once, at the start of a fit, and held (max-mixture, Olson & Agarwal 2013).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.model.rotations import FAST, between_into, log_into, right_inverse_into

Float = NDArray[np.float64]


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

    beta: (B,), beta_info: (B, B): what is known of the shape.
    """

    R: Float
    w: Float
    t: Float
    wt: float
    beta: Float
    beta_info: Float


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


@kernel(fastmath=FAST)
def prior_coordinates(prior, R, xi):  # type: ignore[no-untyped-def]
    """xi (D,) ← log(referenceᵀ R) of all joints but the root."""
    D = np.empty((3, 3))
    for j in range(1, R.shape[0]):
        between_into(prior.reference[j], R[j], D)
        log_into(D, xi[3 * (j - 1) : 3 * j])


@kernel(fastmath=FAST)
def quadratic(A, v):  # type: ignore[no-untyped-def]
    """vᵀ A v."""
    total = 0.0
    for i in range(v.shape[0]):
        s = 0.0
        for j in range(v.shape[0]):
            s += A[i, j] * v[j]
        total += s * v[i]
    return total


@kernel(fastmath=FAST)
def nearest_component(prior, xi):  # type: ignore[no-untyped-def]
    """The component that explains xi best."""
    best, at = -1e300, 0
    for g in range(prior.mean.shape[0]):
        score = prior.log_weight[g] - 0.5 * quadratic(prior.precision[g], xi - prior.mean[g])
        if score > best:
            best, at = score, g
    return at


@kernel(fastmath=FAST)
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


@kernel(fastmath=FAST)
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


@kernel(fastmath=FAST)
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


@kernel(fastmath=FAST)
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
