"""The taking half of the bus: one SUB socket a writer, so that a bad one harms no other; gaps counted by sequence."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from kinecast.capture.refusals import cause
from kinecast.engines.records import Keypoints2D
from kinecast.nodes.bus import codec
from kinecast.nodes.bus.codec import MAX_MESSAGE_BYTES, CodecError
from kinecast.nodes.bus.envelope import Envelope, unpack
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.messages import Ack, Hello
from kinecast.nodes.bus.topics import Topic, topic_of
from kinecast.nodes.bus.wiring import must_hear
from kinecast.nodes.graph.records import SUPERVISOR, Graph, kind_of

BURST = 64  # messages taken from one writer before the next has its turn
RECONNECT_MS = 20
# libzmq ends a connection for good at a message over MAXMSGSIZE; a lost peer it retries at once, and says so
REFUSED_AFTER_NS = 200_000_000
MOST_LIVES = 1000  # that a reader may have missed of a writer: more is no restart
FORMER_NS = 2_000_000_000  # a life so long silent is over, whatever its number: what a forger said shuts nobody out
AHEAD_NS = 1_000_000_000  # a stamp is a time that was: what the clocks of two machines may differ by, and no more


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A message that was taken: ``record`` is the decoded and checked ``payload``; t_arrival_ns is monotonic."""

    topic: str
    envelope: Envelope
    payload: bytes
    record: Any
    t_arrival_ns: int


@dataclass(slots=True, eq=False)
class Link:
    """What a reader knows of one writer. taken: lossless messages taken of this incarnation; acked: told so.

    spoke_ns: when this incarnation was last heard, monotonic.
    """

    writer: str
    kind: str
    endpoint: str
    families: frozenset[str]
    socket: "zmq.Socket[bytes]"
    monitor: "zmq.Socket[bytes]"
    wants_credit: bool
    incarnation: int | None = None
    spoke_ns: int = 0
    heard: bool = False
    taken: int = 0
    acked: int = 0
    next_sequence: dict[str, int] = field(default_factory=dict)
    lost_ns: int = 0


class Reader:
    """SUB sockets to the writers in ``wanted`` (writer → families).

    ``send_ack`` is called with every credit to give; None where this reader gives none. Not thread-safe.
    """

    def __init__(
        self,
        zctx: "zmq.Context[zmq.Socket[bytes]]",
        graph: Graph,
        wanted: dict[str, tuple[str, ...]],
        meter: HealthMeter,
        name: str = "",
        send_ack: Callable[[Ack], None] | None = None,
    ) -> None:
        self._graph, self._meter, self._name, self._send_ack = graph, meter, name, send_ack
        self._live = graph.session.pace == "realtime"
        self._batch = max(1, graph.bus.window // 4)
        self._ready: deque[tuple[Link, Received]] = deque()
        self._given: list[tuple[Link, Received]] = []
        self._poller = zmq.Poller()
        self.links: dict[str, Link] = {}
        for writer, families in wanted.items():
            credit = send_ack is not None and name in must_hear(graph, writer)
            self.links[writer] = self._open(zctx, writer, families, credit)
        self._by_socket = {link.socket: link for link in self.links.values()}
        self._by_monitor = {link.monitor: link for link in self.links.values()}

    def _open(
        self, zctx: "zmq.Context[zmq.Socket[bytes]]", writer: str, families: tuple[str, ...], lossless: bool
    ) -> Link:
        socket = zctx.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, self._graph.bus.high_water)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.LINGER, 0)
        if lossless:
            # one subscription, so that hearing anything means hearing all: two of them could become active in turn
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        else:
            for family in families:
                socket.setsockopt(zmq.SUBSCRIBE, family.encode())
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_CONNECTED)
        endpoint = self._graph.endpoint(writer)
        socket.connect(endpoint)
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(monitor, zmq.POLLIN)
        kind = kind_of(self._graph, writer)
        return Link(writer, kind, endpoint, frozenset(families), socket, monitor, lossless)

    def receive(self, timeout_s: float) -> Received | None:
        """The next message, or None where none came in time. Asking for it says that the one before was taken."""
        self._settle()
        if not self._ready:
            self.flush_acks()
            for socket, _ in self._poller.poll(max(0, round(timeout_s * 1000))):
                if socket in self._by_socket:
                    self._drain(self._by_socket[socket])
                else:
                    self._watch(self._by_monitor[socket])
            self._reconnect()
        if not self._ready:
            return None
        link, message = self._ready.popleft()
        self._given.append((link, message))
        return message

    def flush_acks(self) -> None:
        """Give the credits that are due."""
        self._settle()
        for link in self.links.values():
            if link.taken > link.acked:
                self._ack(link)

    def close(self) -> None:
        """Give the last credits and close the sockets."""
        self.flush_acks()
        for link in self.links.values():
            link.socket.disable_monitor()
            link.monitor.close(0)
            link.socket.close(0)

    def _settle(self) -> None:
        for link, message in self._given:
            if link.incarnation == message.envelope.incarnation and message.envelope.credit >= 0:
                link.taken = max(link.taken, message.envelope.credit + 1)
                if link.taken - link.acked >= self._batch:
                    self._ack(link)
        self._given.clear()

    def _ack(self, link: Link) -> None:
        if link.wants_credit and self._send_ack is not None:
            self._send_ack(Ack(self._name, link.writer, link.taken, link.incarnation or 0))
            link.acked = link.taken

    def _drain(self, link: Link) -> None:
        for _ in range(BURST):
            try:
                parts = link.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = self._open_message(link, parts)
            except Exception as e:  # nothing that arrives ends its reader
                family = parts[0][:64].decode(errors="replace").partition("/")[0]
                what = family if family in link.families else "message"
                self._meter.drop(cause("malformed", what, link.writer), why=str(e))
                continue
            if message is not None:
                self._meter.count_received(message.topic)
                self._ready.append((link, message))

    def _open_message(self, link: Link, parts: list[bytes]) -> Received | None:
        if len(parts) != 3:
            raise CodecError(f"{len(parts)} parts, expected topic, envelope and payload")
        if sum(map(len, parts)) > MAX_MESSAGE_BYTES:
            raise CodecError(f"{sum(map(len, parts))} bytes is over the limit of {MAX_MESSAGE_BYTES}")
        name = parts[0].decode(errors="replace")
        topic = topic_of(name)
        envelope = unpack(parts[1])
        if envelope.writer != link.writer or link.kind not in topic.writers:
            raise CodecError(f"{name} cannot come from {envelope.writer!r} at {link.endpoint}")
        if envelope.version > topic.version:
            raise CodecError(f"{name} is version {envelope.version}; this program knows {topic.version}")
        if topic.name != "hello" and topic.name not in link.families:
            self._meet(link, envelope)
            return None
        record = codec.decode(topic.record, parts[2])
        self._check_speaker(link, topic, name, record)
        self._check_time(record)
        self._meet(link, envelope)
        if isinstance(record, Hello):
            self._hear(link, record.sequence)
            return None
        if not self._in_order(link, topic, name, envelope):
            return None
        if envelope.credit >= 0 and not link.heard:
            self._hear(link, envelope.credit)
        return Received(name, envelope, parts[2], record, time.monotonic_ns())

    def _check_speaker(self, link: Link, topic: Topic, name: str, record: Any) -> None:
        """CodecError where a writer speaks for another: only the supervisor says the end of others."""
        if not topic.key:
            return
        own = self._graph.camera_of(link.writer) if topic.key == "camera" else link.writer
        said = record.camera if topic.key == "camera" else record.node
        about = name.partition("/")[2]
        others_end = topic.name == "end" and link.writer == SUPERVISOR and about in self._graph.nodes
        if said != about or (about != own and not others_end):
            raise CodecError(f"{link.writer} does not speak for {about[:80]!r}")

    def _check_time(self, record: Any) -> None:
        """CodecError for a stamp of the future (realtime): sets would wait for that time to come."""
        if self._live and isinstance(record, Keypoints2D):
            ahead_ns = record.t_capture_ns - time.monotonic_ns()
            if ahead_ns > AHEAD_NS:
                raise CodecError(f"the stamp of {record.camera} is {ahead_ns * 1e-9:.1f} s ahead of the clock")

    def _meet(self, link: Link, envelope: Envelope) -> None:
        """Note a new life of the writer."""
        now = time.monotonic_ns()
        if link.incarnation == envelope.incarnation:
            link.spoke_ns = now
            return
        if link.incarnation is not None:
            lives = envelope.incarnation - link.incarnation
            if lives > MOST_LIVES or (lives < 0 and now - link.spoke_ns < FORMER_NS):
                raise CodecError(f"a message of incarnation {envelope.incarnation} after {link.incarnation}")
            self._meter.drop(cause("restart", link.writer), max(1, lives))
        link.spoke_ns = now
        link.incarnation, link.heard, link.taken, link.acked = envelope.incarnation, False, 0, 0
        link.next_sequence.clear()

    def _hear(self, link: Link, start: int) -> None:
        if not link.heard:
            link.taken, link.heard = start, True
        # also in answer to every further hello: the ack before may have been lost
        self._ack(link)

    def _in_order(self, link: Link, topic: Topic, name: str, envelope: Envelope) -> bool:
        expected = link.next_sequence.get(name)
        if expected is None:
            # a reader that came (back) late has not lost what was said before; one that the writer waited for has
            awaited = link.heard and topic.delivery == "lossless" and self._meter.incarnation == 0
            expected = 0 if awaited else envelope.sequence
        if envelope.sequence < expected:
            self._meter.drop(cause("repeated", name))
            return False
        if envelope.sequence > expected:
            self._meter.drop(cause("gap", name), envelope.sequence - expected)
        link.next_sequence[name] = envelope.sequence + 1
        return True

    def _watch(self, link: Link) -> None:
        while link.monitor.poll(0):
            event = recv_monitor_message(link.monitor)["event"]
            link.lost_ns = time.monotonic_ns() if event == zmq.EVENT_DISCONNECTED else 0

    def _reconnect(self) -> None:
        now = time.monotonic_ns()
        for link in self.links.values():
            if link.lost_ns and now - link.lost_ns > REFUSED_AFTER_NS:
                link.lost_ns = 0
                self._meter.drop(cause("oversized", link.writer), why="connection renewed")
                link.socket.disconnect(link.endpoint)
                link.socket.connect(link.endpoint)
