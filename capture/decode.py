"""A video file, decoded: pictures with the container's own times, damage survived and counted.

Colours: 4:2:0 video with the usual limited range goes through OpenCV, everything else through swscale. OpenCV takes
half the time (1.5 against 2.8 ms of one core for 1080×1920); it knows the BT.601 matrix alone, so the colours of a
BT.709 file are off by a few levels, which no detector minds.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

Image = NDArray[np.uint8]
MAX_PACKET_BYTES = 1 << 30  # packets held in memory to play backwards
MAX_BROKEN_READS = 100  # so many failed reads in a row and the rest of the file is taken as lost
ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def ticks_to_ns(ticks: int, time_base: Fraction) -> int:
    """Container ticks → nanoseconds, rounded to the nearest, without floating point."""
    den = 2 * time_base.denominator
    return (2 * ticks * time_base.numerator * 1_000_000_000 + time_base.denominator) // den


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture that is not yet converted.

    index: its number in the file, from 0; packets that could not be decoded are counted too.
    t_ns: time since the first picture of the file.
    decoded: the decoder's own frame.
    """

    index: int
    t_ns: int
    decoded: Any


class Converter:
    """Turns decoded frames into BGR as they are meant to be seen; it keeps one scratch buffer."""

    def __init__(self) -> None:
        self._scratch: Image = np.zeros((0, 0), np.uint8)
        self._reformatter: Any = av.video.reformatter.VideoReformatter()

    def __call__(self, decoded: Any) -> Image:
        """Return a new (H, W, 3) uint8 BGR picture, turned upright where the file says how it was held."""
        w, h = decoded.width, decoded.height
        if decoded.format.name == "yuv420p" and int(decoded.color_range) != 2 and w % 2 == 0 and h % 2 == 0:
            image: Any = cv2.cvtColor(self._i420(decoded, w, h), cv2.COLOR_YUV2BGR_I420)
        else:
            # one thread: what several save in time they cost twice in the cores that the detector needs
            image = self._reformatter.reformat(decoded, format="bgr24", threads=1).to_ndarray()
        turn = ROTATIONS.get(round(decoded.rotation) % 360)
        return np.ascontiguousarray(image if turn is None else cv2.rotate(image, turn))

    def _i420(self, decoded: Any, w: int, h: int) -> Image:
        """The three planes packed without padding, as OpenCV wants them."""
        if self._scratch.shape != (h * 3 // 2, w):
            self._scratch = np.empty((h * 3 // 2, w), np.uint8)
        flat = self._scratch.reshape(-1)
        start = 0
        for plane, rows, columns in zip(decoded.planes, (h, h // 2, h // 2), (w, w // 2, w // 2), strict=True):
            padded = np.frombuffer(plane, np.uint8)[: rows * plane.line_size].reshape(rows, plane.line_size)
            flat[start : start + rows * columns].reshape(rows, columns)[:] = padded[:, :columns]
            start += rows * columns
        return self._scratch


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Packets from one key frame to the next, and the ticks [first, end) of the pictures that they hold.

    ``packets`` goes on past the next key frame where pictures before it still lean on it (open groups of pictures).
    """

    packets: list[Any]
    first: int
    end: int


class VideoDecoder:
    """One open video file. Raises KinecastError where there is nothing to decode."""

    def __init__(self, path: str, camera: str) -> None:
        """Open ``path`` and decode its first picture, to know the real size. ``camera`` is for the messages."""
        self.path, self.camera = path, camera
        self.damaged = 0
        self.end_ns = 0  # one interval after the last picture; known once the file was played to its end
        self._container: Any = None
        if not Path(path).is_file():
            raise KinecastError(f"camera {camera}: there is no video file {path}: check source.uri in the launch file")
        self._open()
        first = next(self.pictures(), None)
        if first is None:
            raise self._unreadable("no picture in it can be decoded")
        h, w = Converter()(first.decoded).shape[:2]
        self.size_px = (w, h)
        self.damaged = 0

    def _unreadable(self, why: str) -> KinecastError:
        return KinecastError(
            f"camera {self.camera}: cannot read the video {self.path}: {why}; check that it plays, or make it anew"
        )

    def _open(self) -> None:
        self.close()
        try:
            self._container = av.open(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as e:
            raise self._unreadable(getattr(e, "strerror", None) or str(e)) from e
        if not self._container.streams.video:
            self.close()
            raise self._unreadable("it has no video stream")
        stream = self._container.streams.video[0]
        stream.codec_context.thread_count = 1
        self._stream = stream
        self.time_base = Fraction(stream.time_base)
        rate = stream.average_rate or stream.guessed_rate or Fraction(30)
        self.fps_hz = float(rate)
        self.interval_ns = round(1_000_000_000 / rate)
        self.frames: int | None = stream.frames or None

    def _rewind(self) -> None:
        """Go back to the start: by seeking where that is exact, as opening a file takes tens of milliseconds."""
        if self._container is not None and {"mp4", "matroska"} & set(self._container.format.name.split(",")):
            try:
                self._container.seek(self._stream.start_time or 0, stream=self._stream, backward=True)
            except (av.error.FFmpegError, OSError):
                pass
            else:
                self._stream.codec_context.flush_buffers()
                return
        self._open()

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream; a read that fails is counted and passed over."""
        broken, packets = 0, self._container.demux(self._stream)
        while broken < MAX_BROKEN_READS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):
                self.damaged += 1
                broken += 1
                packets = self._container.demux(self._stream)
                continue
            broken = 0
            if packet.size:
                yield packet

    def _decode(self, packets: Iterable[Any]) -> Generator[Any, None, None]:
        """Decoded frames, then those that the decoder still holds; None stands for a packet that gave none."""
        context = self._stream.codec_context
        for packet in packets:
            try:
                yield from context.decode(packet)
            except (av.error.FFmpegError, OSError):
                self.damaged += 1
                yield None
        try:
            yield from context.decode(None)
        except (av.error.FFmpegError, OSError):
            self.damaged += 1
        context.flush_buffers()

    def pictures(self) -> Iterator[Picture]:
        """All pictures in order of time, from the start, reading the file as it goes."""
        self._rewind()
        first: int | None = None
        last_ns = -self.interval_ns
        for index, decoded in enumerate(self._decode(self._packets())):
            if decoded is None:
                continue
            if decoded.is_corrupt:
                self.damaged += 1
            if first is None:
                first = decoded.pts if decoded.pts is not None else 0
            # containers without times (raw streams, some AVI) run at their nominal rate
            known = decoded.pts is not None
            t_ns = ticks_to_ns(decoded.pts - first, self.time_base) if known else last_ns + self.interval_ns
            if t_ns <= last_ns:  # a picture whose time does not follow (B frames in AVI) cannot be placed
                self.damaged += 1
                continue
            last_ns = t_ns
            yield Picture(index, t_ns, decoded)
        self.end_ns = last_ns + self.interval_ns

    def segments(self) -> list[Segment]:
        """The whole file as segments that can be decoded one by one, in memory (packets, not pictures)."""
        size = Path(self.path).stat().st_size
        if size > MAX_PACKET_BYTES:
            raise KinecastError(
                f"camera {self.camera}: {self.path} has {size >> 20} MiB, too much to play backwards: "
                "cut it, or use loop: repeat"
            )
        self._rewind()
        packets = list(self._packets())
        if any(p.pts is None for p in packets):
            raise KinecastError(
                f"camera {self.camera}: {self.path} has no timestamps, so it cannot be played backwards: "
                "convert it to mp4, or use loop: repeat"
            )
        keys = [i for i, p in enumerate(packets) if p.is_keyframe] or [0]
        keys[0] = 0
        out = []
        for n, k in enumerate(keys):
            after = keys[n + 1] if n + 1 < len(keys) else len(packets)
            end = packets[after].pts if after < len(packets) else max(p.pts for p in packets) + 1
            leaning = after
            limit = keys[n + 2] if n + 2 < len(keys) else len(packets)
            while leaning + 1 < limit and packets[leaning + 1].pts < end:
                leaning += 1
            stop = leaning + 1 if leaning > after else after
            first = min(p.pts for p in packets) if n == 0 else packets[k].pts
            out.append(Segment(packets[k:stop], first, end))
        return out

    def decode_segment(self, segment: Segment) -> Iterator[tuple[int, Any]]:
        """(ticks, decoded) of the pictures of a segment, in order of time.

        One segment must be read to its end, or the iterator closed, before the next is begun.
        """
        last = segment.first - 1
        frames = self._decode(segment.packets)
        try:
            for decoded in frames:
                if (
                    decoded is None
                    or decoded.pts is None
                    or not max(segment.first, last + 1) <= decoded.pts < segment.end
                ):
                    continue
                if decoded.is_corrupt:
                    self.damaged += 1
                last = decoded.pts
                yield decoded.pts, decoded
        finally:
            frames.close()
            self._stream.codec_context.flush_buffers()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._container is not None:
            self._container.close()
            self._container = None
