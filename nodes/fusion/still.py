"""Pictures that have nothing to do with one another (``still``): everybody is born at once, nobody is remembered.

Whom several views see is triangulated. A detection that nobody of them explains is a person too: where the lifter,
which has this one picture for a past, puts it, with the uncertainty of that, marked as lifted from that one view.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied
from kinecast.engines.estimate.tracks import TrackTable
from kinecast.engines.observations import CameraArrays, Detections
from kinecast.nodes.fusion.lift_rows import JOINTS_TO_KEEP_TRACK
from kinecast.nodes.fusion.lifting import ViewObservations

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

SAME_M = 0.2  # a detection whose joints are this near to somebody's (median) is that person, found twice or in part


def add_strangers(
    cameras: CameraArrays, people: TrackTable, found: Detections, free: Bool, seen: ViewObservations, most: int
) -> Int:
    """Add a person for every detection that is free (N,) and nobody's; their rows. At most ``most`` people in all.

    ``seen`` is brought up to date. Where they are, lifting tells.
    """
    left = free & ((found.confidence > 0).sum(axis=1) >= JOINTS_TO_KEEP_TRACK)
    left[seen.assigned[seen.assigned >= 0]] = False
    expected = people.expected_world_m
    which = [d for d in np.flatnonzero(left).tolist() if not _is_of(cameras, expected, found, d)]
    which = which[: max(most - len(people), 0)]
    n, (C, J) = len(which), (len(cameras), found.xy.shape[1])
    nowhere = np.full((n, J, 3), np.nan)
    rows = people.add_tracks(nowhere, np.full((n, J, 3, 3), np.nan), np.full(n, np.nan), np.ones(n, np.int64))
    xy, confidence, assigned = np.full((n, C, J, 2), np.nan), np.zeros((n, C, J)), np.full((n, C), -1)
    each, at = np.arange(n), found.camera[which]
    xy[each, at], confidence[each, at], assigned[each, at] = found.xy[which], found.confidence[which], which
    seen.put(rows, xy, confidence, assigned)
    return rows


def _is_of(cameras: CameraArrays, expected: Float, found: Detections, d: int) -> bool:
    """Whether detection d lies on somebody of expected (T, J, 3)."""
    P = cameras.P[found.camera[d]]
    local = applied(P[:, :3], expected) + P[:, 3]
    gap = np.linalg.norm(local[..., :2] - found.xy[d] * local[..., 2:], axis=-1)
    gap[~(local[..., 2] > 0.05)] = np.nan
    return any(np.isfinite(g).sum() >= 4 and np.nanmedian(g) < SAME_M for g in gap)
