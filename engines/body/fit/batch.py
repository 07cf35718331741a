"""Everybody at once: what is kept of each person as arrays, and one compiled call that takes them all a frame further.

The arrays have S places, one a person; a call works on the places ``rows``, in that order, and no person sees another's
numbers, so that a batch is the same bit for bit as one at a time. Several guesses of one person are a batch as well.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.fit.expectation import Past, PriorArrays, Weights
from kinecast.engines.body.fit.foot_contact import add_foot_contacts, update_foot_contacts
from kinecast.engines.body.fit.kernels import Bones, PersonKeypoints, pose_into, shape_into
from kinecast.engines.body.fit.levenberg_marquardt import FitOutputs, FitProblem, PersonState, fit_person
from kinecast.engines.body.model.rotations import FAST, straighten

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

FEET = 6  # points of the feet that can rest


class BodyStates(NamedTuple):
    """R: (S, 24, 3, 3), t: (S, 3), beta: (S, B): the last fit. turn_var: (S, 24, 3), joint_var: (S, 24): its variances.

    open: (S,) betas that are fitted with the pose, 0 where they are held. place (S, 6, 3), place_info (S, 6, 3, 3),
    frames (S, 6) and resting (S, 6): where each point of the feet rests, see :mod:`engines.body.fit.foot_contact`.
    """

    R: Float
    t: Float
    beta: Float
    turn_var: Float
    joint_var: Float
    open: Int
    place: Float
    place_info: Float
    frames: Float
    resting: Bool


class KeypointBatch(NamedTuple):
    """Q observations. P: (C, 3, 4), focal: (C,) px. xy: (Q, C, K, 2), w: (Q, C, K), X: (Q, K, 3), info: (Q, K, 3, 3).

    Each as in ``kernels.PersonKeypoints``.
    """

    P: Float
    focal: Float
    xy: Float
    w: Float
    X: Float
    info: Float


class Expected(NamedTuple):
    """Where N people are expected: R (N, 24, 3, 3), w (N, 24, 3) 1/rad², t (N, 3), wt (N,) 1/m²; prior (N,): its
    weight. offset: (O, K, M, 3) m, keypoints of bodies of zero betas, of which each has the one of number own (N,).
    """

    R: Float
    w: Float
    t: Float
    wt: Float
    prior: Float
    offset: Float
    own: Int


class SolverSettings(NamedTuple):
    """robust2: σ², of the robust cost; steps: at most; limit, small_rad, gain, persistent, common: see ``Weights``.

    gate2: σ², of what is explained. feet: (6,) keypoint of each point of the feet, −1 where there is none; need: (N,)
    frames until a point rests; 0: feet are not held.
    """

    robust2: float
    steps: int
    limit: float
    small_rad: float
    gain: float
    gate2: float
    persistent: float
    common: float
    feet: Int
    need: Float


class Solved(NamedTuple):
    """points: (N, K, 3), joints: (N, 24, 3) m. cost, parameters: (N,) see ``fit_person``; steps: (N,).

    residual: (N, 4) of the explained keypoints: sum of squares in px², the same in σ², number; and number given.
    """

    points: Float
    joints: Float
    cost: Float
    steps: Int
    parameters: Float
    residual: Float


def empty_states(number: int, betas: int) -> BodyStates:
    """Empty places."""
    n = number
    return BodyStates(
        np.zeros((n, 24, 3, 3)), np.zeros((n, 3)), np.zeros((n, betas)), np.zeros((n, 24, 3)), np.zeros((n, 24)),
        np.zeros(n, np.int64), np.zeros((n, FEET, 3)), np.zeros((n, FEET, 3, 3)),
        np.zeros((n, FEET)), np.zeros((n, FEET), np.bool_),
    )  # fmt: skip


def repeat_states(people: BodyStates, number: int) -> BodyStates:
    """Every place ``number`` times."""
    return BodyStates(*(np.repeat(array, number, axis=0) for array in people))  # type: ignore[arg-type]


def concat_states(people: BodyStates, other: BodyStates) -> BodyStates:
    """These places, then the others."""
    return BodyStates(*(np.concatenate(pair) for pair in zip(people, other, strict=True)))


def copy_state(people: BodyStates, row: int, other: BodyStates, from_row: int) -> None:
    """Copy one person's place."""
    for mine, theirs in zip(people, other, strict=True):
        mine[row] = theirs[from_row]


def solve_all(
    bones: Bones,
    views: KeypointBatch,
    of: Int,
    prior: PriorArrays,
    people: BodyStates,
    rows: Int,
    expected: Expected,
    rules: SolverSettings,
) -> Solved:
    """Fit the people in ``rows`` (N,) in place to the observations ``of`` (N,); returns :class:`Solved`."""
    n, K = len(rows), views.X.shape[1]
    out = Solved(
        np.empty((n, K, 3)), np.empty((n, 24, 3)), np.empty(n), np.empty(n, np.int64), np.empty(n), np.empty((n, 4))
    )
    _solve_all(bones, views, of, prior, people, rows, expected, rules, out)
    return out


@kernel(fastmath=FAST)  # as what is written out within it
def _solve_all(bones, views, of, prior, people, rows, expected, rules, out):  # type: ignore[no-untyped-def]
    B = people.beta.shape[1]
    nobody, anybody = np.zeros(B), np.eye(B)
    for i in range(rows.shape[0]):
        r, q = rows[i], of[i]
        mine = _with_offset(bones, expected.offset[expected.own[i]])
        X, info = views.X[q].copy(), views.info[q].copy()
        if rules.need[i] > 0.0:
            add_foot_contacts(rules.feet, people.place[r], people.place_info[r], people.resting[r], X, info)
        seen = PersonKeypoints(views.P, views.xy[q], views.w[q], X, info)
        # betas are open in the first fit of somebody new alone, of whom nothing is known but that they are somebody
        past = Past(expected.R[i], expected.w[i], expected.t[i], expected.wt[i], nobody, anybody)
        n = people.open[r]
        weights = Weights(
            rules.robust2, expected.prior[i], rules.limit, rules.steps, rules.small_rad, rules.gain, rules.persistent,
            rules.common,
        )  # fmt: skip
        fitted = FitOutputs(people.joint_var[r], people.turn_var[r], out.points[i])
        state = PersonState(people.R[r], people.t[r], people.beta[r])
        problem = FitProblem(mine, seen, prior, past, weights)
        out.cost[i], out.steps[i], out.parameters[i] = fit_person(problem, n, state, fitted)
        straighten(people.R[r])
        _joints_of(mine, people.beta[r], people.R[r], people.t[r], out.joints[i])
        _residuals(views.P, views.focal, views.xy[q], views.w[q], rules.gate2, out.points[i], out.residual[i])
        if rules.need[i] > 0.0:
            given = PersonKeypoints(views.P, views.xy[q], views.w[q], views.X[q], views.info[q])
            update_foot_contacts(
                given, out.points[i], rules.feet, rules.robust2, rules.need[i], people.place[r], people.place_info[r],
                people.frames[r], people.resting[r],
            )  # fmt: skip


@kernel
def _with_offset(bones, offset):  # type: ignore[no-untyped-def]
    """The bones of somebody whose keypoints lie at other offsets (K, M, 3)."""
    return Bones(
        bones.parents, bones.rest, bones.rest_shape, bones.joint, bones.weight, offset, bones.offset_shape,
        bones.terms, bones.movers, bones.n_movers, bones.under,
    )  # fmt: skip


@kernel
def _joints_of(bones, beta, R, t, out):  # type: ignore[no-untyped-def]
    rest_m, offset = np.empty(bones.rest.shape), np.empty(bones.offset.shape)
    shape_into(bones, beta, rest_m, offset)
    pose_into(bones.parents, rest_m, R, t, np.empty((out.shape[0], 3, 3)), out)


@kernel
def _residuals(P, focal, xy, w, gate2, points, out):  # type: ignore[no-untyped-def]
    """out (4,) ← see :class:`Solved`, ``residual``."""
    out[:] = 0.0
    for c in range(P.shape[0]):
        for k in range(points.shape[0]):
            if w[c, k] <= 0.0:
                continue
            out[3] += 1.0
            x = points[k]
            z = P[c, 2, 0] * x[0] + P[c, 2, 1] * x[1] + P[c, 2, 2] * x[2] + P[c, 2, 3]
            if z < 0.05:
                continue
            u = (P[c, 0, 0] * x[0] + P[c, 0, 1] * x[1] + P[c, 0, 2] * x[2] + P[c, 0, 3]) / z - xy[c, k, 0]
            v = (P[c, 1, 0] * x[0] + P[c, 1, 1] * x[1] + P[c, 1, 2] * x[2] + P[c, 1, 3]) / z - xy[c, k, 1]
            s = u * u + v * v
            if s * w[c, k] <= gate2:
                out[2] += 1.0
                out[0] += s * focal[c] * focal[c]
                out[1] += s * w[c, k]
