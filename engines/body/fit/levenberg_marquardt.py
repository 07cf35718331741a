"""Levenberg–Marquardt for one person: data, pose prior, joint limits, the past and the shape in one cost. Compiled.

What is marked ``inline`` is written out where it is called: else each of these would be compiled, with all that it
calls, by itself and again within the next. Nothing here knows cameras by name, people or time:
:mod:`engines.body.fit.solver` does. The betas are held, but in the first fit of somebody new; what frames say of them
is another matter: :mod:`engines.body.fit.shape_look`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.fit.covariance import drop_contradicted, marginal_covariance_into, shifts_into
from kinecast.engines.body.fit.expectation import (
    Past,
    PriorArrays,
    Weights,
    add_past,
    add_prior,
    expectation_cost,
    nearest_component,
    prior_blocks,
    prior_coordinates,
)
from kinecast.engines.body.fit.kernels import (
    Bones,
    PersonKeypoints,
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
    exp_into,
    multiply_into,
    right_inverse_into,
)

Float = NDArray[np.float64]


class FitProblem(NamedTuple):
    """What one person is fitted to, and how."""

    bones: Bones
    seen: PersonKeypoints
    prior: PriorArrays
    past: Past
    weights: Weights


class PersonState(NamedTuple):
    """R: (J, 3, 3) local rotations. t: (3,) m. beta: (B,)."""

    R: Float
    t: Float
    beta: Float


class FitOutputs(NamedTuple):
    """joint_var: (J,) m², turn_var: (J, 3) rad²: posterior variances. points: (K, 3) fitted keypoints, m."""

    joint_var: Float
    turn_var: Float
    points: Float


class PosedBody(NamedTuple):
    """G: (J, 3, 3) world rotations, p: (J, 3) joints, x: (K, 3) keypoints; M: (K, 3, 3) and g: (K, 3), see
    ``data_into``."""

    G: Float
    p: Float
    x: Float
    M: Float
    g: Float


class NormalEquations(NamedTuple):
    """H: (N, N) lower triangle, h: (N,) half the gradient."""

    H: Float
    h: Float


class Room(NamedTuple):
    """rest: (J, 3) and offset: (K, M, 3), see ``shape_into``. xi: (D,), turned: (J, 3), see ``expectation_cost``.

    blocks: (D, D), see ``prior_blocks``. A, L: (N, N) a damped matrix and its factor, step: (N,). turn: (3, 3).
    """

    rest: Float
    offset: Float
    xi: Float
    turned: Float
    blocks: Float
    A: Float
    L: Float
    step: Float
    turn: Float


@kernel(fastmath=FAST)
def marginalise_pose(H, h, n, info, gradient):  # type: ignore[no-untyped-def]
    """info (n, n), gradient (n,) ← information and half gradient of one frame on the betas, pose marginalised out.

    H, h: of data and some of the pose prior, without the past, which would count the frames before once more.
    """
    m = H.shape[0] - n
    A, L, y, z = np.empty((m, m)), np.empty((m, m)), np.empty((n, m)), np.empty(m)
    for a in range(n):
        gradient[a] = 0.0
    for i in range(m):
        for j in range(i + 1):
            A[i, j] = H[i, j]
        A[i, i] += 1.0  # a radian, a metre: what the data do not see must not make it singular
    for a in range(n):
        for b in range(n):
            info[a, b] = 0.0
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
        gradient[a] = s
        for b in range(a + 1):
            s = H[m + a, m + b]
            for i in range(m):
                s -= y[a, i] * y[b, i]
            info[a, b] = s
            info[b, a] = s


@kernel(fastmath=FAST)
def stated_information(past, weights, turned, blocks, H):  # type: ignore[no-untyped-def]
    """Lower triangle of H, the information at the fit ← what of it may be stated, errors that persist counted.

    To that share the past is left out and the prior counts whole; see :mod:`engines.body.fit.covariance`.
    """
    J, D = past.R.shape[0], blocks.shape[0]
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


@kernel(fastmath=FAST)
def _evaluate(problem, n, component, state, room, posed):  # type: ignore[no-untyped-def]
    """Cost of a state; posed ← the body and the data's own terms there, xi and turned of ``room`` ← as in
    ``expectation_cost``."""
    bones, weights = problem.bones, problem.weights
    if n:
        shape_into(bones, state.beta, room.rest, room.offset)
    pose_into(bones.parents, room.rest, state.R, state.t, posed.G, posed.p)
    keypoints_into(bones, room.offset, posed.G, posed.p, posed.x)
    cost = data_into(problem.seen, posed.x, weights.c2, posed.M, posed.g)
    return cost + expectation_cost(
        problem.prior, problem.past, weights, component, state.R, state.t, state.beta, n, room.xi, room.turned
    )


@kernel(fastmath=FAST, inline="always")
def _linearise(problem, n, component, state, room, posed, normal):  # type: ignore[no-untyped-def]
    """normal ← the equations of everything at a state."""
    H, h = normal.H, normal.h
    normal_into(problem.bones, room.offset, posed.G, posed.p, posed.x, posed.M, posed.g, n, H, h)
    add_prior(problem.prior, problem.weights, component, room.blocks, room.xi, H, h)
    add_past(problem.past, state.t, state.beta, n, room.turned, H, h)


@kernel(fastmath=FAST)
def _damped_step(H, h, damping, A, L, step):  # type: ignore[no-untyped-def]
    """step (N,) ← (H + damping)⁻¹ h. Returns the damping with which that could be factored."""
    N = h.shape[0]
    while True:
        for i in range(N):
            for j in range(i):
                A[i, j] = H[i, j]
            A[i, i] = H[i, i] * (1.0 + damping) + damping + 1e-9
        if cholesky(A, L, N) or damping > 1e9:
            break
        damping = damping * 10.0 + 1e-6
    cholesky_solve(L, h, N, step)
    return damping


@kernel(fastmath=FAST, inline="always")
def _stepped(state, step, n, E, out):  # type: ignore[no-untyped-def]
    """out ← ``state`` less a step (N,), whose turns change their sign; E: (3, 3) room."""
    J = state.R.shape[0]
    for j in range(J):
        for i in range(3):
            step[3 * j + i] = -step[3 * j + i]
        exp_into(step[3 * j : 3 * j + 3], E)
        multiply_into(state.R[j], E, out.R[j])
    for i in range(3):
        out.t[i] = state.t[i] - step[3 * J + i]
    for b in range(n):
        out.beta[b] = state.beta[b] - step[3 * J + 3 + b]


@kernel(fastmath=FAST, inline="always")
def _uncertainty(problem, n, component, state, room, posed, normal, out):  # type: ignore[no-untyped-def]
    """The variances of ``out`` ← those at the fit. Returns how many parameters the data determine."""
    bones, seen, weights = problem.bones, problem.seen, problem.weights
    H, h, A, L, N = normal.H, normal.h, room.A, room.L, normal.h.shape[0]
    G, p, x, M, g = posed.G, posed.p, posed.x, posed.M, posed.g
    shape_into(bones, state.beta, room.rest, room.offset)
    data_into(seen, x, weights.c2, M, g)
    if drop_contradicted(seen, x, weights.c2, M):
        expectation_cost(
            problem.prior, problem.past, weights, component, state.R, state.t, state.beta, n, room.xi, room.turned
        )
        normal_into(bones, room.offset, G, p, x, M, g, n, H, h)
        add_prior(problem.prior, weights, component, room.blocks, room.xi, H, h)
        add_past(problem.past, state.t, state.beta, n, room.turned, H, h)
    stated_information(problem.past, weights, room.turned, room.blocks, H)
    for i in range(N):
        for j in range(i):
            A[i, j] = H[i, j]
        A[i, i] = H[i, i] + 1e-6  # 1000 rad or m where nothing at all is known
    for j in range(out.joint_var.shape[0]):
        out.joint_var[j] = out.turn_var[j, 0] = out.turn_var[j, 1] = out.turn_var[j, 2] = 1e6
    if not cholesky(A, L, N):
        return 0.0
    C = seen.P.shape[0] if weights.common > 0.0 else 0
    columns = np.empty((N, N + 2 * C))
    invert_lower_transposed(L, N, columns)
    # of the views alone: places of rest and given points are not judged by their residuals
    views = PersonKeypoints(seen.P, seen.xy, seen.w, seen.X, np.zeros(seen.info.shape))
    data_into(views, x, weights.c2, M, g)
    if C:
        shifts = np.empty((2 * C, N))
        shifts_into(bones, views, room.offset, G, p, x, weights.c2, weights.common, n, shifts)
        for c in range(2 * C):
            cholesky_solve(L, shifts[c], N, room.step)
            for i in range(N):
                columns[i, N + c] = room.step[i]
    return marginal_covariance_into(bones, room.rest, room.offset, G, M, columns, n, out.joint_var, out.turn_var)


@kernel(fastmath=FAST, inline="always")
def _copy_state(state, out):  # type: ignore[no-untyped-def]
    """out ← ``state``, in loops: what numba makes of ``a[:] = b`` takes seconds to compile."""
    for j in range(state.R.shape[0]):
        for i in range(3):
            for k in range(3):
                out.R[j, i, k] = state.R[j, i, k]
    for i in range(3):
        out.t[i] = state.t[i]
    for b in range(state.beta.shape[0]):
        out.beta[b] = state.beta[b]


@kernel(fastmath=FAST, inline="always")
def _room(bones, n):  # type: ignore[no-untyped-def]
    J, N = bones.parents.shape[0], 3 * bones.parents.shape[0] + 3 + n
    D = 3 * (J - 1)
    return Room(
        np.empty((J, 3)), np.empty(bones.offset.shape), np.empty(D), np.zeros((J, 3)), np.empty((D, D)),
        np.empty((N, N)), np.empty((N, N)), np.empty(N), np.empty((3, 3)),
    )  # fmt: skip


@kernel(fastmath=FAST, inline="always")
def _posed(J, K):  # type: ignore[no-untyped-def]
    return PosedBody(np.empty((J, 3, 3)), np.empty((J, 3)), np.empty((K, 3)), np.empty((K, 3, 3)), np.empty((K, 3)))


@kernel(fastmath=FAST, inline="always")
def fit_person(problem, n, state, out):  # type: ignore[no-untyped-def]
    """Fit ``state`` in place, the first n betas with it. Returns (cost, steps taken, parameters the data determine)."""
    prior, weights = problem.prior, problem.weights
    J, K = state.R.shape[0], problem.seen.X.shape[0]
    N = 3 * J + 3 + n
    room, best, trial = _room(problem.bones, n), _posed(J, K), _posed(J, K)
    normal = NormalEquations(np.empty((N, N)), np.empty(N))
    ahead = PersonState(np.empty((J, 3, 3)), np.empty(3), np.empty(state.beta.shape[0]))
    _copy_state(state, ahead)
    prior_coordinates(prior, state.R, room.xi)
    component = nearest_component(prior, room.xi) if weights.prior > 0.0 else 0
    if weights.prior > 0.0:
        prior_blocks(prior, component, weights.prior, room.xi, room.blocks)
    shape_into(problem.bones, state.beta, room.rest, room.offset)
    cost, damping, taken = 1e300, 1e-4, 0
    for it in range(weights.steps + 1):
        new = _evaluate(problem, n, component, ahead, room, trial)
        if new < cost:
            small = it > 0 and (cost - new < weights.gain * cost)
            cost, taken = new, it
            _copy_state(ahead, state)
            best, trial = trial, best
            damping = max(damping * 0.2, 1e-7)
            if small or it == weights.steps:
                break
            _linearise(problem, n, component, state, room, best, normal)
        else:
            damping = damping * 10.0 + 1e-6
            if it == weights.steps or damping > 1e6:
                break
        damping = _damped_step(normal.H, normal.h, damping, room.A, room.L, room.step)
        largest = 0.0
        for i in range(3 * J + 3):
            largest = max(largest, abs(room.step[i]))
        if largest < weights.small_rad:
            break
        _stepped(state, room.step, n, room.turn, ahead)
    for k in range(K):
        for i in range(3):
            out.points[k, i] = best.x[k, i]
    return cost, taken, _uncertainty(problem, n, component, state, room, best, normal, out)
