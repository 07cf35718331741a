"""A camera without pictures.

Words in its ``source.uri``: ``refuse``, ``crash`` (each time), ``deaf``, ``slow``, ``circles``.
"""

import os
import time

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus import bus as bus_module
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.messages import End
from kinecast.nodes.graph.records import CameraNode, NodeContext
from tests.nodes.bus.graphs import keypoints

SLOW_S = 2.0  # to load


def going_round() -> None:
    while True:
        time.sleep(0.01)


def main(context: NodeContext) -> None:
    settings = context.graph.nodes[context.name]
    assert isinstance(settings, CameraNode)
    words, frames = settings.source.uri, settings.source.frames or 1 << 60
    if "refuse" in words:
        raise KinecastError(f"{context.name}: no such camera: plug it in")
    if "crash" in words:
        os._exit(1)
    if "circles" in words:
        bus_module.HUNG_NS = round(float(os.environ["TOY_HUNG_S"]) * 1e9)
    with Bus(context) as bus:
        if "slow" in words:
            bus.stop.wait(SLOW_S)
        bus.state = "running"
        seq = 0
        period_s = 0.0 if context.graph.session.pace == "lossless" else 1 / (settings.rate_hz or 100.0)
        while seq < frames and not bus.stopping:
            bus.publish(f"keypoints/{context.name}", keypoints(context.name, seq), seq)
            seq += 1
            if "circles" in words and not context.incarnation:
                going_round()
            bus.stop.wait(period_s)
        while "deaf" in words:
            time.sleep(1)
        bus.state = "ended"
        bus.publish(f"end/{context.name}", End(context.name, seq, 0, "stopped" if bus.stopping else "end of file"))
