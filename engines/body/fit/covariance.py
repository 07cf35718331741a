"""How sure a fit is: from the posterior of its parameters to that of joints, and to what the data told. Compiled.

A detector's errors are not new in every frame, nor each joint's its own. Their share that persists is not averaged
away by the past, so it is judged without the past and with the whole prior; their share that all keypoints of a view
have in common (a camera that stands elsewhere, a clock that is off) moves the fit as one.
Names: G, p, offset and rest are those of a posed body, see :mod:`engines.body.fit.kernels`; N parameters, n betas.
"""

import numpy as np

from kinecast.capture.compiled import kernel
from kinecast.engines.body.fit.kernels import NEAR_M, shape_motion_into
from kinecast.engines.body.model.rotations import FAST


@kernel(fastmath=FAST)
def pulled_into(bones, offset, G, p, e, dp, n, out):  # type: ignore[no-untyped-def]
    """out (N,) ← Dᵀ e: what forces e (K, 3) on the keypoints are on the parameters, n betas open.

    Forces and torques are summed up the tree. dp: (J, 3, n), see ``shape_motion_into``.
    """
    J, K = bones.parents.shape[0], e.shape[0]
    force, torque, v = np.zeros((J, 3)), np.zeros((J, 3)), np.empty(3)
    out[:] = 0.0
    for k in range(K):
        if e[k, 0] == 0.0 and e[k, 1] == 0.0 and e[k, 2] == 0.0:
            continue
        for m in range(bones.terms[k]):
            j, w = bones.joint[k, m], bones.weight[k, m]
            for i in range(3):
                v[i] = w * p[j, i]
                for d in range(3):
                    v[i] += G[j, i, d] * offset[k, m, d]
                force[j, i] += w * e[k, i]
            torque[j, 0] += v[1] * e[k, 2] - v[2] * e[k, 1]
            torque[j, 1] += v[2] * e[k, 0] - v[0] * e[k, 2]
            torque[j, 2] += v[0] * e[k, 1] - v[1] * e[k, 0]
            for b in range(n):
                for i in range(3):
                    s = w * dp[j, i, b]
                    for d in range(3):
                        s += G[j, i, d] * bones.offset_shape[k, m, d, b]
                    out[3 * J + 3 + b] += s * e[k, i]
    for j in range(J - 1, -1, -1):
        a = bones.parents[j]
        v[0] = torque[j, 0] - (p[j, 1] * force[j, 2] - p[j, 2] * force[j, 1])
        v[1] = torque[j, 1] - (p[j, 2] * force[j, 0] - p[j, 0] * force[j, 2])
        v[2] = torque[j, 2] - (p[j, 0] * force[j, 1] - p[j, 1] * force[j, 0])
        for c in range(3):
            out[3 * j + c] = G[j, 0, c] * v[0] + G[j, 1, c] * v[1] + G[j, 2, c] * v[2]
        for i in range(3):
            if a >= 0:
                force[a, i] += force[j, i]
                torque[a, i] += torque[j, i]
            else:
                out[3 * J + i] += force[j, i]


@kernel(fastmath=FAST)
def shifts_into(bones, seen, offset, G, p, x, c2, share, n, out):  # type: ignore[no-untyped-def]
    """out (2 C, N) ← what one standard deviation of a shift of a whole view, along u and v, is on the parameters.

    share: of the variance of the keypoints' noise that all of a view have in common.
    """
    K = x.shape[0]
    e, dp = np.empty((2, K, 3)), np.empty((bones.parents.shape[0], 3, n))
    if n:
        shape_motion_into(bones, G, n, dp)
    for c in range(seen.P.shape[0]):
        Q = seen.P[c]
        e[:] = 0.0
        total, count = 0.0, 0
        for k in range(K):
            w = seen.w[c, k]
            Z = Q[2, 0] * x[k, 0] + Q[2, 1] * x[k, 1] + Q[2, 2] * x[k, 2] + Q[2, 3]
            if w <= 0.0 or Z < NEAR_M:
                continue
            u = (Q[0, 0] * x[k, 0] + Q[0, 1] * x[k, 1] + Q[0, 2] * x[k, 2] + Q[0, 3]) / Z
            v = (Q[1, 0] * x[k, 0] + Q[1, 1] * x[k, 1] + Q[1, 2] * x[k, 2] + Q[1, 3]) / Z
            s = w * ((u - seen.xy[c, k, 0]) ** 2 + (v - seen.xy[c, k, 1]) ** 2)
            rho = 1.0 / (1.0 + s / c2)
            total += w
            count += 1
            w *= rho * rho
            for i in range(3):
                e[0, k, i] = w * (Q[0, i] - u * Q[2, i]) / Z
                e[1, k, i] = w * (Q[1, i] - v * Q[2, i]) / Z
        if count:
            e *= np.sqrt(share * count / total)
        for i in range(2):
            pulled_into(bones, offset, G, p, e[i], dp, n, out[2 * c + i])


@kernel(fastmath=FAST)
def drop_contradicted(seen, x, c2, M):  # type: ignore[no-untyped-def]
    """Zero M (K, 3, 3) of keypoints that as many views contradict as confirm; returns whether there are any.

    Which of them is right the robust cost guesses by the rest of the body: no evidence to state.
    """
    found = False
    for k in range(x.shape[0]):
        balance, against = 0, 0
        for c in range(seen.P.shape[0]):
            Q, w = seen.P[c], seen.w[c, k]
            if w <= 0.0:
                continue
            Z = Q[2, 0] * x[k, 0] + Q[2, 1] * x[k, 1] + Q[2, 2] * x[k, 2] + Q[2, 3]
            u = (Q[0, 0] * x[k, 0] + Q[0, 1] * x[k, 1] + Q[0, 2] * x[k, 2] + Q[0, 3]) / Z - seen.xy[c, k, 0]
            v = (Q[1, 0] * x[k, 0] + Q[1, 1] * x[k, 1] + Q[1, 2] * x[k, 2] + Q[1, 3]) / Z - seen.xy[c, k, 1]
            if Z < NEAR_M or w * (u * u + v * v) > c2:
                against += 1
                balance -= 1
            else:
                balance += 1
        if against > 0 and balance <= 0:
            found = True
            M[k] = 0.0
    return found


@kernel(fastmath=FAST)
def marginal_covariance_into(bones, rest, offset, G, M, inverse, n, joint_var, turn_var):  # type: ignore[no-untyped-def]
    """joint_var (J,) m² (mean per axis) and turn_var (J, 3) rad² ← variances from columns whose squares add to them.

    inverse: (3 J + 3 + n, N), first (L⁻¹)ᵀ of the posterior information L Lᵀ, then any that count besides.

    Down the tree: a joint moves as its parent does, plus the parent's turn in the world times the bone, plus what the
    n betas that are open make of the bone. Returns how many parameters the data with information
    M (K, 3, 3) determine: the sum over the keypoints of trace(M · posterior covariance).
    """
    J, K = bones.parents.shape[0], offset.shape[0]
    first, N = 3 * J + 3, inverse.shape[1]
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
    leverage = 0.0
    N = first + n
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
            leverage += M[k, 0, 0] * y[0, c] * y[0, c] + M[k, 1, 1] * y[1, c] * y[1, c] + M[k, 2, 2] * y[2, c] * y[2, c]
            leverage += 2.0 * (
                M[k, 0, 1] * y[0, c] * y[1, c] + M[k, 0, 2] * y[0, c] * y[2, c] + M[k, 1, 2] * y[1, c] * y[2, c]
            )
    return leverage
