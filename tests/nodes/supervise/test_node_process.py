"""When a node is given up, over lives that a driven clock makes long."""

import signal

import pytest

from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph.records import Restart
from kinecast.nodes.supervise import node_process
from kinecast.nodes.supervise.node_process import PATIENT_S, Process


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Toy(Process):
    """A node whose lives are told, and no processes."""

    def __init__(self, clock: Clock, policy: Restart) -> None:
        self.said: list[str] = []
        super().__init__("fusion", "fusion", policy, "", 0, lambda _, line: self.said.append(line))
        self.clock = clock
        self.start()

    def start(self) -> None:
        self.incarnation += 1
        self.state = "starting"
        self.begin()

    def live(self, seconds: float, code: int, words: str, people: int = 0) -> None:
        self.watch(health(people))
        self.clock.now += seconds
        self.reason = words
        self._ended(code)
        if self.state == "waiting":
            self.clock.now = self._due_s
            self.start()


def health(people: int = 0) -> Health:
    return Health("fusion", "fusion", 1, "running", 0, found={"sets with people": people})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(node_process, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("people", "told"),
    [(0, "before anybody was seen (exit status 1: KeyError)"), (3, "after the start (exit status 1")],
)
def test_a_node_that_crashes_alike_is_given_up_however_long_its_lives(clock: Clock, people: int, told: str) -> None:
    toy = Toy(clock, Restart(cap=10))
    for _ in range(500):
        if not toy.final:
            toy.live(20.0, 1, "KeyError", people)
    assert (toy.state, toy.restarts) == ("failed", 10)
    assert "given up after 10 restarts that all ended alike, 20.0 to 20.0 s after the start" in toy.reason
    assert told in toy.reason


@pytest.mark.parametrize("case", ["killed from outside", "each time another", "once a while"])
def test_a_node_that_ends_in_other_ways_goes_on(clock: Clock, case: str) -> None:
    toy = Toy(clock, Restart(cap=10))
    for n in range(100):
        code = -signal.SIGKILL if case == "killed from outside" else 1
        words = f"error {n}" if case == "each time another" else "KeyError"
        toy.live(1000.0 if case == "once a while" else 20.0, code, words)
    assert (toy.state, toy.restarts) == ("starting", 100)


@pytest.mark.parametrize("code", [1, -signal.SIGKILL])
def test_many_restarts_within_a_minute_are_too_many(clock: Clock, code: int) -> None:
    toy = Toy(clock, Restart(cap=3, backoff_s=0.01))
    for n in range(4):
        toy.live(3.0, code, f"error {n}")
    assert toy.state == "failed" and "within a minute" in toy.reason


def test_silence_counts_only_while_somebody_listens(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(node_process.os, "kill", lambda pid, number: sent.append(number))
    monkeypatch.setattr(Toy, "pid", 4321)
    toy = Toy(clock, Restart(silent_s=2.0))
    for _ in range(round(PATIENT_S / 0.2) - 5):  # loading takes as long as it takes
        clock.now += 0.2
        toy.watch(None)
    toy.watch(health())
    clock.now += 3600.0  # the supervisor itself was stopped, or the machine slept
    toy.watch(None)
    for _ in range(8):
        clock.now += 0.2
        toy.watch(None)
    assert not sent
    for _ in range(4):
        clock.now += 0.2
        toy.watch(None)
    assert sent[:1] == [node_process.STACKS] and set(sent[1:]) <= {signal.SIGKILL}
    clock.now += 1.0
    toy.watch(None)
    assert sent[-1] == signal.SIGKILL and "said nothing for" in toy.said[0]
