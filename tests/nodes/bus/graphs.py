"""Small graphs on free ports, and records to send, for the tests of the bus and of processes."""

import os
import socket

import numpy as np

from kinecast.engines.records import Keypoints2D
from kinecast.nodes.graph.records import (
    BusSettings,
    CameraNode,
    FusionNode,
    Graph,
    NodeContext,
    Pace,
    RecorderNode,
    Session,
    ViewerNode,
)


def free_base_port(count: int) -> int:
    """A port such that it and the ``count`` after it are free now; other workers of pytest look elsewhere."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for base in range(21000 + 1000 * (worker % 30), 60000, count + 1):
        opened = []
        try:
            for port in range(base, base + count + 1):
                s = socket.socket()
                opened.append(s)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in opened:
                s.close()
    raise AssertionError("no free ports")


def graph(
    cameras: int = 1, pace: Pace = "lossless", recorder: bool = False, viewer: bool = False, window: int = 8
) -> Graph:
    """Cameras cam0…, fusion, and on request a recorder and a viewer."""
    nodes = {f"cam{i}": CameraNode(rate_hz=100.0) for i in range(cameras)} | {"fusion": FusionNode()}
    nodes |= {"recorder": RecorderNode()} if recorder else {}
    nodes |= {"viewer": ViewerNode()} if viewer else {}
    return Graph(Session(pace=pace), nodes, BusSettings(base_port=free_base_port(len(nodes)), window=window))


def context(g: Graph, name: str, incarnation: int = 0) -> NodeContext:
    """Of a node of ``g``."""
    return NodeContext(name, g, incarnation, 0)


def keypoints(camera: str, seq: int, people: int = 1, joints: int = 26) -> Keypoints2D:
    """A message with as many joints as the real one."""
    rng = np.random.default_rng(seq)
    return Keypoints2D(
        camera=camera,
        frame_seq=seq,
        t_capture_ns=seq * 10_000_000,
        size_px=(640, 480),
        skeleton="halpe26",
        keypoints_px=rng.uniform(0, 480, (people, joints, 2)).astype(np.float32),
        confidence=np.ones((people, joints), np.float32),
        boxes_px=np.zeros((people, 4), np.float32),
        scores=np.ones(people, np.float32),
        local_ids=np.arange(people, dtype=np.int32),
    )
