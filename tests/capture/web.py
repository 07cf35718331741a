"""A web server on loopback that gives the files of a folder, parts of them too, and pictures one after another."""

import http.server
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@contextmanager
def web(folder: Path, live: Sequence[NDArray[np.uint8]] = (), fps: float = 10.0) -> Iterator[str]:
    """The address of a server of a folder's files; ``/live`` shows the pictures ``live`` again and again as MJPEG."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/live":
                self._live()
            elif not (path := folder / self.path.lstrip("/")).is_file():
                self.send_error(404)
            else:
                self._file(path.read_bytes())

        def _file(self, data: bytes) -> None:
            asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            begin = int(asked[1]) if asked else 0
            end = int(asked[2]) + 1 if asked and asked[2] else len(data)
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(min(end, len(data)) - begin))
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{min(end, len(data)) - 1}/{len(data)}")
            self.end_headers()
            self._send(data[begin:end])

        def _live(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            began = time.monotonic()
            for n in range(1_000_000):
                if over.wait(max(0.0, began + n / fps - time.monotonic())):
                    return
                data = cv2.imencode(".jpg", live[n % len(live)])[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                if not self._send(head.encode() + data + b"\r\n"):
                    return

        def _send(self, data: bytes) -> bool:
            try:
                self.wfile.write(data)
            except OSError:
                return False
            return True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
