"""How long a start takes: cold (nothing compiled), warm, and of a fusion and a recorder that were killed.

The whole graph on synthetic cameras, with bodies and the lifter; times are from the supervisor's start, or the kill, to
the message that a reader gets, taken from the recording. Synthetic cameras have no model to open.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kinecast.calibration.formats import save_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.lifter import shipped_lifters
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit
from kinecast.nodes.bus.messages import KERNELS, KERNELS_THERE
from kinecast.nodes.bus.ports import free_ports
from kinecast.nodes.graph.records import (
    BusSettings,
    CameraNode,
    DetectorSettings,
    FusionNode,
    Graph,
    Node,
    RecorderNode,
    Session,
    SourceSettings,
)
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.supervise.supervisor import NodeStatus, Supervisor

FPS_HZ = 30.0
CAMERAS = 4
SETTLE_S = 3.0  # of poses before a node is killed
GIVE_UP_S = 900.0
MODULES = (
    ("imports of fusion", "kinecast.nodes.fusion.node"),
    ("imports of a recorder", "kinecast.nodes.recording.recorder"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to leave out."""
    parser.add_argument("--no-cold", action="store_true", help="leave out the start with nothing compiled: a minute")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print; KinecastError where a node failed."""
    check_json(args)
    rows = [Row(name, _seconds(f"import {module}"), "s", note="a process of its own") for name, module in MODULES]
    if not args.no_cold:
        with tempfile.TemporaryDirectory(prefix="kinecast-bench-") as folder, _kernels_in(Path(folder) / "kernels"):
            first_s, said = first_pose(Path(folder))
            rows.append(Row("cold: to the first pose", first_s, "s", aim=15, note=said))
    with tempfile.TemporaryDirectory(prefix="kinecast-bench-") as folder:
        first_pose(Path(folder))  # so that everything is compiled
    with tempfile.TemporaryDirectory(prefix="kinecast-bench-") as folder:
        first_s, said = first_pose(Path(folder))
        rows.append(Row("warm: to the first pose", first_s, "s", aim=3, note=said))
    for node, topic, aim in (("fusion", "poses", 2.0), ("recorder", "", 1.0)):
        with tempfile.TemporaryDirectory(prefix="kinecast-bench-") as folder:
            rows.append(Row(f"{node} killed: until it is back", again(Path(folder), node, topic), "s", aim=aim))
    emit(args, rows)
    return 0


def graph_of(folder: Path) -> Graph:
    """Synthetic cameras in real time, fusion with bodies and lifter, a recorder."""
    rig = ring_rig(CAMERAS, (640, 480))
    save_rig(rig, folder / "rig.toml")
    nodes: dict[str, Node] = {
        name: CameraNode(
            source=SourceSettings(kind="synthetic", people=1, fps_hz=FPS_HZ),
            detector=DetectorSettings(profile="synthetic"),
            rate_hz=FPS_HZ,
        )
        for name in rig.names
    }
    nodes |= {"fusion": FusionNode(body="neutral", lift="shipped" if shipped_lifters() else "off")}
    nodes |= {"recorder": RecorderNode()}
    session = Session("start", str(folder), str(folder / "rig.toml"), "realtime")
    return Graph(session, nodes, BusSettings(base_port=free_ports(len(nodes) + 2)))


def first_pose(folder: Path) -> tuple[float, str]:
    """Seconds from the supervisor's start to the first people, and what was compiled meanwhile."""
    said = ["nothing to compile"]

    def look(statuses: dict[str, NodeStatus]) -> None:
        health = statuses["fusion"].health
        if health is not None and KERNELS in health.found:
            said[0] = f"{health.found[KERNELS_THERE]} of {health.found[KERNELS]} kernels compiled"

    began_ns = time.monotonic_ns()
    times = play(folder, look)
    return (times[0] - began_ns) * 1e-9, said[0]


def again(folder: Path, node: str, topic: str) -> float:
    """Seconds from the kill of a node to the first message of its next life, or, of a recorder, that it records."""
    killed_ns: list[int] = []
    since: list[float] = []
    back = [False]

    def look(statuses: dict[str, NodeStatus]) -> None:
        health, pid = statuses["fusion"].health, statuses[node].pid
        since.extend([time.monotonic()] * bool(not since and health and health.found.get("sets with people")))
        if since and not killed_ns and pid is not None and time.monotonic() > since[0] + SETTLE_S:
            killed_ns.append(time.monotonic_ns())
            os.kill(pid, signal.SIGKILL)
        own = statuses[node].health
        if own is not None and own.incarnation > 0 and own.state == "running":
            back[0] = own.found.get("sets with people", 0) > 0 if topic else sum(own.received.values()) > 0

    play(folder, look, lambda: back[0])
    if not killed_ns:
        raise KinecastError(f"{node} was not there to be killed")
    for name, stamp, record in Recording.open(folder / "session.mcap").messages():
        at_ns = stamp.t_publish_ns if topic else stamp.t_log_ns
        new = stamp.segment > 0 if not topic else name == topic and stamp.incarnation > 0 and len(record.person_ids)
        if new and at_ns > killed_ns[0]:
            return (at_ns - killed_ns[0]) * 1e-9
    raise KinecastError(f"{node} did not come back")


def play(
    folder: Path, look: Callable[[dict[str, NodeStatus]], None], enough: Callable[[], bool] | None = None
) -> list[int]:
    """Run the graph until ``enough``, by default until people were fused; when sets with people were published, ns."""
    supervisor = Supervisor(graph_of(folder))
    began = time.monotonic()

    def watch(statuses: dict[str, NodeStatus]) -> None:
        look(statuses)
        health = statuses["fusion"].health
        there = health is not None and health.found.get("sets with people", 0) > 0
        if (there if enough is None else enough()) or time.monotonic() - began > GIVE_UP_S:
            supervisor.stop("measured")

    outcome = supervisor.run(watch)
    recording = Recording.open(folder / "session.mcap")
    times = [s.t_publish_ns for _, s, r in recording.messages(("poses",)) if len(r.person_ids)]
    if not times:
        failed = [f"{n}: {s.reason}" for n, s in outcome.nodes.items() if s.state == "failed"]
        raise KinecastError(f"nobody was fused: {'; '.join(failed) or outcome.stopped}")
    return times


def _seconds(code: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - began


@contextmanager
def _kernels_in(folder: Path) -> Iterator[None]:
    """Processes that are started meanwhile find no compiled kernels but those that they put there."""
    before = os.environ.get("KINECAST_KERNELS")
    os.environ["KINECAST_KERNELS"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("KINECAST_KERNELS")
        if before is not None:
            os.environ["KINECAST_KERNELS"] = before
