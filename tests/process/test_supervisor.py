"""Graphs of toy nodes as real processes: they run to their end, survive kills, stop in time and leave nothing."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import CameraNode, Graph, Pace, Restart, SourceSettings
from kinecast.nodes.supervise.node_process import Process
from kinecast.nodes.supervise.supervisor import NodeStatus, Outcome, Supervisor
from tests.children import PATHS, ROOT, Start, wait_until_gone
from tests.nodes.bus.graphs import graph
from tests.process.graphs import assert_nothing_is_left
from tests.process.toys import MODULES
from tests.process.toys.camera import SLOW_S

pytestmark = pytest.mark.alone
WAIT_S = 60.0  # far more than any of this takes on a loaded machine
Statuses = dict[str, NodeStatus]


@pytest.fixture(autouse=True)
def children_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PATHS)


def make(
    out: Path,
    cameras: int = 2,
    pace: Pace = "lossless",
    frames: int | None = None,
    words: dict[str, str] | None = None,
    viewer: bool = False,
    cap: int = 10,
) -> Graph:
    g = graph(cameras, pace, recorder=True, viewer=viewer)
    restart = Restart(backoff_s=0.05, backoff_max_s=0.1, cap=cap)
    nodes = {n: replace(node, restart=restart) for n, node in g.nodes.items()}
    for name in g.of_kind("camera"):
        source = SourceSettings("usb", (words or {}).get(name, "0"), frames=frames)
        nodes[name] = CameraNode(source=source, rate_hz=100.0, restart=restart)
    return replace(g, session=replace(g.session, out=str(out)), nodes=nodes)


def run(g: Graph, on_health: Callable[[Supervisor, Statuses], None] | None = None) -> Outcome:
    supervisor = Supervisor(g, MODULES)
    return supervisor.run(None if on_health is None else lambda s: on_health(supervisor, s), WAIT_S)


def recorded(out: Path) -> list[tuple[int, str, str, int, int]]:
    lines = [line.split() for file in sorted(out.glob("record-*.txt")) for line in file.read_text().splitlines()]
    return [(int(a), t, w, int(i), int(s)) for a, t, w, i, s in lines]


def sequences(out: Path, topic: str) -> list[int]:
    return [s for _, t, _, _, s in recorded(out) if t == topic]


def test_a_lossless_graph_runs_to_its_end(tmp_path: Path) -> None:
    g = make(tmp_path, frames=300)
    outcome = run(g)
    assert (outcome.code, outcome.stopped) == (0, "")
    assert {n.state for n in outcome.nodes.values()} == {"done"} and {n.restarts for n in outcome.nodes.values()} == {0}
    for camera in ("cam0", "cam1"):
        assert sequences(tmp_path, f"keypoints/{camera}") == list(range(300))
    assert sequences(tmp_path, "framesets") == list(range(600))
    assert {oct(f.stat().st_mode & 0o777) for f in tmp_path.glob("record-*")} == {"0o600"}, "for the user alone"
    for status in outcome.nodes.values():
        assert status.health is not None and status.health.state == "ended" and status.health.drops == {}
    assert_nothing_is_left(g, [n.pid for n in outcome.nodes.values()])


class Killer:
    """Kills a node once it has published or received ``after`` messages; stops the graph when it is back."""

    def __init__(
        self, victim: str, topic: str, after: int, then_stop: bool, number: signal.Signals = signal.SIGKILL
    ) -> None:
        self.victim, self.topic, self.after, self.then_stop, self.number = victim, topic, after, then_stop, number
        self.killed = False

    def __call__(self, supervisor: Supervisor, statuses: Statuses) -> None:
        node = statuses[self.victim]
        if node.health is None or node.state != "running":
            return
        count = (node.health.published | node.health.received).get(self.topic, 0)
        if not self.killed and count >= self.after:
            assert node.pid is not None
            os.kill(node.pid, self.number)
            self.killed = True
        elif self.then_stop and node.restarts == 1 and node.health.incarnation == 1 and count >= self.after:
            supervisor.stop("seen enough")


TOPIC = {"cam0": "keypoints/cam0", "fusion": "framesets", "recorder": "framesets"}


def test_the_duration_is_counted_from_when_every_node_is_ready(tmp_path: Path) -> None:
    g = make(tmp_path, pace="realtime", words={"cam0": "slow"})  # loads for longer than the session is to last
    began = time.monotonic()
    outcome = Supervisor(g, MODULES).run(timeout_s=0.5)
    assert (outcome.code, outcome.stopped) == (0, "time is up")
    assert time.monotonic() - began > SLOW_S + 0.5
    health = outcome.nodes["cam0"].health
    assert health is not None and health.published["keypoints/cam0"] > 10


def test_a_node_that_says_it_is_starting_is_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    supervisor = Supervisor(make(tmp_path, pace="realtime"))
    process = Process("fusion", "fusion", Restart(), "", 0, lambda node, line: None)
    supervisor._processes["fusion"] = process
    assert not supervisor._is_ready()
    supervisor._began -= 1000.0
    assert supervisor._is_ready(), "one that never said a word is not waited for for ever"
    now = time.monotonic_ns()
    for silent_s, ready in ((0.5, False), (60.0, True)):
        t_ns = now - round(silent_s * 1e9)
        supervisor._health["fusion"] = Health("fusion", "fusion", 1, "starting", t_ns, process.incarnation)
        assert supervisor._is_ready() == ready
    supervisor._health["fusion"] = Health("fusion", "fusion", 1, "starting", now, process.incarnation - 1)
    assert supervisor._is_ready(), "the word of the life before"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", TOPIC)
def test_a_killed_or_hung_node_comes_back_in_realtime(
    tmp_path: Path, victim: str, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    g = make(tmp_path, pace="realtime", viewer=True)
    killer = Killer(victim, TOPIC[victim], 100, then_stop=True, number=number)
    outcome = run(g, killer)
    assert killer.killed and (outcome.code, outcome.stopped) == (0, "seen enough")
    assert {n.name: n.restarts for n in outcome.nodes.values()} == {n: int(n == victim) for n in g.nodes}
    lost = {c: n for s in outcome.nodes.values() if s.health for c, n in s.health.drops.items() if c.startswith("gap")}
    assert lost == {}, "an outage is not a gap"
    assert (f"{victim}: said nothing for" in capfd.readouterr().err) == (number == signal.SIGSTOP)
    if victim != "recorder":
        recorder = outcome.nodes["recorder"].health
        assert recorder is not None and recorder.drops == {f"restart/{victim}": 1}
    else:
        assert {life for life, *_ in recorded(tmp_path)} == {0, 1}, "the recording goes on in a new file"
    # the camera that nobody touched was recorded without a gap, but for the outage of the recorder
    seqs = sequences(tmp_path, "keypoints/cam1")
    steps = [b - a for a, b in itertools.pairwise(seqs)]
    assert sum(step != 1 for step in steps) == int(victim == "recorder")
    assert_nothing_is_left(g, [n.pid for n in outcome.nodes.values()])


@pytest.mark.parametrize("victim", ["fusion", "recorder"])
def test_a_killed_reader_holds_up_a_lossless_graph_and_its_loss_is_counted(tmp_path: Path, victim: str) -> None:
    frames = 3000
    g = make(tmp_path, frames=frames)
    killer = Killer(victim, TOPIC[victim], 1, then_stop=False)
    outcome = run(g, killer)
    assert killer.killed and (outcome.code, outcome.stopped) == (0, "") and outcome.nodes[victim].restarts == 1
    for camera in ("cam0", "cam1"):
        health = outcome.nodes[camera].health
        assert health is not None
        counted = health.drops.get(f"lost_in_restart/{victim}", 0)
        assert counted <= g.bus.window
        seqs = sequences(tmp_path, f"keypoints/{camera}")
        if victim == "recorder":
            assert seqs == sorted(set(seqs)) and seqs[-1] == frames - 1
            # a message that the old life wrote without yet giving credit is counted as lost although it was not
            assert frames - len(seqs) <= counted
        else:
            assert seqs == list(range(frames))


def test_a_reader_that_restarts_hears_of_the_ends_it_missed(tmp_path: Path) -> None:
    g = make(tmp_path, pace="realtime", words={"cam0": "0"})
    short = g.nodes["cam0"]
    assert isinstance(short, CameraNode)
    g.nodes["cam0"] = replace(short, source=replace(short.source, frames=5))
    done = False

    def on_health(supervisor: Supervisor, statuses: Statuses) -> None:
        nonlocal done
        fusion = statuses["fusion"]
        if not done and statuses["cam0"].state == "done" and fusion.pid and fusion.state == "running":
            os.kill(fusion.pid, signal.SIGKILL)
            done = True
        elif done and fusion.restarts == 1 and fusion.health and fusion.health.received.get("end/cam0"):
            supervisor.stop("heard")

    outcome = run(g, on_health)
    assert (outcome.code, outcome.stopped) == (0, "heard")
    assert outcome.nodes["fusion"].state == "done", "it ended by itself: it knew of both ends"


def test_a_camera_that_refuses_leaves_the_others_to_go_on(tmp_path: Path) -> None:
    g = make(tmp_path, frames=50, words={"cam0": "refuse"})
    outcome = run(g)
    cam0 = outcome.nodes["cam0"]
    assert (outcome.code, outcome.stopped) == (2, "")
    assert (cam0.state, cam0.exit_code, cam0.restarts, cam0.reason) == (
        "failed",
        2,
        0,
        "cam0: no such camera: plug it in",
    )
    assert sequences(tmp_path, "keypoints/cam1") == list(range(50))
    assert {outcome.nodes[n].state for n in ("cam1", "fusion", "recorder")} == {"done"}


def test_a_camera_that_crashes_is_given_up_after_the_cap(tmp_path: Path) -> None:
    g = make(tmp_path, frames=50, words={"cam0": "crash"}, cap=2)
    outcome = run(g)
    cam0 = outcome.nodes["cam0"]
    assert (outcome.code, cam0.state, cam0.restarts) == (1, "failed", 2)
    assert "given up after 2 restarts within a minute (exit status 1)" in cam0.reason
    assert outcome.nodes["recorder"].state == "done"


def test_a_node_that_goes_round_in_circles_shows_where_and_is_started_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_HUNG_S", "0.5")
    g = make(tmp_path, pace="realtime", words={"cam0": "circles"})

    def on_health(supervisor: Supervisor, statuses: Statuses) -> None:
        if statuses["cam0"].restarts:
            supervisor.stop("seen enough")

    assert run(g, on_health).stopped == "seen enough"
    said = capfd.readouterr().err
    assert "cam0: said nothing for" in said and "in going_round" in said


def test_a_node_that_does_not_listen_is_killed_in_time(tmp_path: Path) -> None:
    g = make(tmp_path, pace="realtime", words={"cam0": "deaf"})
    asked = 0.0

    def on_health(supervisor: Supervisor, statuses: Statuses) -> None:
        nonlocal asked
        if all(s.state == "running" for s in statuses.values()) and not asked:
            asked = time.monotonic()
            supervisor.stop()

    outcome = run(g, on_health)
    assert time.monotonic() - asked < 5.5  # half a second for a loaded machine to reap
    assert outcome.code == 1 and outcome.nodes["cam0"].reason == "killed by signal 9, while running"
    assert outcome.nodes["recorder"].state in ("done", "stopped")
    assert_nothing_is_left(g, [n.pid for n in outcome.nodes.values()])


def drive(start_child: Start, g: Graph) -> tuple["subprocess.Popen[str]", dict[str, int]]:
    command = [sys.executable, "-m", "tests.process.toys.driver"]
    driver = start_child(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdin is not None and driver.stdout is not None
    driver.stdin.write(launch_file.dump(g))
    driver.stdin.close()
    driver.stdin = None
    line = driver.stdout.readline()
    return driver, {name: int(pid) for name, _, pid in (word.partition("=") for word in line.split())}


@pytest.mark.parametrize("pace", ["realtime", "lossless"])
def test_a_killed_supervisor_leaves_no_child(tmp_path: Path, start_child: Start, pace: Pace) -> None:
    g = make(tmp_path, pace=pace)
    driver, pids = drive(start_child, g)
    driver.kill()
    driver.wait()
    assert len(pids) == 4
    wait_until_gone(list(pids.values()))
    assert_nothing_is_left(g, [])


def test_interrupt_stops_everything_in_time(tmp_path: Path, start_child: Start) -> None:
    g = make(tmp_path, viewer=True)
    driver, pids = drive(start_child, g)
    # a blocked writer must hear it too: without fusion's credits the cameras wait
    os.kill(pids["fusion"], signal.SIGSTOP)
    asked = time.monotonic()
    driver.send_signal(signal.SIGINT)
    output = driver.communicate(timeout=WAIT_S)[0]
    assert time.monotonic() - asked < 5.5
    assert output.strip() == "1 interrupted", "fusion had to be killed, and that is said"
    wait_until_gone(list(pids.values()))
    assert_nothing_is_left(g, [])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_goes_away_stops_everything_in_order(tmp_path: Path, start_child: Start, number: int) -> None:
    g = make(tmp_path)
    driver, pids = drive(start_child, g)
    driver.send_signal(number)
    output = driver.communicate(timeout=WAIT_S)[0]
    assert output.strip() == "0 interrupted"
    wait_until_gone(list(pids.values()))
    assert_nothing_is_left(g, [])
