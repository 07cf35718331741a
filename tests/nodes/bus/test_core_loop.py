"""A core's deadlines are kept, but not before what has already come was read."""

import time
from collections import deque
from types import SimpleNamespace
from typing import Any

from kinecast.nodes.bus import core_loop
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.core_loop import run_core
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.messages import End


class SlowCore:
    """Takes 30 ms a message and wants a tick at once; it ends at the first."""

    def __init__(self, takes_s: float) -> None:
        self.calls: list[str] = []
        self.due_ns = time.monotonic_ns()
        self._takes_s = takes_s

    def handle(self, t_ns: int, topic: str, record: Any) -> list[Out]:
        time.sleep(self._takes_s)
        self.calls.append(topic)
        return []

    def tick(self, t_ns: int) -> list[Out]:
        assert t_ns >= self.due_ns
        self.calls.append("tick")
        return [Out("end/n", End("n", 0, 0, ""))]

    def next_deadline_ns(self) -> int:
        return self.due_ns


def bus_of(topics: list[str]) -> SimpleNamespace:
    waiting = deque(topics)

    def receive(timeout_s: float) -> SimpleNamespace | None:
        if not waiting:
            time.sleep(timeout_s)
            return None
        return SimpleNamespace(t_arrival_ns=time.monotonic_ns(), topic=waiting.popleft(), record=None)

    return SimpleNamespace(
        context=SimpleNamespace(name="n"), state="", stopping=False, receive=receive, published=[],
        publish=lambda topic, record, t: None, meter=HealthMeter("n", "fusion"),
    )  # fmt: skip


def test_what_has_come_is_taken_before_a_deadline_is_judged() -> None:
    core = SlowCore(0.03)
    assert run_core(core, bus_of(list("abcd")))  # type: ignore[arg-type]
    assert core.calls == [*"abcd", "tick"]


def test_a_flood_puts_a_deadline_off_for_so_long_and_no_longer(monkeypatch: Any) -> None:
    monkeypatch.setattr(core_loop, "OVERDUE_NS", 100_000_000)
    core = SlowCore(0.03)
    assert run_core(core, bus_of(["x"] * 50))  # type: ignore[arg-type]
    assert 3 < len(core.calls) <= 5 and core.calls[-1] == "tick"
