"""The arithmetic of the solver: bones, keypoints, what cameras say of them, normal equations. Compiled, no objects.

A body of J joints in a tree carries K keypoints; each is a few terms (joint, weight, offset), which is exactly what
linear blend skinning makes of a regressor over vertices. Unknowns, in this order: J rotation steps (3 each, from the
right, in the joint's own axes), the translation (3), and n betas while the shape is open. Costs are squares in standard
deviations.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.body.model.rotations import FAST, multiply_into

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NEAR_M = 0.05  # nearer to a camera than this nothing is seen


class Bones(NamedTuple):
    """J joints, K keypoints of at most M terms, B betas, at most A joints that move a keypoint.

    parents: (J,), −1 for the root; parents precede children. rest: (J, 3) m; rest_shape: (J, 3, B).
    joint, weight (K, M), offset (K, M, 3), offset_shape (K, M, 3, B), terms (K,): the terms of each keypoint.
    movers: (K, A) joints that move it, ascending; n_movers (K,); under: (K, A, M), 1 where a mover moves a term.
    """

    parents: Int
    rest: Float
    rest_shape: Float
    joint: Int
    weight: Float
    offset: Float
    offset_shape: Float
    terms: Int
    movers: Int
    n_movers: Int
    under: Int


class PersonKeypoints(NamedTuple):
    """What is known of one person. P: (C, 3, 4) normalised cameras. xy: (C, K, 2); w: (C, K) inverse variance, 0 where
    not seen. X: (K, 3) points, info: (K, 3, 3) inverse covariance, zero where not given.

    Whoever renames a tuple that kernels take moves their lines too: numba finds what it cached by a function's line,
    and cannot read what names a class that is gone.
    """

    P: Float
    xy: Float
    w: Float
    X: Float
    info: Float


@kernel(fastmath=FAST)
def shape_into(bones, beta, rest, offset):  # type: ignore[no-untyped-def]
    """rest (J, 3) and offset (K, M, 3) ← the body of that shape."""
    n = beta.shape[0]
    for j in range(rest.shape[0]):
        for d in range(3):
            s = bones.rest[j, d]
            for b in range(n):
                s += bones.rest_shape[j, d, b] * beta[b]
            rest[j, d] = s
    for k in range(offset.shape[0]):
        for m in range(bones.terms[k]):
            for d in range(3):
                s = bones.offset[k, m, d]
                for b in range(n):
                    s += bones.offset_shape[k, m, d, b] * beta[b]
                offset[k, m, d] = s


@kernel(fastmath=FAST)
def pose_into(parents, rest, R, t, G, p):  # type: ignore[no-untyped-def]
    """G (J, 3, 3) and p (J, 3) ← rotations and places in the world of joints with local rotations R."""
    for j in range(parents.shape[0]):
        a = parents[j]
        if a < 0:
            for i in range(3):
                p[j, i] = rest[j, i] + t[i]
                for k in range(3):
                    G[j, i, k] = R[j, i, k]
        else:
            multiply_into(G[a], R[j], G[j])
            x, y, z = rest[j, 0] - rest[a, 0], rest[j, 1] - rest[a, 1], rest[j, 2] - rest[a, 2]
            for i in range(3):
                p[j, i] = p[a, i] + G[a, i, 0] * x + G[a, i, 1] * y + G[a, i, 2] * z


@kernel(fastmath=FAST)
def keypoints_into(bones, offset, G, p, x):  # type: ignore[no-untyped-def]
    """x (K, 3) ← the keypoints."""
    for k in range(x.shape[0]):
        for i in range(3):
            x[k, i] = 0.0
        for m in range(bones.terms[k]):
            j, w = bones.joint[k, m], bones.weight[k, m]
            for i in range(3):
                x[k, i] += (
                    w * p[j, i]
                    + G[j, i, 0] * offset[k, m, 0]
                    + G[j, i, 1] * offset[k, m, 1]
                    + G[j, i, 2] * offset[k, m, 2]
                )


@kernel(fastmath=FAST)
def data_into(seen, x, c2, M, g):  # type: ignore[no-untyped-def]
    """M (K, 3, 3), g (K, 3) ← Gauss–Newton information and half gradient of the data at keypoints x; returns the cost.

    Robust after Geman & McClure (1985): a squared residual s counts s / (1 + s / c2), so nothing counts more than c2.
    """
    cost = 0.0
    for k in range(x.shape[0]):
        for i in range(3):
            g[k, i] = 0.0
            for j in range(3):
                M[k, i, j] = 0.0
        for c in range(seen.P.shape[0]):
            w = seen.w[c, k]
            if w <= 0.0:
                continue
            Q = seen.P[c]
            Z = Q[2, 0] * x[k, 0] + Q[2, 1] * x[k, 1] + Q[2, 2] * x[k, 2] + Q[2, 3]
            if Z < NEAR_M:
                cost += c2
                continue
            u = (Q[0, 0] * x[k, 0] + Q[0, 1] * x[k, 1] + Q[0, 2] * x[k, 2] + Q[0, 3]) / Z
            v = (Q[1, 0] * x[k, 0] + Q[1, 1] * x[k, 1] + Q[1, 2] * x[k, 2] + Q[1, 3]) / Z
            ru, rv = u - seen.xy[c, k, 0], v - seen.xy[c, k, 1]
            s = w * (ru * ru + rv * rv)
            rho = 1.0 / (1.0 + s / c2)
            cost += s * rho
            w *= rho * rho
            a0, a1, a2 = (Q[0, 0] - u * Q[2, 0]) / Z, (Q[0, 1] - u * Q[2, 1]) / Z, (Q[0, 2] - u * Q[2, 2]) / Z
            b0, b1, b2 = (Q[1, 0] - v * Q[2, 0]) / Z, (Q[1, 1] - v * Q[2, 1]) / Z, (Q[1, 2] - v * Q[2, 2]) / Z
            M[k, 0, 0] += w * (a0 * a0 + b0 * b0)
            M[k, 0, 1] += w * (a0 * a1 + b0 * b1)
            M[k, 0, 2] += w * (a0 * a2 + b0 * b2)
            M[k, 1, 1] += w * (a1 * a1 + b1 * b1)
            M[k, 1, 2] += w * (a1 * a2 + b1 * b2)
            M[k, 2, 2] += w * (a2 * a2 + b2 * b2)
            g[k, 0] += w * (a0 * ru + b0 * rv)
            g[k, 1] += w * (a1 * ru + b1 * rv)
            g[k, 2] += w * (a2 * ru + b2 * rv)
        N = seen.info[k]
        if N[0, 0] + N[1, 1] + N[2, 2] > 0.0:
            r0, r1, r2 = x[k, 0] - seen.X[k, 0], x[k, 1] - seen.X[k, 1], x[k, 2] - seen.X[k, 2]
            e0 = N[0, 0] * r0 + N[0, 1] * r1 + N[0, 2] * r2
            e1 = N[1, 0] * r0 + N[1, 1] * r1 + N[1, 2] * r2
            e2 = N[2, 0] * r0 + N[2, 1] * r1 + N[2, 2] * r2
            s = r0 * e0 + r1 * e1 + r2 * e2
            rho = 1.0 / (1.0 + s / c2)
            cost += s * rho
            w = rho * rho
            g[k, 0] += w * e0
            g[k, 1] += w * e1
            g[k, 2] += w * e2
            for i in range(3):
                for j in range(i, 3):
                    M[k, i, j] += w * N[i, j]
        M[k, 1, 0], M[k, 2, 0], M[k, 2, 1] = M[k, 0, 1], M[k, 0, 2], M[k, 1, 2]
    return cost


@kernel(fastmath=FAST)
def shape_motion_into(bones, G, n, dp):  # type: ignore[no-untyped-def]
    """dp (J, 3, n) ← how the joints move with each beta, the rotations held."""
    for j in range(bones.parents.shape[0]):
        a = bones.parents[j]
        for i in range(3):
            for b in range(n):
                if a < 0:
                    dp[j, i, b] = bones.rest_shape[j, i, b]
                else:
                    s = dp[a, i, b]
                    for k in range(3):
                        s += G[a, i, k] * (bones.rest_shape[j, k, b] - bones.rest_shape[a, k, b])
                    dp[j, i, b] = s


@kernel(fastmath=FAST)
def normal_into(bones, offset, G, p, x, M, g, n, H, h):  # type: ignore[no-untyped-def]
    """Lower triangle of H and h ← normal equations of the data alone; n betas are open."""
    J, K = bones.parents.shape[0], x.shape[0]
    at = 3 * J
    ob = at + 3
    H[:] = 0.0
    h[:] = 0.0
    B = np.empty((bones.movers.shape[1], 3, 3))
    MB = np.empty((3, 3))
    v = np.empty((bones.joint.shape[1], 3))
    dp = np.empty((J, 3, n))
    D, MD = np.empty((3, n)), np.empty((3, n))
    if n:
        shape_motion_into(bones, G, n, dp)
    for k in range(K):
        if M[k, 0, 0] + M[k, 1, 1] + M[k, 2, 2] <= 0.0:
            continue
        Mk, gk = M[k], g[k]
        for m in range(bones.terms[k]):
            j = bones.joint[k, m]
            for i in range(3):
                v[m, i] = (
                    G[j, i, 0] * offset[k, m, 0] + G[j, i, 1] * offset[k, m, 1] + G[j, i, 2] * offset[k, m, 2]
                ) + bones.weight[k, m] * p[j, i]
        count = bones.n_movers[k]
        for q in range(count):
            a = bones.movers[k, q]
            y0 = y1 = y2 = 0.0
            for m in range(bones.terms[k]):
                if bones.under[k, q, m]:
                    w = bones.weight[k, m]
                    y0 += v[m, 0] - w * p[a, 0]
                    y1 += v[m, 1] - w * p[a, 1]
                    y2 += v[m, 2] - w * p[a, 2]
            for c in range(3):  # a turn about axis c of joint a moves the keypoint by column c of −[y]× G
                r0, r1, r2 = G[a, 0, c], G[a, 1, c], G[a, 2, c]
                B[q, 0, c], B[q, 1, c], B[q, 2, c] = y2 * r1 - y1 * r2, y0 * r2 - y2 * r0, y1 * r0 - y0 * r1
        if n:
            for i in range(3):
                for b in range(n):
                    s = 0.0
                    for m in range(bones.terms[k]):
                        j = bones.joint[k, m]
                        s += bones.weight[k, m] * dp[j, i, b]
                        for c in range(3):
                            s += G[j, i, c] * bones.offset_shape[k, m, c, b]
                    D[i, b] = s
            for i in range(3):
                for b in range(n):
                    MD[i, b] = Mk[i, 0] * D[0, b] + Mk[i, 1] * D[1, b] + Mk[i, 2] * D[2, b]
            for b in range(n):
                h[ob + b] += D[0, b] * gk[0] + D[1, b] * gk[1] + D[2, b] * gk[2]
                for i in range(3):
                    H[ob + b, at + i] += MD[i, b]
                for b2 in range(b + 1):
                    H[ob + b, ob + b2] += D[0, b] * MD[0, b2] + D[1, b] * MD[1, b2] + D[2, b] * MD[2, b2]
        for q in range(count):
            ia = 3 * bones.movers[k, q]
            multiply_into(Mk, B[q], MB)
            for c in range(3):
                h[ia + c] += B[q, 0, c] * gk[0] + B[q, 1, c] * gk[1] + B[q, 2, c] * gk[2]
                for i in range(3):
                    H[at + i, ia + c] += MB[i, c]
            for q2 in range(q, count):
                i2 = 3 * bones.movers[k, q2]
                for c2 in range(3):
                    b0, b1, b2_ = B[q2, 0, c2], B[q2, 1, c2], B[q2, 2, c2]
                    for c in range(3):
                        H[i2 + c2, ia + c] += b0 * MB[0, c] + b1 * MB[1, c] + b2_ * MB[2, c]
            for b in range(n):
                for c in range(3):
                    H[ob + b, ia + c] += B[q, 0, c] * MD[0, b] + B[q, 1, c] * MD[1, b] + B[q, 2, c] * MD[2, b]
        for i in range(3):
            h[at + i] += gk[i]
            for j in range(i + 1):
                H[at + i, at + j] += Mk[i, j]


@kernel(fastmath=FAST)
def cholesky(A, L, n):  # type: ignore[no-untyped-def]
    """L (n, n) ← lower Cholesky factor of the lower triangle of A; False where it is not positive definite."""
    for j in range(n):
        s = A[j, j]
        for k in range(j):
            s -= L[j, k] * L[j, k]
        if not s > 0.0:
            return False
        d = np.sqrt(s)
        L[j, j] = d
        d = 1.0 / d
        i = j + 1
        while i + 4 <= n:  # four rows at a time share what is read of row j
            s0, s1, s2, s3 = A[i, j], A[i + 1, j], A[i + 2, j], A[i + 3, j]
            for k in range(j):
                f = L[j, k]
                s0 -= f * L[i, k]
                s1 -= f * L[i + 1, k]
                s2 -= f * L[i + 2, k]
                s3 -= f * L[i + 3, k]
            L[i, j], L[i + 1, j], L[i + 2, j], L[i + 3, j] = s0 * d, s1 * d, s2 * d, s3 * d
            i += 4
        while i < n:
            s = A[i, j]
            for k in range(j):
                s -= L[j, k] * L[i, k]
            L[i, j] = s * d
            i += 1
    return True


@kernel(fastmath=FAST)
def cholesky_solve(L, b, n, x):  # type: ignore[no-untyped-def]
    """x (n,) ← solution of L Lᵀ x = b."""
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= L[i, k] * x[k]
        x[i] = s / L[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= L[i, i]
        for k in range(i):
            x[k] -= L[i, k] * x[i]


@kernel(fastmath=FAST)
def invert_lower_transposed(L, n, out):  # type: ignore[no-untyped-def]
    """out (n, ≥ n) ← (L⁻¹)ᵀ, upper triangle, the rest of n columns zero.

    The squares of row c add to the variance of unknown c.
    """
    W = np.zeros((n, n))
    for i in range(n):
        k = 0
        while k + 4 <= i:  # four rows at a time write row i once
            f0, f1, f2, f3 = L[i, k], L[i, k + 1], L[i, k + 2], L[i, k + 3]
            for c in range(k + 4):
                W[i, c] -= f0 * W[k, c] + f1 * W[k + 1, c] + f2 * W[k + 2, c] + f3 * W[k + 3, c]
            k += 4
        while k < i:
            f = L[i, k]
            for c in range(k + 1):
                W[i, c] -= f * W[k, c]
            k += 1
        f = 1.0 / L[i, i]
        for c in range(i):
            W[i, c] *= f
        W[i, i] = f
    for i in range(n):
        for c in range(n):
            out[c, i] = W[i, c]
