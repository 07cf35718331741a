"""Feet that stand do not slide: where each point of a foot rests, learnt while it rests, and held softly.

No floor is assumed, at zero or anywhere: every point of a foot has its own place of rest in space, made anew for every
step from the views alone, so a beam, a stair and a chair are as good as a floor. A point rests when the views put it
where it was for ``REST_S``; it is let go when they put it elsewhere. What the views say of a point is taken from the
data's own normal equations at the fit, so that holding a point never confirms itself.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.fit.kernels import data_into
from kinecast.engines.body.model.rotations import FAST

Float = NDArray[np.float64]

POINTS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("heel", "big_toe", "small_toe"))
REST_S = 0.15
STAY_CHI2 = 9.0  # squared distance of a point from its rest in σ, 3 degrees of freedom: 97 % stay
FAR_M = 0.05  # further than this no uncertainty excuses
HOLD_M = 0.004  # soles give, skin moves over bone
MOST_FRAMES = 60.0  # a place is the mean of so many frames: errors of the views wander
SD_LEAST_M = 0.002


@kernel(fastmath=FAST)
def _inverse(A, out):  # type: ignore[no-untyped-def]
    """out ← A⁻¹ of a symmetric (3, 3); False where it is singular."""
    c0 = A[1, 1] * A[2, 2] - A[1, 2] * A[1, 2]
    c1 = A[0, 2] * A[1, 2] - A[0, 1] * A[2, 2]
    c2 = A[0, 1] * A[1, 2] - A[0, 2] * A[1, 1]
    det = A[0, 0] * c0 + A[0, 1] * c1 + A[0, 2] * c2
    trace = A[0, 0] + A[1, 1] + A[2, 2]
    if not det > 1e-12 * trace * trace * trace:
        return False
    out[0, 0], out[0, 1], out[0, 2] = c0 / det, c1 / det, c2 / det
    out[1, 1] = (A[0, 0] * A[2, 2] - A[0, 2] * A[0, 2]) / det
    out[1, 2] = (A[0, 1] * A[0, 2] - A[0, 0] * A[1, 2]) / det
    out[2, 2] = (A[0, 0] * A[1, 1] - A[0, 1] * A[0, 1]) / det
    out[1, 0], out[2, 0], out[2, 1] = out[0, 1], out[0, 2], out[1, 2]
    return True


@kernel
def update_foot_contacts(seen, points, index, c2, need, place, info, count, resting):  # type: ignore[no-untyped-def]
    """After a fit: judge every foot point by the views alone and move, make or drop its place, in place.

    seen: without the places themselves. points: (K, 3) fitted. index: (6,) keypoint of each point of the feet, −1 where
    there is none. c2: see ``data_into``. need: frames until a point rests. place: (6, 3) m, info: (6, 3, 3) 1/m²,
    count: (6,) frames there, resting: (6,).
    """
    K = points.shape[0]
    M, g = np.empty((K, 3, 3)), np.empty((K, 3))
    data_into(seen, points, c2, M, g)
    S, V, W = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    y, off = np.empty(3), np.empty(3)
    for i in range(index.shape[0]):
        k = index[i]
        if k < 0 or not _inverse(M[k], V) or V[0, 0] + V[1, 1] + V[2, 2] > 0.03:
            continue  # not seen well enough to be told from a point at rest: it stays what it was
        for a in range(3):
            y[a] = points[k, a] - (V[a, 0] * g[k, 0] + V[a, 1] * g[k, 1] + V[a, 2] * g[k, 2])
        stays = count[i] > 0.0 and _inverse(info[i], W)
        if stays:
            for a in range(3):
                off[a] = y[a] - place[i, a]
                for b in range(3):
                    W[a, b] += V[a, b]
                W[a, a] += SD_LEAST_M * SD_LEAST_M
            stays = _inverse(W, S)
            chi2 = 0.0
            for a in range(3):
                for b in range(3):
                    chi2 += off[a] * S[a, b] * off[b]
            distance2 = off[0] ** 2 + off[1] ** 2 + off[2] ** 2
            stays = stays and chi2 < STAY_CHI2 and distance2 < FAR_M * FAR_M
        if not stays:
            count[i], resting[i] = 1.0, False
            place[i], info[i] = y, M[k]
            continue
        keep = min(1.0, MOST_FRAMES / (count[i] + 1.0))
        for a in range(3):
            for b in range(3):
                W[a, b] = info[i, a, b] * keep + M[k, a, b]
                S[a, b] = info[i, a, b] * keep
        if _inverse(W, V):
            for a in range(3):
                off[a] = 0.0
                for b in range(3):
                    off[a] += S[a, b] * place[i, b] + M[k, a, b] * y[b]
            for a in range(3):
                place[i, a] = V[a, 0] * off[0] + V[a, 1] * off[1] + V[a, 2] * off[2]
            info[i] = W
        count[i] += 1.0
        resting[i] = count[i] >= need


@kernel
def add_foot_contacts(index, place, info, resting, X, N):  # type: ignore[no-untyped-def]
    """Before a fit: add the places of the resting points to X (K, 3) and N (K, 3, 3), in place; see
    ``update_foot_contacts``."""
    V, W, S = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    b = np.empty(3)
    for i in range(index.shape[0]):
        k = index[i]
        if k < 0 or not resting[i] or not _inverse(info[i], V):
            continue
        for a in range(3):
            V[a, a] += HOLD_M * HOLD_M
        if not _inverse(V, W):
            continue
        for a in range(3):
            b[a] = 0.0
            for c in range(3):
                b[a] += N[k, a, c] * X[k, c] + W[a, c] * place[i, c]
        for a in range(3):
            for c in range(3):
                N[k, a, c] += W[a, c]
        if _inverse(N[k], S):
            for a in range(3):
                X[k, a] = S[a, 0] * b[0] + S[a, 1] * b[1] + S[a, 2] * b[2]


def foot_points(names: Sequence[str], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(6,) keypoint of each of ``POINTS`` among the K that are fitted, −1 where it is missing or not known (K,)."""
    return np.array([names.index(n) if n in names and known[names.index(n)] else -1 for n in POINTS], np.int64)
