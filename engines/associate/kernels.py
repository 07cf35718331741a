"""Compiled comparisons of detections with people and with each other, in metres at the person."""

import math

import numpy as np

from kinecast.capture.compiled import kernel


@kernel
def distances(P, X, xy, confidence, camera, flip, cap, least, out, flipped):  # type: ignore[no-untyped-def]
    """out[p, n]: mean capped distance in metres between the people X (P, J, 3) and the detections xy (N, J, 2).

    The distance is measured at the depth of the joint and weighted by confidence; labels with left and right exchanged
    count too (flipped says where they fit better by a third). inf where fewer than ``least`` joints can be compared.
    """
    people, J = X.shape[0], X.shape[1]
    for p in range(people):
        for n in range(xy.shape[0]):
            M = P[camera[n]]
            straight = other = weight = 0.0
            count = 0
            for j in range(J):
                w = confidence[n, j]
                if not w > 0 or not math.isfinite(X[p, j, 0]):
                    continue
                x = X[p, j]
                z = M[2, 0] * x[0] + M[2, 1] * x[1] + M[2, 2] * x[2] + M[2, 3]
                d = e = cap
                if z > 0.05:
                    u = M[0, 0] * x[0] + M[0, 1] * x[1] + M[0, 2] * x[2] + M[0, 3]
                    v = M[1, 0] * x[0] + M[1, 1] * x[1] + M[1, 2] * x[2] + M[1, 3]
                    d = min(cap, math.hypot(u - z * xy[n, j, 0], v - z * xy[n, j, 1]))
                    f = flip[j]
                    e = d
                    if confidence[n, f] > 0:
                        e = min(cap, math.hypot(u - z * xy[n, f, 0], v - z * xy[n, f, 1]))
                straight += w * d
                other += w * e
                weight += w
                count += 1
            out[p, n] = np.inf
            flipped[p, n] = False
            if count >= least:
                flipped[p, n] = other < 0.67 * straight
                out[p, n] = min(straight, 1.2 * other) / weight


@kernel
def rays_of(P, xy, out):  # type: ignore[no-untyped-def]
    """World directions (not unit) of detections xy (N, J, 2) of one camera with matrix P."""
    for n in range(xy.shape[0]):
        for j in range(xy.shape[1]):
            u, v = xy[n, j, 0], xy[n, j, 1]
            for i in range(3):
                out[n, j, i] = P[0, i] * u + P[1, i] * v + P[2, i]


@kernel
def closest_point(ca, a, cb, b, x):  # type: ignore[no-untyped-def]
    """Middle of the shortest line between two rays into x; returns its length, inf where they do not meet in front."""
    aa = a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
    bb = b[0] * b[0] + b[1] * b[1] + b[2] * b[2]
    ab = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    d0, d1, d2 = cb[0] - ca[0], cb[1] - ca[1], cb[2] - ca[2]
    ad = a[0] * d0 + a[1] * d1 + a[2] * d2
    bd = b[0] * d0 + b[1] * d1 + b[2] * d2
    det = aa * bb - ab * ab
    if not det > 2.5e-3 * aa * bb:  # rays within 3° of each other say nothing about depth
        return np.inf
    s = (ad * bb - bd * ab) / det
    t = (ad * ab - bd * aa) / det
    if s < 0.1 or t < 0.1:  # directions have z = 1 in their camera: 10 cm in front of it
        return np.inf
    e2 = 0.0
    for i in range(3):
        p, q = ca[i] + s * a[i], cb[i] + t * b[i]
        x[i] = (p + q) / 2
        e2 += (p - q) ** 2
    return math.sqrt(e2)


@kernel
def pair_costs(centre, rays, confidence, camera, cap, least, out):  # type: ignore[no-untyped-def]
    """out[a, b], a < b: mean capped distance in metres between the rays of two detections of different cameras."""
    N, J = confidence.shape
    x = np.zeros(3)
    for a in range(N):
        for b in range(a + 1, N):
            out[a, b] = np.inf
            if camera[a] == camera[b]:
                continue
            total = weight = 0.0
            count = 0
            for j in range(J):
                w = confidence[a, j] * confidence[b, j]
                if not w > 0:
                    continue
                d = closest_point(centre[camera[a]], rays[a, j], centre[camera[b]], rays[b, j], x)
                total += w * min(cap, d)
                weight += w
                count += 1
                if count == 8 and total > 0.8 * cap * weight:  # hopeless already
                    break
            if count >= least and weight > 0:
                out[a, b] = total / weight


@kernel
def pair_points(centre, rays, confidence, camera, a, b, cap, out):  # type: ignore[no-untyped-def]
    """out[i] (J, 3): the joints that detections a[i] and b[i] make; NaN where their rays miss by more than cap."""
    x = np.zeros(3)
    for i in range(len(a)):
        for j in range(confidence.shape[1]):
            out[i, j] = np.nan
            if confidence[a[i], j] > 0 and confidence[b[i], j] > 0:
                d = closest_point(centre[camera[a[i]]], rays[a[i], j], centre[camera[b[i]]], rays[b[i], j], x)
                if d < cap:
                    out[i, j] = x


@kernel
def stature(X, bones, share, low, high, out_share):  # type: ignore[no-untyped-def]
    """Body height that each person's bones imply, their median, in metres; NaN where fewer than 3 bones are known.

    share (B,): length of a bone as a share of the stature. out_share[p]: how many bones imply a height between low and
    high times the median.
    """
    people = X.shape[0]
    result = np.empty(people)
    buffer = np.empty(len(bones))
    for p in range(people):
        n = 0
        for b in range(len(bones)):
            i, j = bones[b, 0], bones[b, 1]
            d = math.sqrt(
                (X[p, i, 0] - X[p, j, 0]) ** 2 + (X[p, i, 1] - X[p, j, 1]) ** 2 + (X[p, i, 2] - X[p, j, 2]) ** 2
            )
            if math.isfinite(d):
                buffer[n] = d / share[b]
                n += 1
        result[p] = np.nan
        out_share[p] = 0.0
        if n >= 3:
            m = np.median(buffer[:n])
            result[p] = m
            good = 0
            for b in range(n):
                if low * m < buffer[b] < high * m:
                    good += 1
            out_share[p] = good / n
    return result
