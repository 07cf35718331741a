"""The supervisor: spawns every node of a graph, watches, restarts, and leaves nothing behind.

It is a node too: it reads everyone's health, and says ``end/<node>`` for a node that is over where a reader's health
shows that it has not heard so, because the node failed or because the reader was started again since.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.messages import End, Health
from kinecast.nodes.bus.session_warnings import warnings
from kinecast.nodes.bus.wiring import must_hear, reads
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import LOOKS_ON, SUPERVISOR, Graph, NodeContext, kind_of
from kinecast.nodes.supervise.common_rate import CommonRateKeeper
from kinecast.nodes.supervise.node_process import Process, State

START_LATEST_S = 120.0  # a node that is not ready by then and says nothing does not hold up the others
START_SILENT_NS = 10_000_000_000  # one that says that it is starting does, for as long as it takes
POLL_S = 0.05
AGAIN_NS = 1_000_000_000  # two reports of health
REPORT_S = 0.5
STOP_S = 4.5  # asked to stop: what is still there is killed now, so that everything is down within 5 s
DRAIN_S = 2.5  # of which so much for cameras, fusion and recorder to end one after the other, as at the end of a file


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node as the supervisor sees it. reason: its last words, where it failed. health: the newest, or None."""

    name: str
    kind: str
    state: State
    pid: int | None
    restarts: int
    exit_code: int | None
    reason: str
    health: Health | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. code: 0 all well, 2 where a node refused (it said what to put right), 1 where one failed.

    stopped: ``""`` where the graph came to its end by itself, else why it was stopped.
    """

    code: int
    stopped: str
    wall_s: float
    nodes: dict[str, NodeStatus] = field(default_factory=dict)


def print_line(node: str, line: str) -> None:
    """A node's line on standard error, on ours."""
    print(f"{node}: {line}", file=sys.stderr, flush=True)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise KinecastError(f"cannot write to session.out {out} ({e.strerror}): choose a folder of yours") from None


class Supervisor:
    """Runs a graph. ``modules`` maps kinds to other modules than those of :mod:`nodes.supervise.child`.

    on_line is given every line that a node writes to standard error.
    """

    def __init__(
        self,
        graph: Graph,
        modules: dict[str, str] | None = None,
        on_line: Callable[[str, str], None] = print_line,
    ) -> None:
        self.graph = graph
        self._modules, self._on_line = modules or {}, on_line
        self._asked = threading.Event()
        self._why = ""
        self._health: dict[str, Health] = {}
        self._processes: dict[str, Process] = {}
        self._readers = {r: reads(graph, r) for r in must_hear(graph, SUPERVISOR)}
        self._over: dict[str, tuple[End, int]] = {}  # of nodes that are over, and since when
        self._said: dict[str, int] = {}
        self._began = time.monotonic()
        self._started = False
        self._rates: CommonRateKeeper | None = None

    def stop(self, why: str = "asked to") -> None:
        """Stop the graph; may be called from anywhere. ``run`` returns when everything is down."""
        if not self._asked.is_set():
            self._why = why
            self._asked.set()

    def run(
        self,
        on_health: Callable[[dict[str, NodeStatus]], None] | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Run the graph until every node but the viewers is done, until ``stop`` or a signal, or for timeout_s.

        timeout_s is counted from when every node is ready: loading and compiling take none of it. on_health is called
        twice a second. KinecastError where the supervisor's own port is taken.
        """
        self._began = time.monotonic()
        session_start_ns = 0 if self.graph.session.pace == "lossless" else time.monotonic_ns()
        _make_folder(Path(self.graph.session.out))
        bus = Bus(NodeContext(SUPERVISOR, self.graph, 0, session_start_ns), threading.Event())
        with self._signals():
            text = launch_file.dump(self.graph)
            for name, node in self.graph.nodes.items():
                kind = kind_of(self.graph, name)
                self._processes[name] = Process(
                    name, kind, node.restart, text, session_start_ns, self._on_line, self._modules.get(kind)
                )
            try:
                for process in self._processes.values():
                    process.start()
                bus.state = "running"
                self._watch(bus, on_health, timeout_s)
                self._bring_down(bus, on_health)
            finally:
                for process in self._processes.values():
                    if not process.final:
                        process.kill()
                bus.state = "ended"
                bus.close(0)
        statuses = self.statuses()
        if on_health is not None:
            on_health(statuses)
        failed = [s for s in statuses.values() if s.state == "failed"]
        code = 2 if any(s.exit_code == 2 for s in failed) else int(bool(failed))
        return Outcome(code, self._why, time.monotonic() - self._began, statuses)

    def statuses(self) -> dict[str, NodeStatus]:
        """Every node, now."""
        return {
            name: NodeStatus(
                name,
                p.kind,
                p.state,
                p.pid,
                p.restarts,
                p.exit_code,
                p.reason if p.state in ("failed", "waiting") else "",
                self._health.get(name),
            )
            for name, p in self._processes.items()
        }

    def _watch(self, bus: Bus, on_health: Callable[[dict[str, NodeStatus]], None] | None, last_s: float | None) -> None:
        report, until = 0.0, None
        while not self._asked.is_set():
            self._step(bus)
            for p in self._processes.values():
                if p.state == "failed" and p.kind in ("fusion", "recorder"):
                    self.stop(f"{p.name} failed")
            if all(p.final for p in self._processes.values() if p.kind not in LOOKS_ON):
                return
            if until is None and last_s is not None and self._is_ready():
                until = time.monotonic() + last_s
            if until is not None and time.monotonic() >= until:
                self.stop("time is up")
            report = self._report(bus, on_health, report)

    def _report(self, bus: Bus, on_health: Callable[[dict[str, NodeStatus]], None] | None, due: float) -> float:
        now = time.monotonic()
        if now < due:
            return due
        over = [f"{p.name} {p.state}: {p.reason}" for p in self._processes.values() if p.state in ("failed", "waiting")]
        if self._rates is not None:
            self._rates.observe(time.monotonic_ns(), self._health)
            order = self._rates.order
            over += [order.note] if order.note else []
            bus.publish("common_rate", order, wait=False)  # again and again, for cameras that were started anew
        bus.note = "; ".join([*over, *warnings(self.graph, self._health)])
        if on_health is not None:
            on_health(self.statuses())
        return now + REPORT_S

    def _step(self, bus: Bus) -> None:
        """Take in health for a moment, look after the processes, say the ends that are due."""
        heard: dict[str, Health] = {}
        for received in bus.latest(POLL_S).values():
            if isinstance(received.record, Health):
                self._health[received.record.node] = received.record
                heard[received.record.node] = received.record
        for process in self._processes.values():
            process.poll()
            health = self._health.get(process.name)
            if process.state == "starting" and health is not None and health.incarnation == process.incarnation:
                process.state = "running" if health.state != "starting" else "starting"
            if not self._asked.is_set():  # whoever hangs as all are stopped is killed in time anyway
                news = heard.get(process.name)
                process.watch(news if news is not None and news.incarnation == process.incarnation else None)
            self._note_over(process)
        self._start_together()
        self._say_ends(bus)

    def _start_together(self) -> None:
        """In realtime: the common start, once no node but a viewer is still loading or compiling."""
        if self._started or self.graph.session.pace == "lossless":
            return
        if self._is_ready():
            self._started = True
            session_start_ns = time.monotonic_ns()
            if self.graph.session.common_rate == "auto":
                zero_ns = session_start_ns + round(self.graph.session.lead_s * 1e9)
                self._rates = CommonRateKeeper(self.graph, zero_ns)
            for process in self._processes.values():
                process.tell_start(session_start_ns)

    def _is_ready(self) -> bool:
        """Whether no node but those that look on is still loading or compiling, or one that is has fallen silent."""
        late = time.monotonic() - self._began > START_LATEST_S
        loading = (p for p in self._processes.values() if p.state == "starting" and p.kind not in LOOKS_ON)
        return not any(not late or self._speaks(p) for p in loading)

    def _speaks(self, process: Process) -> bool:
        health = self._health.get(process.name)
        if health is None or health.incarnation != process.incarnation:
            return False
        return time.monotonic_ns() - health.t_ns < START_SILENT_NS

    def _note_over(self, process: Process) -> None:
        """Keep the last words of a node that is over."""
        name = process.name
        if process.final and name not in self._over and process.kind in ("camera", "fusion"):
            health = self._health.get(name)
            topic = f"keypoints/{self.graph.camera_of(name)}" if process.kind == "camera" else "poses"
            frames = health.published.get(topic, 0) if health is not None else 0
            skipped = sum(health.drops.values()) if health is not None else 0
            end = End(name, frames, skipped, f"{process.state} {process.reason}".strip())
            self._over[name] = (end, time.monotonic_ns())

    def _say_ends(self, bus: Bus) -> None:
        now = time.monotonic_ns()
        for name, (end, over_ns) in self._over.items():
            lacking = any(self._lacks(reader, name, over_ns) for reader in self._readers)
            if lacking and now - self._said.get(name, 0) > AGAIN_NS:
                self._said[name] = now
                bus.publish(f"end/{name}", end, wait=False)

    def _lacks(self, reader: str, name: str, over_ns: int) -> bool:
        """Whether ``reader`` says in its health that it has not heard of the end of ``name``."""
        process, health = self._processes[reader], self._health.get(reader)
        if name not in self._readers[reader] or process.final or health is None:
            return False
        # what an orderly node said last may still be on its way, and must not be overtaken
        grace_ns = 0 if self._processes[name].exit_code else AGAIN_NS
        fresh = health.incarnation == process.incarnation and health.t_ns > over_ns + grace_ns
        return fresh and f"end/{name}" not in health.received

    def _bring_down(self, bus: Bus, on_health: Callable[[dict[str, NodeStatus]], None] | None) -> None:
        """Cameras first, so that fusion and then the recorder come to their end; what is left then is told."""
        began = time.monotonic()
        report = 0.0
        self._tell(("camera", *LOOKS_ON))
        while not all(p.final for p in self._processes.values()):
            passed = time.monotonic() - began
            if passed > STOP_S:
                self._tell(None, signal.SIGKILL)
            elif passed > DRAIN_S:
                self._tell(None)
            for p in self._processes.values():
                if p.state == "waiting":
                    p.signal(signal.SIGINT)
            self._step(bus)
            report = self._report(bus, on_health, report)

    def _tell(self, kinds: tuple[str, ...] | None, number: int = signal.SIGINT) -> None:
        for p in self._processes.values():
            if not p.final and (kinds is None or p.kind in kinds):
                p.signal(number)

    def _signals(self) -> "_Signals":
        return _Signals(lambda: self.stop("interrupted"))


class _Signals:
    """SIGINT, SIGTERM and SIGHUP call ``act`` while the context lasts; nothing happens off the main thread."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # under nohup the loss of the terminal is to be survived
            lost = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
            for number in (signal.SIGINT, signal.SIGTERM, *lost):
                self._before[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._act()

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]
