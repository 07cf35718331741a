"""Alive, on rate, valid: how a node's health is read, the same in ``kinecast run`` and ``kinecast status``."""

from dataclasses import dataclass

from kinecast.capture.refusals import Code, code_of
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph.records import CameraNode, Graph, fused_cameras, kind_of

ALIVE_NS = 2_000_000_000
ON_RATE = 0.9  # of the expected rate: two seconds of 30 Hz hold 60 messages, one more or less is 2 %
BAD: tuple[Code, ...] = ("malformed", "malformed_ack", "oversized", "gap")


@dataclass(frozen=True, slots=True)
class Verdict:
    """alive: heard of within two seconds. on_rate: None where no rate is expected. valid: running or ended, and nothing
    came in malformed or with gaps. rate_hz: of what the node is for, None where that has no rate.
    """

    alive: bool
    on_rate: bool | None
    valid: bool
    rate_hz: float | None


def expected_hz(graph: Graph, node: str) -> float | None:
    """Rate that the launch file promises: of a camera its own, of fusion the slowest camera's; else None."""
    if graph.session.pace == "lossless":
        return None  # as fast as the machine can
    kind = kind_of(graph, node)
    if kind == "camera":
        settings = graph.nodes[node]
        assert isinstance(settings, CameraNode)
        return settings.rate_hz
    if kind == "fusion":
        rates = [expected_hz(graph, c) for c in fused_cameras(graph, node)]
        known = [r for r in rates if r is not None]
        return min(known) if known else None
    return None


def judge(graph: Graph, node: str, health: Health | None, now_ns: int) -> Verdict:
    """What ``health`` (None: never heard) says of ``node`` at monotonic ``now_ns``."""
    if health is None:
        return Verdict(False, None, False, None)
    kind = kind_of(graph, node)
    main = {"camera": f"keypoints/{graph.camera_of(node)}" if kind == "camera" else "", "fusion": "poses"}.get(kind)
    rate = health.rate_hz.get(main, 0.0) if main else None
    expected = expected_hz(graph, node)
    on_rate = None if expected is None or rate is None or health.state != "running" else rate >= ON_RATE * expected
    valid = health.state in ("running", "ended") and not any(code_of(cause) in BAD for cause in health.drops)
    return Verdict(now_ns - health.t_ns < ALIVE_NS, on_rate, valid, rate)
