"""Compiled Kalman filter of a person's root and of the errors of its lifted depth, one for every view.

State of one person: position and velocity in the world (6), then for each of C views the error of the logarithm of
the lifted depth. A measured depth is the true one times the exponential of the error, so both are told apart only
where something else says where the person is.
"""

import math

import numpy as np

from kinecast.capture.compiled import kernel

SPEED2 = 1.5**2  # (m/s)², of somebody seen for the first time
GATE2 = 4.0**2  # squared σ beyond which a depth or a bearing is not believed
UNTOLD = 0.3  # σ of the logarithm of a depth of which nothing is said


@kernel
def predict(x, P, dt, accel, keep, depth_sd):  # type: ignore[no-untyped-def]
    """Move x (T, 6 + C) and P (T, 6 + C, 6 + C) on by dt seconds. accel: m²/s³. keep: share of an error that is left.

    depth_sd: (T, C) σ of the errors in the long run, NaN where not told.
    """
    T, n = x.shape
    for p in range(T):
        if not math.isfinite(x[p, 0]):
            continue
        c = P[p]
        for i in range(3):
            x[p, i] += dt * x[p, 3 + i]
        for a in range(3):
            for b in range(n):
                c[a, b] += dt * c[3 + a, b]
        for a in range(n):
            for b in range(3):
                c[a, b] += dt * c[a, 3 + b]
        for i in range(3):
            c[i, i] += accel * dt * dt * dt / 3
            c[i, 3 + i] += accel * dt * dt / 2
            c[3 + i, i] += accel * dt * dt / 2
            c[3 + i, 3 + i] += accel * dt
        for k in range(6, n):
            x[p, k] *= keep
            for b in range(n):
                c[k, b] *= keep
            for b in range(n):
                c[b, k] *= keep
            s = depth_sd[p, k - 6]
            if math.isfinite(s):
                c[k, k] += (1 - keep * keep) * s * s


@kernel
def _scalar(x, P, h, y, r, gate2):  # type: ignore[no-untyped-def]
    """Correct one state by a scalar whose innovation is y, with variance r and row h. False where not believed."""
    n = len(x)
    g, s = np.zeros(n), r
    for i in range(n):
        for k in range(n):
            g[i] += P[i, k] * h[k]
        s += h[i] * g[i]
    if not y * y < gate2 * s:
        return False
    for i in range(n):
        x[i] += g[i] * y / s
    for i in range(n):
        for k in range(n):
            P[i, k] -= g[i] * g[k] / s
    return True


@kernel
def _begin(x, P, at, var, depth_sd):  # type: ignore[no-untyped-def]
    """Somebody new, or who came back: nothing is known of the way here, of the errors what was known before."""
    P[:6] = 0.0
    P[:, :6] = 0.0
    for i in range(3):
        x[i] = at[i]
        x[3 + i] = 0.0
        P[i, i] = var
        P[3 + i, 3 + i] = SPEED2
    for k in range(6, len(x)):
        if not math.isfinite(x[k]):
            x[k] = 0.0
            s = depth_sd[k - 6]
            P[k, k] = s * s if math.isfinite(s) else UNTOLD * UNTOLD


@kernel
def update(x, P, R, t, fixed, fixed_var, bearing, bearing_var, root, depth_sd, one, jitter2):  # type: ignore[no-untyped-def]
    """Correct everybody. R (C, 3, 3), t (C, 3): the cameras.

    fixed: (T, 3) root as triangulated ± fixed_var (T,), NaN where not; a person not known before begins there.
    bearing: (T, 2) ± bearing_var (T,): normalised coordinates of the root in the view ``one`` (T,), −1 where none.
    root: (T, C, 3) lifted, camera frame. jitter2: variance of the logarithm of its depth from frame to frame.
    """
    T, n = x.shape
    h = np.zeros(n)
    for p in range(T):
        if math.isfinite(fixed[p, 0]):
            if not math.isfinite(x[p, 0]):
                _begin(x[p], P[p], fixed[p], fixed_var[p], depth_sd[p])
            else:
                for i in range(3):
                    h[:] = 0.0
                    h[i] = 1.0
                    _scalar(x[p], P[p], h, fixed[p, i] - x[p, i], fixed_var[p], np.inf)
        if not math.isfinite(x[p, 0]):
            continue
        c = one[p]
        if c >= 0 and math.isfinite(bearing[p, 0]):
            for i in range(2):
                z = R[c, 2, 0] * x[p, 0] + R[c, 2, 1] * x[p, 1] + R[c, 2, 2] * x[p, 2] + t[c, 2]
                if not z > 0.05:
                    break
                u = (R[c, i, 0] * x[p, 0] + R[c, i, 1] * x[p, 1] + R[c, i, 2] * x[p, 2] + t[c, i]) / z
                h[:] = 0.0
                for a in range(3):
                    h[a] = (R[c, i, a] - u * R[c, 2, a]) / z
                _scalar(x[p], P[p], h, bearing[p, i] - u, bearing_var[p], np.inf)
        for k in range(R.shape[0]):
            d = root[p, k, 2]
            if not (d > 0.05):
                continue
            z = R[k, 2, 0] * x[p, 0] + R[k, 2, 1] * x[p, 1] + R[k, 2, 2] * x[p, 2] + t[k, 2]
            if not z > 0.05:
                continue
            h[:] = 0.0
            for a in range(3):
                h[a] = R[k, 2, a] / z
            h[6 + k] = 1.0
            _scalar(x[p], P[p], h, math.log(d) - math.log(z) - x[p, 6 + k], jitter2, GATE2)
