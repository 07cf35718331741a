"""From a picture to what a model takes: sampling through an affine map, with a low-pass, then numbers.

Pixels. The centre of the top left pixel is (0, 0), in the picture and in a model's input alike. A model whose
coordinates run over the input's edges (0 … width, or 0 … 1) has its top left centre at 0.5.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.engines.models.card import Input

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Region:
    """A turned rectangle of the picture: centre, extent before turning, and angle (clockwise as seen), in pixels."""

    cx_px: float
    cy_px: float
    width_px: float
    height_px: float
    angle_rad: float = 0.0

    def image_from_input(self, size_px: tuple[int, int]) -> F64:
        """(2, 3) affine map from pixels of a model's input of that (width, height) to pixels of the picture."""
        w, h = size_px
        cos, sin = math.cos(self.angle_rad), math.sin(self.angle_rad)
        sx, sy = self.width_px / w, self.height_px / h
        linear = np.array([[cos * sx, -sin * sy], [sin * sx, cos * sy]])
        # the middle of the input lies between pixels, at (w − 1) / 2
        offset = np.array([self.cx_px, self.cy_px]) - linear @ [(w - 1) / 2, (h - 1) / 2]
        return np.column_stack([linear, offset])


def apply_affine(matrix: F64, points: NDArray[np.floating]) -> F64:
    """(…, 2) points through a (2, 3) map."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def letterbox(picture_px: tuple[int, int], input_px: tuple[int, int], centred: bool = True) -> F64:
    """(2, 3) image_from_input that shows the whole picture at one scale: in the middle, or at the top left."""
    (w, h), (iw, ih) = picture_px, input_px
    scale = max(w / iw, h / ih)
    if centred:
        return Region((w - 1) / 2, (h - 1) / 2, iw * scale, ih * scale).image_from_input(input_px)
    # the outer edges of the top left pixels meet, at −0.5 in both
    edge = (scale - 1) / 2
    return np.array([[scale, 0.0, edge], [0.0, scale, edge]])


class Picture:
    """One picture and its halvings, made when and where first needed and shared by every crop.

    A halving is the mean of 2×2 pixels: a low-pass that costs a fraction of a general one. A crop is then sampled
    bilinearly from the level at which it shrinks by less than two, so that nothing aliases.
    """

    def __init__(self, image_bgr: U8) -> None:
        self._image = image_bgr
        self._bands: dict[int, tuple[int, U8]] = {}  # level → first row that was made, and the rows
        self.size_px = (image_bgr.shape[1], image_bgr.shape[0])

    def sample(self, image_from_input: F64, size_px: tuple[int, int], border: int = 0) -> U8:
        """(H, W, 3) BGR of that (width, height); what lies outside the picture has the grey level ``border``."""
        shrink = math.sqrt(abs(np.linalg.det(image_from_input[:, :2])))
        deepest = max(0, int(math.log2(min(self.size_px))) - 2)
        level = min(max(0, math.floor(math.log2(max(shrink, 1.0)))), deepest)
        step = 2.0**level
        matrix = image_from_input / step
        matrix[:, 2] -= (1 - 1 / step) / 2  # pixel 0 of the level lies between pixels 0 and step − 1 of the picture
        w, h = size_px
        rows = apply_affine(matrix, np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]]))[:, 1]
        # bilinear sampling reads one row beyond; one more for rounding
        first, image = self._band(level, math.floor(rows.min()) - 2, math.ceil(rows.max()) + 3)
        matrix[1, 2] -= first
        return np.asarray(
            cv2.warpAffine(
                image,
                matrix,
                size_px,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(border, border, border),
            ),
            np.uint8,
        )

    def _band(self, level: int, low: int, high: int) -> tuple[int, U8]:
        """Rows of a level, low … high − 1 and perhaps more: the number of the first, and the rows."""
        if level == 0:
            return 0, self._image
        height = self.size_px[1] >> level
        low = min(max(low, 0), height - 1)
        high = max(min(high, height), low + 1)
        first, rows = self._bands.get(level, (low, None))
        if rows is None or low < first or high > first + len(rows):
            if rows is not None:
                low, high = min(low, first), max(high, first + len(rows))
            above, source = self._band(level - 1, 2 * low, 2 * high)
            first, rows = low, _halved(source[2 * low - above : 2 * high - above])
            self._bands[level] = first, rows
        return first, rows


def _halved(image: U8) -> U8:
    h, w = image.shape[0] // 2, image.shape[1] // 2
    return np.asarray(cv2.resize(image[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA), np.uint8)


def to_input(bgr: U8, spec: Input) -> F32:
    """The picture as the model takes it, batch of one: colour order, (x − mean) / std, layout."""
    image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) if spec.colour == "rgb" else bgr
    std = np.asarray(spec.std, np.float32)
    scale = np.float32(1) / std
    x = np.multiply(image, scale[0] if len(set(spec.std)) == 1 else scale, dtype=np.float32)
    if any(spec.mean):
        x -= np.asarray(spec.mean, np.float32) * scale
    return np.ascontiguousarray(x.transpose(2, 0, 1) if spec.layout == "NCHW" else x)[None]
