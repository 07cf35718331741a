"""The whole graph with its real nodes on a synthetic world, and what may be left of a graph."""

import os
import socket
from pathlib import Path

import pytest

from kinecast.calibration.formats import save_rig
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import Graph, Pace
from tests.nodes.bus.graphs import free_base_port

WAIT_S = 150.0  # fusion compiles for up to 20 s where nothing is cached, on a loaded machine longer
CAMERAS = ("cam01", "cam02", "cam03")


def assert_nothing_is_left(g: Graph, pids: list[int | None]) -> None:
    for name in ("supervisor", *g.nodes):
        host, _, port = g.endpoint(name).removeprefix("tcp://").partition(":")
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that only lingers in TIME_WAIT is free
            s.bind((host, int(port)))
    for pid in pids:
        if pid is not None:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    assert all(f.name.startswith("record-") for f in Path(g.session.out).iterdir())


def make(folder: Path, pace: Pace, frames: int | None, rate_hz: float = 20.0) -> Graph:
    save_rig(ring_rig(len(CAMERAS), (320, 240)), folder / "rig.toml")
    text = (
        f"version: 1\nsession: {{pace: {pace}, out: out, name: test}}\n"
        f"bus: {{base_port: {free_base_port(8)}}}\n"
        "defaults:\n"
        f"  camera: {{source: {{kind: synthetic, people: 1, fps_hz: {rate_hz}, frames: {frames or 'null'}}},"
        f" detector: {{profile: synthetic}}, rate_hz: {rate_hz}, restart: {{backoff_s: 0.05}}}}\n"
        "  fusion: {restart: {backoff_s: 0.05}}\n"
        "  recorder: {restart: {backoff_s: 0.05}}\n"
        "nodes:\n" + "".join(f"  {c}: {{kind: camera}}\n" for c in CAMERAS) + "  fusion: {kind: fusion}\n"
        "  recorder: {kind: recorder}\n"
    )
    (folder / "launch.yaml").write_text(text)
    return launch_file.load(folder / "launch.yaml")
