"""Serves the page and its WebSocket in a thread of its own; a page that hangs holds up nobody.

Every answer carries a policy that lets the page load nothing but its own files. The token of the address becomes a
cookie that scripts cannot read, and is gone from the address bar.
"""

import asyncio
import errno
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from kinecast.capture.errors import KinecastError
from kinecast.nodes.web import three
from kinecast.nodes.web.guard import COOKIE, Guard

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/page.js": "page.js", "/view3d.js": "view3d.js", "/page.css": "page.css"}
POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MOST_PAGES = 8
STEP_S = 0.03
STUCK_S = 10.0  # a page that takes nothing for so long is let go
OPEN_S = 5.0


def listen(host: str, port: int, tries: int = 10) -> socket.socket:
    """A socket on the first free port from this one on. KinecastError where so many are taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for n in range(tries):
        try:
            return socket.create_server((host, port + n), family=family, backlog=64)
        except OSError as e:
            why = e.strerror or str(e)
            if e.errno != errno.EADDRINUSE:
                break
    raise KinecastError(f"web: cannot listen on {host}:{port} ({why}): set another port or bind")


class PageServer:
    """Serves on a socket that listens. What pages get is put in by :meth:`show` and :meth:`picture`, from any thread.

    about: said first.
    """

    def __init__(self, listening: socket.socket, guard: Guard, about: dict[str, Any]) -> None:
        self._guard, self._about = guard, json.dumps(about)
        self._texts: dict[str, tuple[int, str]] = {}
        self._pictures: dict[str, tuple[int, bytes]] = {}
        self.pages = 0
        self._socket = listening
        app = Starlette(routes=[
            *(Route(path, self._file) for path in FILES),
            Route("/enter/{token}", self._enter),
            Route("/three/{name}", self._three),
            WebSocketRoute("/live", self._live),
        ])  # fmt: skip
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="off", ws="websockets-sansio", ws_max_size=1 << 12,
            server_header=False, timeout_graceful_shutdown=1, limit_concurrency=64,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + OPEN_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    def show(self, kind: str, message: dict[str, Any]) -> None:
        """Give every page the newest message of a kind."""
        self._texts[kind] = (self._texts.get(kind, (0, ""))[0] + 1, json.dumps(message, allow_nan=False))

    def picture(self, camera: str, jpeg: bytes, marks: dict[str, Any]) -> None:
        """Give every page the newest picture of a camera and what is drawn on it: length of the JSON, JSON, JPEG."""
        head = json.dumps(marks, allow_nan=False).encode()
        data = len(head).to_bytes(4, "little") + head + jpeg
        self._pictures[camera] = (self._pictures.get(camera, (0, b""))[0] + 1, data)

    def close(self) -> None:
        """Let the pages go, and free the port."""
        self._server.should_exit = True
        self._thread.join(OPEN_S)
        self._socket.close()

    def _refusal(self, request: HTTPConnection, upgrade: bool = False) -> tuple[int, str] | None:
        given = request.path_params.get("token", "") or request.cookies.get(COOKIE, "")
        return self._guard.refusal(request.headers, given, upgrade)

    async def _file(self, request: Request) -> Response:
        if refused := self._refusal(request):
            return PlainTextResponse(refused[1], refused[0], POLICY)
        return FileResponse(PAGE / FILES[request.url.path], headers=POLICY)

    async def _enter(self, request: Request) -> Response:
        if refused := self._refusal(request):
            return PlainTextResponse(refused[1], refused[0], POLICY)
        answer = RedirectResponse("/", 303, POLICY)
        answer.set_cookie(COOKIE, self._guard.token, httponly=True, samesite="strict")
        return answer

    async def _three(self, request: Request) -> Response:
        if refused := self._refusal(request):
            return PlainTextResponse(refused[1], refused[0], POLICY)
        name = f"build/{request.path_params['name']}"
        if name not in three.FILES or not (three.folder() / name).is_file():
            return PlainTextResponse("three.js is not in the cache: run `kinecast models pull`", 404, POLICY)
        return FileResponse(three.folder() / name, headers=POLICY, media_type="text/javascript")

    async def _live(self, page: WebSocket) -> None:
        if self._refusal(page, upgrade=True) or self.pages >= MOST_PAGES:
            await page.close(1008)
            return
        await page.accept()
        self.pages += 1
        leaving = asyncio.create_task(_left(page))
        try:
            await asyncio.wait_for(page.send_text(self._about), STUCK_S)
            await self._send_news(page, leaving)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            pass
        finally:
            leaving.cancel()
            self.pages -= 1

    async def _send_news(self, page: WebSocket, leaving: "asyncio.Task[None]") -> None:
        """Whatever is newer than what this page has; between two looks all but the newest is passed over."""
        had: dict[str, int] = {}
        while not leaving.done() and not self._server.should_exit:
            for kind, (number, text) in list(self._texts.items()):
                if had.get(kind) != number:
                    had[kind] = number
                    await asyncio.wait_for(page.send_text(text), STUCK_S)
            for camera, (number, data) in list(self._pictures.items()):
                if had.get(f"picture {camera}") != number:
                    had[f"picture {camera}"] = number
                    await asyncio.wait_for(page.send_bytes(data), STUCK_S)
            await asyncio.sleep(STEP_S)


async def _left(page: WebSocket) -> None:
    """Ends when the page goes; it has nothing to say."""
    while (await page.receive())["type"] != "websocket.disconnect":
        pass
