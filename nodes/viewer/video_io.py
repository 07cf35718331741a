"""Videos that a rendering reads and writes: one camera's pictures by capture time, and an H.264 file."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from kinecast.capture.errors import KinecastError
from kinecast.capture.files import Loop, open_video
from kinecast.capture.record import read_sidecar
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.graph.records import CameraNode
from kinecast.nodes.viewer.overlay import Image


class Footage:
    """One camera's pictures by capture time, read in order. ``why``: one line where they cannot be had."""

    def __init__(self, camera: str, report: SourceReport | None, settings: CameraNode | None, near: Path) -> None:
        self.why = ""
        self._read: Callable[[], tuple[int, Image] | None] = lambda: None
        self._ahead: tuple[int, Image] | None = None
        self._last: tuple[int, Image] | None = None
        self._tolerance_ns = 2_000_000
        self._close: Callable[[], None] = lambda: None
        if report is None or not report.video:
            self.why = f"{camera}: no video was kept of it; its skeletons are drawn on black"
            return
        path = _found(report.video, near)
        if path is None:
            self.why = f"{camera}: the video {report.video} is gone; its skeletons are drawn on black"
            return
        try:
            self._open(camera, report, settings, path, near)
        except KinecastError as e:
            self.why = f"{e}; its skeletons are drawn on black"

    def _open(self, camera: str, report: SourceReport, settings: CameraNode | None, path: Path, near: Path) -> None:
        if report.timestamps:
            sidecar = _found(report.timestamps, near)
            if sidecar is None:
                raise KinecastError(f"{camera}: the timestamps {report.timestamps} of its video are gone")
            times = read_sidecar(sidecar)[1].tolist()
            source = open_video(str(path), camera, epoch_ns=0, live=False)
            numbers = iter(range(1 << 62))
        else:
            loop: Loop = settings.source.loop if settings is not None else "off"
            rate = settings.source.fps_hz if settings is not None else None
            source = open_video(str(path), camera, epoch_ns=report.epoch_ns, live=False, loop=loop, fps_hz=rate)
            times, numbers = None, iter(())
        self._close = source.close

        def read() -> tuple[int, Image] | None:
            frame = source.read(1.0)
            if frame is None:
                return None
            if times is None:
                return frame.t_capture_ns, frame.image_bgr
            number = next(numbers)
            return (times[number], frame.image_bgr) if number < len(times) else None

        self._read = read

    def at(self, t_ns: int) -> Image | None:
        """The picture captured at ``t_ns``, or None. Times must not go back."""
        while self._last is None or self._last[0] < t_ns - self._tolerance_ns:
            following = self._read()
            if following is None:
                return None
            self._last = following
        return self._last[1] if abs(self._last[0] - t_ns) <= self._tolerance_ns else None

    def close(self) -> None:
        """Close the video."""
        self._close()


def _found(path: str, near: Path) -> Path | None:
    """The file, or the file of its name beside the recording, which may have been moved with it."""
    for candidate in (Path(path), near / Path(path).name, near / "video" / Path(path).name):
        if candidate.is_file():
            return candidate
    return None


class Writer:
    """An H.264 file (4:2:0, playable while it loads) whose pictures stand at their own times."""

    def __init__(self, path: Path, size_px: tuple[int, int], rate: Fraction) -> None:
        self._part = path.with_name(f".{path.name}.part.mp4")
        self._path, self._rate = path, rate
        self._next = 0
        try:
            self._file: Any = av.open(str(self._part), "w", options={"movflags": "faststart"})
        except (OSError, av.error.FFmpegError) as e:
            raise KinecastError(f"cannot write {path}: {e}") from None
        self._stream: Any = self._file.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = size_px
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = 1 / rate
        self._stream.options = {"preset": "veryfast", "crf": "21"}

    def write(self, image: Image, t_ns: int) -> None:
        """Add a picture, ``t_ns`` after the first one."""
        number = max(self._next, round(Fraction(t_ns, 1_000_000_000) * self._rate))
        self._next = number + 1
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = number, 1 / self._rate
        self._file.mux(self._stream.encode(frame))

    def close(self, keep: bool) -> None:
        """Finish the file and give it its name, or throw it away."""
        try:
            if keep:
                self._file.mux(self._stream.encode(None))
            self._file.close()
            if keep:
                self._part.replace(self._path)
        except (OSError, av.error.FFmpegError) as e:
            raise KinecastError(f"cannot write {self._path}: {e}") from None
        finally:
            self._part.unlink(missing_ok=True)
