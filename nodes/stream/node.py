"""The stream node: the newest bodies (or poses, where there are none) to whoever listens, and nobody waits for it."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from kinecast.calibration.formats import load_rig
from kinecast.capture.urls import is_loopback
from kinecast.engines.records import Bodies, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.bus.wiring import rate_hz
from kinecast.nodes.exchange.export.bone_names import bone_names
from kinecast.nodes.exchange.export.person_series import turn_to
from kinecast.nodes.graph.records import FusionNode, NodeContext, StreamNode
from kinecast.nodes.stream.frame import StreamedPerson, StreamFrame
from kinecast.nodes.stream.people import People
from kinecast.nodes.stream.predict import Predictor
from kinecast.nodes.stream.websocket import WebSocketServer

POLL_S = 0.1


def main(context: NodeContext) -> None:
    """Run the stream node of ``context`` until it is asked to stop."""
    settings = context.graph.nodes[context.name]
    assert isinstance(settings, StreamNode)
    graph = context.graph
    fusion = graph.nodes[graph.of_kind("fusion")[0]]
    assert isinstance(fusion, FusionNode)
    topic = "poses" if fusion.body == "off" else "bodies"
    people = People(turn_to(load_rig(graph.session.rig), settings.axes))
    joints = bone_names(settings.bones) if topic == "bodies" else skeleton("halpe26").joints
    with Bus(context) as bus, ExitStack() as stack:
        about = _about(graph.session.name, settings, topic, joints)
        hz = rate_hz(graph, TOPICS["poses"], graph.of_kind("fusion")[0]) or 0.0
        senders, told = _open(settings, about, joints, hz, graph.session.name, stack)
        bus.note = "; ".join(told)
        bus.state = "running"
        predictor = Predictor(settings.predict_ms)
        while not bus.stopping:
            received = bus.latest(POLL_S).get(topic)
            if received is not None and isinstance(received.record, Bodies | Poses):
                frame = _frame(received.record, people, predictor, settings.persons)
                for send in senders:
                    send(frame)
                bus.meter.latency("arrival to sent", time.monotonic_ns() - received.t_arrival_ns, time.monotonic_ns())


def _open(
    settings: StreamNode,
    about: dict[str, Any],
    joints: tuple[str, ...],
    hz: float,
    name: str,
    stack: ExitStack,
) -> tuple[list[Callable[[StreamFrame], None]], list[str]]:
    """What sends, and where it goes in words; closed with ``stack``."""
    senders: list[Callable[[StreamFrame], None]] = []
    told = []
    if settings.websocket is not None:
        server = WebSocketServer(settings.host, settings.websocket, about, settings.origins)
        stack.callback(server.close)
        senders.append(server.send)
        told.append(f"ws://{settings.host}:{settings.websocket}")
        if not is_loopback(settings.host):
            told.append("anybody on the network can listen")
    if settings.vmc:
        from kinecast.nodes.stream.vmc import VmcSender

        vmc = VmcSender(settings.vmc, settings.vmc_people)
        stack.callback(vmc.close)
        senders.append(vmc.send)
        told.append(f"VMC to {settings.vmc}")
    if settings.lsl:
        from kinecast.nodes.stream.lsl import LslSender

        lsl = LslSender(settings.lsl, joints, hz)
        stack.callback(lsl.close)
        senders.append(lsl.send)
        told.append(f"LSL as {settings.lsl}")
    return senders, told


def _about(name: str, settings: StreamNode, topic: str, joints: tuple[str, ...]) -> dict[str, Any]:
    parents = skeleton("smpl24" if topic == "bodies" else "halpe26").parents
    return {
        "session": name,
        "joints": list(joints),
        "parents": [int(p) for p in parents],
        "of": topic,
        "axes": settings.axes,
        "units": "m",
        "predict_ms": settings.predict_ms,
    }


def _frame(record: Bodies | Poses, people: People, predictor: Predictor, persons: tuple[int, ...]) -> StreamFrame:
    seen: tuple[StreamedPerson, ...] = (
        people.of_bodies(record) if isinstance(record, Bodies) else people.of_poses(record)
    )
    if persons:
        seen = tuple(p for p in seen if p.person in persons)
    sent_ns = time.time_ns()
    captured_ns = sent_ns - (time.monotonic_ns() - record.t_set_ns)
    ahead = predictor.ahead(record.t_set_ns, seen)
    return StreamFrame(record.frameset_seq, captured_ns, sent_ns, predictor.predict_ms, ahead)
