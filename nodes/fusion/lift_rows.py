"""Which views of which people the lifter runs for, how often, and what its poses are worth between.

A person whom many views see well hardly needs a lifted pose, and whoever may need one soon needs few: the views that
see most of the person *stand*. The lifter runs at its own rate, and gives a pose when the last one is older than
FRESH_NS; a person whom one view alone sees gets one with every frame. Between, a pose is held, and is as much less
sure as people move meanwhile (to carry its velocity on was no better: what a network says jitters as fast). A depth is
told once, by the set that got it.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.estimate.lifted import LiftedViews, rows_of
from kinecast.engines.lift.own_rate import OwnRate
from kinecast.engines.lift.records import Lifted
from kinecast.engines.observations import CameraArrays

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

JOINTS_TO_KEEP_TRACK = 6  # of a view that alone keeps a person in the room, or whose lifted pose counts
FRESH_NS = 60_000_000  # two frames of 30 Hz, less what their stamps jitter
DRIFT_MPS = 0.55  # RMS per axis of how joints move beside the root: balancing person of the sample clip, 33 to 133 ms
SIGHT_S = 0.5  # over so long it is judged how much a view sees of a person
SEES_WELL = 13  # joints
WELL_SEEN = 4  # a person whom so many views see well needs one lifted pose, no second
BETTER = 1.4  # a view that stands gives way to one that sees so many times as much


class LifterLike(Protocol):
    """What is asked of a lifter, see ``engines.lift.Lifter``."""

    name: str
    skeleton: str

    def step(self, t_ns: int, keys: list[tuple[int, str]], xy: Float, confidence: Float, focal: Float) -> Lifted:
        """Lift N rows (track, camera), normalised xy (N, J, 2), confidence (N, J), focal (N, 2) px."""

    def forget(self, keys: list[tuple[int, str]]) -> None:
        """These rows come no more."""

    def own_rate(self) -> OwnRate:
        """The same at its own rate, for rows that stand."""


class LiftRows:
    """Lifted poses of all tracks. views: how many of a person's views stand at most; None: every view that ever saw
    the person, anew in every set, as recordings were fused that do not say. A function of the calls made.
    """

    def __init__(self, lifter: LifterLike, cameras: CameraArrays, views: int | None) -> None:
        self._cameras, self._views = cameras, views
        self._focal = np.stack([cameras.K[:, 0, 0], cameras.K[:, 1, 1]], axis=1)
        C = len(cameras)
        self._tracks = np.zeros(0, np.int64)
        self._met: Bool = np.zeros((0, C), np.bool_)
        self._stands: Bool = np.zeros((0, C), np.bool_)
        self._sight = np.zeros((0, C))
        self._t_ns: int | None = None
        self.use(lifter)

    def use(self, lifter: LifterLike) -> None:
        """Another lifter: its rows begin anew."""
        self._lifter = lifter
        self._own = None if self._views is None else lifter.own_rate()
        self._poses_ns: int | None = None  # time of the poses that are held
        self._blank()

    def _blank(self) -> None:
        """Nothing is held."""
        T, C = self._met.shape
        self._held: Bool = np.zeros((T, C), np.bool_)
        self._relative = self._sd = np.zeros((T, C, 0, 3))
        self._depth_sd = np.full((T, C), np.nan)

    def forget(self, tracks: Int) -> None:
        """These tracks are gone."""
        names = self._cameras.names
        keys = [
            (int(self._tracks[t]), names[c])
            for t in np.flatnonzero(np.isin(self._tracks, tracks)).tolist()
            for c in np.flatnonzero(self._met[t]).tolist()
        ]
        if keys:
            self._lifter.forget(keys)

    def step(self, t_ns: int, tracks: Int, xy: Float, confidence: Float, alone: Bool) -> LiftedViews:
        """One set: xy (T, C, J, 2), confidence (T, C, J). alone: (T,) whom one view alone may have to place."""
        T, C, J = confidence.shape
        self._keep(tracks)
        count = (confidence > 0).sum(axis=-1)
        self._met |= count > 0
        t, c = np.nonzero(self._met)
        keys = [(int(tracks[i]), self._cameras.names[k]) for i, k in zip(t.tolist(), c.tolist(), strict=True)]
        seen = xy[t, c], confidence[t, c], self._focal[c]
        if self._own is None:
            out = self._lifter.step(t_ns, keys, *seen)
            whole = _nothing(T, C, J)
            _put(whole, t, c, out)
        else:
            whole = self._at_own_rate(self._own, t_ns, keys, seen, (t, c), count, alone)
        for values in (whole.relative_m, whole.sd_m, whole.root_m, whole.depth_sd):
            values[count < JOINTS_TO_KEEP_TRACK] = np.nan
        return whole

    def _keep(self, tracks: Int) -> None:
        if np.array_equal(tracks, self._tracks):
            return
        for name, blank in (
            ("_met", False), ("_stands", False), ("_sight", 0.0), ("_held", False), ("_relative", np.nan),
            ("_sd", np.nan), ("_depth_sd", np.nan),
        ):  # fmt: skip
            values = getattr(self, name)
            setattr(self, name, rows_of(tracks, self._tracks, values, blank).astype(values.dtype))
        self._tracks = tracks.copy()

    def _at_own_rate(
        self, own: OwnRate, t_ns: int, keys: list[tuple[int, str]], seen: tuple[Float, Float, Float],
        at: tuple[Int, Int], count: Int, alone: Bool,
    ) -> LiftedViews:  # fmt: skip
        T, C = count.shape
        J = seen[1].shape[1]
        dt_s = 0.0 if self._t_ns is None else max(t_ns - self._t_ns, 0) / 1e9
        self._t_ns = t_ns
        self._choose(count, dt_s)
        stands = self._stands & self._met
        age_ns = None if self._poses_ns is None else t_ns - self._poses_ns
        stale = age_ns is None or not 0 <= age_ns < FRESH_NS
        # who just came to stand is waited for, so that nobody lacks a pose who had one
        wanted = stale or bool((stands & ~self._held).any()) or bool((alone & stands.any(axis=1)).any())
        answer = own.follow(t_ns, keys, *seen, stands[at], wanted)
        root = np.full((T, C, 3), np.nan)
        if answer is not None:
            new = _nothing(T, C, J)
            _put(new, *at, answer.lifted)
            self._relative, self._sd, self._depth_sd, root = new.relative_m, new.sd_m, new.depth_sd, new.root_m
            self._held, self._poses_ns = new.there, answer.t_ns
        self._held = self._held & stands
        if self._relative.shape[2] != J or self._poses_ns is None:
            return _nothing(T, C, J)
        drift = DRIFT_MPS * max(t_ns - self._poses_ns, 0) / 1e9
        held = self._held[..., None, None]
        relative, sd = np.where(held, self._relative, np.nan), np.where(held, np.hypot(self._sd, drift), np.nan)
        return LiftedViews(relative, sd, root, np.where(self._held, self._depth_sd, np.nan))

    def _choose(self, count: Int, dt_s: float) -> None:
        """Which views stand, from how many joints (T, C) each sees now. Who stands goes on, unless others see more."""
        assert self._views is not None
        new = ~np.asarray(self._sight.any(axis=1, keepdims=True))
        self._sight += np.where(new, 1.0, 1 - np.exp(-dt_s / SIGHT_S)) * (count - self._sight)
        for row, (sight, stands) in enumerate(zip(self._sight, self._stands, strict=True)):
            if not count[row].any():
                continue
            well = int((sight >= SEES_WELL).sum())
            few = 1 if well >= WELL_SEEN or (well == WELL_SEEN - 1 and stands.sum() == 1) else self._views
            worth = np.where(stands, BETTER, 1.0) * sight
            if not (count[row, stands] >= JOINTS_TO_KEEP_TRACK).any():
                worth = count[row].astype(np.float64)  # nobody sees the person whose pose would count
            best = np.argsort(-worth, kind="stable")[:few]
            stands[:] = False
            stands[best[worth[best] > 0]] = True


def _nothing(T: int, C: int, J: int) -> LiftedViews:
    return LiftedViews(*(np.full((T, C, *shape), np.nan) for shape in ((J, 3), (J, 3), (3,), ())))


def _put(into: LiftedViews, t: Int, c: Int, out: Lifted) -> None:
    """Rows of a lifter at (track, view), where they say anything."""
    good = np.isfinite(out.relative_m).all(axis=(1, 2))
    t, c = t[good], c[good]
    into.relative_m[t, c], into.sd_m[t, c], into.root_m[t, c] = (
        out.relative_m[good], out.relative_sd_m[good], out.root_m[good],
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        into.depth_sd[t, c] = np.sqrt(out.root_covariance_m2[good, 2, 2]) / into.root_m[t, c, 2]
