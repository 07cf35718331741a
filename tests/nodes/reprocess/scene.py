"""Sessions as a live graph would record them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinecast.calibration.formats import native
from kinecast.nodes.bus.core import Out
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, RIG, About, RecordingWriter, Stamp
from tests.nodes.recording.scene import PERIOD_NS, circle_rig, keypoints

RIGGED = circle_rig()
Change = Callable[[str, Any], Any]


def graph() -> Graph:
    cameras = {c: CameraNode(camera=c, source=SourceSettings(uri="/none")) for c in RIGGED.names}
    return Graph(Session("live", "/out", "/rig.toml", "lossless"), {**cameras, "fusion": FusionNode()})


class Live:
    """Writes what a live session would: every message that a core took and gave, in an order of its own."""

    def __init__(self, path: Path, change: Change = lambda topic, record: record) -> None:
        self.file = path.open("wb")
        self.writer = RecordingWriter(self.file, About("id", "live"))
        self.writer.attach(RIG, native.dumps(RIGGED).encode())
        self.writer.attach(LAUNCH, dump(graph()).encode())
        self.change = change
        self.sequences: Counter[tuple[str, int]] = Counter()
        self.later: list[tuple[str, Any, int]] = []

    def put(self, topic: str, record: Any, life: int = 0) -> None:
        sequence = self.sequences[topic, life]
        self.sequences[topic, life] += 1
        changed = self.change(topic, record)
        if changed is not None:
            self.writer.record(Stamp(topic, sequence, incarnation=life), changed)

    def fuse(self, core: FusionCore, frames: range, life: int = 0, late: tuple[int, ...] = (), people: int = 2) -> None:
        """Cameras in turn; of the frames in ``late`` camera 3 comes only when its set was closed without it."""
        for n in frames:
            arrived = n * PERIOD_NS + 5_000_000
            for c, name in enumerate(RIGGED.names):
                view = keypoints(RIGGED, c, n, people, noise_px=2.0)
                if c == 3 and n in late:
                    self.give(core.tick(arrived + 60_000_000), life)
                    arrived += 60_000_000
                # a recorder hears fusion and cameras through different sockets: here keypoints come two frames late
                self.later.append((f"keypoints/{name}", view, 0))
                self.give(core.handle(arrived + c, f"keypoints/{name}", view), life)
            while len(self.later) > 8:
                self.put(*self.later.pop(0))

    def give(self, outs: list[Out], life: int) -> None:
        for out in outs:
            self.put(out.topic, out.record, life)

    def close(self) -> None:
        for waiting in self.later:
            self.put(*waiting)
        self.writer.finish()
        self.file.close()
