"""A fusion that makes a frame set of every message, as a core."""

import numpy as np

from kinecast.engines.records import FrameSet
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.core_loop import run_core
from kinecast.nodes.bus.messages import End
from kinecast.nodes.graph.records import NodeContext, fused_cameras


class Core:
    def __init__(self, context: NodeContext) -> None:
        self.name, self.run_index = context.name, context.incarnation
        self.open = set(fused_cameras(context.graph, context.name))
        self.sets = 0

    def handle(self, t_ns: int, topic: str, record: object) -> list[Out]:
        if isinstance(record, End):
            self.open.discard(record.node)
            return [] if self.open else [Out(f"end/{self.name}", End(self.name, self.sets, 0, "all ended"))]
        none = np.zeros(0, np.int64)
        self.sets += 1
        return [Out("framesets", FrameSet(self.sets - 1, self.run_index, t_ns, (), none, "complete", none))]

    def tick(self, t_ns: int) -> list[Out]:
        return []

    def next_deadline_ns(self) -> int | None:
        return None


def main(context: NodeContext) -> None:
    with Bus(context) as bus:
        run_core(Core(context), bus)
