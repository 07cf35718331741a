"""Live sources: the newest frame, what was passed over, stalls, devices that vanish, streams over HTTP."""

import http.server
import queue
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.latest import Grab, LatestSource
from kinecast.capture.open import open_source
from kinecast.capture.record import VideoRecorder, read_sidecar
from kinecast.capture.source import SourceInfo, SourceStalled
from kinecast.capture.stream import open_stream
from kinecast.capture.usb import open_usb
from tests.capture.devices import DEADLINE_S, FakeCapture
from tests.capture.videos import grey, make_video, number_of

pytestmark = pytest.mark.alone
INFO = SourceInfo("usb", "fake", (64, 48), 30.0, True)


class FakeGrabber:
    """Gives what the test puts in; ``idle`` is set whenever it waits for more."""

    def __init__(self) -> None:
        self.items: queue.Queue[Any] = queue.Queue()
        self.idle = threading.Event()
        self.closed = False

    def grab(self) -> Grab | None:
        if self.items.empty():
            self.idle.set()
        item = self.items.get(timeout=DEADLINE_S)
        if isinstance(item, Exception):
            raise item
        return item  # type: ignore[no-any-return]

    def give(self, *numbers: int) -> None:
        self.idle.clear()
        for n in numbers:
            self.items.put(Grab(1000 * n, partial(grey, n)))
        assert self.idle.wait(DEADLINE_S)

    def close(self) -> None:
        self.closed = True


def test_the_newest_frame_is_read_and_the_others_counted() -> None:
    device = FakeGrabber()
    source = LatestSource("cam1", INFO, device, first_seq=100)
    device.give(0)
    first = source.read(DEADLINE_S)
    device.give(1, 2, 3, 4)
    second = source.read(DEADLINE_S)
    assert first is not None and second is not None
    assert (first.seq, second.seq) == (100, 104)
    assert number_of(second.image_bgr) == 4
    assert second.t_capture_ns == 4000
    assert source.skipped == 3
    device.items.put(None)
    assert source.read(DEADLINE_S) is None
    source.close()
    source.close()
    assert device.closed


def test_silence_is_a_stall_and_the_frame_after_it_is_read() -> None:
    device = FakeGrabber()
    source = LatestSource("cam1", INFO, device)
    with pytest.raises(SourceStalled, match="cam1"):
        source.read(0.01)
    device.items.put(SourceStalled("the device said so itself"))
    device.give(5)
    frame = source.read(DEADLINE_S)
    assert frame is not None
    assert number_of(frame.image_bgr) == 5
    device.items.put(None)
    source.close()


def test_a_device_that_fails_tells_the_reader_after_the_last_frame() -> None:
    device = FakeGrabber()
    source = LatestSource("cam1", INFO, device)
    device.give(1)
    device.items.put(OSError("no such device"))
    assert source.read(DEADLINE_S) is not None
    with pytest.raises(KinecastError, match="no such device"):
        source.read(DEADLINE_S)
    source.close()


def test_a_usb_camera_is_asked_for_size_and_rate_and_reports_its_end() -> None:
    device = FakeCapture(frames=3)
    source = open_usb("0", "cam1", fps_hz=60.0, size_px=(64, 48), device=lambda uri: device)
    assert device.asked[cv2.CAP_PROP_FRAME_WIDTH] == 64
    assert device.asked[cv2.CAP_PROP_FPS] == 60.0
    assert source.info.size_px == (64, 48)
    assert source.info.fps_hz == 60.0
    stamps = []
    for n in (1, 2):
        device.more.release()
        frame = source.read(DEADLINE_S)
        assert frame is not None
        assert number_of(frame.image_bgr) == n
        stamps.append(frame.t_capture_ns)
    assert stamps[0] < stamps[1]
    for _ in range(5):
        device.more.release()
    with pytest.raises(KinecastError, match="stopped giving frames"):
        source.read(DEADLINE_S)
    source.close()
    assert device.released


def test_a_usb_camera_that_will_not_says_so() -> None:
    closed = FakeCapture(frames=1, opened=False)
    with pytest.raises(KinecastError, match="cannot open the device"):
        open_usb("3", "cam1", device=lambda uri: closed)
    assert closed.released
    other = FakeCapture(frames=1, size_px=(32, 24))
    with pytest.raises(KinecastError, match="32×24 and not 64×48"):
        open_usb("3", "cam1", size_px=(64, 48), device=lambda uri: other)
    assert other.released
    with pytest.raises(KinecastError, match="does not exist"):
        open_usb("/dev/video-none", "cam1")


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """(address, files): an HTTP server on this machine that gives what the test puts into ``files``."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{http_server.server_port}", files
    http_server.shutdown()
    thread.join()
    http_server.server_close()


def drain(source: LatestSource) -> tuple[list[Frame], str]:
    """Frames until the source is gone, and what it said then."""
    frames: list[Frame] = []
    while True:
        try:
            frame = source.read(DEADLINE_S)
        except KinecastError as e:
            return frames, str(e)
        assert frame is not None
        frames.append(frame)


def test_a_stream_is_read_recorded_as_it_came_and_its_end_is_a_loss(
    tmp_path: Path, server: tuple[str, dict[str, bytes]]
) -> None:
    address, files = server
    clip = make_video(tmp_path / "clip.ts", b_frames=2)
    files["/live.ts"] = clip.read_bytes()
    recorder = VideoRecorder(tmp_path / "cam1.mkv", tmp_path / "cam1.times.txt", "cam1")
    source = open_source("cam1", "stream", f"{address}/live.ts", live=True, epoch_ns=0, recorder=recorder, first_seq=50)
    assert isinstance(source, LatestSource)
    assert source.info.size_px == (64, 48)
    frames, why = drain(source)
    source.close()
    assert "closed it" in why and address in why
    assert frames[-1].seq == 69
    assert len(frames) + source.skipped == 20
    assert all(number_of(f.image_bgr) == f.seq - 50 for f in frames)
    assert not recorder.failure
    seqs, stamps = read_sidecar(tmp_path / "cam1.times.txt")
    assert seqs.tolist() == list(range(50, 70))
    assert (np.diff(stamps) > 0).all()
    assert {f.seq: f.t_capture_ns for f in frames}.items() <= dict(
        zip(seqs.tolist(), stamps.tolist(), strict=True)
    ).items()
    kept = open_source("cam1", "video", str(tmp_path / "cam1.mkv"), live=False, epoch_ns=0)
    again = []
    while (frame := kept.read(1.0)) is not None:
        again.append(number_of(frame.image_bgr))
    assert again == list(range(20))


def test_a_stream_that_is_not_there_says_so(tmp_path: Path, server: tuple[str, dict[str, bytes]]) -> None:
    address, files = server
    with pytest.raises(KinecastError, match="cannot open the stream"):
        open_stream(f"{address}/none.ts", "cam1")
    files["/text"] = b"no video here " * 100
    with pytest.raises(KinecastError, match="cannot open the stream"):
        open_stream(f"{address}/text", "cam1")


def test_an_unknown_kind_names_the_known() -> None:
    with pytest.raises(KinecastError, match="use video, images, usb or stream"):
        open_source("cam1", "webcam", "0", live=True, epoch_ns=0)
