"""The WebSocket of a stream: every client gets the newest frame as fast as it takes it, and none holds up another.

``/`` sends binary frames (:mod:`kinecast.nodes.stream.frame`), ``/json`` the same as text. The first message is text:
what the joints are called, their parents, the axes. A web page of another site is refused by its Origin.
"""

import asyncio
import json
import math
import threading
from typing import Any

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from kinecast.capture.errors import KinecastError
from kinecast.nodes.stream.frame import StreamFrame, pack

MOST_CLIENTS = 32
HELLO_BYTES = 1 << 10  # a client has nothing to say
OPEN_S = 5.0


class WebSocketServer:
    """Serves on ``host``:``port`` in a thread of its own. KinecastError where the port is taken.

    about: what the first message says. origins: of web pages that may listen; programs have none.
    """

    def __init__(self, host: str, port: int, about: dict[str, Any], origins: tuple[str, ...] = ()) -> None:
        self._host, self.port, self._about = host, port, about
        self._origins: list[str | None] = [None, *origins]
        self._frame: StreamFrame | None = None
        self._number = 0
        self._clients = 0
        self._error = ""
        self.skipped = 0
        self._opened = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="websocket", daemon=True)
        self._thread.start()
        self._opened.wait(OPEN_S)
        if self._error:
            raise KinecastError(f"stream: cannot listen on {host}:{port} ({self._error}): set another websocket port")

    @property
    def clients(self) -> int:
        """How many listen now."""
        return self._clients

    def send(self, frame: StreamFrame) -> None:
        """Give a frame to everybody who is ready for one; returns at once."""
        if self._clients:
            self._loop.call_soon_threadsafe(self._publish, frame)

    def close(self) -> None:
        """Say goodbye to the clients, and free the port."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(OPEN_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except OSError as e:
            self._error = e.strerror or str(e)
        finally:
            self._opened.set()
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._news = asyncio.Condition()
        async with serve(
            self._listen, self._host, self.port, origins=self._origins, compression=None, max_size=HELLO_BYTES,
            write_limit=1 << 16, close_timeout=1.0,
        ):  # fmt: skip
            self._opened.set()
            await self._stop.wait()

    def _publish(self, frame: StreamFrame) -> None:
        self._frame, self._number = frame, self._number + 1
        self._wake = self._loop.create_task(self._notify())

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _listen(self, socket: Any) -> None:
        path = socket.request.path.partition("?")[0]
        if path not in ("/", "/json"):
            await socket.close(1008, "there is / and /json")
            return
        if self._clients >= MOST_CLIENTS:
            await socket.close(1013, f"{MOST_CLIENTS} listen already")
            return
        self._clients += 1
        try:
            await socket.send(json.dumps({"type": "about", **self._about}))
            sent = self._number
            while True:
                async with self._news:
                    await self._news.wait_for(lambda: self._number > sent)  # noqa: B023
                assert self._frame is not None
                self.skipped += self._number - sent - 1
                sent = self._number
                await socket.send(pack(self._frame) if path == "/" else as_json(self._frame))
        except ConnectionClosed:
            pass
        finally:
            self._clients -= 1


def as_json(frame: StreamFrame) -> str:
    """A frame as text: the same fields, lists for arrays, null for what is missing."""

    def plain(values: Any) -> Any:
        if isinstance(values, list):
            return [plain(v) for v in values]
        return None if isinstance(values, float) and not math.isfinite(values) else round(values, 6)

    people = [
        {
            "person": p.person,
            "flags": p.flags,
            "betas": plain(p.betas.tolist()),
            "root_m": plain(p.root_m.tolist()),
            "quaternions_xyzw": plain(p.quaternions_xyzw.tolist()),
            "joints_m": plain(p.joints_m.tolist()),
            "joint_sd_m": plain(p.joint_sd_m.tolist()),
        }
        for p in frame.people
    ]
    head = {"type": "frame", "seq": frame.seq, "t_capture_ns": frame.t_capture_ns, "t_sent_ns": frame.t_sent_ns}
    return json.dumps({**head, "predicted_ms": frame.predicted_ms, "people": people})
