"""How the cameras of a rig are, from the people alone: has one been moved since the start, is a clock off.

Once a second the last seconds' residuals say of every camera by itself how far it would have turned, all others
standing as they are; that is held against what the start says, which holds what the calibration got wrong and what
detectors place differently from that side. One camera at a time, since all at once explain what no camera did: a
detector's habits and the pull of a point. A camera counts as moved when it explains most, and by more than people,
noise and habits do, for several seconds in a row; from then on it is unknown in what is asked of the others. A camera
that was shifted looks like one that was turned, as long as people keep their distance.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied, times
from kinecast.engines.fixed import inverse, solve
from kinecast.engines.observations import CameraArrays
from kinecast.engines.timing.clock_watch import ClockWatch, Moved
from kinecast.engines.timing.joint import UNKNOWNS, Normal

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PERIOD_NS = 1_000_000_000
WINDOW = 8  # seconds with people in them that make a state
LONG_WINDOW = 32  # the same for a move that a few looks of detectors would hide
BASELINE = 10  # seconds with people in them that the start consists of, at least
BASELINE_MOST = 60  # it grows to this while no camera has moved: somebody has been in more places, and turned round
SETTLING = LONG_WINDOW + WINDOW  # seconds that a second waits before the start takes it in: a move shows before that
SUSPECT_SIGMA = 2.5  # from here on nothing more is taken into the start
JOINTS_TO_COUNT_A_SECOND = 30  # of a second that counts
LEAST_MOVED_PX = 4.0  # about what detectors differ by between a front and a back view, averaged over joints
HABIT_M = 0.005  # the same at the person, of a window: what no number of frames averages away
MOVED_SIGMA = 5.0
MOVED_IN_A_ROW = 3
MOST_KEPT = 64  # answers about the start that are kept, of each camera and of who is unknown besides
LAGS = 3  # seconds whose scatter is taken together: detectors err alike for a while
PRIOR = np.array([0.1, 0.05, 0.05, 0.05])  # s, rad: keeps what nothing determines at zero


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
    """Normal equations N (4C, 4C), b (4C,) of a second, against the stamps; trend (C, 2); depth (C,) of people, m."""

    N: Float
    b: Float
    trend: Float
    depth: Float


class RigWatch:
    """Collects residuals of frame sets and says once a second how the rig is. A function of what it is given."""

    def __init__(self, cameras: CameraArrays) -> None:
        C = len(cameras)
        self._cameras, self._C = cameras, C
        self._now, self._next, self._due_ns = Normal(C), 0, 0
        self._depth = np.full(C, np.nan)
        self._recent: deque[_Second] = deque(maxlen=SETTLING)
        self._base: list[_Second] = []
        self._base_turns: dict[tuple[int, ...], tuple[Float, Float, Float]] = {}
        self._above = {WINDOW: np.zeros(C, np.int64), LONG_WINDOW: np.zeros(C, np.int64)}
        self._since = np.zeros(C, np.int64)
        self._suspect = False
        self._clocks = ClockWatch(cameras)

    def observe(
        self, t_ns: int, tracks: Int, offsets_ns: Int, dt_to_set_s: Float, xy: Float, confidence: Float,
        points: Float, velocity: Float,
    ) -> None:  # fmt: skip
        """Take one frame set. tracks: (P,) who is who; offsets_ns (C,): corrections in force.

        dt_to_set_s (C,): by which views were moved with ``velocity``. For the other arrays see
        :meth:`engines.timing.joint.Normal.add`.
        """
        if points.size:
            self._next = self._now.add(self._cameras, xy, confidence, points, velocity, self._next)
            moved = Moved(offsets_ns / 1e9, dt_to_set_s, velocity)
            self._clocks.observe(t_ns, tracks, moved, xy, confidence, points)
            there = np.isfinite(points[..., 0])
            if there.any():
                P = self._cameras.P[:, 2]
                self._depth = applied(P[:, :3], points[there].mean(axis=0)) + P[:, 3]

    def state(self, t_ns: int, offsets_ns: Int) -> RigState | None:
        """The state where a second has passed, else None. offsets_ns: (C,) corrections that were in force."""
        if not self._due_ns:
            self._due_ns = t_ns + PERIOD_NS
        if t_ns < self._due_ns:
            return None
        self._due_ns = t_ns + PERIOD_NS
        now, self._now = self._now, Normal(self._C)
        fresh = now.joints >= JOINTS_TO_COUNT_A_SECOND
        if fresh:
            # residuals are against the corrections in force; sums must be against the stamps
            now.b += applied(now.N[:, ::UNKNOWNS], offsets_ns / 1e9)
            self._remember(_Second(now.N, now.b, now.trend, self._depth))
        offset, offset_sigma = self._clocks.offsets
        moved = sigma_px = base_px = residual = np.full(self._C, np.nan)
        if len(self._recent) >= WINDOW:
            residual = _residual(list(self._recent)[-WINDOW:])
            if len(self._base) >= BASELINE:
                moved, sigma_px = self._judge(t_ns, fresh)
                base_px = _residual(self._base)
        return RigState(t_ns, residual, base_px, moved, sigma_px, self._since.copy(), offset, offset_sigma)

    def _remember(self, second: _Second) -> None:
        """A second joins the window; into the start at once where that is short, else the one that has settled does."""
        growing = len(self._base) < BASELINE_MOST and not self._suspect
        if len(self._base) < BASELINE:
            self._base.append(second)
        elif growing and len(self._recent) == SETTLING and not any(s is self._recent[0] for s in self._base):
            self._base.append(self._recent[0])
        self._recent.append(second)

    def _judge(self, t_ns: int, fresh: bool) -> tuple[Float, Float]:
        """(C,) pixels that each picture has moved by and their σ; ``fresh``: the last second is new, and is judged.

        Of the short window, and of the long one for a camera that only this shows.
        """
        moved, sigma, gain = self._moved(WINDOW)
        over = self._over(WINDOW, moved, sigma, gain, fresh)
        ratio = moved / sigma
        if len(self._recent) >= LONG_WINDOW:
            long, long_sigma, long_gain = self._moved(LONG_WINDOW)
            alone = self._over(LONG_WINDOW, long, long_sigma, long_gain, fresh) & ~over
            ratio = np.maximum(ratio, long / long_sigma)
            moved, sigma = np.where(alone, long, moved), np.where(alone, long_sigma, sigma)
        self._suspect = bool((ratio > SUSPECT_SIGMA).any())
        for window, above in self._above.items():
            new = (above >= MOVED_IN_A_ROW) & (self._since == 0)
            # half of the window must have been seen after the move before it shows
            self._since[new] = t_ns - (MOVED_IN_A_ROW - 1 + window // 2) * PERIOD_NS
        nothing = np.all([above == 0 for above in self._above.values()], axis=0)
        self._since[nothing & (moved < LEAST_MOVED_PX / 2)] = 0  # put back
        return moved, sigma

    def _over(self, window: int, moved: Float, sigma: Float, gain: Float, fresh: bool) -> NDArray[np.bool_]:
        """(C,) who stands out in this window, and one second more that has."""
        over: NDArray[np.bool_] = moved > np.maximum(LEAST_MOVED_PX, MOVED_SIGMA * sigma)
        # one that explains less than another may be its pull on the points
        first = np.where(self._since == 0, np.nan_to_num(gain), -1.0)
        over &= (self._since != 0) | (np.arange(self._C) == int(first.argmax()))
        if fresh:
            self._above[window] = np.where(over, self._above[window] + 1, 0)
        return over

    def _moved(self, window: int) -> tuple[Float, Float, Float]:
        """(C,) by how many pixels each camera's picture has moved, σ of that, and how much of χ² it explains."""
        seconds = list(self._recent)[-window:]
        N, b, scale = np.stack([s.N for s in seconds]), np.stack([s.b for s in seconds]), self._scale()
        px, sigma, gain = np.empty(self._C), np.empty(self._C), np.empty(self._C)
        depth = seconds[-1].depth
        looks = WINDOW / window + WINDOW / len(self._base)
        for c in range(self._C):
            free = [k for k in range(self._C) if k == c or self._since[k]]
            now, cov, formal = _turn(N, b, free, free.index(c), self._C)
            base, base_cov, base_formal = self._base_turn(free, c)
            turn = now - base
            px[c] = np.sqrt(np.sum((turn * scale[c]) ** 2))
            habit = HABIT_M / depth[c] * self._cameras.focal_px[c]
            sigma[c] = np.sqrt(np.sum(np.diag(cov + base_cov) * scale[c] ** 2) + looks * habit**2)
            gain[c] = np.sum(turn * solve(formal + base_formal, turn))
        return px, sigma, gain

    def _base_turn(self, free: list[int], c: int) -> tuple[Float, Float, Float]:
        """:func:`_turn` of camera c at the start, which seldom changes."""
        key = (len(self._base), c, *free)
        if key not in self._base_turns:
            if len(self._base_turns) > MOST_KEPT:
                self._base_turns.clear()
            N, b = np.stack([s.N for s in self._base]), np.stack([s.b for s in self._base])
            self._base_turns[key] = _turn(N, b, free, free.index(c), self._C)
        return self._base_turns[key]

    def _scale(self) -> Float:
        """(C, 3) pixels by which a turn of 1 rad moves the picture, in its middle and by roll."""
        size = self._cameras.size_px.mean(axis=1) / 4  # mean distance of a point from the middle, roughly
        return np.stack([self._cameras.focal_px, self._cameras.focal_px, size], axis=1)


def _turn(N: Float, b: Float, free: list[int], at: int, C: int) -> tuple[Float, Float, Float]:
    """Turn (3,) of the camera ``free[at]`` in radians, its covariance (3, 3), and that if noise were independent.

    N (S, 4C, 4C), b (S, 4C): of S seconds. Clocks of all cameras and turns of the free ones are unknown. The covariance
    is by the scatter of seconds, with their neighbours.
    """
    clocks = np.arange(C) * UNKNOWNS
    pick = np.concatenate([clocks, *(np.arange(1, UNKNOWNS) + UNKNOWNS * k for k in free)])
    N, b = N[:, pick[:, None], pick], b[:, pick]
    back = inverse(N.sum(axis=0) + np.diag(PRIOR[pick % UNKNOWNS] ** -2.0))
    solved = applied(back, b.sum(axis=0))
    scores = b - applied(N, solved)
    scatter = times(scores.T, scores)
    for lag in range(1, LAGS):
        cross = (1 - lag / LAGS) * times(scores[lag:].T, scores[:-lag])
        scatter += cross + cross.T
    own = slice(C + 3 * at, C + 3 * at + 3)
    cov = times(times(back, scatter), back) * len(b) / (len(b) - 1)
    return solved[own], cov[own, own], back[own, own]


def _residual(seconds: Sequence[_Second]) -> Float:
    """(C,) geometric mean of the residuals against the point of the other cameras, px."""
    trend = np.sum([s.trend for s in seconds], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Float = np.exp(trend[:, 1] / trend[:, 0])
    return out
