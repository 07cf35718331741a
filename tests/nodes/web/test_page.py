"""The page's server: who is let in, what is sent, and that a page that hangs holds up nobody."""

import json
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.engines.models.card import Origin
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.bus.messages import Health, Preview, PreviewWish
from kinecast.nodes.camera.preview import Previews
from kinecast.nodes.graph.records import Graph
from kinecast.nodes.web import three
from kinecast.nodes.web.feed import MISSING, Feed
from kinecast.nodes.web.guard import MOST_WRONG, Guard
from kinecast.nodes.web.server import PageServer, listen
from tests.capture.videos import FakeClock
from tests.nodes.web.graphs import web_graph

SECOND = 1_000_000_000


@pytest.fixture
def port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def page(port: int, tmp_path: Path) -> Iterator[tuple[PageServer, Guard]]:
    guard = Guard("127.0.0.1", port, FakeClock())
    server = PageServer(listen("127.0.0.1", port), guard, feed(web_graph(tmp_path, port)).about())
    yield server, guard
    server.close()


def feed(graph: Graph) -> Feed:
    return Feed(graph, ring_rig(3, (320, 240)))


def status(url: str, **headers: str) -> int:
    try:
        return int(urlopen(Request(url, headers=headers), timeout=10).status)
    except HTTPError as e:
        return int(e.code)


def test_the_address_lets_in_and_its_token_is_gone_from_the_bar(page: tuple[PageServer, Guard]) -> None:
    _, guard = page
    base = guard.url.partition("/enter/")[0]
    assert status(base + "/") == status(base + "/page.js") == 401
    opener = build_opener(HTTPCookieProcessor())
    answer = opener.open(guard.url, timeout=10)
    assert answer.url == base + "/" and b"<title>Kinecast" in answer.read()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for name in ("page.js", "view3d.js", "page.css"):
        assert opener.open(f"{base}/{name}", timeout=10).status == 200
    with pytest.raises(HTTPError, match="404"):
        opener.open(f"{base}/three/..%2f..%2fpasswd", timeout=10)


def test_strangers_are_kept_out(page: tuple[PageServer, Guard]) -> None:
    _, guard = page
    base, cookie = guard.url.partition("/enter/")[0], f"kinecast={guard.token}"
    assert status(base, Cookie=cookie) == 200
    assert status(base, Cookie=cookie, Host="evil.example:80") == 421  # a name that was bound to 127.0.0.1
    assert status(base, Cookie=cookie, Origin="http://evil.example") == 403
    live = base.replace("http", "ws") + "/live"
    for headers in ({"Cookie": cookie}, {"Cookie": cookie, "Origin": "http://evil.example"}, {"Origin": base}):
        with pytest.raises(InvalidStatus), connect(live, additional_headers=headers):
            pass
    with connect(live, additional_headers={"Cookie": cookie, "Origin": base}) as socket_:
        assert json.loads(socket_.recv(10))["type"] == "about"


def test_guessing_is_stopped_and_the_right_token_still_enters() -> None:
    clock = FakeClock()
    guard = Guard("127.0.0.1", 8766, clock)
    headers = {"host": "127.0.0.1:8766"}
    assert {guard.refusal(headers, f"guess {n}")[0] for n in range(MOST_WRONG)} == {401}  # type: ignore[index]
    assert guard.refusal(headers, "one more")[0] == 429  # type: ignore[index]
    assert guard.refusal(headers, guard.token) is None
    clock.t_ns += 61 * SECOND
    assert guard.refusal(headers, "again")[0] == 401  # type: ignore[index]
    assert len(guard.token) >= 32 and Guard("127.0.0.1", 1, clock).token != guard.token
    assert guard.refusal({"host": "[::1:8766"}, guard.token)[0] == 421  # type: ignore[index]


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
def test_listening_everywhere_believes_addresses_and_no_names(bind: str) -> None:
    guard = Guard(bind, 8766, FakeClock())
    for host in ("192.168.1.4", "[fe80::1]", "localhost"):
        assert guard.refusal({"host": f"{host}:8766"}, guard.token) is None
    for host in ("evil.example", "evil1.example", "a1", "1.2.3.4.evil.example", ""):
        assert guard.refusal({"host": f"{host}:8766"}, guard.token)[0] == 421  # type: ignore[index]


def picture(server: PageServer, number: int) -> None:
    server.picture("cam01", bytes([number % 256]) * 30_000, {"camera": "cam01", "n": number})


def test_a_page_that_hangs_holds_up_nobody(page: tuple[PageServer, Guard]) -> None:
    server, guard = page
    base = guard.url.partition("/enter/")[0]
    where, headers = base.replace("http", "ws") + "/live", {"Cookie": f"kinecast={guard.token}", "Origin": base}
    with (
        connect(where, additional_headers=headers, max_queue=1) as hung,
        connect(where, additional_headers=headers) as other,
    ):
        assert hung.recv(10) and other.recv(10)
        seen, slowest, deadline = -1, 0.0, time.monotonic() + 60
        for n in range(1000):
            began = time.perf_counter()
            picture(server, n)
            slowest = max(slowest, time.perf_counter() - began)
            if n % 50 == 0:
                while seen < n:
                    assert time.monotonic() < deadline
                    data = other.recv(10)
                    assert isinstance(data, bytes)
                    seen = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])["n"]
        assert seen == 950 and server.pages == 2
        assert slowest < 1.0  # it is put down, never waited for


def test_what_is_missing_is_null_and_pages_get_whole_json(tmp_path: Path, port: int) -> None:
    told = feed(web_graph(tmp_path, port))
    told.take("health/cam01", Health("cam01", "camera", 1, "running", 5 * SECOND, note="low light", drops={"gap": 2}))
    state = told.state(6 * SECOND)
    by_name = {n["node"]: n for n in state["nodes"]}
    assert by_name["cam01"]["alive"] and not by_name["cam02"]["alive"] and state["log"] == ["cam01: low light"]
    assert not {n["node"]: n for n in told.state(9 * SECOND)["nodes"]}["cam01"]["alive"]
    assert state["recording"] == "session.mcap" and state["free_bytes"] > 0
    px = np.full((1, 26, 2), np.nan, np.float32)
    marks = told.marks(Preview("cam01", 3, 0, b"", "halpe26", px))
    assert marks["ids"] == [-1] and marks["px"][0][:2] == [MISSING, MISSING]
    json.dumps([state, marks, told.scene(), told.about()], allow_nan=False)


def test_pictures_are_made_only_while_somebody_looks() -> None:
    frame = Frame("cam01", 4, 0, 0, np.full((720, 1280, 3), 90, np.uint8))
    none = np.zeros((0, 26, 2), np.float32)
    seen: Any = SimpleNamespace(skeleton="halpe26", keypoints_px=none)
    previews = Previews("cam01")
    assert all(previews.of(frame, seen, t) is None for t in range(0, 10 * SECOND, SECOND // 30))
    previews.ask(PreviewWish(until_ns=12 * SECOND, longest_px=480, rate_hz=5.0))
    made = [p for t in range(10 * SECOND, 14 * SECOND, SECOND // 30) if (p := previews.of(frame, seen, t)) is not None]
    assert 9 <= len(made) <= 11  # five a second for two seconds, and none after the wish is over
    assert isinstance(made[0], Preview) and made[0].jpeg[:2] == b"\xff\xd8" and made[0].frame_seq == 4
    assert len(made[0].jpeg) < 20_000


def test_a_taken_port_is_said(page: tuple[PageServer, Guard], port: int) -> None:
    with pytest.raises(KinecastError, match=f"cannot listen on 127.0.0.1:{port}"):
        listen("127.0.0.1", port, 1)
    with listen("127.0.0.1", port) as other:
        assert port < other.getsockname()[1] < port + 10
    with pytest.raises(KinecastError, match=r"cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", port)


def test_three_is_installed_only_with_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    assert three.missing()

    def other(origin: Origin, work: Path) -> Path:
        for name in three.FILES:
            (work / "package" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "package" / name).write_text("alert(1)")
        with tarfile.open(work / "three.tgz", "w:gz") as t:
            t.add(work / "package", "package")
        return work / "three.tgz"

    with pytest.raises(KinecastError, match=r"build/three\.\w+\.js has sha256 .* expected"):
        three.pull_three(other)
    assert three.missing() and not three.folder().exists()
