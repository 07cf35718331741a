"""The RTSP server of :mod:`tests.capture.rtsp_server` as tests use it: started, stopped, frozen, its pictures read.

Needs Debian's ``gir1.2-gst-rtsp-server-1.0``, ``python3-gi`` and GStreamer's plugins, and the system's own Python:
tests are skipped, with the reason, where they are missing.
"""

import json
import select
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.capture.rtsp_server import BITS

PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
READY_S = 30.0
LOOK = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
missing = [n for n in ("x264enc", "rtph264pay", "appsrc", "alawenc") if Gst.ElementFactory.find(n) is None]
print("GStreamer lacks " + ", ".join(missing) if missing else "", end="")
"""


@cache
def missing() -> str:
    """Why there can be no server here, "" where there can."""
    try:
        found = subprocess.run([PYTHON, "-c", LOOK], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"{PYTHON}: {e}"
    said = found.stderr.strip().splitlines()[-1:] or ["it failed"]
    return found.stdout if found.returncode == 0 else f"no GStreamer RTSP server: {said[0]}"


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class RtspServer:
    """A server in a process of its own; ``streams`` and the rest as :mod:`tests.capture.rtsp_server` says."""

    def __init__(self, streams: dict[str, dict[str, Any]], **settings: Any) -> None:
        if why := missing():
            pytest.skip(why)
        self._ask = {"port": free_port(), "streams": streams, **settings}
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def url(self, name: str, login: str = "") -> str:
        """The address of a stream; login: ``user:password``."""
        return f"rtsp://{login + '@' if login else ''}127.0.0.1:{self._ask['port']}/{name}"

    def start(self) -> None:
        """Start it, or start it again at the same address."""
        self._process = subprocess.Popen(
            [PYTHON, str(SERVER), json.dumps(self._ask)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], READY_S)[0], "the RTSP server says nothing"
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """End it at once, as a camera that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing anything, as a camera that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> "RtspServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()


def made_ms(image: NDArray[np.uint8]) -> int:
    """When a picture of the server was made, in ms of the monotonic clock, from its stripes."""
    row = image.reshape(*image.shape[:2], -1).mean(axis=(0, 2))
    stripes = row[: len(row) // BITS * BITS].reshape(BITS, -1).mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(stripes.tolist()) if level > 128)
