"""From a picture to what a model takes: sampling through an affine map, with a low-pass, then numbers.

Pixels. The centre of the top left pixel is (0, 0), in the picture and in a model's input alike. A model whose
coordinates run over the input's edges (0 … width, or 0 … 1) has its top left centre at 0.5.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.planes import Colour, Pixels, Planes, size_of, to_rgb
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


class _Pyramid:
    """An array of a picture and its halvings, made when and where first needed and shared by every crop.

    A halving is the mean of 2×2 pixels: a low-pass that costs a fraction of a general one. A crop is then sampled
    bilinearly from the level at which it shrinks by less than two, so that nothing aliases.
    image: (H, W) or (H, W, K). subsampling: so many pixels of the picture to one of it, across and down.
    """

    def __init__(self, image: U8, subsampling: tuple[int, int] = (1, 1)) -> None:
        self._image, self._subsampling = image, subsampling
        self._parts: dict[int, tuple[int, int, U8]] = {}  # level → left column and top row of what was made, and it
        self._deepest = max(0, int(math.log2(min(image.shape[:2]))) - 2)

    def sample(
        self, image_from_input: F64, size_px: tuple[int, int], border: tuple[int, ...], out: U8 | None = None
    ) -> U8:
        """(H, W) or (H, W, K) of that (width, height), into ``out`` where it is given; ``border`` lies outside."""
        across, down = self._subsampling
        shrink = math.sqrt(abs(np.linalg.det(image_from_input[:, :2]))) / max(across, down)
        level = min(max(0, math.floor(math.log2(max(shrink, 1.0)))), self._deepest)
        step = 2.0**level * np.array([across, down])
        matrix = image_from_input / step[:, None]
        matrix[:, 2] -= (1 - 1 / step) / 2  # pixel 0 of the level lies between pixels 0 and step − 1 of the picture
        w, h = size_px
        corners = apply_affine(matrix, np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]]))
        # bilinear sampling reads one pixel beyond; one more for rounding
        low, high = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 3
        left, top, image = self._part(level, (int(low[0]), int(low[1])), (int(high[0]), int(high[1])))
        matrix[:, 2] -= left, top
        return np.asarray(
            cv2.warpAffine(
                image,
                matrix,
                size_px,
                dst=out,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=border,
            ),
            np.uint8,
        )

    def _part(self, level: int, low: tuple[int, int], high: tuple[int, int]) -> tuple[int, int, U8]:
        """Columns and rows of a level, low … high − 1 and perhaps more: the first of each, and the pixels."""
        if level == 0:
            return 0, 0, self._image
        size = self._image.shape[1] >> level, self._image.shape[0] >> level
        x0, y0 = (min(max(a, 0), n - 1) for a, n in zip(low, size, strict=True))
        x1, y1 = (max(min(b, n), a + 1) for a, b, n in zip((x0, y0), high, size, strict=True))
        if (made := self._parts.get(level)) is not None:
            x, y, image = made
            right, bottom = x + image.shape[1], y + image.shape[0]
            if x <= x0 and y <= y0 and right >= x1 and bottom >= y1:
                return made
            x0, y0, x1, y1 = min(x, x0), min(y, y0), max(right, x1), max(bottom, y1)
        x, y, source = self._part(level - 1, (2 * x0, 2 * y0), (2 * x1, 2 * y1))
        self._parts[level] = x0, y0, _halved(source[2 * y0 - y : 2 * y1 - y, 2 * x0 - x : 2 * x1 - x])
        return self._parts[level]


class Picture:
    """One picture, BGR or planes, that crops are sampled from. colour: what its planes stand for, None: it is BGR."""

    def __init__(self, pixels: Pixels) -> None:
        self.colour: Colour | None = None
        if isinstance(pixels, Planes):
            self.colour = pixels.colour
            self._parts = [_Pyramid(pixels.y), *(_Pyramid(c, pixels.subsampling) for c in pixels.chroma)]
        else:
            self._parts = [_Pyramid(pixels)]
        self.size_px = size_of(pixels)

    def sample(self, image_from_input: F64, size_px: tuple[int, int], border: int = 0) -> U8:
        """(H, W, 3) BGR of that (width, height); what lies outside the picture has the grey level ``border``."""
        if self.colour is None:
            return self._parts[0].sample(image_from_input, size_px, (border,) * 3)
        yuv = self.channels(image_from_input, size_px, border).transpose(1, 2, 0)
        return np.ascontiguousarray(to_rgb(yuv, self.colour)[..., ::-1])

    def channels(self, image_from_input: F64, size_px: tuple[int, int], border: int = 0) -> U8:
        """(3, H, W) of that (width, height), as the picture has them: B, G and R, or Y, U and V."""
        out = np.empty((3, size_px[1], size_px[0]), np.uint8)
        if self.colour is None:
            cv2.split(self.sample(image_from_input, size_px, border), tuple(out))
            return out
        grey = self.colour.grey(border)
        self._parts[0].sample(image_from_input, size_px, grey[:1], out[0])
        if len(self._parts) == 2:  # U and V side by side
            cv2.split(self._parts[1].sample(image_from_input, size_px, grey[1:]), tuple(out[1:]))
        else:
            for part, plane in zip(self._parts[1:], out[1:], strict=True):
                part.sample(image_from_input, size_px, grey[1:2], plane)
        return out

    def luma(self, image_from_input: F64, size_px: tuple[int, int]) -> U8:
        """(H, W) brightness of that (width, height), black outside the picture."""
        if self.colour is None:
            return np.asarray(cv2.cvtColor(self.sample(image_from_input, size_px), cv2.COLOR_BGR2GRAY), np.uint8)
        return self._parts[0].sample(image_from_input, size_px, self.colour.grey(0)[:1])

    def rgb_from_channels(self) -> tuple[F64, F64]:
        """(3, 3) matrix and (3,) offset: red, green and blue, 0 … 255, are matrix · (channels − offset)."""
        if self.colour is None:
            return np.eye(3)[::-1], np.zeros(3)
        return self.colour.rgb_from_yuv(), np.array(self.colour.black, np.float64)


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
