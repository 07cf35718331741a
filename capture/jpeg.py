"""The pictures of a camera that sends JPEG, kept as they came until somebody looks at them."""

import threading
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.planes import Pixels, planes_of

_START, _END = b"\xff\xd8", b"\xff\xd9"


class DamagedPicture(ValueError):
    """A picture that cannot be decoded; the next one may be whole."""


def jpeg_of(buffer: NDArray[np.uint8]) -> bytes | None:
    """The JPEG in a device's buffer, without what fills it up; None where there is none."""
    data = buffer.tobytes()
    end = data.rfind(_END)
    return data[: end + len(_END)] if data.startswith(_START) and end > 0 else None


class JpegDecoder:
    """Decodes to planes: half the time of OpenCV's ``imdecode`` to BGR, and of its half scale too.

    From any thread: who looks at a frame and who records its first one meet here, and a decoder of FFmpeg's that two
    call at once ends the process.
    """

    def __init__(self) -> None:
        self._context: Any = av.CodecContext.create("mjpeg", "r")
        self._context.thread_count = 1
        self._one = threading.Lock()

    def __call__(self, data: bytes) -> Pixels:
        """The picture; DamagedPicture where it cannot be decoded."""
        try:
            with self._one:
                frames = self._context.decode(av.Packet(data))
        except (av.error.FFmpegError, OSError) as e:
            raise DamagedPicture(f"a JPEG of {len(data)} bytes cannot be decoded: {e}") from None
        if not frames or frames[0].is_corrupt:
            raise DamagedPicture(f"a JPEG of {len(data)} bytes is cut short")
        planes = planes_of(frames[0])
        if planes is None:
            bgr: NDArray[np.uint8] = frames[0].reformat(format="bgr24", threads=1).to_ndarray()
            return bgr
        return planes
