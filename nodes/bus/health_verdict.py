"""Alive, on rate, valid: how a node's health is read, the same in ``kinecast run`` and ``kinecast status``."""

from dataclasses import dataclass

from kinecast.capture.refusals import Code, code_of
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.bus.wiring import judged_topic, rate_hz
from kinecast.nodes.graph.records import Graph

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


def judge(graph: Graph, node: str, health: Health | None, now_ns: int) -> Verdict:
    """What ``health`` (None: never heard) says of ``node`` at monotonic ``now_ns``."""
    if health is None:
        return Verdict(False, None, False, None)
    judged = judged_topic(graph, node)
    rate = expected = None
    if judged is not None:
        topic, name = judged
        rate = health.rate_hz.get(name, 0.0)
        if graph.session.pace == "realtime":  # else as fast as the machine can
            expected = rate_hz(graph, topic, node)
    on_rate = None if expected is None or rate is None or health.state != "running" else rate >= ON_RATE * expected
    valid = health.state in ("running", "ended") and not any(code_of(cause) in BAD for cause in health.drops)
    return Verdict(now_ns - health.t_ns < ALIVE_NS, on_rate, valid, rate)
