"""Where a person's root is, by what several views or one tell: the lifted depth, the person's size, the ground.

What one view says of a depth errs in the same way for a long time, so its errors are states beside the root's place,
learnt while several views see the person and kept for as long as each lasts:

- the lifter takes a person for too tall or too short: in all views, for ever (SCALE_TAU_S);
- seen from one side it errs a little otherwise, for as long as the person is seen from there (SIDE_TAU_S);
- and with every pose (POSE_TAU_S);
- the lower foot stands on the ground, but for how a view's lifted pose and keypoints err (FOOT_TAU_S). How high the
  ground is, is learnt too, and so is how well it holds: of somebody who climbs or jumps a foot tells little.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.estimate import root_kernels
from kinecast.engines.estimate.root_kernels import FIRST, GROUND, PER_VIEW, SCALE, STEP

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ROOT_ACCEL = 3.0  # m²/s³, white acceleration of a person's root: half a second changes a walk by 1.2 m/s
ASIDE_ACCEL = 30.0  # the same where one view sees it: a jump
SPEED_TAU_S = 1.5  # how long a speed lasts that nothing confirms
# How long errors last, and which share of the lifter's σ each has by size, by side and by pose: as found on real and
# staged people whom four views see (docs/results/fusion.md)
SCALE_TAU_S, SIDE_TAU_S, POSE_TAU_S, FOOT_TAU_S = 1800.0, 20.0, 0.6, 0.8
SHARES = (1.2, 0.4, 0.6)
DEPTH_JITTER = 0.01  # share of the depth by which it moves from frame to frame
UNTOLD = 0.3  # σ of the logarithm of a depth of which nothing is said
GROUND_M = 10.0  # how high the ground may be in a world of which nothing is known
FOOT_M = 0.03  # how high the sole of a standing foot seems, σ, beside the errors of its lifted depth
TREAD_M = 0.015  # and from frame to frame
STEPS_M, LEAST_STEPS_M = 0.06, 0.02  # how the lower foot's height varies: before anything is known of it, and at least
STEPS_TAU_S = 20.0  # what is remembered of that
STEP_TAU_S = 3.0  # how long a foot stays on a step
LEVEL_TAU_S = 60.0  # the ground under somebody changes by a step in so long
SPEED_S = 0.12  # over which the speed of a foot is told
SOLES = (("ankle", 0.08), ("heel", 0.0), ("big_toe", 0.0), ("small_toe", 0.0))  # m over the ground


class RootFilter:
    """Roots of T tracks and the errors of C views. up: (3,) of the world; None: nothing is known of the ground."""

    def __init__(self, R: Float, t: Float, joints: tuple[str, ...], up: Float | None) -> None:
        self._R, self._t = R, t
        self._centres = -(R * t[:, :, None]).sum(axis=1)
        C = len(R)
        n = FIRST + PER_VIEW * C
        there = [(name, high) for name, high in SOLES if f"left_{name}" in joints and f"right_{name}" in joints]
        self._up = np.zeros(3) if up is None else np.asarray(up, np.float64)
        self._feet = np.array(
            [[joints.index(f"{side}_{name}") for name, _ in there] for side in ("left", "right")], np.int64
        )
        self._above = np.array([high for _, high in there])
        self.x, self.P = np.zeros((0, n)), np.zeros((0, n, n))
        self._depth_sd = np.zeros((0, C))  # as told last
        self._foot_sd = np.zeros((0, C))  # of the lower foot's height, by its lifted depth, NaN where not told
        self._trail = np.zeros((0, C, 2, 2))  # where each foot was lately, in each view
        self._level = np.zeros((0, 2))  # mean and variance of the lower foot's height, as triangulated
        self._tau_s = np.full(n, np.inf)  # how long each state but the place lasts
        self._tau_s[3:6], self._tau_s[SCALE], self._tau_s[STEP] = SPEED_TAU_S, SCALE_TAU_S, STEP_TAU_S
        for i, tau_s in enumerate((SIDE_TAU_S, POSE_TAU_S, FOOT_TAU_S)):
            self._tau_s[FIRST + i :: PER_VIEW] = tau_s

    @property
    def scale(self) -> Float:
        """(T,) by how much, as a logarithm, lifters take each person for too large; 0 where that is not known."""
        return np.nan_to_num(self.x[:, SCALE])

    def take_rows(self, take: Callable[[Float, float], Float]) -> None:
        """Other tracks: ``take`` gives the rows of an array (T, …) for them, new ones with a value."""
        self.x, self.P = take(self.x, np.nan), take(self.P, 0.0)
        self._depth_sd, self._level = take(self._depth_sd, UNTOLD), take(self._level, np.nan)
        self._foot_sd, self._trail = take(self._foot_sd, np.nan), take(self._trail, np.nan)

    def begin(self, rows: Int, at: Float, covariance_m2: Float) -> None:
        """Who was not known is at (n, 3), m; of their errors nothing is known. NaN: they stay unknown."""
        there = np.isfinite(at).all(axis=1)
        rows, n = rows[there], self.x.shape[1]
        self.x[rows] = 0.0
        self.x[rows, :3] = at[there]
        self.P[rows] = self._spread()[rows, :, None] ** 2 * np.eye(n)
        self.P[rows, 3:6, 3:6] = root_kernels.SPEED2 * np.eye(3)
        self.P[rows, :3, :3] = covariance_m2[there]

    def predict(self, dt_s: float, depth_sd: Float, one: Int) -> None:
        """Move on by dt_s. depth_sd: (T, C) σ of the logarithm of the lifted depths of now, NaN where there is none.

        one: (T,) the view that alone sees a person, −1 where none or several do.
        """
        self._depth_sd = np.where(np.isfinite(depth_sd), depth_sd, self._depth_sd)
        keep = np.broadcast_to(np.exp(-dt_s / self._tau_s), self.x.shape).copy()
        spread = self._spread()
        # a level has no mean to go back to: it walks, as fast as feet were seen to
        self.P[:, GROUND, GROUND] += np.where(np.isfinite(self.x[:, 0]), self._steps2() * dt_s / LEVEL_TAU_S, 0.0)
        centre = np.where((one >= 0)[:, None], self._centres[one], np.nan)
        root_kernels.predict(self.x, self.P, dt_s, ROOT_ACCEL, ASIDE_ACCEL, centre, self._up, keep, spread)

    def correct(
        self, fixed: Float, fixed_var: Float, bearing: Float, bearing_var: Float, root_m: Float, one: Int,
        relative_m: Float, sd_m: Float, xy: Float, sigma: Float, dt_s: float,
    ) -> None:  # fmt: skip
        """Take one set; arguments as of ``root_kernels.update`` and ``root_kernels.lower_foot``."""
        T, C = root_m.shape[:2]
        foot, self._foot_sd = np.full((T, C, 2), np.nan), np.full((T, C), np.nan)
        where = np.where(np.isfinite(fixed), fixed, self.x[:, :3])
        root_kernels.lower_foot(
            where, self._R, self._t, self._up, relative_m, sd_m, xy, sigma, self._speed(dt_s, xy, sigma),
            self._feet, self._above, foot, self._foot_sd,
        )  # fmt: skip
        root_kernels.update(
            self.x, self.P, self._R, self._t, fixed, fixed_var, bearing, bearing_var, root_m, foot, one,
            self._spread(), DEPTH_JITTER**2, TREAD_M**2,
        )  # fmt: skip

    def learn_ground(self, dt_s: float, points_m: Float) -> None:
        """How high the lower foot of everybody stands, by points (T, J, 3) as triangulated, NaN where not."""
        if not len(points_m) or not self._up.any():
            return
        high = (points_m[:, self._feet] * self._up).sum(axis=-1) - self._above
        there = np.isfinite(high).sum(axis=2)
        with np.errstate(invalid="ignore"):
            low = np.where(there > 0, np.nansum(high, axis=2) / there, np.nan).min(axis=1)  # both feet, or nothing
        mean, var = self._level.T
        first = np.isfinite(low) & ~np.isfinite(mean)
        later = np.isfinite(low) & np.isfinite(mean)
        gain = min(dt_s / STEPS_TAU_S, 0.5)
        off = low - mean
        self._level[later, 0] += gain * off[later]
        self._level[later, 1] += gain * (off[later] ** 2 - var[later])
        self._level[first, 0], self._level[first, 1] = low[first], STEPS_M**2

    def _speed(self, dt_s: float, xy: Float, sigma: Float) -> Float:
        """(T, C, 2) how fast each foot moves across each view, at depth 1, 1/s; NaN where it was not seen lately."""
        there = (sigma[:, :, self._feet] > 0) & np.isfinite(xy[:, :, self._feet, 0])
        n = there.sum(axis=-1)[..., None]
        with np.errstate(invalid="ignore"):
            now = np.where(there[..., None], xy[:, :, self._feet], 0.0).sum(axis=-2) / np.where(n > 0, n, np.nan)
        off = now - self._trail
        gain = 1 - np.exp(-dt_s / SPEED_S)
        self._trail = np.where(np.isfinite(off), self._trail + gain * off, now)
        return np.asarray(np.hypot(off[..., 0], off[..., 1]) / SPEED_S)

    def _steps2(self) -> Float:
        """(T,) variance of the lower foot's height."""
        return np.where(np.isfinite(self._level[:, 1]), np.maximum(self._level[:, 1], LEAST_STEPS_M**2), STEPS_M**2)

    def _spread(self) -> Float:
        """(T, n) σ of the errors in the long run."""
        out = np.zeros(self.x.shape)
        told = np.where(np.isfinite(self._depth_sd), self._depth_sd, UNTOLD)
        out[:, SCALE] = SHARES[0] * (told.min(axis=1) if told.shape[1] else UNTOLD)
        out[:, GROUND] = GROUND_M
        for i, share in enumerate(SHARES[1:]):
            out[:, FIRST + i :: PER_VIEW] = share * told
        foot = np.hypot(np.nan_to_num(self._foot_sd), FOOT_M)
        out[:, STEP] = np.sqrt(self._steps2())
        out[:, FIRST + 2 :: PER_VIEW] = foot
        return out
