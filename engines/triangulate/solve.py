"""Robust, confidence-weighted triangulation of whole people, with an honest word about how sure it is.

The noise of a keypoint is modelled as σ = hypot(SIGMA_PX, focal · SIGMA_BODY_M / depth) / confidence pixels: a detector
errs by a share of the body, so by more pixels the larger the person stands in the picture. A factor for every joint
of every camera corrects the model to the residuals that are really met (:class:`NoiseScale`).

Up to MOST_PAIRED views every pair makes a hypothesis and all views vote; with more, iteratively reweighted least
squares from the linear point. Both end in Gauss–Newton with the weights of Geman and McClure (1985), whose normal
matrix gives the covariance; the views within GATE_SIGMA of the result are those that it is said to stand on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.observations import CameraArrays
from kinecast.engines.triangulate.kernels import Observed, Settings, Solved, learn_noise, solve_points

Float = NDArray[np.float64]

SIGMA_PX = 1.0  # what no detector is better than, in original pixels
SIGMA_BODY_M = 0.010  # of a confident keypoint at the person: 0.6 % of a body's height
MOST_PAIRED = 5  # 10 pairs; beyond, reweighting is as good and cheaper
ROBUST_SIGMA = 3.0  # a view so far off has a quarter of its weight
GATE_SIGMA = 3.5
LEAST_ANGLE_DEG = 3.0  # at 4 m and 1 cm of noise, rays that meet at 3° leave 20 cm along them
SURPRISE_M = 0.10  # beyond this and 4 σ of the expectation two views alone are not believed
PRIOR_VOTE = 0.7  # less than one view: a prediction may break a tie and never outvotes a camera


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Triangulated joints of P people, J joints each: a measurement.

    points_world_m: (P, J, 3), NaN where not seen. covariance_m2: (P, J, 3, 3). confidence: (P, J) in [0, 1].
    residual_px: (P, J) RMS reprojection error over the views used, in pixels of the original pictures.
    views: (P, J) bit c set where camera c was used.
    chi2: (P, C, J) squared residual in σ of each view that a joint stands on, else 0; freedom: (P, C, J) what that
    is on average where σ is right: 2 less the leverage of the view, which sums to 2 · views − 3 over the views.
    """

    points_world_m: Float
    covariance_m2: Float
    confidence: Float
    residual_px: Float
    views: NDArray[np.uint32]
    chi2: Float
    freedom: Float

    def __len__(self) -> int:
        return len(self.points_world_m)

    def take(self, rows: NDArray[np.int64]) -> "Solution":
        """Those people alone; itself where they are all there in order."""
        if len(rows) == len(self) and all(r == i for i, r in enumerate(rows.tolist())):
            return self
        return Solution(*(getattr(self, name)[rows] for name in self.__slots__))

    def concat(self, other: "Solution") -> "Solution":
        """These people, then the others."""
        return Solution(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in self.__slots__))

    def used(self, cameras: int) -> NDArray[np.bool_]:
        """(P, C, J) which views each joint stands on."""
        bits = np.arange(cameras, dtype=np.uint32)
        out: NDArray[np.bool_] = (self.views[:, None, :] >> bits[None, :, None] & np.uint32(1)).astype(np.bool_)
        return out


def noise_sigma(cameras: CameraArrays, depth_m: Float, scale: float = 1.0) -> Float:
    """(P, C) standard deviation of a confident keypoint in normalised units, for people at ``depth_m`` (P, C)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Float = scale * np.hypot(SIGMA_PX / cameras.focal_px, SIGMA_BODY_M / depth_m)
    out[~(depth_m > 0.05)] = 0.0  # behind the camera: the kernel leaves such a view out
    return out


def triangulate(
    cameras: CameraArrays,
    xy: Float,
    confidence: Float,
    sigma: Float,
    prior_world_m: Float,
    prior_sd_m: Float,
    factor: Float | None = None,
) -> Solution:
    """Triangulate P people seen by C cameras.

    xy: (P, C, J, 2) undistorted normalised coordinates. confidence: (P, C, J), 0 where missing.
    sigma: (P, C) of :func:`noise_sigma`; factor: (C, J) on it, None: 1. prior_world_m (P, J, 3) and prior_sd_m (P, J):
    where each joint is expected, NaN where it is not known; it only helps to choose between pairs of views and never
    moves the result.
    A joint is NaN with confidence 0 where fewer than 2 views agree, their rays are nearly parallel, or it would stand
    behind a camera that claims to see it.
    """
    people, views, joints = confidence.shape
    out = Solved(
        np.empty((people, joints, 3)), np.empty((people, joints, 3, 3)), np.empty((people, joints)),
        np.empty((people, joints)), np.empty((people, joints), np.uint32), np.empty((people, views, joints)),
        np.empty((people, views, joints)),
    )  # fmt: skip
    factor = np.ones((views, joints)) if factor is None else factor
    given = Observed(
        cameras.P, cameras.centre, cameras.K, cameras.lens, cameras.fisheye, xy, confidence, sigma, factor,
        prior_world_m, prior_sd_m,
    )  # fmt: skip
    solve_points(given, _SETTINGS, out)
    return Solution(*out)


_SETTINGS = Settings(
    MOST_PAIRED, ROBUST_SIGMA**2, GATE_SIGMA, float(np.sin(np.deg2rad(LEAST_ANGLE_DEG)) ** 2), PRIOR_VOTE, SURPRISE_M,
    2, 24,
)  # fmt: skip


class NoiseScale:
    """How much larger the residuals are than the noise model says, for every joint of every camera.

    Learnt slowly from the people themselves: chi² over its expectation, of the joints with at least three views. What
    few residuals tell of one joint in one camera leans on what all joints of that camera tell, and that on all
    cameras, as if PRIOR residuals had been seen. A detector that places one joint badly, a lens that is a little off,
    a view that is far from the others: each gets the weight, and the covariance, that its residuals deserve. A
    function of its history alone.
    """

    PRIOR = (30.0, 60.0, 60.0)  # degrees of freedom: of all against 1, of a camera, of a joint in a camera
    MEMORY = 1_200.0  # degrees of freedom of one joint in one camera: ten seconds of one person at 60 Hz
    LEAST, MOST = 0.2, 4.0
    STEP = 2.0  # a joint in a camera is at most so many times better or worse than all: else it is a lie, not noise

    def __init__(self, cameras: int, joints: int) -> None:
        self._chi2, self._freedom = np.zeros((cameras, joints)), np.zeros((cameras, joints))
        self._factor = np.ones((cameras, joints))

    @property
    def factor(self) -> Float:
        """(C, J) on the σ of the model, as learnt so far."""
        return self._factor.copy()

    def learn(self, solution: Solution) -> None:
        """Take the residuals of one set, which were weighted with the present factors."""
        learn_noise(
            solution.chi2, solution.freedom, self.MEMORY, *self.PRIOR, self.STEP, self.LEAST, self.MOST,
            self._chi2, self._freedom, self._factor,
        )  # fmt: skip
