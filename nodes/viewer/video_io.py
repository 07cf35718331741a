"""Videos that a rendering reads and writes: one camera's pictures by capture time, and an H.264 file."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from kinecast.capture.errors import KinecastError
from kinecast.capture.files import open_video
from kinecast.capture.orientation import orientation
from kinecast.capture.planes import Pixels, Planes
from kinecast.capture.record import read_sidecar
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.graph.records import CameraNode, SourceSettings
from kinecast.nodes.viewer.overlay import Image
from kinecast.nodes.viewer.scene import resized

MOST_ENCODING = 3  # pictures that wait for the encoder
_FULL = 2  # AVColorRange: 0 … 255


class Footage:
    """One camera's pictures by capture time, read in order from all the videos that were kept of it.

    A camera that was opened anew has several, which follow each other by their times. ``notes``: what cannot be had;
    ``why``: one line where nothing can.
    """

    def __init__(self, camera: str, reports: list[SourceReport], settings: CameraNode | None, near: Path) -> None:
        self.notes: list[str] = []
        self._camera, self._settings, self._near = camera, settings, near
        source = settings.source if settings is not None else SourceSettings()
        self._turn = orientation(source.rotate, source.mirror)
        self._last: tuple[int, Pixels] | None = None
        self._tolerance_ns = 2_000_000
        videos = [v for report in reports if report.video and (v := self._video(report)) is not None]
        if not any(report.video for report in reports):
            self.notes = [f"{camera}: no video was kept of it; its skeletons are drawn on black"]
        self.why = "" if videos else self.notes[-1]
        self._pictures = self._read(sorted(videos, key=lambda v: v.first_ns))

    def _video(self, report: SourceReport) -> "_Video | None":
        """One video, not opened yet; None, and a note, where it or its times are gone."""
        path = _found(report.video, self._near)
        if path is None:
            self.notes.append(f"{self._camera}: the video {report.video} is gone; its skeletons are drawn on black")
            return None
        if not report.timestamps:
            return _Video(path, report.epoch_ns, None)
        sidecar = _found(report.timestamps, self._near)
        try:
            if sidecar is None:
                raise KinecastError(f"{self._camera}: the timestamps {report.timestamps} of its video are gone")
            times = read_sidecar(sidecar)[1].tolist()
        except KinecastError as e:
            self.notes.append(f"{e}; its skeletons are drawn on black")
            return None
        return _Video(path, times[0], times) if times else None

    def _read(self, videos: "list[_Video]") -> Generator[tuple[int, Pixels], None, None]:
        """(capture time, picture) of all of them."""
        for video in videos:
            try:
                yield from self._read_one(video)
            except KinecastError as e:
                self.notes.append(f"{e}; its skeletons are drawn on black")

    def _read_one(self, video: "_Video") -> Generator[tuple[int, Pixels], None, None]:
        settings = self._settings.source if self._settings is not None and video.times_ns is None else SourceSettings()
        source = open_video(
            str(video.path), self._camera, epoch_ns=video.first_ns if video.times_ns is None else 0, live=False,
            loop=settings.loop, fps_hz=settings.fps_hz, start_s=settings.start_s,
        )  # fmt: skip
        times = iter(video.times_ns or ())
        try:
            while (frame := source.read(1.0)) is not None:
                t_ns = frame.t_capture_ns if video.times_ns is None else next(times, None)
                if t_ns is None:
                    return
                yield t_ns, self._turn.turn(frame.picture)
        finally:
            source.close()

    def at(self, t_ns: int) -> Pixels | None:
        """The picture captured at ``t_ns``, or None. Times must not go back."""
        while self._last is None or self._last[0] < t_ns - self._tolerance_ns:
            following = next(self._pictures, None)
            if following is None:
                return None
            self._last = following
        return self._last[1] if abs(self._last[0] - t_ns) <= self._tolerance_ns else None

    def close(self) -> None:
        """Close the video that is open."""
        self._pictures.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Video:
    """first_ns: capture time of its first picture. times_ns: of all, None where the container's own are meant."""

    path: Path
    first_ns: int
    times_ns: list[int] | None


def _found(path: str, near: Path) -> Path | None:
    """The file, or the file of its name beside the recording, which may have been moved with it."""
    for candidate in (Path(path), near / Path(path).name, near / "video" / Path(path).name):
        if candidate.is_file():
            return candidate
    return None


def scaled(picture: Pixels, size_px: tuple[int, int]) -> Image:
    """(H, W, 3) BGR at another size, one's own to draw in; planes are scaled and coloured in one go by libswscale."""
    if isinstance(picture, Planes):
        shrink = size_px[0] < picture.size_px[0]
        made: Image = picture.frame().reformat(
            *size_px, format="bgr24", interpolation="AREA" if shrink else "BILINEAR", threads=1, dst_color_range=_FULL
        ).to_ndarray()  # fmt: skip
        return made
    return resized(picture, size_px).copy()


class Writer:
    """An H.264 file (4:2:0, playable while it loads) whose pictures stand at their own times.

    Pictures are encoded in a thread of their own while the next ones are drawn.
    """

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
        self._stream.options = {"preset": "superfast", "crf": "20"}
        self._encoder = ThreadPoolExecutor(1, "encode")
        self._encoding: deque[Future[None]] = deque()

    def write(self, image: Image, t_ns: int) -> None:
        """Add a picture, ``t_ns`` after the first one; the array must not change afterwards."""
        number = max(self._next, round(Fraction(t_ns, 1_000_000_000) * self._rate))
        self._next = number + 1
        while len(self._encoding) >= MOST_ENCODING:
            self._encoding.popleft().result()
        self._encoding.append(self._encoder.submit(self._encode, image, number))

    def _encode(self, image: Image, number: int) -> None:
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = number, 1 / self._rate
        self._file.mux(self._stream.encode(frame))

    def close(self, keep: bool) -> None:
        """Finish the file and give it its name, or throw it away."""
        self._encoder.shutdown(cancel_futures=not keep)
        try:
            if keep:
                for encoded in self._encoding:
                    encoded.result()
            if keep:
                self._file.mux(self._stream.encode(None))
            self._file.close()
            if keep:
                self._part.replace(self._path)
        except (OSError, av.error.FFmpegError) as e:
            raise KinecastError(f"cannot write {self._path}: {e}") from None
        finally:
            self._part.unlink(missing_ok=True)
