"""Tiny videos whose grey level tells the number of the frame, and a clock that moves only when it is waited on."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

STEP = 10  # grey levels between frames: far more than the codec's error on a flat picture
BASE = 20


def grey(number: int, size_px: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """The picture of frame ``number`` (below 20)."""
    return np.full((size_px[1], size_px[0], 3), BASE + STEP * number, np.uint8)


def number_of(image: NDArray[np.uint8]) -> int:
    """Which frame a picture is, read from its grey level."""
    return round((float(image.mean()) - BASE) / STEP)


def make_video(
    path: Path,
    frames: int = 20,
    fps: Fraction | int = 25,
    codec: str = "libx264",
    gop: int = 5,
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    b_frames: int = 0,
    pictures: list[NDArray[np.uint8]] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode ``frames`` grey frames; ``pts`` in ticks of ``time_base``, by default at the constant rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        h, w = (pictures[0] if pictures else grey(0)).shape[:2]
        stream.width, stream.height = w, h
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = gop
        if codec == "libx264":
            stream.options = {"crf": "10", "preset": "ultrafast", "bf": str(b_frames), "sc_threshold": "0"}
        elif codec == "mpeg4":
            stream.options = {"qmin": "1", "qmax": "2"}  # as it comes, it errs by half a STEP
        if options:
            stream.options = options
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(pictures[n] if pictures else grey(n), format="bgr24")
            frame.pts = pts[n] if pts else round(n * Fraction(1, 1) / fps / time_base)
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class FakeClock:
    """A clock for tests: waiting moves it, nothing else does unless the test says so."""

    def __init__(self, t_ns: int = 0) -> None:
        self.t_ns = t_ns

    def now_ns(self) -> int:
        return self.t_ns

    def wait_until_ns(self, t_ns: int) -> None:
        self.t_ns = max(self.t_ns, t_ns)


def rotate_header(path: Path, degrees: int) -> None:
    """Write a display matrix into an mp4's track header: the player is to turn the picture clockwise by ``degrees``.

    The matrix is the nine 32-bit numbers a b u c d v x y w after the 40 bytes that follow ``tkhd`` and its version.
    """
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = matrix
    path.write_bytes(bytes(data))


def set_edits(path: Path, edits: list[tuple[int, int]]) -> Path:
    """Give an mp4 an edit list: (first tick of the media to be shown, how many), in ticks of 1/12800; first −1: a wait.

    The boxes ``moov`` > ``trak`` > ``edts`` > ``elst`` are found from their names, and grow with it; the media is
    before them in the file. An entry is duration (of the movie's clock), media time and rate.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") - 4
    size = struct.unpack(">I", data[at : at + 4])[0]
    media_time = struct.unpack(">i", data[at + 20 : at + 24])[0]  # of the first picture: B frames come later
    clock = struct.unpack(">I", data[data.index(b"mvhd") + 16 :][:4])[0]
    entries = [
        struct.pack(">IiI", round(count * clock / 12800), media_time + first if first >= 0 else -1, 1 << 16)
        for first, count in edits
    ]
    grows = 16 + 12 * len(entries) - size
    data[at : at + size] = struct.pack(">I4sII", size + grows, b"elst", 0, len(entries)) + b"".join(entries)
    for name in (b"moov", b"trak", b"edts"):
        box = data.index(name) - 4
        data[box : box + 4] = struct.pack(">I", struct.unpack(">I", data[box : box + 4])[0] + grows)
    path.write_bytes(bytes(data))
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """(position, size) in the file of every packet."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def spoil(path: Path, number: int) -> None:
    """Overwrite the payload of packet ``number`` with bytes that no H.264 decoder takes."""
    at, size = packets(path)[number]
    data = bytearray(path.read_bytes())
    data[at + 4 : at + size] = b"\xff" * (size - 4)
    path.write_bytes(bytes(data))
