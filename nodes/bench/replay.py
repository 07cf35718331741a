"""How much faster than real time a recording is fused again: keypoints to poses, four cameras, one person."""

import tempfile
from pathlib import Path

from kinecast.calibration.formats import native
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import CameraClock, Noise, World, messages, ring_rig
from kinecast.nodes.bench import Row
from kinecast.nodes.exchange.import_keypoints import FUSION, Sink, fuse
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, RIG, About, Recording, RecordingWriter
from kinecast.nodes.reprocess.replay import replay

SECONDS = 20
RATE_HZ = 60


def record(
    path: Path,
    cameras: int,
    people: int,
    frames: int,
    fps_hz: float,
    noise: Noise,
    clocks: dict[str, CameraClock] | None = None,
    fusion: FusionNode | None = None,
) -> Path:
    """A session of the synthetic world before a ring of cameras, fused in order."""
    rig = ring_rig(cameras)
    views: dict[str, list[Keypoints2D]] = {name: [] for name in rig.names}
    for view in messages(World(people=people), rig, frames=frames, fps_hz=fps_hz, noise=noise, clocks=clocks):
        views[view.camera].append(view)
    camera = CameraNode(source=SourceSettings(kind="synthetic"))
    graph = Graph(Session(pace="lossless"), {**dict.fromkeys(rig.names, camera), FUSION: fusion or FusionNode()})
    with path.open("wb") as stream:
        writer = RecordingWriter(stream, About(), path.name)
        writer.attach(RIG, native.dumps(rig).encode())
        writer.attach(LAUNCH, dump(graph).encode())
        for _ in fuse(rig, graph, list(views.values()), Sink(writer)):
            pass
        writer.finish()
    return path


def run() -> list[Row]:
    """Replay what was recorded; the kernels are compiled before the clock starts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.mcap"
        record(path, 4, 1, SECONDS * RATE_HZ, RATE_HZ, Noise(outliers=0.05, missing=0.05))
        done = replay(Recording.open(path))
    factor = done.span_s / done.took_s
    same = f"{done.sets} sets, {'bit-identical' if done.identical else 'NOT identical'}"
    return [
        Row("replay: time of one set", done.took_s / done.sets * 1e3, "ms", note=same),
        Row("replay: share of real time", 100 / factor, "%", aim=5, note=f"{factor:.1f} × real time at {RATE_HZ} Hz"),
    ]
