"""RTSP and HTTP streams, through PyAV, stamped by when they came less the jitter of the network."""

from collections import deque
from fractions import Fraction
from typing import Any

import av

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.decode import Converter, ticks_to_ns
from kinecast.capture.errors import KinecastError
from kinecast.capture.latest import Grab, LatestSource
from kinecast.capture.record import VideoRecorder
from kinecast.capture.source import SourceInfo

OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
WINDOW_NS = 10_000_000_000  # long enough to meet an undelayed packet, short enough that 50 ppm of drift is 0.5 ms


class ArrivalClock:
    """Capture times from a stream's own times and the arrival of its packets.

    A packet is late by the network's delay and never early, so the least (arrival − own time) of the last ten seconds
    is the offset between the clocks. What remains is the constant part of the delay: a job for the clock offsets.
    """

    def __init__(self) -> None:
        self._lowest: deque[tuple[int, int]] = deque()  # (arrival, offset), offsets increasing
        self._last_ns: int | None = None

    def stamp(self, own_ns: int, arrival_ns: int) -> int:
        """Capture time of a frame: at most its arrival, and after the frame before it."""
        offset = arrival_ns - own_ns
        while self._lowest and self._lowest[-1][1] >= offset:
            self._lowest.pop()
        self._lowest.append((arrival_ns, offset))
        while self._lowest[0][0] < arrival_ns - WINDOW_NS:
            self._lowest.popleft()
        stamp = own_ns + self._lowest[0][1]
        if self._last_ns is not None:
            stamp = max(stamp, self._last_ns + 1)
        self._last_ns = stamp
        return stamp


class StreamGrabber:
    """Frames of an open container; every packet goes to ``recorder`` as it came."""

    def __init__(self, container: Any, camera: str, url: str, clock: Clock, recorder: VideoRecorder | None) -> None:
        self._container, self._camera, self._url, self._clock = container, camera, url, clock
        self._recorder = recorder
        self._stream = container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        self._base = Fraction(self._stream.time_base)
        self._packets = container.demux(self._stream)
        self._ready: deque[Any] = deque()
        self._convert = Converter()
        self._times = ArrivalClock()
        self.damaged = 0
        if recorder is not None:
            recorder.stream(self._stream)

    def grab(self) -> Grab | None:
        """See :class:`capture.latest.Grabber`. A stream that ends is gone: a camera has no end."""
        while not self._ready:
            try:
                packet = next(self._packets)
            except StopIteration:
                raise self._gone("the other side closed it") from None
            except (av.error.FFmpegError, OSError) as e:
                raise self._gone(e.strerror or str(e)) from e
            self._arrival_ns = self._clock.now_ns()
            if packet.size and self._recorder is not None:
                self._recorder.packet(packet)
            try:
                self._ready.extend(self._stream.codec_context.decode(packet if packet.size else None))
            except av.error.EOFError:
                continue
            except (av.error.FFmpegError, OSError):
                self.damaged += 1
        decoded = self._ready.popleft()
        own_ns = ticks_to_ns(decoded.pts, self._base) if decoded.pts is not None else self._arrival_ns
        stamp_ns = self._times.stamp(own_ns, self._arrival_ns)
        return Grab(stamp_ns, lambda: self._convert(decoded), decoded.pts)

    def _gone(self, why: str) -> KinecastError:
        return KinecastError(
            f"camera {self._camera}: the stream {self._url} is gone: {why}; check the camera's network"
        )

    def close(self) -> None:
        """Close the connection."""
        self._container.close()


def open_stream(
    url: str,
    camera: str,
    *,
    clock: Clock | None = None,
    recorder: VideoRecorder | None = None,
    first_seq: int = 0,
    open_timeout_s: float = OPEN_TIMEOUT_S,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> LatestSource:
    """Connect to an RTSP (over TCP) or HTTP stream.

    Raises KinecastError where nobody answers within ``open_timeout_s`` or what comes is no video.
    """
    # little is read ahead to learn the format, since what is read ahead comes late
    options = {"probesize": "500000", "analyzeduration": "1000000"}
    if url.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # a packet lost over UDP spoils every picture until the next key frame
    try:
        container: Any = av.open(url, options=options, timeout=(open_timeout_s, read_timeout_s))
    except (av.error.FFmpegError, OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or str(e)
        raise KinecastError(
            f"camera {camera}: cannot open the stream {url}: {why}; check its address and network"
        ) from e
    if not container.streams.video:
        container.close()
        raise KinecastError(f"camera {camera}: the stream {url} carries no video; check its address")
    stream = container.streams.video[0]
    info = SourceInfo("stream", url, (stream.width, stream.height), float(stream.average_rate or 30), True)
    grabber = StreamGrabber(container, camera, url, clock or MonotonicClock(), recorder)
    return LatestSource(camera, info, grabber, clock=clock, tap=recorder, first_seq=first_seq)
