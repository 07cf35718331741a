"""Where feet rest, with the future known: stretches of time in which a point of a foot stays at one place.

No floor is assumed: every stretch of every point has its own place in space, the mean of where the views alone put the
point, so a beam, a stair and a chair are as good as a floor; the points of one foot that rest together span the plane
that it stands on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.foot_contact import HOLD_M, REST_S

Float = NDArray[np.float64]

SLOW_MPS = 0.12  # between 0.1 s before and after: noise of 8 mm in either place is 0.06 m/s
WINDOW_S = 0.1
FAR_M = 0.02  # a stretch that wanders further is two
SD_LEAST_M = 0.002


@dataclass(frozen=True, slots=True, eq=False)
class FootContacts:
    """X: (N, K, 3) places and info: (N, K, 3, 3) 1/m², zero where nothing rests. resting: (N, n) by point given."""

    X: Float
    info: Float
    resting: NDArray[np.bool_]


def detect_foot_contacts(
    t_s: Float, points: Float, views_m: Float, views_info: Float, index: NDArray[np.int64]
) -> FootContacts:
    """Where each keypoint of ``index`` (n,), -1 for none, rests.

    t_s: (N,). points: (N, K, 3) of a smooth fit. views_m: (N, K, 3) and views_info: (N, K, 3, 3) of the views alone.
    """
    N, K = points.shape[:2]
    out = FootContacts(np.zeros((N, K, 3)), np.zeros((N, K, 3, 3)), np.zeros((N, len(index)), np.bool_))
    if N < 2:
        return out
    before = np.maximum(np.searchsorted(t_s, t_s - WINDOW_S - 1e-6), 0)
    after = np.minimum(np.searchsorted(t_s, t_s + WINDOW_S + 1e-6, "right") - 1, N - 1)
    span = np.maximum(t_s[after] - t_s[before], 1e-6)
    near = span < 4 * WINDOW_S  # no gap between
    for i, k in enumerate(index.tolist()):
        if k < 0:
            continue
        speed = np.linalg.norm(points[after, k] - points[before, k], axis=-1) / span
        slow = near & (speed < SLOW_MPS)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], slow, [False]]).astype(np.int8)))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            _rest(out, t_s, points[:, k], views_m[:, k], views_info[:, k], i, k, int(a), int(b))
    return out


def _rest(
    out: FootContacts, t_s: Float, points: Float, views_m: Float, views_info: Float, i: int, k: int, a: int, b: int
) -> None:
    """Hold point i, keypoint k, in the frames [a, b), or in parts of them."""
    if b - a < 3 or t_s[b - 1] - t_s[a] < REST_S:
        return
    far = np.linalg.norm(points[a:b] - np.median(points[a:b], axis=0), axis=-1)
    if far.max() > FAR_M:
        middle = (a + b) // 2
        for part in ((a, middle), (middle, b)):
            _rest(out, t_s, points, views_m, views_info, i, k, *part)
        return
    total = views_info[a:b].sum(axis=0)
    if np.linalg.eigvalsh(total)[0] < 1.0 / FAR_M**2:
        return  # the views do not say where
    place = np.linalg.solve(total, (views_info[a:b] @ views_m[a:b, :, None])[..., 0].sum(axis=0))
    # errors of the views wander: frames so near in time are no better than REST_S apart
    independent = max((t_s[b - 1] - t_s[a]) / REST_S, 1.0)
    covariance = np.linalg.inv(total) * (b - a) / independent + (SD_LEAST_M**2 + HOLD_M**2) * np.eye(3)
    out.X[a:b, k], out.info[a:b, k], out.resting[a:b, i] = place, np.linalg.inv(covariance), True
