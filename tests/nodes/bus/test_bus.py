"""Nodes of one graph in one process, over real sockets."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import msgpack
import numpy as np
import pytest
import zmq

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus import codec, reader, writer
from kinecast.nodes.bus.bus import Bus, Received
from kinecast.nodes.bus.envelope import Envelope
from kinecast.nodes.bus.messages import End, Health
from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.graph.records import SUPERVISOR, Graph
from tests.nodes.bus.graphs import context, graph, keypoints

WAIT_S = 20.0
HOUR_NS = 3600 * 10**9


class Nodes:
    """Buses of a test, each with a stop event of its own, closed at its end."""

    def __init__(self) -> None:
        self.stack = ExitStack()

    def open(self, g: Graph, name: str, incarnation: int = 0) -> Bus:
        bus = Bus(context(g, name, incarnation), threading.Event())
        self.stack.callback(bus.close, 0.0)  # a test that is over does not wait for readers
        return bus


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    n = Nodes()
    yield n
    n.stack.close()


def sending(bus: Bus, camera: str, count: int, start: int = 0, end: bool = True) -> threading.Thread:
    def run() -> None:
        for i in range(start, start + count):
            bus.publish(f"keypoints/{camera}", keypoints(camera, i), i)
        if end:
            bus.publish(f"end/{camera}", End(camera, count, 0, "end of file"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def take(bus: Bus, until: Callable[[Received], bool]) -> list[Received]:
    """Receive until a message for which ``until`` is true, that one included."""
    out: list[Received] = []
    while not out or not until(out[-1]):
        message = bus.receive(WAIT_S)
        assert message is not None, f"nothing came after {len(out)} messages; drops: {dict(bus.meter.drops)}"
        out.append(message)
    return out


def is_end(message: Received) -> bool:
    return message.topic.startswith("end/")


def test_a_record_arrives_as_it_was_sent(nodes: Nodes) -> None:
    g = graph()
    cam, fusion = nodes.open(g, "cam0"), nodes.open(g, "fusion")
    thread = sending(cam, "cam0", 1, start=7)
    first = take(fusion, is_end)[0]
    thread.join(WAIT_S)
    sent = keypoints("cam0", 7)
    assert first.topic == "keypoints/cam0" and first.payload == codec.encode(sent)
    assert np.array_equal(first.record.keypoints_px, sent.keypoints_px) and not first.record.scores.flags.writeable
    e = first.envelope
    assert (e.writer, e.incarnation, e.sequence, e.t_capture_ns) == ("cam0", 0, 0, 7)
    assert 0 < e.t_publish_ns <= first.t_arrival_ns


@pytest.mark.parametrize("late_first", [True, False])
def test_lossless_loses_nothing_whoever_starts_first(nodes: Nodes, late_first: bool) -> None:
    g = graph(recorder=True)
    names = ["fusion", "recorder", "cam0"] if late_first else ["cam0", "recorder", "fusion"]
    buses = {n: nodes.open(g, n) for n in names}
    thread = sending(buses["cam0"], "cam0", 300)
    got: dict[str, list[Received]] = {}
    other = threading.Thread(target=lambda: got.update(recorder=take(buses["recorder"], is_end)), daemon=True)
    other.start()
    got["fusion"] = take(buses["fusion"], is_end)
    other.join(WAIT_S)
    thread.join(WAIT_S)
    for name in ("fusion", "recorder"):
        kps = [m for m in got[name] if m.topic == "keypoints/cam0"]
        assert [m.record.frame_seq for m in kps] == list(range(300))
        assert buses[name].meter.drops == {}


@pytest.mark.parametrize("window", [1, 8])
def test_a_lossless_writer_is_at_most_a_window_ahead(nodes: Nodes, window: int) -> None:
    g = graph(window=window)
    cam, fusion = nodes.open(g, "cam0"), nodes.open(g, "fusion")
    sending(cam, "cam0", 100)
    for taken in range(100):
        message = fusion.receive(WAIT_S)
        assert message is not None and message.envelope.credit == taken
        # asked for message `taken`, so that `taken` of them were taken before
        assert cam.meter.published["keypoints/cam0"] <= taken + window
    assert "gap/keypoints/cam0" not in fusion.meter.drops


def test_a_blocked_writer_stops_when_asked(nodes: Nodes) -> None:
    g = graph()
    cam = nodes.open(g, "cam0")
    thread = sending(cam, "cam0", 3)
    assert cam.unheard == ("fusion",)
    cam.stop.set()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert cam.meter.drops["not_heard/fusion"] > 0


def test_a_reader_that_restarts_goes_on_and_the_loss_is_counted(nodes: Nodes) -> None:
    g = graph(window=8)
    cam = nodes.open(g, "cam0")
    with Bus(context(g, "fusion"), threading.Event()) as first:
        sending(cam, "cam0", 50)
        before = take(first, lambda m: m.record.frame_seq == 9)
        first._reader.flush_acks = lambda: None  # type: ignore[method-assign]  # it dies without a word
    after = take(nodes.open(g, "fusion", 1), is_end)
    seqs = [m.record.frame_seq for m in after[:-1]]
    assert seqs == list(range(seqs[0], 50)) and seqs[0] > before[-1].record.frame_seq
    # counted from the last credit given, which may be a batch (a quarter of the window) older than the last message
    missed = seqs[0] - 10
    assert missed <= cam.meter.drops["lost_in_restart/fusion"] <= missed + 2 + 1


def test_a_new_life_of_a_writer_is_reported_apart_from_gaps(nodes: Nodes) -> None:
    g = graph()
    fusion = nodes.open(g, "fusion")
    for life in range(2):
        with Bus(context(g, "cam0", life), threading.Event()) as cam:
            thread = sending(cam, "cam0", 5)
            assert [m.envelope.incarnation for m in take(fusion, is_end)] == [life] * 6
            fusion._reader.flush_acks()
            thread.join(WAIT_S)
    assert fusion.meter.drops == {"restart/cam0": 1}


def test_health_comes_by_itself_and_says_what_was_counted(nodes: Nodes) -> None:
    g = graph(pace="realtime", recorder=True)
    cam, recorder = nodes.open(g, "cam0"), nodes.open(g, "recorder")
    cam.state, cam.note = "running", "warm"
    cam.meter.drop("late", 3)
    messages = take(recorder, lambda m: m.topic == "health/cam0" and m.record.drops == {"late": 3})
    health = messages[-1].record
    assert isinstance(health, Health)
    assert (health.node, health.kind, health.state, health.note) == ("cam0", "camera", "running", "warm")


def test_the_newest_of_each_topic(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keypoints", "end", "health"):
        looked_at = replace(TOPICS[name], watchers=(*TOPICS[name].watchers, "viewer"))
        monkeypatch.setitem(TOPICS, name, looked_at)
    g = graph(pace="realtime", viewer=True)
    cam, fusion, viewer = nodes.open(g, "cam0"), nodes.open(g, "fusion"), nodes.open(g, "viewer")
    heard: dict[str, Received] = {}
    while "health/cam0" not in heard:  # the viewer hears the camera from here on
        heard |= viewer.latest(WAIT_S)
    thread = sending(cam, "cam0", 20)
    take(fusion, is_end)
    thread.join(WAIT_S)
    newest: dict[str, Received] = {}
    while "end/cam0" not in newest:
        newest |= viewer.latest(WAIT_S)
    assert newest["keypoints/cam0"].record.frame_seq == 19


def test_a_taken_port_is_named(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BIND_WAIT_S", 0.1)
    g = graph()
    nodes.open(g, "cam0")
    with pytest.raises(KinecastError, match=rf"cam0 cannot bind {g.endpoint('cam0')}.*base_port"):
        Bus(context(g, "cam0"), threading.Event())


class Rogue:
    """Something that answers at a camera's port and does not keep the rules."""

    def __init__(self, g: Graph, name: str) -> None:
        self.zctx: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.pub = self.zctx.socket(zmq.XPUB)
        self.pub.setsockopt(zmq.RCVTIMEO, round(WAIT_S * 1000))
        self.pub.setsockopt(zmq.LINGER, round(WAIT_S * 1000))
        self.pub.bind(g.endpoint(name))
        self.pub.recv()  # a reader subscribed

    def close(self) -> None:
        self.pub.close()
        self.zctx.term()


def good(seq: int, writer: str = "cam0", life: int = 0) -> list[bytes]:
    e = Envelope(writer, life, seq, 1, 0, 1)
    return [b"keypoints/cam0", e.pack(), codec.encode(keypoints("cam0", seq))]


BAD = {
    "parts": ([b"keypoints/cam0", b"x"], "malformed/keypoints/cam0"),
    "empty": ([b""], "malformed/message/cam0"),
    "topic": ([b"\xff\xfe", *good(0)[1:]], "malformed/message/cam0"),
    "envelope": ([b"keypoints/cam0", b"\xc1", good(0)[2]], "malformed/keypoints/cam0"),
    "writer": (good(0, "cam9"), "malformed/keypoints/cam0"),
    "payload": ([*good(0)[:2], b"\x93garbage"], "malformed/keypoints/cam0"),
    "fields": ([*good(0)[:2], msgpack.packb({"camera": 3})], "malformed/keypoints/cam0"),
    "version": ([b"keypoints/cam0", Envelope("cam0", 0, 0, 99, 0, 1).pack(), good(0)[2]], "malformed/keypoints/"),
    "kind": ([b"poses", *good(0)[1:]], "malformed/message/cam0"),
    "topic of another": ([b"keypoints/cam1", good(0)[1], codec.encode(keypoints("cam1", 0))], "malformed/keypoints/"),
    "record of another": ([*good(0)[:2], codec.encode(keypoints("cam1", 0))], "malformed/keypoints/cam0"),
    "end of another": ([b"end/cam1", good(0)[1], codec.encode(End("cam1", 9, 0, ""))], "malformed/end/cam0"),
    "end of nobody": ([b"end/cam0", good(0)[1], codec.encode(End("cam7", 9, 0, ""))], "malformed/end/cam0"),
    "an hour ahead": (
        [*good(0)[:2], codec.encode(replace(keypoints("cam0", 0), t_capture_ns=time.monotonic_ns() + HOUR_NS))],
        "malformed/keypoints/cam0",
    ),
    "negative stamp": ([good(0)[0], Envelope("cam0", 0, 0, 1, -5, 1).pack(), good(0)[2]], "malformed/keypoints/cam0"),
    "u64 stamp": ([good(0)[0], Envelope("cam0", 0, 0, 1, 1 << 63, 1).pack(), good(0)[2]], "malformed/keypoints/cam0"),
    "u64 sequence": ([good(0)[0], Envelope("cam0", 0, 1 << 40, 1, 0, 1).pack(), good(0)[2]], "malformed/keypoints/"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_message_is_counted_and_harms_nothing(nodes: Nodes, case: str) -> None:
    g = graph(cameras=2, pace="realtime")
    fusion, other = nodes.open(g, "fusion"), nodes.open(g, "cam1")
    rogue = Rogue(g, "cam0")
    parts, cause = BAD[case]
    rogue.pub.send_multipart(parts)
    rogue.pub.send_multipart(good(1))
    assert take(fusion, lambda m: m.topic == "keypoints/cam0")[-1].envelope.sequence == 1
    assert sum(n for c, n in fusion.meter.drops.items() if c.startswith(cause)) == 1
    thread = sending(other, "cam1", 3)
    take(fusion, is_end)
    thread.join(WAIT_S)
    rogue.close()


def test_an_oversized_message_is_refused_and_the_writer_is_heard_again(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_MESSAGE_BYTES", 1 << 20)
    g = graph(pace="realtime")
    fusion = nodes.open(g, "fusion")
    rogue = Rogue(g, "cam0")
    rogue.pub.send_multipart([b"keypoints/cam0", b"", bytes(2 << 20)])
    while not fusion.meter.drops:
        assert fusion.receive(0.2) is None
    assert list(fusion.meter.drops) == ["oversized/cam0"]
    rogue.close()
    cam = nodes.open(g, "cam0")
    thread = sending(cam, "cam0", 3)
    assert len(take(fusion, is_end)) == 4
    thread.join(WAIT_S)


def test_a_message_of_a_former_life_of_a_writer_is_refused(nodes: Nodes) -> None:
    g = graph(pace="realtime")
    fusion = nodes.open(g, "fusion")
    rogue = Rogue(g, "cam0")
    for life, seq in ((1, 0), (0, 7), (1, 1)):
        rogue.pub.send_multipart(good(seq, life=life))
    taken = take(fusion, lambda m: m.envelope.sequence == 1)
    assert [(m.envelope.incarnation, m.envelope.sequence) for m in taken] == [(1, 0), (1, 1)]
    assert [n for cause, n in fusion.meter.drops.items() if cause.startswith("malformed/keypoints/cam0")] == [1]
    rogue.close()


def test_a_life_that_no_node_comes_to_does_not_shut_the_real_one_out(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FORMER_NS", 0)
    g = graph(pace="realtime")
    fusion = nodes.open(g, "fusion")
    rogue = Rogue(g, "cam0")
    for life, seq in ((10**9, 0), (0, 0), (10**9, 1), (0, 1)):
        rogue.pub.send_multipart(good(seq, life=life))
    taken = take(fusion, lambda m: m.envelope.incarnation == 0 and m.envelope.sequence == 1)
    # the first of all may be of any life; the next of 10⁹ after a life 0 is refused
    assert [(m.envelope.incarnation, m.envelope.sequence) for m in taken] == [(10**9, 0), (0, 0), (0, 1)]
    assert fusion.meter.drops["malformed/keypoints/cam0"] == 1
    rogue.close()


def test_a_supervisor_hears_of_no_state_that_there_is_not(nodes: Nodes) -> None:
    g = graph(pace="realtime")
    supervisor = nodes.open(g, SUPERVISOR)
    rogue = Rogue(g, "cam0")
    plain = codec.to_plain(Health("cam0", "camera", 7, "running", 5))
    forged = [{**plain, "state": np.zeros((9, 9))}, {**plain, "node": "fusion"}, {**plain, "drops": {"a" * 70_000: 1}}]
    for seq, fields in enumerate(forged):
        payload = msgpack.packb(fields, default=codec._pack_array)
        rogue.pub.send_multipart([b"health/cam0", Envelope("cam0", 0, seq, 1, 0, 1).pack(), payload])
    rogue.pub.send_multipart([b"health/cam0", Envelope("cam0", 0, 3, 1, 0, 1).pack(), msgpack.packb(plain)])
    assert take(supervisor, lambda m: m.topic == "health/cam0")[-1].record.node == "cam0"
    assert supervisor.meter.drops["malformed/health/cam0"] == 3
    rogue.close()


def test_a_subscription_longer_than_any_topic_ends_its_connection_and_no_other(nodes: Nodes) -> None:
    g = graph(pace="realtime")
    cam, fusion = nodes.open(g, "cam0"), nodes.open(g, "fusion")
    zctx: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    hostile = zctx.socket(zmq.SUB)
    hostile.setsockopt(zmq.RECONNECT_IVL, -1)
    lost = hostile.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    hostile.setsockopt(zmq.SUBSCRIBE, bytes(4 << 10))  # at some megabytes libzmq crashes the one who sends it
    hostile.connect(g.endpoint("cam0"))
    assert lost.poll(round(WAIT_S * 1000))
    thread = sending(cam, "cam0", 3)
    assert len(take(fusion, is_end)) == 4
    thread.join(WAIT_S)
    hostile.disable_monitor()
    lost.close(0)
    hostile.close(0)
    zctx.term()


def test_a_gap_is_counted(nodes: Nodes) -> None:
    g = graph(pace="realtime")
    fusion = nodes.open(g, "fusion")
    rogue = Rogue(g, "cam0")
    for seq in (0, 1, 4, 4, 3, 5):
        rogue.pub.send_multipart(good(seq))
    assert [m.envelope.sequence for m in take(fusion, lambda m: m.envelope.sequence == 5)] == [0, 1, 4, 5]
    assert fusion.meter.drops == {"gap/keypoints/cam0": 2, "repeated/keypoints/cam0": 2}
    rogue.close()
