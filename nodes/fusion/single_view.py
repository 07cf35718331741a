"""Who stays in the room though one view alone sees them, and whether it still sees the same person.

Nothing but continuity says so: the view has seen the person all the time since others confirmed that it does, what it
sees is where the person must be, and nobody else may as well be meant. Where one of these is in doubt the person is not
published; a body in the wrong place is worse than none. (That the lifted depth must be what it was would add nothing to
this, and costs many who are right: a lifter's depth leaps when joints are hidden.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied
from kinecast.engines.estimate.tracks import TrackTable
from kinecast.engines.observations import CameraArrays
from kinecast.engines.records import Keypoints2D
from kinecast.engines.triangulate.measure import Measured

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

# a view that others have not confirmed for so long may see somebody else: it alone is no proof
CONTINUED_NS = 500_000_000
NEVER_NS = -(10**18)
LEAST_PLACED = 4  # joints of a person who is published
GAP_M, GAP_GROWTH_MPS = 0.12, 0.3  # median distance of joints from where they must be; the more, the longer unseen
ELSE_M = 0.06  # somebody whose view is vacant, and whom a detection fits worse by no more than this, may be meant


def local_ids(messages: Sequence[Keypoints2D | None]) -> Int:
    """(N,) identity that each detection of a set has within its view, −1 where its detector tells none."""
    return np.concatenate([np.zeros(0, np.int64), *(m.local_ids for m in messages if m is not None)]).astype(np.int64)


class SingleViewTracks:
    """Of every track when each view last saw it for certain, and as whom. A function of the calls made."""

    def __init__(self, cameras: CameraArrays) -> None:
        self._P = cameras.P
        self._trusted: dict[int, Int] = {}
        self._local: dict[int, Int] = {}

    def forget(self, tracks: Int) -> None:
        """These tracks are gone."""
        for track in tracks.tolist():
            self._trusted.pop(track, None)
            self._local.pop(track, None)

    def confirm(self, t_ns: int, people: TrackTable, measured: Measured, assigned: Int, local: Int) -> None:
        """The views that triangulated joints stand on see whom they are said to see."""
        views = assigned.shape[1]
        used = measured.solution.used(views).sum(axis=-1) >= LEAST_PLACED
        for t, u in zip(measured.rows.tolist(), used, strict=True):
            self._mark(t_ns, int(people.tracks[t]), u, assigned[t], local)

    def _mark(self, t_ns: int, track: int, views: Bool, assigned: Int, local: Int) -> None:
        blank = np.full(len(views), NEVER_NS), np.full(len(views), -1)
        self._trusted[track] = np.where(views, t_ns, self._trusted.get(track, blank[0]))
        named = views & (assigned >= 0)
        now = np.where(named, local[assigned] if len(local) else -1, -1)
        self._local[track] = np.where(named, now, self._local.get(track, blank[1]))

    def able(
        self, t_ns: int, people: TrackTable, xy: Float, confidence: Float, measured: Measured, assigned: Int, local: Int
    ) -> tuple[Bool, Bool]:
        """(T, C) which views may alone keep a known person, and which see something that is in doubt.

        xy: (T, C, J, 2), confidence (T, C, J), assigned (T, C): what the views saw. local: of :func:`local_ids`.
        """
        lone = (assigned >= 0) & (people.ids > 0)[:, None]
        lone[measured.rows] = False
        doubt = np.zeros(lone.shape, np.bool_)
        if not lone.any():
            return lone, doubt
        expected = people.expected_world_m
        reach = GAP_M + GAP_GROWTH_MPS * np.maximum(people.unseen_s() - people.step_s, 0.0)
        for t, c in np.argwhere(lone).tolist():
            gap = self._gaps(expected, c, xy[t, c], confidence[t, c])
            least = reach[t]
            track = int(people.tracks[t])
            before = int(self._local[track][c]) if track in self._local else -1
            if before >= 0 and before != local[assigned[t, c]]:
                # its own name is somebody else's now, or lost
                least = 0.0 if before in local[assigned[:, c][assigned[:, c] >= 0]].tolist() else least / 2
            rivals = (assigned[:, c] < 0) & (np.arange(len(gap)) != t) & (people.ids > 0)
            doubt[t, c] = not gap[t] <= least or bool((gap[rivals] < gap[t] + ELSE_M).any())
            trusted = self._trusted.get(track)
            lone[t, c] = not doubt[t, c] and trusted is not None and t_ns - int(trusted[c]) <= CONTINUED_NS
        return lone, doubt

    def choose(
        self, t_ns: int, people: TrackTable, fine: Bool, xy: Float, confidence: Float, assigned: Int, local: Int
    ) -> Int:
        """(T,) the view of those that are fine (T, C) that alone keeps a person in the room, −1 where none is.

        Where several could, and made no points of it, the one that sees the person where expected. Else as in
        :meth:`able`.
        """
        out = np.full(len(people), -1, np.int64)
        for t in np.flatnonzero(fine.any(axis=1)).tolist():
            at = people.expected_world_m[t : t + 1]
            cost = [
                (float(self._gaps(at, c, xy[t, c], confidence[t, c])[0]), c) for c in np.flatnonzero(fine[t]).tolist()
            ]
            out[t] = min(cost)[1]
            which = np.arange(fine.shape[1]) == out[t]
            self._mark(t_ns, int(people.tracks[t]), which, assigned[t], local)
        return out

    def _gaps(self, expected: Float, c: int, xy: Float, confidence: Float) -> Float:
        """(T,) median distance, m, of the joints xy (J, 2) from where view c has those of each; inf if unknown."""
        local = applied(self._P[c, :, :3], expected) + self._P[c, :, 3]
        gap = np.linalg.norm(local[..., :2] - xy * local[..., 2:], axis=-1)
        gap[:, ~(confidence > 0)] = np.nan
        gap[~(local[..., 2] > 0.05)] = np.nan
        out = np.full(len(gap), np.inf)
        there = np.isfinite(gap).any(axis=1)
        out[there] = np.nanmedian(gap[there], axis=1)
        return out
