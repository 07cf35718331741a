"""A device that stands for a USB camera."""

import threading
from typing import Any

import cv2
import numpy as np

from tests.capture.videos import grey

DEADLINE_S = 20.0


class FakeCapture:
    """Stands for cv2.VideoCapture."""

    def __init__(self, frames: int, size_px: tuple[int, int] = (64, 48), opened: bool = True) -> None:
        self.left, self.size_px, self.opened = frames, size_px, opened
        self.number = -1
        self.asked: dict[int, float] = {}
        self.released = False
        self.more = threading.Semaphore(0)

    def isOpened(self) -> bool:
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self.asked[prop] = value
        return True

    def get(self, prop: int) -> float:
        return 60.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def grab(self) -> bool:
        if self.number >= 0 and not self.more.acquire(timeout=DEADLINE_S):
            return False
        self.number += 1
        return self.number < self.left

    def retrieve(self) -> tuple[bool, np.ndarray[Any, Any]]:
        return True, grey(self.number, self.size_px)

    def release(self) -> None:
        self.released = True
