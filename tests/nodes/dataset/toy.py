"""Sessions of a synthetic world whose truth a recording tells."""

from collections.abc import Iterable
from pathlib import Path

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.exchange.import_keypoints import FUSION, Sink, fuse
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, RIG, About, RecordingWriter, Stamp

NOISY = Noise(3.0, outliers=0.05, missing=0.15)


def record(path: Path, seed: int, frames: int = 24, noise: Noise = NOISY, people: int = 1, cameras: int = 4) -> Path:
    """A walk of one world, fused in order."""
    rig = ring_rig(cameras)
    seen = messages(World(people, seed), rig, frames=frames, noise=noise)
    return record_messages(path, rig, seen, f"synthetic:crowd:{seed}:{people}", f"session {seed}")


def record_messages(
    path: Path, rig: Rig, seen: Iterable[Keypoints2D], source: str, session: str = "session", fps_hz: float = 30.0
) -> Path:
    """What cameras saw, fused in order."""
    views: dict[str, list[Keypoints2D]] = {name: [] for name in rig.names}
    for view in seen:
        views[view.camera].append(view)
    camera = CameraNode(source=SourceSettings(kind="synthetic"))
    graph = Graph(Session(pace="lossless"), {**dict.fromkeys(rig.names, camera), FUSION: FusionNode()})
    with path.open("wb") as stream:
        writer = RecordingWriter(stream, About(session.replace("session", "recording"), session), path.name)
        writer.attach(RIG, native.dumps(rig).encode())
        writer.attach(LAUNCH, dump(graph).encode())
        for name in rig.names:
            report = SourceReport(name, "synthetic", source, rig[name].size_px, fps_hz, False, 0, "")
            writer.record(Stamp(f"source/{name}", 0), report)
        for _ in fuse(rig, graph, list(views.values()), Sink(writer)):
            pass
        writer.finish()
    return path
