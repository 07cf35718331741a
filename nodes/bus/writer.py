"""The giving half of the bus: one PUB socket, sequences by topic, and credits so that a lossless writer waits."""

import errno
import threading
import time
from typing import Any

import zmq

from kinecast.capture.errors import KinecastError
from kinecast.capture.refusals import cause
from kinecast.nodes.bus import codec
from kinecast.nodes.bus.codec import MAX_MESSAGE_BYTES, CodecError
from kinecast.nodes.bus.envelope import Envelope, unpack
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.messages import Ack, Hello
from kinecast.nodes.bus.topics import topic_of
from kinecast.nodes.graph.records import Graph, kind_of

BIND_WAIT_S = 2.0
SUBSCRIPTION_BYTES = 256  # a publisher hears nothing but subscriptions, which are names of topics
SILENT_S = 10.0  # realtime: a reader that says nothing for so long is not waited for at the start, but counted


class Writer:
    """Binds the endpoint of ``name``; may be used from several threads. KinecastError where the port is taken."""

    def __init__(
        self,
        zctx: "zmq.Context[zmq.Socket[bytes]]",
        graph: Graph,
        name: str,
        incarnation: int,
        readers: tuple[str, ...],
        meter: HealthMeter,
        stop: threading.Event,
    ) -> None:
        self._name, self._incarnation, self._meter, self._stop = name, incarnation, meter, stop
        self._kind = kind_of(graph, name)
        self._window = graph.bus.window
        self._lossless = graph.session.pace == "lossless"
        self._sequences: dict[str, int] = {}
        self._credit = 0
        self._changed = threading.Condition(threading.RLock())
        self._taken: dict[str, int] = dict.fromkeys(readers, -1)  # -1: not heard
        self._lives: dict[str, int] = {}
        self._owed: dict[str, int] = {}
        self._spoke: dict[str, int] = {}  # when a reader last said anything
        self._started = not readers
        self._waiting = False
        self._socket = zctx.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, graph.bus.high_water)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES)
        self._bind(graph.endpoint(name))

    def _bind(self, endpoint: str) -> None:
        until = time.monotonic() + BIND_WAIT_S
        while True:
            try:
                self._socket.bind(endpoint)
                return
            except zmq.ZMQError as e:
                # the life before may not have let go of the port yet
                if e.errno != zmq.EADDRINUSE or time.monotonic() > until or self._stop.wait(0.05):
                    self._socket.close(0)
                    taken = e.errno in (zmq.EADDRINUSE, errno.EACCES)
                    advice = (
                        "is another session running? stop it, or set another bus.base_port in the launch file"
                        if taken
                        else "set bus.host to an address of this machine"
                    )
                    why = str(e.strerror).partition(" (addr=")[0]
                    raise KinecastError(f"{self._name} cannot bind {endpoint} ({why}): {advice}") from None

    def publish(self, topic: str, record: Any, t_capture_ns: int = 0, wait: bool = True) -> None:
        """Send a record; of a lossless topic the first waits for the readers, and each for credit (see ``Bus``)."""
        family = topic_of(topic)
        if not isinstance(record, family.record) or self._kind not in family.writers:
            raise TypeError(f"{self._kind} {self._name} cannot publish a {type(record).__name__} as {topic}")
        payload = codec.encode(record)
        if len(payload) > MAX_MESSAGE_BYTES // 2:
            raise CodecError(f"{topic}: {len(payload)} bytes is too much for one message")
        credited = family.delivery == "lossless"
        with self._changed:
            if credited and wait:
                self._wait()
            sequence = self._sequences.get(topic, 0)
            self._sequences[topic] = sequence + 1
            credit = self._credit if credited and self._lossless else -1
            self._credit += credit >= 0
            t_ns = time.monotonic_ns()
            envelope = Envelope(self._name, self._incarnation, sequence, family.version, t_capture_ns, t_ns, credit)
            self._socket.send_multipart([topic.encode(), envelope.pack(), payload])
        if family.recorded:
            self._meter.count_published(topic)

    def _wait(self) -> None:
        if not self._started:
            began = time.monotonic_ns()
            self._spoke = dict.fromkeys(self._taken, began)
            self._waiting = True
            while self._starting() and not self._stop.is_set():
                self._changed.wait(0.1)
            self._waiting = False
            for reader in self.unheard:
                self._meter.drop(cause("not_heard", reader))
            self._started = True
            self._meter.latency("start", time.monotonic_ns() - began, began)
        elif self._lossless and self._blocked():
            began = time.monotonic_ns()
            self._waiting = True
            while self._blocked() and not self._stop.is_set():
                self._changed.wait(0.1)
            self._waiting = False
            self._meter.latency("credit", time.monotonic_ns() - began, began)

    def _starting(self) -> bool:
        """Whether a reader is still to be waited for: one that compiles says so, for as long as it takes."""
        silent = time.monotonic_ns() - round(SILENT_S * 1e9)
        return any(self._lossless or self._spoke[reader] > silent for reader in self.unheard)

    def _blocked(self) -> bool:
        return any(taken < 0 or self._credit - taken >= self._window for taken in self._taken.values())

    @property
    def waiting(self) -> bool:
        """Whether a message waits for readers, or for credit."""
        return self._waiting

    @property
    def unheard(self) -> tuple[str, ...]:
        """The readers that must be heard and were not yet."""
        return tuple(r for r, taken in self._taken.items() if taken < 0)

    @property
    def idle(self) -> bool:
        """Everything was taken by every reader that gives credit."""
        with self._changed:
            return not self._lossless or not self._credit or all(t >= self._credit for t in self._taken.values())

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until everything was taken; False where that did not happen in time."""
        with self._changed:
            self._waiting = True
            done = self._changed.wait_for(lambda: self.idle, timeout_s)
            self._waiting = False
            return done

    def take(self, parts: list[bytes]) -> None:
        """A credit came in. Bytes that are none are counted."""
        try:
            if len(parts) != 3:
                raise CodecError(f"{len(parts)} parts")
            ack, envelope = codec.decode(Ack, parts[2]), unpack(parts[1])
            if ack.reader != envelope.writer or ack.reader not in self._taken:
                raise CodecError(f"{ack.reader!r} is no reader of {self._name}")
        except Exception as e:  # whatever it is, it came from outside
            self._meter.drop(cause("malformed_ack"), why=str(e))
            return
        with self._changed:
            self._take(ack, envelope.incarnation)
            self._changed.notify_all()

    def _take(self, ack: Ack, life: int) -> None:
        reader = ack.reader
        self._spoke[reader] = time.monotonic_ns()
        known = self._lives.setdefault(reader, life)
        if life < known:
            return
        if life > known:
            self._begin(reader, life)
        if ack.sequence < 0 or ack.incarnation != self._incarnation:
            return
        if self._taken[reader] < 0:
            lost = ack.sequence - self._owed.pop(reader, ack.sequence)
            if lost > 0:
                self._meter.drop(cause("lost_in_restart", reader), lost)
        self._taken[reader] = min(self._credit, max(self._taken[reader], ack.sequence))

    def _begin(self, reader: str, life: int) -> None:
        # what the old life had not taken is lost to the reader, up to where the new one begins
        self._lives[reader] = life
        if self._taken[reader] >= 0:
            self._owed[reader] = self._taken[reader]
        self._taken[reader] = -1

    def beat(self) -> None:
        """Say hello where somebody is waited for; called some twenty times a second."""
        with self._changed:
            wanted = bool(self.unheard) or self._waiting
            sequence = self._credit
        if wanted:
            self.publish(f"hello/{self._name}", Hello(self._name, sequence), wait=False)

    def close(self) -> None:
        """Close the socket; what is queued still goes out, for up to a second."""
        with self._changed:
            self._socket.close()
