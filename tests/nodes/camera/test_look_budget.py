"""Who decides how often a model looks: losses make it look less, calm and room make it look again, vain tries rest."""

import itertools

from kinecast.nodes.camera.look_budget import LONGEST_QUIET_NS, QUIET_NS, WINDOW_NS, LookBudget

PERIOD_NS = 33_333_333


class Machine:
    """A camera of 30 Hz on a machine where a look takes ``look_ns`` and flow ``flow_ns``: what is late is lost."""

    def __init__(self, look_ns: int, flow_ns: int) -> None:
        self.look_ns, self.flow_ns = look_ns, flow_ns
        self.budget = LookBudget((1, 2, 3))
        self.t_ns = self.done_ns = self.lost = self.number = 0
        self.waiting = False  # one picture, the newest
        self.changes: list[tuple[int, int]] = []

    def run(self, seconds: float) -> None:
        until_ns = self.t_ns + round(seconds * 1e9)
        while self.t_ns < until_ns:
            self.t_ns += PERIOD_NS
            if self.waiting and self.done_ns <= self.t_ns:
                self._see(self.done_ns)
            self.lost += self.waiting
            self.waiting = self.done_ns > self.t_ns
            if not self.waiting:
                self._see(self.t_ns)

    def _see(self, t_ns: int) -> None:
        self.waiting = False
        looked = self.number % self.budget.every == 0
        self.number += 1
        took_ns = self.look_ns if looked else self.flow_ns
        self.done_ns = t_ns + took_ns
        before = self.budget.every
        self.budget.take(self.done_ns, took_ns, looked, self.lost)
        if self.budget.every != before:
            self.changes.append((self.t_ns, self.budget.every))


def test_a_machine_that_keeps_up_looks_at_every_picture() -> None:
    machine = Machine(20_000_000, 3_000_000)
    machine.run(60)
    assert machine.lost == 0 and machine.changes == [] and machine.budget.note == ""


def test_losses_make_the_model_look_less_step_by_step_and_it_is_said() -> None:
    machine = Machine(90_000_000, 3_000_000)
    machine.run(60)
    assert [every for _, every in machine.changes][:2] == [2, 3]
    first, second = (t for t, _ in machine.changes[:2])
    assert second - first >= WINDOW_NS
    assert "every 3. picture" in machine.budget.note


def test_room_that_comes_back_is_used_after_a_while() -> None:
    machine = Machine(40_000_000, 3_000_000)
    machine.run(30)
    assert machine.budget.every == 2
    machine.look_ns = 20_000_000
    slow_until_ns = machine.t_ns
    machine.run(QUIET_NS / 1e9 + 20)
    assert machine.budget.every == 1
    assert machine.changes[-1][0] - machine.changes[0][0] >= QUIET_NS
    assert machine.changes[-1][0] > slow_until_ns


def test_tries_in_vain_come_less_and_less_often() -> None:
    # it looks as if there were room, and there is none: somebody takes the core whenever the model looks more often
    machine = Machine(22_000_000, 3_000_000)
    budget = machine.budget
    for _ in range(400):
        machine.look_ns = 60_000_000 if budget.every == 1 else 22_000_000
        machine.run(1)
    tries = [t for t, every in machine.changes if every == 1]
    rests = [b - a for a, b in itertools.pairwise(tries)]
    middle_ns = machine.t_ns // 2
    assert sum(t < middle_ns for t in tries) > 2 * sum(t >= middle_ns for t in tries)
    assert rests[-1] > 2 * rests[0]
    assert max(rests) <= LONGEST_QUIET_NS + 10 * WINDOW_NS
