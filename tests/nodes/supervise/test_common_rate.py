"""The rate that all cameras of a slow machine hold, on a machine that is made up: down, steady, up again."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from kinecast.nodes.bus.messages import CommonRate, Health
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session
from kinecast.nodes.supervise.common_rate import SETTLE_NS, WINDOW_NS, CommonRateKeeper

FULL_HZ = 30.0
CAMERAS = ("a", "b", "c", "d")
GRAPH = Graph(Session(), {**{c: CameraNode(rate_hz=FULL_HZ) for c in CAMERAS}, "fusion": FusionNode()})
ZERO_NS = 10_000_000_000
REPORT_NS = 500_000_000


class Machine:
    """Cameras that take as many of the moments asked for as the machine can, ``holds_hz``; d can half of it less."""

    def __init__(self, graph: Graph = GRAPH) -> None:
        self.keeper = CommonRateKeeper(graph, ZERO_NS)
        self.t_ns = ZERO_NS
        self.counts = {c: [0.0, 0.0, 0.0] for c in CAMERAS}
        self.late_ms = 1.0
        self.detect_ms: float | None = None

    def run(self, seconds: float, holds_hz: float) -> Iterator[tuple[float, CommonRate]]:
        """Every change of the order, and when it came, s since the beginning."""
        until = self.t_ns + seconds * 1e9
        while self.t_ns < until:
            self.t_ns += REPORT_NS
            asked = self.keeper.order.rate_hz or FULL_HZ
            health = {}
            for camera, c in self.counts.items():
                holds = holds_hz - 0.5 * (camera == "d")
                took = min(asked, holds) * REPORT_NS / 1e9
                c[0], c[1] = c[0] + took, c[1] + asked * REPORT_NS / 1e9 - took
                c[2] += (FULL_HZ - asked) * REPORT_NS / 1e9
                drops = {"skipped_at_source": int(c[1]), "left_out": int(c[2])}
                latency = {"capture to memory": (2.0, 3.0), "detect": (self.detect_ms or 700 / holds,) * 2}
                health[camera] = Health(
                    camera, "camera", 1, "running", self.t_ns, published={f"keypoints/{camera}": int(c[0])},
                    drops=drops, latency_ms=latency,
                )  # fmt: skip
            late = {"arrival to pose": (self.late_ms, self.late_ms)}
            health["fusion"] = Health("fusion", "fusion", 1, "running", self.t_ns, latency_ms=late)
            if self.keeper.observe(self.t_ns, health):
                yield (self.t_ns - ZERO_NS) / 1e9, self.keeper.order


def test_a_machine_that_keeps_up_is_left_alone() -> None:
    assert list(Machine().run(60, holds_hz=40)) == []


@pytest.mark.parametrize("holds_hz", [25.5, 20.0, 12.5, 7.0, 2.5])
def test_the_rate_is_held_by_the_slowest_and_not_much_less(holds_hz: float) -> None:
    machine = Machine()
    changes = list(machine.run(12, holds_hz))
    first_s, order = changes[0]
    assert first_s <= (SETTLE_NS + WINDOW_NS) / 1e9 + 1.0
    assert 0.65 * (holds_hz - 0.5) < order.rate_hz <= holds_hz - 0.5
    assert order.note == f"this machine holds 4 × {order.rate_hz:.3g} Hz of 30"
    assert 0 < ZERO_NS - order.phase_ns < 0.51e9 / FULL_HZ


def test_it_does_not_swing() -> None:
    """At 20.5 of 30 Hz the next step, 22.5, looks fine and fails each time that it is tried: ever more rarely."""
    machine = Machine()
    machine.detect_ms = 10.0
    changes = list(machine.run(600, holds_hz=20.5))
    ups = [s for s, order in changes[1:] if order.rate_hz > 20.5]
    assert ups and all(order.rate_hz in (20.0, 22.5, 18.0, 15.0) for _, order in changes)
    gaps = [b - a for a, b in pairwise(ups)]
    assert all(b > 1.5 * a or b > 100 for a, b in pairwise(gaps)) and len(ups) < 10


def test_it_goes_up_again_when_there_is_room() -> None:
    machine = Machine()
    assert next(machine.run(10, holds_hz=7.0))[1].rate_hz < 7
    orders = [order for _, order in machine.run(120, holds_hz=60.0)]
    assert orders[-1].rate_hz == 0 and orders[-1].note == ""
    rates = [o.rate_hz for o in orders[:-1]]
    assert rates == sorted(rates)


def test_a_fusion_that_is_behind_counts_too() -> None:
    machine = Machine()
    machine.late_ms = 80.0
    assert next(machine.run(30, holds_hz=60.0))[1].rate_hz < FULL_HZ


def test_a_camera_that_is_not_there_yet_is_waited_for() -> None:
    keeper = CommonRateKeeper(GRAPH, ZERO_NS)
    alone = {"a": Health("a", "camera", 1, "running", ZERO_NS, drops={"skipped_at_source": 500})}
    assert not any(keeper.observe(ZERO_NS + k * REPORT_NS, alone) for k in range(40))


def test_what_cameras_give_is_counted_where_nothing_is_promised() -> None:
    graph = Graph(Session(), {**{c: CameraNode() for c in CAMERAS}, "fusion": FusionNode()})
    machine = Machine(graph)
    _, order = next(machine.run(30, holds_hz=12.5))
    assert order.full_hz == FULL_HZ
