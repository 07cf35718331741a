"""Everybody who is in the scene, or was a moment ago: where each joint is expected, who is who, who comes and goes.

A joint is a constant-velocity Kalman state fed by triangulated points and their covariances. A person is tentative
until enough sets have confirmed it, keeps the identity while unseen for ``occlusion_s``, and is then forgotten.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinecast.engines.estimate import kalman_kernels

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ACCEL_MPS2 = 12.0  # a joint of a walking person, RMS; sets how quickly an unseen joint becomes uncertain
FLOOR_M = 0.005  # joints are not points: detectors place them differently in every pose
JUMP_SIGMA = 6.0
SPEED_MPS = 1.5  # of a joint seen for the first time
FORGET_M = 0.6  # a joint less sure than this is not expected anywhere
FRESH_S = 0.3  # unseen for longer, a person is found again as a whole and no longer view by view
GATE_M, GATE_GROWTH_MPS, GATE_MOST_M = 0.28, 0.8, 0.5
REACH_M, REACH_MPS, REACH_MOST_M = 0.6, 2.0, 3.0  # how far from where they vanished somebody may come back
SWAP_SETS = 8
MOVED_M = 0.15  # by more than a picture of somebody seems to, with the noise of two views
SAME_M = 0.12  # two people whose joints are this near (median) are one


@dataclass(slots=True, eq=False)
class _Arrays:
    """The state of T people with J joints; parallel arrays, so that compiled code takes all people at once."""

    ids: Int  # 0 while tentative
    x: Float  # (T, J, 6) metres and metres per second, NaN where not known
    P: Float  # (T, J, 6, 6)
    stature: Float  # (T,) metres, NaN where not known
    t_born: Int  # (T,) ns
    seen: Int  # (T,) ns, last triangulated, or placed by one view
    hits: Int  # (T,) sets that confirmed the person
    need: Int  # (T,) confirmations needed for an identity
    place: Float  # (T, 3) median joint when last seen
    track: Int  # (T,) serial number since the start, rising; tentative people have one too
    sure: Int  # (T,) ns, last triangulated: before ``seen`` where one view alone has seen the person since
    first: Float  # (T, J, 3) where the joints were when the person was added
    doubted: NDArray[np.bool_]  # (T,) an identity only once the person has moved
    votes: Int  # (T, G) sets in a row in which most views called left what is expected right, by group of joints

    def subset(self, rows: NDArray[np.bool_]) -> "_Arrays":
        return _Arrays(*(getattr(self, n)[rows] for n in self.__slots__))

    def concat(self, other: "_Arrays") -> "_Arrays":
        return _Arrays(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in self.__slots__))


def _blank(n: int, joints: int, groups: int) -> _Arrays:
    i = np.zeros(n, np.int64)
    return _Arrays(
        i, np.full((n, joints, 6), np.nan), np.zeros((n, joints, 6, 6)), np.full(n, np.nan),
        i.copy(), i.copy(), i.copy(), i.copy(), np.full((n, 3), np.nan), i.copy(), i.copy(),
        np.full((n, joints, 3), np.nan), np.zeros(n, np.bool_), np.zeros((n, groups), np.int64),
    )  # fmt: skip


class TrackTable:
    """The people of one scene. A pure function of the calls made to it: it reads no clock.

    Identities are ``first_id``, ``first_id + 1``, … in the order of confirmation. groups: (G, K, 2) left and right
    joints that a detector exchanges together, −1 for padding.
    """

    def __init__(self, joints: int, groups: NDArray[np.int64], first_id: int, occlusion_s: float) -> None:
        self._a = _blank(0, joints, len(groups))
        self._joints = joints
        self._groups = groups
        self._next_id = first_id
        self._next_track = 0
        self._occlusion_ns = int(occlusion_s * 1e9)
        self._t_ns: int | None = None
        self._step_s = 0.0

    def __len__(self) -> int:
        return len(self._a.ids)

    @property
    def ids(self) -> Int:
        """(T,) identities, 0 while tentative."""
        return self._a.ids

    @property
    def tracks(self) -> Int:
        """(T,) serial numbers, rising: who is who from set to set, also before there is an identity."""
        return self._a.track

    @property
    def expected_world_m(self) -> Float:
        """(T, J, 3) where each joint is expected, NaN where unknown."""
        return np.ascontiguousarray(self._a.x[..., :3])

    @property
    def velocity_mps(self) -> Float:
        """(T, J, 3)."""
        return np.ascontiguousarray(self._a.x[..., 3:])

    @property
    def covariance_m2(self) -> Float:
        """(T, J, 3, 3) of the expected positions."""
        return np.ascontiguousarray(self._a.P[..., :3, :3])

    @property
    def state(self) -> tuple[Float, Float]:
        """(T, J, 6) positions and velocities, NaN where unknown, and (T, J, 6, 6) their covariances; not copies."""
        return self._a.x, self._a.P

    def sd_m(self) -> Float:
        """(T, J) standard deviation per axis of the expected positions, metres."""
        P = self._a.P
        out: Float = np.sqrt((P[..., 0, 0] + P[..., 1, 1] + P[..., 2, 2]) / 3 + FLOOR_M**2)
        return out

    def unseen_s(self) -> Float:
        """(T,) seconds since each was last triangulated, or placed by one view."""
        return (self._now - self._a.seen) / 1e9

    @property
    def step_s(self) -> float:
        """Seconds between the last two sets."""
        return self._step_s

    def untriangulated_s(self) -> Float:
        """(T,) seconds since each was last triangulated."""
        return (self._now - self._a.sure) / 1e9

    @property
    def _now(self) -> int:
        return self._t_ns or 0

    def predict(self, t_ns: int) -> None:
        """Move everybody on to ``t_ns``; a time that does not advance changes nothing."""
        if self._t_ns is not None and t_ns > self._t_ns:
            self._step_s = (t_ns - self._t_ns) / 1e9
            # longer steps than a tenth of a second are more like a rest than like one acceleration
            if len(self):
                kalman_kernels.predict(self._a.x, self._a.P, min(self._step_s, 0.5), ACCEL_MPS2)
        self._t_ns = t_ns if self._t_ns is None else max(t_ns, self._t_ns)

    def recently_seen(self) -> NDArray[np.bool_]:
        """(T,) who was seen lately enough to be looked for view by view."""
        return self.unseen_s() <= max(FRESH_S, 3.5 * self._step_s)

    def gates_m(self) -> Float:
        """(T,) how far from the expectation a detection may lie, mean over joints."""
        out: Float = np.minimum(GATE_M + GATE_GROWTH_MPS * np.maximum(self.unseen_s() - self._step_s, 0.0), GATE_MOST_M)
        return out

    def observe(self, rows: Int, points: Float, covariance: Float, stature: Float) -> None:
        """People ``rows`` were triangulated: points (n, J, 3), covariance (n, J, 3, 3), stature (n,)."""
        if len(rows) == 0:
            return
        a = self._a
        kalman_kernels.update(a.x, a.P, rows, points, covariance, FLOOR_M**2, JUMP_SIGMA**2, SPEED_MPS**2)
        a.seen[rows] = self._now
        a.sure[rows] = self._now
        a.hits[rows] += 1
        a.place[rows] = kalman_kernels.centres(points)
        known = np.isfinite(stature)
        old = a.stature[rows[known]]
        a.stature[rows[known]] = np.where(np.isfinite(old), 0.95 * old + 0.05 * stature[known], stature[known])

    def update_correlated(self, points: Float, ray: Float, across_m: Float, slow_m2: Float) -> None:
        """Joints of everybody that lifted poses tell of: points (T, J, 3), NaN where they say nothing.

        ray: (T, J, 3) that a joint lies on, ± across_m (T, J), NaN where on none: an ordinary measurement of two
        directions. slow_m2: (T, J, 3, 3) covariance of the rest, which errs alike from set to set: it makes nobody
        surer than itself, however often it is said (see ``kalman_kernels.update_correlated``).
        """
        a = self._a
        kalman_kernels.update_correlated(a.x, a.P, points, ray, across_m, slow_m2, FLOOR_M**2, SPEED_MPS**2)

    def overwrite_state(self, points: Float, variance_m2: Float, velocity_mps: Float) -> None:
        """Joints that nobody sees are at points (T, J, 3) ± variance_m2 (T, J) per axis, NaN where nothing tells.

        That is told anew in every set and holds all that was known before, so it takes the place of the state. Until
        then they move with the body, velocity_mps (T, 3).
        """
        a = self._a
        at = np.isfinite(points[..., 0])
        a.x[at, :3] = points[at]
        a.x[at, 3:] = velocity_mps[np.nonzero(at)[0]]
        a.P[at] = np.einsum("n,ij->nij", variance_m2[at], np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
        a.P[at] += SPEED_MPS**2 * np.diag([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])

    def mark_single_view(self, rows: Int) -> None:
        """One view alone has seen these people and lifting has placed them."""
        if len(rows):
            self._a.seen[rows] = self._now
            self._a.place[rows] = kalman_kernels.centres(self.expected_world_m[rows])

    def coast(self, seen: NDArray[np.bool_]) -> None:
        """Joints that no view gave, seen (T, J) False, move with the body."""
        keep = float(np.exp(-self._step_s / 0.3))
        kalman_kernels.coast(self._a.x, self._a.P, seen, keep, FORGET_M**2)

    def add_tracks(
        self, points: Float, covariance: Float, stature: Float, need: Int, doubted: NDArray[np.bool_] | None = None
    ) -> Int:
        """Add people (B, J, 3) that need so many confirmations (B,), this one included; returns their rows.

        doubted: (B,) who gets an identity only after having moved: what hangs on a wall never does.
        """
        first = len(self)
        fresh = _blank(len(points), self._joints, len(self._groups))
        fresh.t_born[:] = self._now
        fresh.need[:] = need
        fresh.first[:] = points
        if doubted is not None:
            fresh.doubted[:] = doubted
        fresh.track[:] = np.arange(self._next_track, self._next_track + len(points))
        self._next_track += len(points)
        self._a = self._a.concat(fresh)
        rows = np.arange(first, len(self))
        self.observe(rows, points, covariance, stature)
        return rows

    def reidentify(self, points: Float, stature: Float, claimed: Int | None = None) -> Int:
        """(B,) row of the person lost from sight that each new body (B, J, 3) must be, −1 where it is somebody new.

        Within reach of where they vanished, and of a stature within 15 %; first those of whom a body has the one
        detection that they were seen by (claimed: (B,) its row, −1 for none), then the nearest (Hungarian).
        """
        out = np.full(len(points), -1, np.int64)
        lost = np.flatnonzero((self._a.ids > 0) & (self._a.seen < self._now) & ~self._busy())
        if not len(lost) or not len(points):
            return out
        reach = np.minimum(REACH_M + REACH_MPS * self.untriangulated_s()[lost], REACH_MOST_M)
        here, there = kalman_kernels.centres(points), self._a.place[lost]
        gap = np.linalg.norm(here[:, None] - there[None], axis=-1)
        ratio = stature[:, None] / self._a.stature[lost][None]
        gain = np.where((gap < reach) & ~(np.abs(np.log(ratio)) > 0.15), gap - reach, 0.0)
        gain[~np.isfinite(gain)] = 0.0
        if claimed is not None:
            gain[(claimed[:, None] == lost[None]) & (gain < 0)] -= 2 * REACH_MOST_M
        for b, k in zip(*linear_sum_assignment(gain), strict=True):
            if gain[b, k] < 0:
                out[b] = lost[k]
        return out

    def overlaps_seen_track(self, points: Float) -> bool:
        """Whether the body (J, 3) stands in somebody who was seen in this set."""
        there = self._a.x[self._busy()]
        return bool((kalman_kernels.median_distances(there, points[None]) < SAME_M).any())

    def _busy(self) -> NDArray[np.bool_]:
        return self._a.seen >= self._now

    def restart(self, rows: Int) -> None:
        """Forget where the joints of ``rows`` were: they came back elsewhere."""
        self._a.x[rows] = np.nan

    def vote(self, rows: Int, most: NDArray[np.bool_]) -> None:
        """most (n, G): whether most views of each of ``rows`` had left and right of a group against the expectation.

        The views may be wrong once, not SWAP_SETS times in a row: then the expectation is what is exchanged.
        """
        a = self._a
        a.votes[rows] = np.where(most, a.votes[rows] + 1, 0)
        if not (a.votes >= SWAP_SETS).any():
            return
        for row, g in np.argwhere(a.votes >= SWAP_SETS):
            pairs = self._groups[g][self._groups[g, :, 0] >= 0]
            both, other = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])
            a.x[row, both] = a.x[row, other]
            a.P[row, both] = a.P[row, other]
            a.votes[row, g] = 0

    def confirm(self) -> None:
        """Give identities to those who have been confirmed often enough, and have moved where they are doubted."""
        ready = (self._a.ids == 0) & (self._a.hits >= self._a.need)
        ready[ready & self._a.doubted] = self._moved(ready & self._a.doubted)
        for row in np.flatnonzero(ready):
            self._a.ids[row] = self._next_id
            self._next_id += 1

    def _moved(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a good part of the joints of each is elsewhere than at first."""
        away = np.linalg.norm(self._a.x[rows, :, :3] - self._a.first[rows], axis=-1)
        return np.array([np.isfinite(a).any() and np.nanpercentile(a, 75) > MOVED_M for a in away], np.bool_)

    def duplicate_pairs(self) -> list[tuple[int, int]]:
        """Pairs (keep, drop) of people seen now who stand in one another."""
        now = np.flatnonzero(self._busy())
        if len(now) < 2:
            return []
        here = self._a.x[now]
        a, b = np.nonzero(np.triu(kalman_kernels.median_distances(here, here) < SAME_M, 1))
        return [(int(now[i]), int(now[k])) for i, k in zip(a, b, strict=True)]

    def drop(self, gone: NDArray[np.bool_]) -> None:
        """Forget people (T,)."""
        if gone.any():
            self._a = self._a.subset(~gone)

    def overdue(self) -> NDArray[np.bool_]:
        """(T,) who has been unseen for too long: known people after occlusion_s, tentative ones after two sets."""
        away = self._now - self._a.seen
        return np.where(self._a.ids > 0, away > self._occlusion_ns, away > int(2.5e9 * self._step_s))
