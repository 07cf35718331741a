"""Compiled loops of :mod:`engines.estimate.lifted` over people, views and joints.

Of T tracks, C views and J joints; R (C, 3, 3), t (C, 3): the cameras. there: (T, C) where a view gives a pose.
"""

import math

import numpy as np

from kinecast.capture.compiled import kernel
from kinecast.engines.fixed import inverse3


@kernel
def decay_errors(error, var, sd, there, keep):  # type: ignore[no-untyped-def]
    """Errors (T, C, J, 3) are less and less like what they were, their variances more and more the lifter's sd²."""
    T, C, J, _ = error.shape
    for p in range(T):
        for c in range(C):
            for j in range(J):
                for i in range(3):
                    error[p, c, j, i] *= keep
                    if there[p, c]:
                        now = sd[p, c, j, i] ** 2
                        v = var[p, c, j, i]
                        var[p, c, j, i] = keep * keep * v + (1 - keep * keep) * now if math.isfinite(v) else now


@kernel
def root_of_points(relative, there, error, var, R, points, covariance, least2, together, root, root_var):  # type: ignore[no-untyped-def]
    """The root (T, 3) that lifted poses have when laid on points (T, J, 3), and its variance; NaN where on none."""
    T, C, J, _ = relative.shape
    said = np.zeros(3)
    for p in range(T):
        total, lone, joints = 0.0, 0, 0
        for j in range(J):
            if not math.isfinite(points[p, j, 0]):
                continue
            variance = (covariance[p, j, 0, 0] + covariance[p, j, 1, 1] + covariance[p, j, 2, 2]) / 3 + least2
            any_view = False
            for c in range(C):
                if not there[p, c]:
                    continue
                w = 1.0 / (variance + (var[p, c, j, 0] + var[p, c, j, 1] + var[p, c, j, 2]) / 3)
                for i in range(3):
                    said[i] = relative[p, c, j, i] + error[p, c, j, i]
                for a in range(3):
                    world = said[0] * R[c, 0, a] + said[1] * R[c, 1, a] + said[2] * R[c, 2, a]
                    root[p, a] += w * (points[p, j, a] - world)
                total += w
                joints += 1
                any_view = True
            lone += any_view
        if total > 0:
            for a in range(3):
                root[p, a] /= total
            root_var[p] = max(joints / (total * min(lone, together)), least2)
        else:
            root[p] = np.nan
            root_var[p] = np.nan


@kernel
def learn_joints(relative, there, error, var, R, root, points, covariance, least2, nearness, lean):  # type: ignore[no-untyped-def]
    """Learn the errors of joints at points (T, J, 3) of a person whose root (T, 3) is known.

    The others lean on the nearest of these: nearness (J, J) share of an error that another joint has too, ``lean``
    of it in this set.
    """
    T, C, J, _ = relative.shape
    anchor, share, known = np.zeros(J, np.int64), np.zeros(J), np.zeros(J, np.bool_)
    for p in range(T):
        if not math.isfinite(root[p, 0]):
            continue
        for j in range(J):
            known[j] = math.isfinite(points[p, j, 0])
        if not known.any():
            continue
        for j in range(J):
            anchor[j], share[j] = 0, 0.0
            for k in range(J):
                if known[k] and nearness[j, k] > share[j]:
                    anchor[j], share[j] = k, nearness[j, k]
        for c in range(C):
            if not there[p, c]:
                continue
            for j in range(J):
                if not known[j]:
                    continue
                for i in range(3):
                    true, variance = 0.0, least2
                    for a in range(3):
                        true += R[c, i, a] * (points[p, j, a] - root[p, a])
                        for b in range(3):
                            variance += R[c, i, a] * covariance[p, j, a, b] * R[c, i, b]
                    gain = var[p, c, j, i] / (var[p, c, j, i] + variance)
                    error[p, c, j, i] += gain * (true - relative[p, c, j, i] - error[p, c, j, i])
                    var[p, c, j, i] *= 1 - gain
            for j in range(J):
                if not known[j]:
                    for i in range(3):
                        error[p, c, j, i] += lean * share[j] * error[p, c, anchor[j], i]


@kernel
def joints_of_lifted(relative, there, error, var, R, root, P, least2, points, covariance):  # type: ignore[no-untyped-def]
    """Joints by the lifted poses, errors put right: points (T, J, 3), covariance (T, J, 3, 3), NaN where none tells.

    Of each view the information is diagonal along its own axes. Views lifted by one network err alike, most of all
    where none sees the joint: covariance intersection (Julier and Uhlmann 1997) with equal shares is honest whatever
    they have in common. root: (T, ≥3), P: (T, ≥3, ≥3) its covariance.
    """
    T, C, J, _ = relative.shape
    info, cov, pull = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(3)
    for p in range(T):
        views = there[p].sum()
        if views == 0 or not math.isfinite(root[p, 0]):
            continue
        for j in range(J):
            info[:] = 0.0
            pull[:] = 0.0
            for c in range(C):
                if not there[p, c]:
                    continue
                for i in range(3):
                    w = 1.0 / max(var[p, c, j, i], least2)
                    said = relative[p, c, j, i] + error[p, c, j, i]
                    for a in range(3):
                        pull[a] += w * said * R[c, i, a]
                        for b in range(3):
                            info[a, b] += w * R[c, i, a] * R[c, i, b]
            inverse3(info, cov)
            for a in range(3):
                points[p, j, a] = root[p, a] + cov[a, 0] * pull[0] + cov[a, 1] * pull[1] + cov[a, 2] * pull[2]
                for b in range(3):
                    covariance[p, j, a, b] = views * cov[a, b] + P[p, a, b]


@kernel
def onto_rays(points, covariance, view, xy, sigma, R, t, ray_sigma2, ray, across):  # type: ignore[no-untyped-def]
    """Joints with a view (T, J) keep their depth in it and move onto its ray; −1 is written where it passes too far."""
    T, J = view.shape
    local, d, centre = np.zeros(3), np.zeros(3), np.zeros(3)
    for p in range(T):
        for j in range(J):
            c = view[p, j]
            if c < 0 or not math.isfinite(points[p, j, 0]):
                continue
            C = covariance[p, j]
            for i in range(3):
                local[i] = t[c, i]
                for a in range(3):
                    local[i] += R[c, i, a] * points[p, j, a]
            depth, along = local[2], 0.0
            for a in range(3):
                for b in range(3):
                    along += R[c, 2, a] * C[a, b] * R[c, 2, b]
            # one σ across, as if it were alike in both directions
            wide = C[0, 0] + C[1, 1] + C[2, 2] - along
            side = (local[0] - xy[p, c, j, 0] * depth) ** 2 + (local[1] - xy[p, c, j, 1] * depth) ** 2
            if not side < ray_sigma2 * (wide + 2 * (depth * sigma[p, c, j]) ** 2) / 2:
                view[p, j] = -1
                continue
            for a in range(3):
                d[a] = R[c, 0, a] * xy[p, c, j, 0] + R[c, 1, a] * xy[p, c, j, 1] + R[c, 2, a]
                centre[a] = -(R[c, 0, a] * t[c, 0] + R[c, 1, a] * t[c, 1] + R[c, 2, a] * t[c, 2])
            for a in range(3):
                ray[p, j, a] = d[a]
                points[p, j, a] = centre[a] + depth * d[a] if depth >= 0.05 else np.nan
                for b in range(3):
                    C[a, b] = along * d[a] * d[b]
            across[p, j] = depth * sigma[p, c, j]
