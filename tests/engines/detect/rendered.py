"""A body of thick limbs over a wall, both with a grain of their own, moving at a known speed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.engines.detect.toys import at

SIZE_PX = (640, 480)
LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (11, 12), (5, 11), (6, 12), (11, 13), (13, 15), (12, 14), (14, 16),
         (0, 5), (0, 6), (5, 12), (6, 11))  # fmt: skip


def _grain(seed: int, low: int, high: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    noise = rng.uniform(low, high, (SIZE_PX[1], SIZE_PX[0])).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    soft = (soft - soft.mean()) / soft.std() * (high - low) / 6 + (low + high) / 2
    return np.asarray(soft.clip(0, 255), np.uint8)


@dataclass(frozen=True, slots=True)
class Scene:
    """A body that goes right by ``step_px`` a picture, over a wall that stands still."""

    step_px: float

    def joints(self, k: int) -> NDArray[np.float32]:
        """(17, 2) px in picture k."""
        x = 320 + self.step_px * (k if abs(self.step_px) * k < 200 else 0)
        return at(x, 240, 1.6)

    def picture(self, k: int, blur_px: float = 0.0, gain: float = 1.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Picture k (480, 640, 3) and its joints (17, 2); blur_px: of the camera. gain: of the light."""
        xy, home = self.joints(k), self.joints(0)
        mask = np.zeros(SIZE_PX[::-1], np.uint8)
        for a, b in LIMBS:
            ends = np.rint(16 * xy[[a, b]]).astype(int)
            cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 255, 34, cv2.LINE_AA, 4)
        for joint in xy:
            cv2.circle(mask, np.rint(16 * joint).astype(int).tolist(), 16 * 20, 255, -1, cv2.LINE_AA, 4)
        shift = np.array([[1, 0, xy[0, 0] - home[0, 0]], [0, 1, xy[0, 1] - home[0, 1]]], np.float32)
        cloth = cv2.warpAffine(_grain(1, 40, 230), shift, SIZE_PX, borderMode=cv2.BORDER_WRAP)
        share = mask.astype(np.float32) / 255
        grey = share * cloth + (1 - share) * _grain(2, 60, 160)
        if blur_px:
            grey = cv2.GaussianBlur(grey, (0, 0), blur_px)
        return np.repeat(np.asarray((grey * gain).clip(0, 255), np.uint8)[..., None], 3, 2), xy
