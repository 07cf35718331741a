"""The page in a real browser, on the whole graph: pictures, moving people, a cut connection."""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kinecast.nodes.web import three
from tests.children import PATHS, Start
from tests.nodes.bus.graphs import free_base_port
from tests.nodes.web.graphs import web_graph
from tests.process.graphs import WAIT_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# a GPU is not needed: WebGL is computed
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
pytestmark = [pytest.mark.alone, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]
CAMERAS = 4


def until(what: Callable[[], bool], why: str, wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.1)


def process_of(parent: int, node: str) -> int:
    """The process of a node under this supervisor."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found = [int(p) for p in children if node.encode() in Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0")]
    assert len(found) == 1, [Path(f"/proc/{p}/cmdline").read_bytes() for p in children]
    return found[0]


def test_a_browser_shows_four_pictures_and_moving_people(tmp_path: Path, start_child: Start) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if three.missing():
        pytest.skip("three.js is not in the cache: run `kinecast models pull`")
    web_graph(tmp_path, free_base_port(1) + 40, CAMERAS)
    log = tmp_path / "run.log"
    command = [sys.executable, "-m", "kinecast.nodes", "run", str(tmp_path / "launch.yaml")]
    with log.open("w") as f:
        graph = start_child(command, env={**os.environ, "PYTHONPATH": PATHS}, stdout=f, stderr=f)
    until(lambda: "/enter/" in log.read_text(), "no address was printed")
    address = re.findall(r"http://\S+/enter/\S+", log.read_text())[0]
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 860})
        faults: list[str] = []
        page.on("pageerror", lambda e: faults.append(str(e)))
        assert page.goto(address.rpartition("/")[0] + "/" + "x" * 32).status == 401
        page.goto(address)
        assert "enter" not in page.url
        told = "window.kinecast"
        until(lambda: page.evaluate(f"Object.keys({told}.pictures).length") == CAMERAS, "four cameras show pictures")
        until(lambda: page.evaluate(f"{told}.people") >= 1, "somebody is in 3D")
        place = "document.querySelector('#people li').textContent"
        before = page.evaluate(place)
        until(lambda: page.evaluate(f"{told}.people") >= 1 and page.evaluate(place) != before, "people move", 30)
        brightest = "(d => d.filter((v, i) => i % 4 < 3).reduce((a, b) => Math.max(a, b), 0))"
        picture = "document.querySelector('figure canvas').getContext('2d').getImageData(0, 0, 480, 200).data"
        drawn = page.evaluate(f"{brightest}({picture})")
        assert drawn > 90  # brighter than the grey behind the people
        assert not page.locator("#view").is_hidden()
        page.locator("#view").focus()
        page.keyboard.press("ArrowLeft")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390  # a phone
        connected = "document.querySelector('#link').textContent === 'connected'"
        os.kill(process_of(graph.pid, "page"), signal.SIGKILL)
        until(lambda: not page.evaluate(connected), "the page says that the connection is cut", 30)
        scenes = page.evaluate(f"{told}.scenes")
        until(
            lambda: page.evaluate(connected) and page.evaluate(f"{told}.scenes") > scenes + 5, "and it comes back", 60
        )
        graph.send_signal(signal.SIGINT)
        until(lambda: "gone" in page.locator("#link").inner_text(), "the page says that the connection is gone", 30)
        assert faults == []
        browser.close()
    assert graph.wait(30) == 0
