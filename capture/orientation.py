"""How a picture is to be turned and mirrored before anybody looks at it."""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from kinecast.capture.planes import Pixels, Planes

Rotate = Literal["0", "90", "180", "270"]


@dataclass(frozen=True, slots=True)
class Orientation:
    """First the picture is transposed (rows become columns), then mirrored left to right, then top to bottom."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def note(self) -> str:
        """A line for the user where the picture is mirrored: calibration and people depend on it."""
        mirrored = self.transpose ^ self.flip_x ^ self.flip_y
        return "its pictures are mirrored, as the file says that they are to be shown" if mirrored else ""

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (H, W) or (H, W, K) as it is meant, contiguous; the same array where nothing is to be done."""
        if self.transpose:
            image = np.asarray(cv2.transpose(image), dtype=np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            image = np.asarray(cv2.flip(image, code), dtype=np.uint8)
        return np.ascontiguousarray(image)

    def turn(self, picture: Pixels) -> Pixels:
        """The picture as it is meant, of either kind."""
        if not isinstance(picture, Planes):
            return self.apply(picture)
        if self == Orientation():
            return picture
        return Planes(self.apply(picture.y), tuple(self.apply(c) for c in picture.chroma), picture.colour)

    def size(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """(W, H) afterwards."""
        return (size_px[1], size_px[0]) if self.transpose else size_px


def orientation_of(decoded: Any) -> Orientation:
    """What the display matrix of a decoded frame says: x' = a·x + c·y, y' = b·x + d·y, in quarter turns."""
    try:
        data = decoded.side_data.get(Type.DISPLAYMATRIX)
    except (AttributeError, KeyError):
        data = None
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def orientation(rotate: str, mirror: bool) -> Orientation:
    """Turned clockwise by ``rotate`` degrees, then mirrored left to right."""
    turned = {"0": (False, False, False), "90": (True, True, False), "180": (False, True, True),
              "270": (True, False, True)}[rotate]  # fmt: skip
    transpose, flip_x, flip_y = turned
    return Orientation(transpose, flip_x ^ mirror, flip_y)
