"""A viewer that looks and shows nothing."""

from nodes.bus.sockets import Bus
from nodes.graph import NodeContext


def main(context: NodeContext) -> None:
    with Bus(context) as bus:
        bus.state = "running"
        while not bus.stopping:
            bus.latest(0.5)
