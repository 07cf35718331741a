"""A recorder into lines of text: ``life topic writer's-life sequence``, one file a life."""

from pathlib import Path

from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.graph.records import NodeContext


def main(context: NodeContext) -> None:
    graph = context.graph
    out = Path(graph.session.out) / f"record-{context.incarnation}.txt"
    open_writers = {*graph.of_kind("camera"), *graph.of_kind("fusion")}
    with Bus(context) as bus, out.open("w", buffering=1) as file:
        bus.state = "running"
        while open_writers and not bus.stopping:
            message = bus.receive(0.5)
            if message is None:
                continue
            e = message.envelope
            file.write(f"{context.incarnation} {message.topic} {e.writer} {e.incarnation} {e.sequence}\n")
            if message.topic.startswith("end/"):
                open_writers.discard(message.record.node)
        bus.state = "ended"
