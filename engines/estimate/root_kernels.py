"""Compiled Kalman filter of a person's root and of what errs in what single views tell of its depth.

State of one person: position and velocity in the world (6), what the lifter errs in the person's size (SCALE), how high
the lower foot stands (GROUND), then for each of C views three errors: of the logarithm of the lifted depth what stays
for as long as the person is seen from one side and what comes with a pose, and of the height of the lower foot.
A measured depth is the true one times the exponential of its errors, a foot stands on the ground but for its error:
they are told from the person's place only where something else says where the person is.
"""

import math

import numpy as np

from kinecast.capture.compiled import kernel

SPEED2 = 1.5**2  # (m/s)², of somebody seen for the first time
GATE2 = 4.0**2  # squared σ beyond which a depth or a foot is not believed
SCALE, GROUND, STEP, FIRST = 6, 7, 8, 9  # where the errors of views begin: (side, pose, foot) of each
PER_VIEW = 3
NEAREST_M = 0.05
REST_MPS = 0.35  # a foot that is slower stands on something
LEVEL = 0.1  # a ray that falls less than this in a metre does not tell where the ground is


@kernel
def predict(x, P, dt, accel, aside, centre, up, keep, spread):  # type: ignore[no-untyped-def]
    """Move x (T, n) and P (T, n, n) on by dt seconds. accel: m²/s³, of whom several views see.

    centre: (T, 3) of the one view that sees a person, NaN where several do. Across its ray, and up and down, the
    acceleration is ``aside``: a view sees that motion but not how large it is, and a filter that expects too little of
    it would take the person to be nearer. up: (3,), zero where it is not known.
    keep: (T, n) share that is left of a velocity or an error. spread: (T, n) σ of the errors in the long run.
    """
    T, n = x.shape
    ray = np.zeros(3)
    for p in range(T):
        if not math.isfinite(x[p, 0]):
            continue
        c = P[p]
        one = math.isfinite(centre[p, 0])
        if one:
            for i in range(3):
                ray[i] = x[p, i] - centre[p, i]
            ray /= max(math.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2), NEAREST_M)
            rise = up[0] * ray[0] + up[1] * ray[1] + up[2] * ray[2]
            level = math.sqrt(max(1 - rise * rise, 0.0))  # 0: straight down, where up and along are the same
            for i in range(3):
                ray[i] -= level * rise * up[i]
            ray /= max(math.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2), NEAREST_M)
        for i in range(3):
            x[p, i] += dt * x[p, 3 + i]
        for a in range(3):
            for b in range(n):
                c[a, b] += dt * c[3 + a, b]
        for a in range(n):
            for b in range(3):
                c[a, b] += dt * c[a, 3 + b]
        for k in range(3, n):
            x[p, k] *= keep[p, k]
            for b in range(n):
                c[k, b] *= keep[p, k]
            for b in range(n):
                c[b, k] *= keep[p, k]
        for i in range(3):
            for k in range(3):
                q = 0.0
                if i == k:
                    q = aside if one else accel
                if one:
                    q += (accel - aside) * ray[i] * ray[k]
                c[i, k] += q * dt * dt * dt / 3
                c[i, 3 + k] += q * dt * dt / 2
                c[3 + i, k] += q * dt * dt / 2
                c[3 + i, 3 + k] += q * dt
        for k in range(6, n):
            c[k, k] += (1 - keep[p, k] * keep[p, k]) * spread[p, k] * spread[p, k]


@kernel
def _scalar(x, P, h, y, r, gate2):  # type: ignore[no-untyped-def]
    """Correct one state by a scalar whose innovation is y, with variance r and row h. False where not believed."""
    n = len(x)
    g, s = np.zeros(n), r
    for i in range(n):
        if h[i] != 0.0:
            for k in range(n):
                g[k] += P[i, k] * h[i]
    for i in range(n):
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
def _begin(x, P, at, var, spread):  # type: ignore[no-untyped-def]
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
            P[k, k] = spread[k] * spread[k]


@kernel
def update(x, P, R, t, fixed, fixed_var, bearing, bearing_var, root, foot, one, spread, jitter2, tread2):  # type: ignore[no-untyped-def]
    """Correct everybody. R (C, 3, 3), t (C, 3): the cameras.

    fixed: (T, 3) root as triangulated ± fixed_var (T,), NaN where not; a person not known before begins there.
    bearing: (T, 2) ± bearing_var (T,): normalised coordinates of the root in the view ``one`` (T,), −1 where none.
    root: (T, C, 3) lifted, camera frame. jitter2: variance of the logarithm of its depth from frame to frame.
    foot: (T, C, 2) how high the lower foot is in a view's eyes, as a and b of a + b · depth of the root, NaN where it
    does not tell; tread2: variance of that from frame to frame. spread: (T, n) σ of errors of which nothing is known.
    """
    T, n = x.shape
    h = np.zeros(n)
    for p in range(T):
        if math.isfinite(fixed[p, 0]):
            if not math.isfinite(x[p, 0]):
                _begin(x[p], P[p], fixed[p], fixed_var[p], spread[p])
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
                if not z > NEAREST_M:
                    break
                u = (R[c, i, 0] * x[p, 0] + R[c, i, 1] * x[p, 1] + R[c, i, 2] * x[p, 2] + t[c, i]) / z
                h[:] = 0.0
                for a in range(3):
                    h[a] = (R[c, i, a] - u * R[c, 2, a]) / z
                _scalar(x[p], P[p], h, bearing[p, i] - u, bearing_var[p], np.inf)
        for k in range(R.shape[0]):
            z = R[k, 2, 0] * x[p, 0] + R[k, 2, 1] * x[p, 1] + R[k, 2, 2] * x[p, 2] + t[k, 2]
            if not z > NEAREST_M:
                continue
            own = FIRST + PER_VIEW * k
            d = root[p, k, 2]
            if d > NEAREST_M:
                h[:] = 0.0
                for a in range(3):
                    h[a] = R[k, 2, a] / z
                h[SCALE] = h[own] = h[own + 1] = 1.0
                off = math.log(d / z) - x[p, SCALE] - x[p, own] - x[p, own + 1]
                _scalar(x[p], P[p], h, off, jitter2, GATE2)
            if math.isfinite(foot[p, k, 0]):
                z = R[k, 2, 0] * x[p, 0] + R[k, 2, 1] * x[p, 1] + R[k, 2, 2] * x[p, 2] + t[k, 2]
                h[:] = 0.0
                for a in range(3):
                    h[a] = -foot[p, k, 1] * R[k, 2, a]
                h[GROUND] = h[STEP] = h[own + 2] = 1.0
                off = foot[p, k, 0] + foot[p, k, 1] * z - x[p, GROUND] - x[p, STEP] - x[p, own + 2]
                _scalar(x[p], P[p], h, off, tread2, GATE2)


@kernel
def lower_foot(x, R, t, up, relative, sd, xy, sigma, speed, feet, above, foot, foot_sd):  # type: ignore[no-untyped-def]
    """How high each view sees the lower foot of each person, as a and b (T, C, 2) of a + b · depth of the root.

    relative, sd: (T, C, J, 3) lifted joints less root and σ, camera axes. xy: (T, C, J, 2), sigma: (T, C, J) 0 where
    not seen. feet: (2, K) joints of each; above: (K,) how high they are over the sole. foot_sd: (T, C) σ of the height
    by that of the foot's lifted depth. NaN where a view sees no foot, or too flatly.
    """
    T, C, _, _ = relative.shape
    centre = np.zeros(3)
    for p in range(T):
        for c in range(C):
            foot[p, c] = np.nan
            foot_sd[p, c] = np.nan
            if not (math.isfinite(x[p, 0]) and math.isfinite(relative[p, c, 0, 0])):
                continue
            z = R[c, 2, 0] * x[p, 0] + R[c, 2, 1] * x[p, 1] + R[c, 2, 2] * x[p, 2] + t[c, 2]
            if not z > NEAREST_M:
                continue
            height = 0.0
            for a in range(3):
                centre[a] = -(R[c, 0, a] * t[c, 0] + R[c, 1, a] * t[c, 1] + R[c, 2, a] * t[c, 2])
                height += up[a] * centre[a]
            lowest = np.inf
            for side in range(feet.shape[0]):
                a0, b0, s0, count = 0.0, 0.0, 0.0, 0
                for i in range(feet.shape[1]):
                    j = feet[side, i]
                    if not sigma[p, c, j] > 0:
                        continue
                    fall = 0.0
                    for a in range(3):
                        fall += up[a] * (R[c, 0, a] * xy[p, c, j, 0] + R[c, 1, a] * xy[p, c, j, 1] + R[c, 2, a])
                    a0 += height - above[i] + fall * relative[p, c, j, 2]
                    b0 += fall
                    s0 += abs(fall) * sd[p, c, j, 2]
                    count += 1
                if count == 0:
                    continue
                a0, b0, s0 = a0 / count, b0 / count, s0 / count
                if b0 < -LEVEL and a0 + b0 * z < lowest:
                    lowest = a0 + b0 * z
                    rests = speed[p, c, side] * z < REST_MPS
                    foot[p, c, 0], foot[p, c, 1], foot_sd[p, c] = a0 if rests else np.nan, b0, s0
