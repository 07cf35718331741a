"""The real camera node whose detector takes DETECT_S more for every picture, of nobody's processor."""

import time

from kinecast.capture.frame import Frame
from kinecast.engines.records import People2D
from kinecast.engines.synth.source import SyntheticDetector
from kinecast.nodes.camera import node
from kinecast.nodes.graph.records import NodeContext

DETECT_S = 0.08


def main(context: NodeContext) -> None:
    at_once = SyntheticDetector.detect

    def detect(self: SyntheticDetector, frame: Frame) -> People2D:
        time.sleep(DETECT_S)
        return at_once(self, frame)

    SyntheticDetector.detect = detect  # type: ignore[method-assign]
    node.main(context)
