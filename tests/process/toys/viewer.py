"""A viewer that looks and shows nothing."""

from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.graph.records import NodeContext


def main(context: NodeContext) -> None:
    with Bus(context) as bus:
        bus.state = "running"
        while not bus.stopping:
            bus.latest(0.5)
