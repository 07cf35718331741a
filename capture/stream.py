"""RTSP and HTTP streams, through PyAV, stamped as :mod:`capture.stream_clock` tells from their times and arrival."""

import time
from collections import deque
from fractions import Fraction
from typing import Any, Literal

import av

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.decode import Converter, ticks_to_ns
from kinecast.capture.errors import KinecastError
from kinecast.capture.hardware import Decoding, Hardware, hardware_of, opened, prepare
from kinecast.capture.latest import Grab, LatestSource
from kinecast.capture.orientation import orientation_of
from kinecast.capture.record import VideoRecorder
from kinecast.capture.source import SourceInfo
from kinecast.capture.stream_clock import StreamClock
from kinecast.capture.urls import filled_in, has_user, is_url, redacted

Transport = Literal["auto", "tcp", "udp"]
OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
# formats without times: FFmpeg counts 25 pictures a second, whatever comes
NO_TIMES = {"mpjpeg", "mjpeg", "image2pipe", "h264", "hevc", "vvc", "m4v", "mpegvideo", "obu"}
FAULTS = (av.error.FFmpegError, OSError, ValueError, RuntimeError)


class StreamGrabber:
    """Frames of an open container; every packet goes to ``recorder`` as it came. name: the address without secrets."""

    def __init__(
        self,
        container: Any,
        camera: str,
        name: str,
        clock: Clock,
        recorder: VideoRecorder | None,
        decode: Decoding = "exact",
    ) -> None:
        self._container, self._camera, self._name, self._clock = container, camera, name, clock
        self._recorder = recorder
        self.stream = container.streams.video[0]
        self.lacks = prepare(self.stream, decode)
        self._base = Fraction(self.stream.time_base)
        self._timed = container.format.name not in NO_TIMES
        self._packets = container.demux(self.stream)
        self._ready: deque[Any] = deque()
        self._first: tuple[Grab, Any] | None = None
        self._convert = Converter()
        self.times = StreamClock()
        self.damaged = 0
        if recorder is not None:
            recorder.stream(self.stream)

    @property
    def timing(self) -> str:
        """What the stamps are made of at the moment."""
        return self.times.basis

    def first(self, timeout_s: float) -> Any:
        """Decode up to the first picture, which ``grab`` then gives first, and return it as decoded: only it tells the
        size of a stream that was joined in the middle of a group. KinecastError where none comes in time.
        """
        until = time.monotonic() + timeout_s
        while not self._ready:
            self._feed()
            if time.monotonic() > until:
                raise KinecastError(
                    f"camera {self._camera}: {self._name} gave no whole picture within {timeout_s:g} s: "
                    "set the camera to a key frame every second or two"
                )
        decoded = self._ready[0]
        self._first = self._grab_of(self._ready.popleft()), decoded
        return decoded

    def grab(self) -> Grab | None:
        """See :class:`capture.latest.Grabber`. A stream that ends is gone: a camera has no end."""
        if self._first is not None:
            (grab, _), self._first = self._first, None
            return grab
        while not self._ready:
            self._feed()
        return self._grab_of(self._ready.popleft())

    def _feed(self) -> None:
        """Read one packet, note its arrival and decode it."""
        try:
            packet = next(self._packets)
        except StopIteration:
            raise self._gone("the other side closed it") from None
        except FAULTS as e:
            raise self._gone(_reason(e)) from e
        self._arrival_ns = self._clock.now_ns()
        if packet.size:
            if self._timed:
                self.times.hear(self._ns(packet.pts), self._ns(packet.dts), self._arrival_ns)
            if self._recorder is not None:
                self._recorder.packet(packet)
        try:
            self._ready.extend(self.stream.codec_context.decode(packet if packet.size else None))
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, OSError):
            self.damaged += 1

    def _grab_of(self, decoded: Any) -> Grab:
        own_ns = self._ns(decoded.pts) if self._timed else None
        stamp_ns = self.times.stamp(own_ns, self._arrival_ns)
        return Grab(stamp_ns, lambda: self._convert(decoded), decoded.pts)

    def _ns(self, ticks: int | None) -> int | None:
        return None if ticks is None else ticks_to_ns(ticks, self._base)

    def _gone(self, why: str) -> KinecastError:
        return KinecastError(
            f"camera {self._camera}: the stream {self._name} is gone: {why}; check the camera's network"
        )

    def close(self) -> None:
        """Close the connection."""
        self._container.close()


class RefusedLogin(KinecastError):
    """User or password are wrong: to be tried seldom, since cameras lock out who tries often."""


def open_stream(
    url: str,
    camera: str,
    *,
    transport: Transport = "auto",
    options: dict[str, str] | None = None,
    hardware: Hardware = "off",
    decode: Decoding = "exact",
    clock: Clock | None = None,
    recorder: VideoRecorder | None = None,
    first_seq: int = 0,
    open_timeout_s: float = OPEN_TIMEOUT_S,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> LatestSource:
    """Connect to an RTSP or HTTP stream. Its size is that of the first picture that could be decoded.

    transport: of RTSP; ``auto`` is TCP, as a packet lost over UDP spoils every picture until the next key frame, and
    UDP where a camera refuses that. options: FFmpeg's own, over ours. Raises KinecastError where nobody answers within
    ``open_timeout_s`` or what comes is no video, RefusedLogin for a wrong user or password.
    """
    name = redacted(url)
    if not is_url(url):
        raise KinecastError(f"camera {camera}: {name} is no address: a file is played with kind: video")
    whose = f"camera {camera}"
    address, more = filled_in(url, whose), {k: filled_in(v, whose) for k, v in (options or {}).items()}
    # little is read ahead to learn the format, since what is read ahead comes late
    ours = {"probesize": "500000", "analyzeduration": "1000000", "fpsprobesize": "0"}
    timeout = (open_timeout_s, read_timeout_s)
    ways: tuple[dict[str, str], ...] = ({},)
    if url.lower().startswith("rtsp"):
        ways = tuple({"rtsp_transport": t} for t in (("tcp", "udp") if transport == "auto" else (transport,)))
    for way in ways:
        try:
            container, unbound = opened(address, hardware, options={**ours, **way, **more}, timeout=timeout)
            break
        except FAULTS as e:
            if way is ways[-1] or isinstance(e, av.error.HTTPError) or not _refuses_transport(e):
                raise _refusal(camera, name, e, has_user(url)) from e
    if not container.streams.video:
        container.close()
        raise KinecastError(f"camera {camera}: the stream {name} carries no video; check its address")
    grabber = StreamGrabber(container, camera, name, clock or MonotonicClock(), recorder, decode)
    try:
        decoded = grabber.first(open_timeout_s)
    except KinecastError:
        grabber.close()
        raise
    turned, used = orientation_of(decoded), hardware_of(grabber.stream, hardware, unbound)
    by = f"over {way['rtsp_transport'].upper()}" if way and transport == "auto" and way is not ways[0] else ""
    notes = tuple(n for n in (by, used, grabber.lacks, turned.note) if n)
    size_px = turned.size((decoded.width, decoded.height))
    info = SourceInfo("stream", name, size_px, float(grabber.stream.average_rate or 30), True, notes=notes)
    return LatestSource(camera, info, grabber, clock=clock, tap=recorder, first_seq=first_seq)


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):  # PyAV ended it: its time was up
        return "nothing came in time"
    return redacted(getattr(error, "strerror", None) or str(error))


def _refuses_transport(error: Exception) -> bool:
    """The camera says 461 (Unsupported Transport) or FFmpeg that the protocol is not there."""
    return "transport" in str(error).lower() or "protocol not supported" in str(error).lower()


def _refusal(camera: str, name: str, error: Exception, has_login: bool) -> KinecastError:
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        advice = (
            "user or password is wrong" if has_login else "it asks for a user and a password (rtsp://USER:PASSWORD@…)"
        )
        return RefusedLogin(f"camera {camera}: the stream {name} refuses us: {advice}")
    return KinecastError(
        f"camera {camera}: cannot open the stream {name}: {_reason(error)}; check its address and network"
    )
