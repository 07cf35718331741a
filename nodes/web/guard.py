"""Who may see the page: whoever has its token, from this page, and nobody who guesses.

A web site that is open in the same browser can talk to 127.0.0.1, so loopback alone keeps nobody out: the token is
asked for there too, ``Host`` must be one of this machine's names (against DNS rebinding) and ``Origin`` the page's own.
"""

import hmac
import secrets
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

from kinecast.capture.clock import Clock
from kinecast.capture.urls import is_ip_address, is_loopback

COOKIE = "kinecast"
MOST_WRONG, WITHIN_S = 10, 60.0
ANYWHERE = ("0.0.0.0", "::")


class Guard:
    """Decides on each request. ``token``: made anew for each run, 192 bits."""

    def __init__(self, host: str, port: int, clock: Clock, token: str = "") -> None:
        self.token = token or secrets.token_urlsafe(24)
        self._clock, self._host, self._port = clock, host, port
        self._wrong: deque[int] = deque(maxlen=MOST_WRONG)

    @property
    def url(self) -> str:
        """What the user opens, token and all: to be printed once, and never logged."""
        host = "127.0.0.1" if self._host in ANYWHERE else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/enter/{self.token}"

    def refusal(self, headers: Mapping[str, str], given: str, upgrade: bool = False) -> tuple[int, str] | None:
        """Status and sentence where a request is refused, else None.

        given: the token of cookie or address. upgrade: it asks for the WebSocket, which must come from the page.
        """
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, f"this page is not called {host[:80]!r}"
        origin = headers.get("origin")
        if (origin is None and upgrade) or (origin is not None and origin != f"http://{host}"):
            return 403, "another web site may not listen"
        now_ns = self._clock.now_ns()
        while self._wrong and now_ns - self._wrong[0] > WITHIN_S * 1e9:
            self._wrong.popleft()
        if hmac.compare_digest(given.encode(), self.token.encode()):
            return None
        if len(self._wrong) == MOST_WRONG:
            return 429, "too many wrong tokens: wait a minute"
        if given:
            self._wrong.append(now_ns)
        return 401, "open the address that `kinecast run` printed: it holds the token of this session"

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server; asked to listen everywhere, any address of numbers is believed."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        named = is_loopback(name) or name == self._host or (self._host in ANYWHERE and is_ip_address(name))
        return port == self._port and named
