"""How the cameras of a rig are, from the people alone: has one been moved since the start, is a clock off.

Once a second the last seconds' residuals are solved for every camera's clock offset and for how far it has turned
(:mod:`engines.timing.joint`), and the turn is held against that of the start, which holds what the calibration got
wrong. A camera counts as moved when that is more than people, noise and detectors explain, for several seconds in a
row. A camera that was shifted looks like one that was turned, as long as people keep their distance.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied, times
from kinecast.engines.fixed import inverse, solve
from kinecast.engines.observations import CameraArrays
from kinecast.engines.timing.joint import UNKNOWNS, Normal

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PERIOD_NS = 1_000_000_000
WINDOW = 8  # seconds with people in them that make a state
BASELINE = 10  # seconds with people in them that the start consists of
JOINTS_TO_COUNT_A_SECOND = 30  # of a second that counts
LEAST_MOVED_PX = 4.0  # about what detectors differ by between a front and a back view, averaged over joints
MOVED_SIGMA = 5.0
MOVED_IN_A_ROW = 3
BESIDE = 0.5  # of the most moved camera's pixels: less may be its pull on the points
PRIOR = np.array([0.1, 0.05, 0.05, 0.05])  # s, rad: keeps what nothing determines at zero
MEMORY_S = 30.0  # of the clocks: at 50 ppm the estimate lags by 1.5 ms
CLOCK_JOINTS = 1000.0  # before it is told at all


@dataclass(frozen=True, slots=True, eq=False)
class RigState:
    """C cameras at ``t_ns``. Arrays are (C,) float64, NaN where not known yet.

    residual_px: geometric mean of the residuals against the point of the other cameras, baseline_px: at the start.
    moved_px, moved_sigma_px: how far the picture has moved since the start. moved_since_ns: (C,) int64, 0 where the
    camera has not moved. offset_s, offset_sigma_s: clock, against the mean of all, stamps minus time.
    """

    t_ns: int
    residual_px: Float
    baseline_px: Float
    moved_px: Float
    moved_sigma_px: Float
    moved_since_ns: Int
    offset_s: Float
    offset_sigma_s: Float


@dataclass(frozen=True, slots=True, eq=False)
class _Second:
    N: Float
    b: Float
    trend: Float


class RigWatch:
    """Collects residuals of frame sets and says once a second how the rig is. A function of what it is given."""

    def __init__(self, cameras: CameraArrays) -> None:
        C = len(cameras)
        self._cameras, self._C = cameras, C
        self._now, self._next, self._due_ns = Normal(C), 0, 0
        self._recent: deque[_Second] = deque(maxlen=WINDOW)
        self._first: list[_Second] = []
        self._base: tuple[Float, Float, Float] | None = None
        self._above = np.zeros(C, np.int64)
        self._since = np.zeros(C, np.int64)
        self._N, self._b = np.zeros((C, C)), np.zeros(C)
        self._scatter = np.zeros((C, C))
        self._joints = 0.0

    def observe(self, xy: Float, confidence: Float, points: Float, velocity: Float) -> None:
        """Take one frame set; see :meth:`engines.timing.joint.Normal.add` for the arrays."""
        if points.size:
            self._next = self._now.add(self._cameras, xy, confidence, points, velocity, self._next)

    def state(self, t_ns: int, offsets_ns: Int) -> RigState | None:
        """The state where a second has passed, else None. offsets_ns: (C,) corrections that were in force."""
        if not self._due_ns:
            self._due_ns = t_ns + PERIOD_NS
        if t_ns < self._due_ns:
            return None
        elapsed_s = 1.0 + (t_ns - self._due_ns) / PERIOD_NS
        self._due_ns = t_ns + PERIOD_NS
        now, self._now = self._now, Normal(self._C)
        if now.joints >= JOINTS_TO_COUNT_A_SECOND:
            # residuals are against the corrections in force; sums must be against the stamps
            now.b += applied(now.N[:, ::UNKNOWNS], offsets_ns / 1e9)
            self._recent.append(_Second(now.N, now.b, now.trend))
            if self._base is None:
                self._first.append(self._recent[-1])
            self._clocks(now, elapsed_s)
        offset, offset_sigma = self._offsets()
        if len(self._recent) < WINDOW:
            blank = np.full(self._C, np.nan)
            return RigState(t_ns, blank, blank, blank, blank, self._since.copy(), offset, offset_sigma)
        if self._base is None and len(self._first) == BASELINE:
            self._base = _turns(self._first, self._C)
        turn, sigma, residual = _turns(list(self._recent), self._C)
        moved = sigma_px = base_px = np.full(self._C, np.nan)
        if self._base is not None:
            moved, sigma_px = self._pixels(turn - self._base[0], np.hypot(sigma, self._base[1]))
            base_px = self._base[2]
            self._judge(t_ns, moved, sigma_px)
        return RigState(t_ns, residual, base_px, moved, sigma_px, self._since.copy(), offset, offset_sigma)

    def _pixels(self, turn: Float, sigma: Float) -> tuple[Float, Float]:
        """(C,) what turns (C, 3) move the picture by, in its middle and by roll, and the standard deviation."""
        size = self._cameras.size_px.mean(axis=1) / 4  # mean distance of a point from the middle, roughly
        scale = np.stack([self._cameras.focal_px, self._cameras.focal_px, size], axis=1)
        px = np.linalg.norm(turn * scale, axis=1)
        return px, np.linalg.norm(sigma * scale, axis=1)

    def _judge(self, t_ns: int, moved: Float, sigma_px: Float) -> None:
        over = moved > np.maximum(LEAST_MOVED_PX, MOVED_SIGMA * sigma_px)
        over &= moved >= BESIDE * np.nanmax(np.where(over, moved, 0.0), initial=0.0)
        self._above = np.where(over, self._above + 1, 0)
        fresh = (self._above >= MOVED_IN_A_ROW) & (self._since == 0)
        # half of the window must have been seen after the move before it shows
        self._since[fresh] = t_ns - (MOVED_IN_A_ROW - 1 + WINDOW // 2) * PERIOD_NS
        self._since[(self._above == 0) & (moved < LEAST_MOVED_PX / 2)] = 0  # put back

    def _clocks(self, now: Normal, elapsed_s: float) -> None:
        """Fold a second into the sums for the clocks; the turns of that second are taken out of it."""
        C = self._C
        clock = np.arange(C) * UNKNOWNS
        turn = np.delete(np.arange(C * UNKNOWNS), clock)
        N = now.N + np.diag(np.tile([0.0, *(PRIOR[1:] ** -2.0)], C))
        cross = solve(N[np.ix_(turn, turn)], np.column_stack([N[np.ix_(turn, clock)], now.b[turn]]))
        own = N[np.ix_(clock, clock)] - times(N[np.ix_(clock, turn)], cross[:, :C])
        b = now.b[clock] - applied(N[np.ix_(clock, turn)], cross[:, C])
        keep = float(np.exp(-elapsed_s / MEMORY_S))
        self._N, self._b, self._joints = keep * self._N + own, keep * self._b + b, keep * self._joints + now.joints
        score = b - applied(own, self._solve()[0])
        self._scatter = keep**2 * self._scatter + np.outer(score, score)

    def _solve(self) -> tuple[Float, Float]:
        """Offsets of mean zero (C,) and the inverse of their normal matrix."""
        back = inverse(self._N + np.eye(self._C) * PRIOR[0] ** -2 + 1e12 / self._C)
        return applied(back, self._b), back

    def _offsets(self) -> tuple[Float, Float]:
        if self._joints < CLOCK_JOINTS:
            return np.full(self._C, np.nan), np.full(self._C, np.nan)
        offset, back = self._solve()
        return offset - offset.mean(), np.sqrt(np.maximum(np.diag(times(times(back, self._scatter), back)), 0.0))


def _turns(seconds: list[_Second], C: int) -> tuple[Float, Float, Float]:
    """(C, 3) turns in radians, their standard deviations by the scatter between seconds, and (C,) residual in px."""
    N = np.sum([s.N for s in seconds], axis=0) + np.diag(np.tile(PRIOR**-2.0, C))
    back = inverse(N)
    solved = applied(back, np.sum([s.b for s in seconds], axis=0))
    scores = np.stack([s.b - applied(s.N, solved) for s in seconds])
    cov = times(times(back, times(scores.T, scores)), back) * len(seconds) / (len(seconds) - 1)
    rows = np.sqrt(np.maximum(np.diag(cov), 0.0)).reshape(C, UNKNOWNS)
    trend = np.sum([s.trend for s in seconds], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = np.exp(trend[:, 1] / trend[:, 0])
    return solved.reshape(C, UNKNOWNS)[:, 1:], rows[:, 1:], residual
