"""How sure a fit is: from the posterior of its parameters to that of joints, and to what the data told. Compiled."""

import numba as nb
import numpy as np

from engines.body.rotations import FAST


@nb.njit(cache=True, fastmath=FAST)
def spread_into(bones, rest, offset, G, M, inverse, N, joint_var, turn_var):  # type: ignore[no-untyped-def]
    """joint_var (J,) m² (mean per axis) and turn_var (J, 3) rad² ← posterior variances from (L⁻¹)ᵀ.

    Down the tree: a joint moves as its parent does, plus the parent's turn in the world times the bone, plus what the
    betas that are open (N − 3 J − 3 of them) make of the bone. Returns how many parameters the data with information
    M (K, 3, 3) determine: the sum over the keypoints of trace(M · posterior covariance).
    """
    J, K = bones.parents.shape[0], offset.shape[0]
    first = 3 * J + 3
    n = N - first
    turn, move = np.empty((J, 3, N)), np.empty((J, 3, N))
    grow, o = np.empty((3, n)), np.empty(3)
    for j in range(J):
        a = bones.parents[j]
        for i in range(3):
            for c in range(N):
                s = G[j, i, 0] * inverse[3 * j, c] + G[j, i, 1] * inverse[3 * j + 1, c]
                s += G[j, i, 2] * inverse[3 * j + 2, c]
                turn[j, i, c] = s + turn[a, i, c] if a >= 0 else s
        if a < 0:
            for i in range(3):
                for c in range(N):
                    move[j, i, c] = inverse[3 * J + i, c]
        else:
            for i in range(3):
                o[i] = 0.0
                for k in range(3):
                    o[i] += G[a, i, k] * (rest[j, k] - rest[a, k])
            for c in range(N):
                w0, w1, w2 = turn[a, 0, c], turn[a, 1, c], turn[a, 2, c]
                move[j, 0, c] = move[a, 0, c] + w1 * o[2] - w2 * o[1]
                move[j, 1, c] = move[a, 1, c] + w2 * o[0] - w0 * o[2]
                move[j, 2, c] = move[a, 2, c] + w0 * o[1] - w1 * o[0]
        for i in range(3):
            for b in range(n):
                grow[i, b] = bones.rest_shape[j, i, b]
                if a >= 0:
                    grow[i, b] = 0.0
                    for k in range(3):
                        grow[i, b] += G[a, i, k] * (bones.rest_shape[j, k, b] - bones.rest_shape[a, k, b])
            for b in range(n):
                for c in range(first + b, N):  # (L⁻¹)ᵀ is an upper triangle
                    move[j, i, c] += grow[i, b] * inverse[first + b, c]
        total = 0.0
        for i in range(3):
            var = 0.0
            for c in range(N):
                total += move[j, i, c] * move[j, i, c]
                var += inverse[3 * j + i, c] * inverse[3 * j + i, c]
            turn_var[j, i] = var
        joint_var[j] = total / 3.0
    told = 0.0
    y = np.empty((3, N))
    for k in range(K):
        if M[k, 0, 0] + M[k, 1, 1] + M[k, 2, 2] <= 0.0:
            continue
        y[:] = 0.0
        for m in range(bones.terms[k]):
            j, w = bones.joint[k, m], bones.weight[k, m]
            for i in range(3):
                o[i] = 0.0
                for d in range(3):
                    o[i] += G[j, i, d] * offset[k, m, d]
            for c in range(N):
                w0, w1, w2 = turn[j, 0, c], turn[j, 1, c], turn[j, 2, c]
                y[0, c] += w * move[j, 0, c] + w1 * o[2] - w2 * o[1]
                y[1, c] += w * move[j, 1, c] + w2 * o[0] - w0 * o[2]
                y[2, c] += w * move[j, 2, c] + w0 * o[1] - w1 * o[0]
            for i in range(3):
                for b in range(n):
                    s = 0.0
                    for d in range(3):
                        s += G[j, i, d] * bones.offset_shape[k, m, d, b]
                    for c in range(first + b, N):
                        y[i, c] += s * inverse[first + b, c]
        for c in range(N):
            told += M[k, 0, 0] * y[0, c] * y[0, c] + M[k, 1, 1] * y[1, c] * y[1, c] + M[k, 2, 2] * y[2, c] * y[2, c]
            told += 2.0 * (
                M[k, 0, 1] * y[0, c] * y[1, c] + M[k, 0, 2] * y[0, c] * y[2, c] + M[k, 1, 2] * y[1, c] * y[2, c]
            )
    return told
