"""How much of a detector's error is there again in the next set: a habit, or a joint that it guesses.

Told from the residuals of triangulated joints: the correlation of those of one keypoint in one view from set to set.
White noise has none; real detectors' is 0.8 and more. A function of the calls made.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.estimate.lifted import rows_of
from kinecast.engines.observations import CameraArrays

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PRIOR, PRIOR_PAIRS = 0.77, 300.0  # of the sample clip after 1/8 s; so many pairs of residuals weigh as much as it
MOST_PAIRS = 50_000.0  # are remembered: half a minute of one person before four cameras
FAR2 = 4.0**2  # squared σ; residuals further off are no noise


class Persistence:
    """The share of the variance of keypoint errors that lasts from one set to the next."""

    def __init__(self, cameras: CameraArrays, joints: int) -> None:
        self._P = cameras.P
        self._tracks = np.zeros(0, np.int64)
        self._last = np.zeros((0, len(cameras), joints, 2))
        self._product, self._square = PRIOR * PRIOR_PAIRS, PRIOR_PAIRS

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return float(min(max(self._product / self._square, 0.0), 1.0))

    def learn(self, tracks: Int, points_m: Float, xy: Float, sigma: Float) -> None:
        """One set of these tracks (T,). points_m (T, J, 3): as triangulated, NaN where not.

        xy: (T, C, J, 2) ± sigma (T, C, J), normalised, 0 where not seen.
        """
        last = rows_of(tracks, self._tracks, self._last, np.nan)
        local = (self._P[:, None, :, :3] * points_m[:, None, :, None]).sum(axis=-1) + self._P[:, None, :, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            r = (xy - local[..., :2] / local[..., 2:]) / sigma[..., None]
            r[~((sigma > 0) & ((r**2).sum(axis=-1) < FAR2))] = np.nan
        both = np.isfinite(last) & np.isfinite(r)
        if both.any():
            a, b = last[both], r[both]
            self._product += float((a * b).sum())
            self._square += float(((a**2).sum() + (b**2).sum()) / 2)
            scale = min(1.0, MOST_PAIRS / self._square)
            self._product, self._square = self._product * scale, self._square * scale
        self._tracks, self._last = tracks.copy(), r
