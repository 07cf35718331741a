"""A camera's video, kept as it comes, with a sidecar that says when each frame of it was captured.

The video is Matroska, which can be read up to the point where its writer was killed. The sidecar beside it has one line
a frame, in the order of the video: ``frame_seq t_capture_ns``. The n-th line belongs to the n-th frame.
"""

import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.jpeg import DamagedPicture
from kinecast.capture.latest import Grab
from kinecast.capture.planes import Planes, size_of
from kinecast.capture.source import Source, SourceInfo

# half a second at most is lost by a kill: Matroska writes whole clusters
MUXER = {"cluster_time_limit": "500", "flush_packets": "1"}
TICKS = Fraction(1, 1_000_000)
QUEUE = 8  # frames waiting for the encoder: a quarter of a second at 30 Hz, 50 MB at 1080p
GOP = 30


def free_paths(folder: Path, camera: str) -> tuple[Path, Path]:
    """The first pair (video, sidecar) of names that is free: ``cam1.mkv``, then ``cam1.1.mkv``, …"""
    n = 0
    while True:
        stem = camera if n == 0 else f"{camera}.{n}"
        video, sidecar = folder / f"{stem}.mkv", folder / f"{stem}.times.txt"
        if not video.exists() and not sidecar.exists():
            return video, sidecar
        n += 1


def read_sidecar(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(frame_seq, t_capture_ns), each (N,) int64. A last line that was cut short is left out.

    Raises KinecastError where the file is missing or is no sidecar.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise KinecastError(
            f"cannot read the timestamps {path}: {e}; the video beside it cannot be placed in time"
        ) from e
    lines = text.split("\n")[:-1]  # what follows the last newline is empty, or was being written
    try:
        values = np.array([[int(v) for v in line.split(" ")] for line in lines], np.int64).reshape(-1, 2)
    except ValueError as e:
        raise KinecastError(f"{path} is no list of timestamps (frame_seq t_capture_ns): {e}; restore the file") from e
    return values[:, 0], values[:, 1]


class VideoRecorder:
    """Writes one video and its sidecar. Nothing here raises: the first failure stops the recording and is kept.

    Packets are copied where ``stream`` was called and ``encode`` is off, and so is JPEG that a device gave; otherwise
    frames are encoded by a thread of its own (H.264, or MJPEG where x264 is missing). block: wait for the encoder
    (sources that wait for their reader); without, frames that it has no time for are left out and counted in ``lost``;
    the sidecar shows which.
    """

    def __init__(self, video: Path, sidecar: Path, camera: str, *, encode: bool = False, block: bool = False) -> None:
        self.video, self.sidecar = video, sidecar
        self.failure = ""
        self.lost = 0
        self._camera, self._encode, self._block = camera, encode, block
        self._container: Any = None
        self._stream: Any = None
        self._times: Any = None
        self._copy: _PacketCopy | None = None
        self._copies = False
        self._first_ns = 0
        self._queue: queue.Queue[tuple[int, Grab] | None] = queue.Queue(QUEUE)
        self._thread: threading.Thread | None = None

    def stream(self, template: Any) -> None:
        """Copy the packets of this stream from now on, beginning with its next key frame."""
        if not self._encode and self._open():
            try:
                self._stream = self._container.add_stream_from_template(template)
                self._copies, self._copy = True, _PacketCopy(template)
            except (av.error.FFmpegError, ValueError) as e:  # a codec that Matroska does not hold
                self._fail(e)

    def packet(self, packet: Any) -> None:
        """Copy a packet."""
        if self._copy is None or self.failure:
            return
        try:
            for copy in self._copy.take(packet):
                copy.stream = self._stream
                self._container.mux(copy)
        except (av.error.FFmpegError, OSError, ValueError) as e:
            self._fail(e)

    def frame(self, seq: int, grab: Grab) -> None:
        """Note a frame's time, and encode it where packets are not copied."""
        if self.failure:
            return
        if self._copies:
            if self._copy is not None and self._copy.holds(grab.pts):
                self._stamp(seq, grab.t_capture_ns)
            return
        if grab.jpeg is not None and not self._encode:
            self._keep(seq, grab.t_capture_ns, grab)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._encode_all, name=f"encode-{self._camera}", daemon=True)
            self._thread.start()
        try:
            self._queue.put((seq, grab), block=self._block)
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Finish the file; safe to call twice."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._finish()

    def _open(self) -> bool:
        try:
            self.video.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self.video), "w", format="matroska", options=MUXER)
            self._times = self.sidecar.open("w", buffering=1)  # a line at a time, so that a kill loses none
        except (av.error.FFmpegError, OSError) as e:
            self._fail(e)
        return not self.failure

    def _stamp(self, seq: int, t_capture_ns: int) -> None:
        try:
            self._times.write(f"{seq} {t_capture_ns}\n")
        except OSError as e:
            self._fail(e)

    def _encode_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if self.failure:
                continue  # keep emptying the queue: a blocked writer must not wait for ever
            try:
                self._encode_one(*item)
            except DamagedPicture:
                self.lost += 1
            except (av.error.FFmpegError, OSError, ValueError) as e:
                self._fail(e)
        if self._stream is not None and not self.failure:
            try:
                self._container.mux(self._stream.encode(None))
            except (av.error.FFmpegError, OSError) as e:
                self._fail(e)

    def _keep(self, seq: int, t_capture_ns: int, grab: Grab) -> None:
        """Write a frame's JPEG as it came."""
        try:
            if self._stream is None:
                size_px = size_of(grab.load())
                if not self._open():
                    return
                self._first_ns = t_capture_ns
                self._stream = self._container.add_stream("mjpeg", rate=30)
                self._stream.width, self._stream.height = size_px
                self._stream.pix_fmt = "yuvj422p"
                self._stream.codec_context.time_base = TICKS
            packet = av.Packet(grab.jpeg)
            packet.pts = packet.dts = (t_capture_ns - self._first_ns) // 1000
            packet.time_base, packet.stream, packet.is_keyframe = TICKS, self._stream, True
            self._container.mux(packet)
            self._stamp(seq, t_capture_ns)
        except DamagedPicture:
            self.lost += 1
        except (av.error.FFmpegError, OSError, ValueError) as e:
            self._fail(e)

    def _encode_one(self, seq: int, grab: Grab) -> None:
        picture = grab.load()
        if self._stream is None:
            if not self._open():
                return
            self._first_ns = grab.t_capture_ns
            self._stream = self._add_encoder(*size_of(picture))
            if isinstance(picture, Planes):
                picture.colour.tell(self._stream.codec_context)
        frame = picture.frame() if isinstance(picture, Planes) else av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = (grab.t_capture_ns - self._first_ns) // 1000, TICKS
        self._container.mux(self._stream.encode(frame))
        self._stamp(seq, grab.t_capture_ns)

    def _add_encoder(self, width: int, height: int) -> Any:
        # x264 takes even sizes only in 4:2:0
        h264 = "libx264" in av.codecs_available
        even = width % 2 == 0 and height % 2 == 0
        stream = self._container.add_stream("libx264" if h264 else "mjpeg", rate=30)
        stream.width, stream.height = width, height
        stream.pix_fmt = ("yuv420p" if even else "yuv444p") if h264 else "yuvj444p"
        stream.codec_context.time_base = TICKS
        stream.codec_context.thread_count = 1
        if h264:
            stream.codec_context.gop_size = GOP
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
        return stream

    def _fail(self, error: Exception) -> None:
        if not self.failure:
            why = getattr(error, "strerror", None) or str(error)
            self.failure = (
                f"camera {self._camera}: video recording stopped, {self.video} could not be written: {why}; "
                "what was written stays readable; make room or choose another folder"
            )
        self._finish()

    def _finish(self) -> None:
        container, times, self._container, self._times = self._container, self._times, None, None
        for thing in (container, times):
            try:
                if thing is not None:
                    thing.close()
            except (av.error.FFmpegError, OSError) as e:
                if not self.failure:
                    self._fail(e)


class _PacketCopy:
    """Copies of a stream's packets from its first key frame on, with times that a file can hold.

    A packet without a time (the first of an RTSP stream) waits for the next, and stands one interval before it. Where
    the stream's clock is set back what follows is shifted; the sidecar keeps the true times.
    """

    def __init__(self, stream: Any) -> None:
        base, rate = Fraction(stream.time_base), stream.average_rate or stream.guessed_rate or 30
        self._interval = max(1, round(1 / Fraction(rate) / base))
        self._waiting: list[Any] = []
        self._began = False
        self._first_pts: int | None = None
        self._shift = 0
        self._last: int | None = None
        self._shown = False

    def take(self, packet: Any) -> list[Any]:
        """What can be written now."""
        if not self._began:
            if not packet.is_keyframe:
                return []
            self._began, self._first_pts = True, packet.pts
        self._waiting.append(_copied(packet))
        order = packet.dts if packet.dts is not None else packet.pts
        if order is None:
            return []
        ready, self._waiting = self._waiting, []
        for n, copy in enumerate(ready):
            self._place(copy, order - (len(ready) - 1 - n) * self._interval)
        return ready

    def _place(self, copy: Any, order: int) -> None:
        if self._last is not None and order + self._shift <= self._last:
            self._shift = self._last + 1 - order if self._last - order < self._interval else self._due - order
        self._last = order + self._shift
        copy.pts = max(self._last, self._last if copy.pts is None else copy.pts + self._shift)
        copy.dts = self._last

    @property
    def _due(self) -> int:
        return 0 if self._last is None else self._last + self._interval

    def holds(self, pts: int | None) -> bool:
        """Whether the decoder's picture of time ``pts`` is in the copy, and all that follow: asked in their order."""
        self._shown = self._shown or (
            self._began and (pts is None or self._first_pts is None or pts >= self._first_pts)
        )
        return self._shown


def _copied(packet: Any) -> Any:
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
    return copy


class RecordedSource:
    """A source whose frames, as they are read, go to a recorder too."""

    def __init__(self, source: Source, recorder: VideoRecorder) -> None:
        self._source, self._recorder = source, recorder

    @property
    def info(self) -> SourceInfo:
        """What was opened."""
        return self._source.info

    @property
    def skipped(self) -> int:
        """Frames lost so far because the reader was slow."""
        return self._source.skipped

    @property
    def losses(self) -> dict[str, int]:
        """Frames lost otherwise, by cause."""
        return self._source.losses

    def read(self, timeout_s: float) -> Frame | None:
        """See :class:`capture.source.Source`."""
        frame = self._source.read(timeout_s)
        if frame is not None:
            image = frame.picture
            self._recorder.frame(frame.seq, Grab(frame.t_capture_ns, lambda: image))
        return frame

    def close(self) -> None:
        """Close the source and finish the video."""
        self._source.close()
        self._recorder.close()
