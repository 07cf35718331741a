"""A picture as its decoder gives it: brightness and colour in planes of their own, colour at half the resolution.

Nothing that looks for people needs more: a model's crop is sampled from the planes, and what Y, U and V mean (the
standard, and its range) goes into the model with it. Red, green and blue are made for who shows or records the picture.
"""

from dataclasses import dataclass
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Matrix = Literal["bt601", "bt709", "bt2020"]

_WEIGHTS: dict[Matrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722),
                                               "bt2020": (0.2627, 0.0593)}  # fmt: skip
# FFmpeg's numbers (AVColorSpace); what a file does not say is taken as BT.601, as FFmpeg's own converter takes it
_MATRICES: dict[int, Matrix] = {1: "bt709", 9: "bt2020", 10: "bt2020"}
_NUMBERS: dict[Matrix, int] = {"bt601": 5, "bt709": 1, "bt2020": 9}
_FULL = 2  # AVColorRange
_FORMATS = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12"}
_FORMAT_OF = {(2, 2): "yuv420p", (2, 1): "yuv422p", (1, 1): "yuv444p"}


@dataclass(frozen=True, slots=True)
class Colour:
    """What Y, U and V stand for. matrix: the standard whose weights they were made with. full: Y runs over 0 … 255 and
    not 16 … 235."""

    matrix: Matrix = "bt601"
    full: bool = False

    @property
    def black(self) -> tuple[int, int, int]:
        """Y, U and V of black."""
        return (0 if self.full else 16, 128, 128)

    def grey(self, level: int) -> tuple[int, int, int]:
        """Y, U and V of a grey level 0 … 255."""
        black = self.black
        return (black[0] + round(level * (1.0 if self.full else 219 / 255)), *black[1:])

    def tell(self, thing: Any) -> None:
        """Set the flags of a frame, or of an encoder, of PyAV."""
        thing.colorspace, thing.color_range = _NUMBERS[self.matrix], _FULL if self.full else 1

    def rgb_from_yuv(self) -> NDArray[np.float64]:
        """(3, 3): red, green and blue, 0 … 255, are this by Y, U, V less those of black."""
        red, blue = _WEIGHTS[self.matrix]
        green = 1 - red - blue
        u, v = 2 * (1 - blue), 2 * (1 - red)
        luma, chroma = (1.0, 1.0) if self.full else (255 / 219, 255 / 224)
        table = np.array([[1, 0, v], [1, -u * blue / green, -v * red / green], [1, u, 0]])
        return table * [luma, chroma, chroma]


def to_rgb(yuv: NDArray[np.uint8], colour: Colour) -> Image:
    """Pixels (…, 3) of Y, U and V as red, green and blue, rounded."""
    rgb = (yuv - np.array(colour.black, np.float32)) @ colour.rgb_from_yuv().T.astype(np.float32)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A picture of W × H pixels, read-only; its arrays may look into the decoder's own memory.

    y: (H, W) uint8. chroma: U and V, each (H / s, W / t) uint8 rounded up, or both in one (H / s, W / t, 2).
    """

    y: Image
    chroma: tuple[Image, ...]
    colour: Colour

    def __post_init__(self) -> None:
        for plane in (self.y, *self.chroma):
            if plane.dtype != np.uint8:
                raise ValueError(f"a plane is uint8, not {plane.dtype}")
            if plane.flags.writeable:
                plane.flags.writeable = False

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.y.shape[1], self.y.shape[0]

    @property
    def nbytes(self) -> int:
        """Of its pixels."""
        return self.y.nbytes + sum(c.nbytes for c in self.chroma)

    @property
    def subsampling(self) -> tuple[int, int]:
        """(across, down): so many pixels of Y to one of U and V."""
        rows, columns = self.chroma[0].shape[:2]
        return round(self.y.shape[1] / columns), round(self.y.shape[0] / rows)

    def sparse(self, step: int) -> Image:
        """(n, 3) BGR of one pixel in ``step`` × ``step``."""
        across, down = self.subsampling
        rows, columns = (np.arange(step // 2, n, step) for n in self.y.shape)
        few = np.ix_(rows // down, columns // across)
        uv = [c[few].reshape(len(rows) * len(columns), -1) for c in self.chroma]
        yuv = np.concatenate([self.y[np.ix_(rows, columns)].reshape(-1, 1), *uv], 1)
        return to_rgb(yuv, self.colour)[:, ::-1]

    def frame(self) -> Any:
        """As a frame of PyAV, its pixels copied."""
        name = "nv12" if len(self.chroma) == 1 else _FORMAT_OF[self.subsampling]
        out = av.VideoFrame(*self.size_px, name)
        for plane, array in zip(out.planes, (self.y, *self.chroma), strict=True):
            rows = array.reshape(array.shape[0], -1)
            padded = np.frombuffer(plane, np.uint8)[: len(rows) * plane.line_size].reshape(len(rows), -1)
            padded[:, : rows.shape[1]] = rows
        self.colour.tell(out)
        return out

    def bgr(self) -> Image:
        """(H, W, 3) BGR, by libswscale."""
        # one thread: what several save in time they cost twice in the cores that the detector needs
        made: Image = self.frame().reformat(format="bgr24", threads=1, dst_color_range=_FULL).to_ndarray()
        return made


Pixels = Image | Planes  # a picture: (H, W, 3) BGR, or planes


def planes_of(decoded: Any) -> Planes | None:
    """The planes of a decoded frame, without a copy; None where it has others than Y, U and V of 8 bits."""
    if decoded.format.name not in _FORMATS:
        return None
    arrays = []
    for n, plane in enumerate(decoded.planes):
        rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, -1)
        if n == 1 and decoded.format.name == "nv12":
            arrays.append(rows[:, : 2 * plane.width].reshape(plane.height, plane.width, 2))
        else:
            arrays.append(rows[:, : plane.width])
    full = int(decoded.color_range) == _FULL or decoded.format.name.startswith("yuvj")
    return Planes(arrays[0], tuple(arrays[1:]), Colour(_MATRICES.get(int(decoded.colorspace), "bt601"), full))


def size_of(picture: Pixels) -> tuple[int, int]:
    """(width, height)."""
    return picture.size_px if isinstance(picture, Planes) else (picture.shape[1], picture.shape[0])


def bgr_of(picture: Pixels) -> Image:
    """(H, W, 3) BGR: itself, or converted."""
    return picture.bgr() if isinstance(picture, Planes) else picture
