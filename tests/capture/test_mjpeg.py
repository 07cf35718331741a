"""HTTP MJPEG from a small server on loopback: FFmpeg counts 25 pictures a second, whatever comes."""

import http.server
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from kinecast.capture.frame import Frame
from kinecast.capture.latest import LatestSource
from kinecast.capture.stream import open_stream
from tests.capture.rtsp import made_ms
from tests.capture.rtsp_server import HEIGHT, WIDTH, picture

READ_S = 10.0
JITTER_MS = 60.0  # encoding, sending and waking up of a machine that does much else


@contextmanager
def camera(fps: float) -> Iterator[str]:
    """The address of a camera that sends JPEGs whose stripes say when they were made."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            due = time.monotonic()
            while not over.wait(max(0.0, due - time.monotonic())):
                i420 = np.frombuffer(picture(round(time.monotonic() * 1000)), np.uint8)
                image = cv2.cvtColor(i420.reshape(HEIGHT * 3 // 2, WIDTH), cv2.COLOR_YUV2BGR_I420)
                data = cv2.imencode(".jpg", image)[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    return
                due += 1 / fps

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def read(source: LatestSource) -> Frame:
    """The next frame, which must come."""
    frame = source.read(READ_S)
    assert frame is not None
    return frame


def watch(fps: int) -> tuple[list[float], str]:
    """Lags of the pictures of a camera, in ms, from a second after opening; and what its stamps are made of."""
    with camera(fps) as url:
        source = open_stream(url, "cam1")
        try:
            frames = [read(source)]
            while frames[-1].t_grab_ns < frames[0].t_grab_ns + 2.5e9:
                frames.append(read(source))
            timing = source.timing
        finally:
            source.close()
    settled = [f for f in frames if f.t_grab_ns > frames[0].t_grab_ns + 1e9]
    return [f.t_capture_ns / 1e6 - made_ms(f.image_bgr) for f in settled], timing


def test_stamps_are_right_a_second_after_opening() -> None:
    rates = (5, 12, 15, 30)
    with ThreadPoolExecutor() as pool:
        watched = dict(zip(rates, pool.map(watch, rates), strict=True))
    for fps, (lags, timing) in watched.items():
        assert len(lags) > fps / 2
        assert np.median(np.abs(lags)) <= 1000 / fps + JITTER_MS, fps
        assert timing == "arrival (the stream gives no times)"
