"""A step of the whole sequence on a CPU: its normal equations as one band matrix, factored directly.

The fast twin of :class:`engines.body.sequence.solver.SequenceSolver`'s conjugate gradients. Frames are blocks of D = 3
J + 3 unknowns; a second difference in time joins joint with the same joint of the two frames behind, so nothing lies
further
from the diagonal than 2 D + 2. Such a matrix is factored by LAPACK's ``dpbtrf`` in D (2 D)² multiplications a frame,
which is less than the gradients need, and the step is exact.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.fit.kernels import Bones, normal_into
from kinecast.engines.body.model.rotations import FAST

Float = NDArray[np.float64]


class Point(NamedTuple):
    """A point of the search over N frames, as :class:`engines.body.sequence.solver.State` has it.

    limit: rad, of the joints; damping of what a frame says alone; any: added to every diagonal.
    G: (N, J, 3, 3), p: (N, J, 3), x: (N, K, 3), M: (N, K, 3, 3), g: (N, K, 3). xi, over: (N, 3 J − 3) coordinates of
    the prior and how far they are beyond the limits. A: (N, J − 1, 3, 3) right inverse Jacobian at xi. component: (N,).
    weight: (N,) of the prior.
    """

    limit: float
    damping: float
    any: float
    G: Float
    p: Float
    x: Float
    M: Float
    g: Float
    xi: Float
    over: Float
    A: Float
    component: NDArray[np.int64]
    weight: Float


class Ties(NamedTuple):
    """What time says: rate: (N − 1,) 1/s, turn, move: (N − 2,) weights of the second differences of turns
    a: (N − 2, J, 3) and path b: (N − 2, 3). A: (N − 1, J, 3, 3) Jacobian of each turn. All empty where nothing is said.
    """

    rate: Float
    turn: Float
    move: Float
    a: Float
    b: Float
    A: Float


def step(bones: Bones, offset: Float, mean: Float, precision: Float, at: Point, ties: Ties) -> Float | None:
    """What to take off, (N, 3 J + 3); None where the matrix is not positive definite.

    offset: (K, M, 3) of the keypoints, of this shape. mean (G, 3 J − 3), precision (G, 3 J − 3, 3 J − 3): the prior's.
    """
    from scipy.linalg.lapack import dpbtrf, dpbtrs

    N, D = len(at.G), 3 * at.G.shape[1] + 3
    band, h = np.zeros((N * D, 2 * D + 3)), np.zeros((N, D))
    _frames_into(bones, offset, mean, precision, at, band, h)
    if len(ties.turn):
        _ties_into(ties, band, h)
    factor, failed = dpbtrf(band.T, lower=1, overwrite_ab=1)  # the transpose is in Fortran's order: nothing is copied
    if failed:
        return None
    found: Any = dpbtrs(factor, h.reshape(-1), lower=1)[0]
    return np.asarray(found, np.float64).reshape(N, D)


@kernel(fastmath=FAST)
def _frames_into(bones, offset, mean, precision, at, band, h):  # type: ignore[no-untyped-def]
    """band (N D, 2 D + 3) and h (N, D) ← what each frame says on its own; band[j, i − j] is the entry (i, j), i ≥ j."""
    N, D = h.shape
    n = at.A.shape[1]
    H = np.empty((D, D))
    off, grad, QA = np.empty(3 * n), np.empty(3 * n), np.empty((3, 3))
    for f in range(N):
        normal_into(bones, offset, at.G[f], at.p[f], at.x[f], at.M[f], at.g[f], 0, H, h[f])
        Q, weight, A = precision[at.component[f]], at.weight[f], at.A[f]
        for i in range(3 * n):
            off[i] = at.xi[f, i] - mean[at.component[f], i]
        for i in range(3 * n):
            s = 0.0
            for k in range(3 * n):
                s += Q[i, k] * off[k]
            grad[i] = weight * s + at.over[f, i] / at.limit**2
        for a in range(n):
            for c in range(3):
                h[f, 3 + 3 * a + c] += (
                    A[a, 0, c] * grad[3 * a] + A[a, 1, c] * grad[3 * a + 1] + A[a, 2, c] * grad[3 * a + 2]
                )
            for b in range(a + 1):
                for i in range(3):
                    for c in range(3):
                        s = 0.0
                        for k in range(3):
                            q = weight * Q[3 * a + i, 3 * b + k]
                            if a == b and i == k and at.over[f, 3 * a + i] != 0.0:
                                q += 1.0 / at.limit**2
                            s += q * A[b, k, c]
                        QA[i, c] = s
                for i in range(3):
                    for c in range(3):
                        H[3 + 3 * a + i, 3 + 3 * b + c] += (
                            A[a, 0, i] * QA[0, c] + A[a, 1, i] * QA[1, c] + A[a, 2, i] * QA[2, c]
                        )
        for j in range(D):
            row = band[f * D + j]
            row[0] = H[j, j] + at.damping * H[j, j] + at.damping + at.any
            for i in range(j + 1, D):
                row[i - j] = H[i, j]


@kernel(fastmath=FAST)
def _ties_into(ties, band, h):  # type: ignore[no-untyped-def]
    """band and h += what the second differences say of three frames each."""
    N, D = h.shape
    J = ties.A.shape[1]
    E = np.empty((3, 3, 3))  # of the three frames: how the difference changes with a turn of the joint
    e = np.empty(3)
    for m in range(N - 2):
        r0, r1 = ties.rate[m], ties.rate[m + 1]
        w = ties.turn[m]
        if w > 0.0:
            for j in range(J):
                for i in range(3):
                    for c in range(3):
                        E[0, i, c] = r0 * ties.A[m, j, c, i]
                        E[1, i, c] = -r0 * ties.A[m, j, i, c] - r1 * ties.A[m + 1, j, c, i]
                        E[2, i, c] = r1 * ties.A[m + 1, j, i, c]
                for u in range(3):
                    for i in range(3):
                        s = 0.0
                        for k in range(3):
                            s += E[u, k, i] * ties.a[m, j, k]
                        h[m + u, 3 * j + i] += w * s
                        for v in range(u + 1):
                            for c in range(3):
                                if u == v and c > i:
                                    continue
                                s = E[u, 0, i] * E[v, 0, c] + E[u, 1, i] * E[v, 1, c] + E[u, 2, i] * E[v, 2, c]
                                band[(m + v) * D + 3 * j + c, (u - v) * D + i - c] += w * s
        w = ties.move[m]
        if w > 0.0:
            e[0], e[1], e[2] = r0, -r0 - r1, r1
            for i in range(3):
                for u in range(3):
                    h[m + u, 3 * J + i] += w * e[u] * ties.b[m, i]
                    for v in range(u + 1):
                        band[(m + v) * D + 3 * J + i, (u - v) * D] += w * e[u] * e[v]
