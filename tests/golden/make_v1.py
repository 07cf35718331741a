"""Writes ``v1.mcap``, a recording of schema version 1. It was run once; the file is read for ever and not made again.

python -m tests.golden.make_v1 PATH
"""

import sys
from pathlib import Path

from kinecast.calibration.formats import native
from kinecast.nodes.bus.messages import End, Health
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, MODELS, RIG, About, RecordingWriter, Stamp
from tests.nodes.recording.scene import PERIOD_NS, circle_rig, frameset, keypoints, poses, source

FRAMES = 12
PEOPLE = 2


def make(path: Path) -> None:
    """Two people in twelve frame sets of four cameras, one message of every recorded topic at least."""
    rig = circle_rig()
    nodes = {c: CameraNode(camera=c, source=SourceSettings(kind="synthetic")) for c in rig.names}
    graph = Graph(Session("golden", "/out", "/rig.toml", "lossless"), {**nodes, "fusion": FusionNode()})
    with path.open("xb") as file:
        writer = RecordingWriter(file, About("golden", "golden", started_utc="2026-01-01T00:00:00+00:00"))
        writer.attach(RIG, native.dumps(rig).encode())
        writer.attach(LAUNCH, dump(graph).encode())
        writer.attach(MODELS, b'{"toy": "00ff"}')
        for name in rig.names:
            writer.record(Stamp(f"source/{name}", 0), source(name))
        for n in range(FRAMES):
            t = n * PERIOD_NS
            for c, name in enumerate(rig.names):
                writer.record(Stamp(f"keypoints/{name}", n, t + c, t), keypoints(rig, c, n, PEOPLE))
            writer.record(Stamp("framesets", n, t + 10, t), frameset(rig, n))
            writer.record(Stamp("poses", n, t + 11, t), poses(rig, n, PEOPLE))
        health = Health("fusion", "fusion", 1, "running", t, latency_ms={"total": (0.5, 0.75)}, drops={"late": 1})
        writer.record(Stamp("health/fusion", 0, t, t), health)
        for name in (*rig.names, "fusion"):
            writer.record(Stamp(f"end/{name}", 0, t + 20, t), End(name, FRAMES, 0, "end of file"))
        writer.finish()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
