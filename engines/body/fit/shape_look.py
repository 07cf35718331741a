"""What one fitted frame says of what is constant, shape and habits, and what it makes of the pose. Compiled.

The constants c (N,) are the betas and then the habits of :mod:`engines.body.fit.habits`. The fit held them; here the
frame is made linear in pose and constants at the fit, and the pose marginalised out (Schur complement).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.fit.expectation import (
    Weights,
    add_prior,
    nearest_component,
    prior_blocks,
    prior_coordinates,
)
from kinecast.engines.body.fit.kernels import (
    cholesky,
    cholesky_solve,
    data_into,
    invert_lower_transposed,
    keypoints_into,
    normal_into,
    pose_into,
    shape_into,
)
from kinecast.engines.body.fit.levenberg_marquardt import marginalise_pose
from kinecast.engines.body.model.rotations import FAST

Float = NDArray[np.float64]


class Look(NamedTuple):
    """A frame linear at constants at (N,): their information info (N, N) and half gradient (N,), the pose marginalised
    out.

    heads: (3, 3) world directions of the trunk: left, up, ahead. moved: (J, 3, N) m, how the joints of the fit move
    with each constant.
    """

    at: Float
    info: Float
    gradient: Float
    heads: Float
    moved: Float


@kernel(fastmath=FAST)
def look(bones, prior, seen, R, t, c, c2, share, limit):  # type: ignore[no-untyped-def]
    """:class:`Look` of a fit R (J, 3, 3), t (3,) with constants c to a person's keypoints.

    bones: with N columns of shape. c2: see ``data_into``. share: of the pose prior that counts. limit: 1/rad² of it
    beyond a joint's limit.
    """
    J, K, n = bones.parents.shape[0], seen.X.shape[0], c.shape[0]
    m, D = 3 * J + 3, 3 * (J - 1)
    rest, offset, G, p = np.empty((J, 3)), np.empty(bones.offset.shape), np.empty((J, 3, 3)), np.empty((J, 3))
    x, M, g = np.empty((K, 3)), np.empty((K, 3, 3)), np.empty((K, 3))
    shape_into(bones, c, rest, offset)
    pose_into(bones.parents, rest, R, t, G, p)
    keypoints_into(bones, offset, G, p, x)
    data_into(seen, x, c2, M, g)
    H, h = np.empty((m + n, m + n)), np.empty(m + n)
    normal_into(bones, offset, G, p, x, M, g, n, H, h)
    xi, blocks = np.empty(D), np.empty((D, D))
    prior_coordinates(prior, R, xi)
    component = nearest_component(prior, xi)
    prior_blocks(prior, component, share, xi, blocks)
    weights = Weights(c2, share, share * limit, 0, 0.0, 0.0, 0.0, 0.0)
    add_prior(prior, weights, component, blocks, xi, H, h)
    info, gradient = np.empty((n, n)), np.empty(n)
    marginalise_pose(H, h, n, info, gradient)
    return Look(c.copy(), info, gradient, G[0].T.copy(), _moved(bones, rest, offset, G, H, n))


@kernel(fastmath=FAST)
def _moved(bones, rest, offset, G, H, n):  # type: ignore[no-untyped-def]
    """(J, 3, n) how joints move with the constants when the pose follows them."""
    J = bones.parents.shape[0]
    m = 3 * J + 3
    out, A, L, step = np.zeros((J, 3, n)), np.empty((m, m)), np.empty((m, m)), np.empty(m)
    for i in range(m):
        for j in range(i + 1):
            A[i, j] = H[i, j]
        A[i, i] += 1.0
    if not cholesky(A, L, m):
        return out
    turn, move = np.empty((J, 3)), np.empty((J, 3))
    o, rate = np.empty(3), np.empty(3)
    for b in range(n):
        cholesky_solve(L, H[m + b, :m], m, step)
        for j in range(J):
            a = bones.parents[j]
            for i in range(3):
                turn[j, i] = -(G[j, i, 0] * step[3 * j] + G[j, i, 1] * step[3 * j + 1] + G[j, i, 2] * step[3 * j + 2])
                if a >= 0:
                    turn[j, i] += turn[a, i]
                    o[i], rate[i] = 0.0, 0.0
                    for k in range(3):
                        o[i] += G[a, i, k] * (rest[j, k] - rest[a, k])
                        rate[i] += G[a, i, k] * (bones.rest_shape[j, k, b] - bones.rest_shape[a, k, b])
            if a < 0:
                for i in range(3):
                    move[j, i] = bones.rest_shape[j, i, b] - step[3 * J + i]
            else:
                move[j, 0] = move[a, 0] + turn[a, 1] * o[2] - turn[a, 2] * o[1] + rate[0]
                move[j, 1] = move[a, 1] + turn[a, 2] * o[0] - turn[a, 0] * o[2] + rate[1]
                move[j, 2] = move[a, 2] + turn[a, 0] * o[1] - turn[a, 1] * o[0] + rate[2]
        out[:, :, b] = move
    return out


@kernel
def join_look(look, share, info, vector, mean):  # type: ignore[no-untyped-def]
    """Join ``share`` of a look to what is known, info (N, N) and vector (N,), in place (information filter); mean (N,)
    ← what is known then."""
    n = mean.shape[0]
    L = np.empty((n, n))
    for a in range(n):
        told = -look.gradient[a]
        for b in range(n):
            told += look.info[a, b] * look.at[b]
            info[a, b] += share * look.info[a, b]
        vector[a] += share * told
    if cholesky(info, L, n):
        cholesky_solve(L, vector, n, mean)


@kernel
def variances(info, along, moved):  # type: ignore[no-untyped-def]
    """(variance along (N,), (J,) mean variance per axis of joints that move (J, 3, N) with the constants)."""
    n, J = info.shape[0], moved.shape[0]
    L, y, U = np.empty((n, n)), np.empty(n), np.empty((n, n))
    out, total = np.zeros(J), 0.0
    if not cholesky(info, L, n):
        return np.inf, out
    cholesky_solve(L, along, n, y)
    for b in range(n):
        total += along[b] * y[b]
    invert_lower_transposed(L, n, U)
    for j in range(J):
        for i in range(3):
            for c in range(n):
                s = 0.0
                for b in range(c + 1):  # an upper triangle
                    s += moved[j, i, b] * U[b, c]
                out[j] += s * s / 3.0
    return total, out
