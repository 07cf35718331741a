"""The bus as a node sees it.

    bus = Bus(context)                      # binds this node's endpoint, connects to the writers that its kind reads
    bus.state = "running"                   # "starting" until then; health goes out by itself, twice a second
    while not bus.stopping:                 # on SIGINT or SIGTERM (nodes.supervise.child installs the handlers)
        message = bus.receive(timeout_s)    # Received(topic, envelope, payload, record, t_arrival_ns) or None
        bus.publish(topic, record, t_capture_ns)
        bus.meter.drop("late/cam1"); bus.meter.latency("detect", ns, t_ns); bus.note = "…"
    bus.close()                             # or use it in a with statement

``receive`` returns decoded, checked messages in the order of each writer; ``payload`` is the bytes as they were sent.
Asking for the next message says that the one before was taken (a recorder: was written): credits follow from that.
``latest`` is for readers that only look: everything that is there, the newest of each topic.

``publish`` of a lossless topic waits, at the first message, for the readers that the graph says must hear it: for ever
in the lossless pace; in realtime as long as they say that they are starting. In the lossless pace it also waits while
the slowest of them is ``bus.window`` messages behind; in realtime it never waits after the start. Once the node is
stopping it never waits. It may be called from any thread; ``receive`` and ``latest`` belong to one thread.
"""

import logging
import threading
import time
from types import TracebackType
from typing import Any

import zmq

from kinecast.nodes.bus.health_meter import PERIOD_NS, HealthMeter
from kinecast.nodes.bus.messages import Ack, Health, State
from kinecast.nodes.bus.reader import RECONNECT_MS, Reader, Received
from kinecast.nodes.bus.stop_signals import STOP
from kinecast.nodes.bus.wiring import must_hear, reads
from kinecast.nodes.bus.writer import Writer
from kinecast.nodes.graph.records import NodeContext, kind_of

__all__ = ["Bus", "Received"]

BEAT_MS = 50
HUNG_NS = 30_000_000_000  # a running node that neither takes nor gives anything for so long says nothing of health
ACK_BYTES = 1 << 16  # of one message to the keeper, which hears credits alone
SLICE_S = 0.1  # a signal is noticed within this
FLUSH_S = 5.0  # at the end of a lossless stream: for the readers to take the rest
_log = logging.getLogger("kinecast.bus")


class Bus:
    """Sockets, sequences, credits and health of one node. KinecastError where the endpoint cannot be bound."""

    def __init__(self, context: NodeContext, stop: threading.Event | None = None) -> None:
        graph, name = context.graph, context.name
        self.context = context
        self.stop = STOP if stop is None else stop
        self.meter = HealthMeter(name, kind_of(graph, name), context.incarnation)
        self._zctx: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        readers = must_hear(graph, name)
        try:
            self._writer = Writer(self._zctx, graph, name, context.incarnation, readers, self.meter, self.stop)
        except BaseException:
            self._zctx.term()
            raise
        self._reader = Reader(self._zctx, graph, reads(graph, name), self.meter, name, self._send_ack)
        self._closing = threading.Event()
        self._closed = False
        self._turn_ns = time.monotonic_ns()
        self._keeper = threading.Thread(target=self._keep, args=(readers,), name="bus", daemon=True)
        self._keeper.start()

    @property
    def stopping(self) -> bool:
        """Whether this node was asked to stop."""
        return self.stop.is_set()

    @property
    def state(self) -> State:
        """What health says: starting, running, stalled, ended, failed."""
        return self.meter.state

    @state.setter
    def state(self, value: State) -> None:
        self.meter.state = value

    @property
    def note(self) -> str:
        """One line for a person, part of health."""
        return self.meter.note

    @note.setter
    def note(self, value: str) -> None:
        self.meter.note = value

    def publish(self, topic: str, record: Any, t_capture_ns: int = 0, wait: bool = True) -> None:
        """Send ``record`` (see the module). wait=False: send now, credit or not. TypeError for a wrong topic."""
        self._turn_ns = time.monotonic_ns()
        self._writer.publish(topic, record, t_capture_ns, wait)

    def receive(self, timeout_s: float) -> Received | None:
        """The next message, or None where none came within ``timeout_s`` or the node is asked to stop."""
        until = time.monotonic() + timeout_s
        while True:
            self._turn_ns = time.monotonic_ns()
            message = self._reader.receive(min(max(0.0, until - time.monotonic()), SLICE_S))
            if message is not None or self.stopping or time.monotonic() >= until:
                return message

    def latest(self, timeout_s: float) -> dict[str, Received]:
        """Wait for a message, take all that are there, and return the newest of each topic."""
        newest: dict[str, Received] = {}
        message = self.receive(timeout_s)
        while message is not None:
            newest[message.topic] = message
            message = self._reader.receive(0.0)
        return newest

    @property
    def unheard(self) -> tuple[str, ...]:
        """Readers that must hear this node and do not yet."""
        return self._writer.unheard

    def health(self) -> Health:
        """This node's health now."""
        return self.meter.snapshot(time.monotonic_ns())

    def close(self, flush_s: float | None = None) -> None:
        """Let the readers take the rest (lossless: up to 5 s, or 1 s when stopping), then free port and threads."""
        if self._closed:
            return
        self._closed = True
        self._reader.flush_acks()
        flush_s = (1.0 if self.stopping else FLUSH_S) if flush_s is None else flush_s
        if not self._writer.wait_idle(flush_s) and flush_s:
            _log.warning("closed before every reader had taken the rest")
        self._say_health()
        self._closing.set()
        self._keeper.join()
        self._reader.close()
        self._writer.close()
        self._zctx.term()

    def __enter__(self) -> "Bus":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _send_ack(self, ack: Ack) -> None:
        self._writer.publish(f"ack/{ack.writer}", ack, wait=False)

    def _say_health(self) -> None:
        self._writer.publish(f"health/{self.context.name}", self.health(), wait=False)

    def _hangs(self, now_ns: int) -> bool:
        """Whether the node's own work has come to nothing for so long that the supervisor shall see to it."""
        if self.state != "running" or self._writer.waiting:
            self._turn_ns = now_ns
        return now_ns - self._turn_ns > HUNG_NS

    def _keep(self, readers: tuple[str, ...]) -> None:
        """The second thread: takes credits, says hello, gives health; so that a node busy elsewhere stays alive."""
        graph, name = self.context.graph, self.context.name
        sub = self._zctx.socket(zmq.SUB)
        sub.setsockopt(zmq.LINGER, 0)
        sub.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        sub.setsockopt(zmq.MAXMSGSIZE, ACK_BYTES)
        sub.setsockopt(zmq.SUBSCRIBE, f"ack/{name}".encode())
        for reader in readers:
            sub.connect(graph.endpoint(reader))
        due_beat = due_health = 0
        try:
            while not self._closing.is_set():
                if sub.poll(BEAT_MS):
                    self._writer.take(sub.recv_multipart())
                now = time.monotonic_ns()
                if now >= due_beat:
                    due_beat = now + BEAT_MS * 1_000_000
                    self._writer.beat()
                    for link in self._reader.links.values():
                        if link.wants_credit and not link.heard:
                            self._send_ack(Ack(name, link.writer, -1))
                if now >= due_health and not self._hangs(now):
                    due_health = now + PERIOD_NS
                    self._say_health()
        finally:
            sub.close(0)
