"""Many frames fitted each on its own from given starts: the optimiser of the SPIN loop, in one compiled call a rig.

The cost is the live solver's for a first frame (:mod:`engines.body.fit.solver`): every view's keypoints, robust, the
pose prior, the joint limits and the shape's prior, without a past. Costs of two fits of one frame may be compared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.batch import Expected, KeypointBatch, SolverSettings, empty_states, solve_all
from kinecast.engines.body.fit.expectation import PriorArrays
from kinecast.engines.body.fit.kernels import Bones
from kinecast.engines.body.fit.solver import BEGIN_SIGMA, GAIN, GATE_SIGMA, LIMIT_RAD, ROBUST_SIGMA, SMALL_RAD

Float = NDArray[np.float64]

FIRST_STEPS, STEPS = 8, 30


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """N fits. R: (N, 24, 3, 3), t: (N, 3), betas: (N, B), points: (N, K, 3) m. cost: (N,); explained: (N,) share."""

    R: Float
    t: Float
    betas: Float
    points: Float
    cost: Float
    explained: Float


def fit_from(bones: Bones, prior: PriorArrays, P: Float, xy: Float, w: Float, R: Float, t: Float, betas: Float) -> Fits:
    """The best fit of each of N frames from G starts: a few steps from every one, all the way from the cheapest.

    P: (C, 3, 4); xy: (N, C, K, 2); w: (N, C, K) inverse variance, 0 where missing; R: (N, G, 24, 3, 3), t: (N, G, 3),
    betas: (N, G, B).
    """
    N, G = R.shape[:2]
    K = xy.shape[2]
    xy = np.ascontiguousarray(np.where(w[..., None] > 0, xy, 0.0))
    views = KeypointBatch(
        np.ascontiguousarray(P), np.ones(len(P)), xy, np.ascontiguousarray(w), np.zeros((N, K, 3)),
        np.zeros((N, K, 3, 3)),
    )  # fmt: skip
    of = np.repeat(np.arange(N), G)
    flat = R.reshape(N * G, 24, 3, 3), t.reshape(N * G, 3), betas.reshape(N * G, -1)
    first = _solve(bones, prior, views, of, *flat, FIRST_STEPS, BEGIN_SIGMA)
    best = first.cost.reshape(N, G).argmin(axis=1) + G * np.arange(N)
    flat = first.R[best], first.t[best], first.betas[best]
    return _solve(bones, prior, views, np.arange(N), *flat, STEPS, ROBUST_SIGMA)


def trace(bones: Bones, prior: PriorArrays, P: Float, xy: Float, w: Float, R: Float, t: Float, betas: Float) -> Float:
    """(N, 39) the cost of each of N frames before the first and after every step of :func:`fit_from`, one start each.

    R: (N, 24, 3, 3), t: (N, 3), betas: (N, B); the others as there. A fit that has ended keeps its cost. The first
    steps go down another, wider cost; what is told is the one by which fits are compared, so it may rise there.
    """
    n, K = len(R), xy.shape[2]
    xy = np.ascontiguousarray(np.where(w[..., None] > 0, xy, 0.0))
    views = KeypointBatch(
        np.ascontiguousarray(P), np.ones(len(P)), xy, np.ascontiguousarray(w), np.zeros((n, K, 3)),
        np.zeros((n, K, 3, 3)),
    )  # fmt: skip
    of = np.arange(n)
    start, costs = (R, t, betas), []
    for phase, most, robust in ((0, FIRST_STEPS, BEGIN_SIGMA), (1, STEPS, ROBUST_SIGMA)):
        for steps in range(phase, most + 1):  # a run of fewer steps is the beginning of one of more
            f = _solve(bones, prior, views, of, *start, steps, robust)
            costs.append(_solve(bones, prior, views, of, f.R, f.t, f.betas, 0, ROBUST_SIGMA).cost)
        start = f.R, f.t, f.betas
    return np.stack(costs, axis=1)


def _solve(
    bones: Bones, prior: PriorArrays, views: KeypointBatch, of: NDArray[np.int64], R: Float, t: Float, betas: Float,
    steps: int, robust: float,
) -> Fits:  # fmt: skip
    n, B = betas.shape
    people = empty_states(n, B)
    people.R[:], people.t[:], people.beta[:] = R, t, betas
    people.open[:] = B
    expected = Expected(
        R.copy(), np.zeros((n, 24, 3)), t.copy(), np.zeros(n), np.ones(n), bones.offset[None], np.zeros(n, np.int64)
    )
    rules = SolverSettings(
        robust**2, steps, 1 / LIMIT_RAD**2, SMALL_RAD, GAIN, GATE_SIGMA**2, 0.0, 0.0, np.full(6, -1, np.int64),
        np.zeros(n),
    )  # fmt: skip
    solved = solve_all(bones, views, of, prior, people, np.arange(n), expected, rules)
    explained = solved.residual[:, 2] / np.maximum(solved.residual[:, 3], 1.0)
    return Fits(people.R, people.t, people.beta, solved.points, solved.cost, explained)


def better(old: Fits, new: Fits) -> tuple[Fits, NDArray[np.bool_]]:
    """Of each frame the cheaper fit, and (N,) where that is the new one. A fit that is no number loses."""
    cost = np.where(np.isfinite(new.cost), new.cost, np.inf)
    is_new = cost < old.cost

    def pick(a: Float, b: Float) -> Float:
        return np.where(is_new.reshape(-1, *[1] * (a.ndim - 1)), b, a)

    both = (getattr(old, n) for n in Fits.__slots__), (getattr(new, n) for n in Fits.__slots__)
    return Fits(*(pick(a, b) for a, b in zip(*both, strict=True))), is_new
