"""Joints followed from picture to picture by optical flow, where the model does not look.

Sparse pyramidal Lucas–Kanade (Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker", 2000) in the
brightness of the person's crop, forth and back: a joint that does not come back to where it began is lost. Such a joint
is no new measurement: it repeats the error that the model made, and adds its own. Where the picture does not carry it
(fast, blurred, dark), nothing is followed and the reason is told, so that the model can look at once.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.engines.detect.picture import F32, F64, U8, Picture, Region, apply_affine

SIDE_PX = 256  # longer side of the crop: as large as the models' own
WINDOW_PX, LEVELS = 21, 2
AGREE_PX = 0.4  # how near to its beginning the way back must end: at 1 px bones lose a tenth more of their steadiness
FAST_PX = 6.0  # of the crop, from one picture to the next: at 60 Hz a hand at 3 m/s; faster, bones lose their length
SURE = 0.5  # confidence of the joints by which motion and loss are judged
MOST_LOST = 0.1  # share of the sure joints
BLURRED = 0.6  # of the sharpness at the last look
DARK = 40.0  # mean brightness; video's black is 16
FLAT = 8.0  # standard deviation of the brightness
MOST_AGE_S = 0.1  # since the model looked: what moves for longer than this is another pose

Refusal = Literal["", "fast", "blurred", "dark", "lost", "old"]
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """keypoints_px: (J, 2) in the picture, NaN where lost. confidence: (J,), 0 there. refusal: "" where it may be
    taken, else why the model must look."""

    keypoints_px: F32
    confidence: F32
    refusal: Refusal


class CropFlow:
    """One person's crop, held since the model looked at the person in ``picture``."""

    def __init__(self, picture: Picture, region: Region, t_ns: int) -> None:
        longer = max(region.width_px, region.height_px)
        self._size = (round(SIDE_PX * region.width_px / longer), round(SIDE_PX * region.height_px / longer))
        self._image_from_crop: F64 = region.image_from_input(self._size)
        self._crop_from_image = np.asarray(cv2.invertAffineTransform(self._image_from_crop), np.float64)
        self._before = picture.luma(self._image_from_crop, self._size)
        self._sharp = _sharpness(self._before)
        self._t_look_ns = t_ns

    def follow(self, picture: Picture, t_ns: int, keypoints_px: F32, confidence: F32) -> Followed:
        """Where the joints (J, 2), NaN where missing, of the picture before are in this one."""
        now = picture.luma(self._image_from_crop, self._size)
        before, self._before = self._before, now
        if (refusal := self._unfit(now, t_ns)) != "":
            return Followed(keypoints_px, confidence, refusal)
        known = np.isfinite(keypoints_px).all(1) & (confidence > 0)
        start = apply_affine(self._crop_from_image, np.where(known[:, None], keypoints_px, 0)).astype(np.float32)
        end, fine = _there_and_back(before, now, start)
        fine &= known
        sure = known & (confidence >= SURE)
        refusal = ""
        if np.count_nonzero(sure & ~fine) > MOST_LOST * np.count_nonzero(sure):
            refusal = "lost"
        elif (np.abs(end - start).max(1)[sure & fine] > FAST_PX).any():
            refusal = "fast"
        moved = apply_affine(self._image_from_crop, end).astype(np.float32)
        return Followed(
            np.where(fine[:, None], moved, np.float32(np.nan)), np.where(fine, confidence, np.float32(0)), refusal
        )

    def _unfit(self, now: U8, t_ns: int) -> Refusal:
        if t_ns - self._t_look_ns > MOST_AGE_S * 1e9:
            return "old"
        mean, spread = (float(v[0, 0]) for v in cv2.meanStdDev(now))
        if mean < DARK or spread < FLAT:
            return "dark"
        return "blurred" if _sharpness(now) < BLURRED * self._sharp else ""


def _there_and_back(before: U8, now: U8, start: F32) -> tuple[F32, NDArray[np.bool_]]:
    """(J, 2) where the points (J, 2) have gone, and (J,) whether the way back ends where they began."""
    how = {"winSize": (WINDOW_PX, WINDOW_PX), "maxLevel": LEVELS, "criteria": _CRITERIA}
    end, found, _ = cv2.calcOpticalFlowPyrLK(before, now, start[:, None], None, **how)  # type: ignore[call-overload]
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, end, None, **how)  # type: ignore[call-overload]
    near = np.linalg.norm(back[:, 0] - start, axis=1) < AGREE_PX
    return end[:, 0], near & (found[:, 0] == 1) & (again[:, 0] == 1)


def _sharpness(luma: U8) -> float:
    """Standard deviation of the Laplacian."""
    return float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1][0, 0])
