"""What it costs to pass a message from one process to another."""

import multiprocessing
import time

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.codec import sample_keypoints
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.ports import free_ports
from kinecast.nodes.graph.records import BusSettings, CameraNode, FusionNode, Graph, NodeContext, Session

PACED_HZ = 480.0  # 8 cameras at 60 Hz
PACED = 1500
FLOOD = 20_000


def _graph(pace: str, base_port: int) -> Graph:
    return Graph(
        Session(pace="lossless" if pace == "lossless" else "realtime"),
        {"cam1": CameraNode(), "fusion": FusionNode()},
        BusSettings(base_port=base_port, high_water=2 * FLOOD),
    )


def _write(graph: Graph, count: int, rate_hz: float | None) -> None:
    """The other process: a camera that sends ``count`` messages."""
    record = sample_keypoints()
    with Bus(NodeContext("cam1", graph, 0, 0)) as bus:
        start = time.perf_counter()
        for number in range(count):
            if rate_hz is not None:
                time.sleep(max(0.0, start + number / rate_hz - time.perf_counter()))
            bus.publish("keypoints/cam1", record)
            if number == 0:  # the first waits for its reader
                start = time.perf_counter()


def passed(pace: str, count: int, rate_hz: float | None) -> tuple[float, float, float]:
    """p50 and p95 in µs from publishing to having the decoded record, and messages per second."""
    graph = _graph(pace, free_ports(3))
    late: list[int] = []
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(graph, count, rate_hz))
    with Bus(NodeContext("fusion", graph, 0, 0)) as bus:
        writer.start()
        first = last = 0
        while len(late) < count:
            message = bus.receive(30.0)
            if message is None:
                raise KinecastError(f"the writer stopped after {len(late)} of {count} messages")
            if message.topic == "keypoints/cam1":
                last = time.monotonic_ns()
                first = first or last
                late.append(last - message.envelope.t_publish_ns)
    writer.join()
    p50, p95 = np.percentile(late[len(late) // 10 :], [50, 95]) / 1e3
    return float(p50), float(p95), (count - 1) / max(1, last - first) * 1e9


def run() -> list[Row]:
    """Two processes, keypoints of six people."""
    rows = []
    for pace in ("realtime", "lossless"):
        p50, p95, _ = passed(pace, PACED, PACED_HZ)
        rows.append(Row(f"bus: publish to record, {PACED_HZ:g} Hz, {pace}", p50, "µs", note=f"p95 {p95:.0f} µs"))
        rate = passed(pace, FLOOD, None)[2]
        rows.append(Row(f"bus: flooding, {pace}", rate, "messages/s"))
    return rows
