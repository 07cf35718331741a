"""Keypoints that were made elsewhere, fused as if the cameras had just sent them, into a recording like any other."""

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig, native
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Keypoints2D
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.messages import End, SourceReport
from kinecast.nodes.exchange.openpose import Folder, decide_skeleton, find_folders, load_folder, messages
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.launch_file import dump, parse
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings, fused_cameras
from kinecast.nodes.recording.derive import begin
from kinecast.nodes.recording.file import LAUNCH, RIG, About, RecordingWriter, Stamp
from kinecast.nodes.reprocess.run_fusion import fuse_messages

FUSION = "fusion"


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    skeleton: of the keypoints; frames: of every camera; without_file: of those, by camera; sets and people: what came
    out of the fusion.
    """

    out: Path
    skeleton: str
    frames: int
    without_file: dict[str, int]
    sets: int
    people: int


class Sink:
    """Outputs of a core into a recording, numbered by topic and stamped with capture times, for there is no clock."""

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._sequences: Counter[str] = Counter()

    def put(self, topic: str, record: Any, t_ns: int) -> None:
        """Record a message of time ``t_ns``."""
        self._writer.record(Stamp(topic, self._sequences[topic], t_ns, t_ns), record)
        self._sequences[topic] += 1


def graph_of(folders: list[Folder], rig: str, name: str, out: Path, fps_hz: float) -> Graph:
    """The launch file that such an import stands for."""
    nodes: dict[str, Any] = {}
    for n, folder in enumerate(folders):
        node = folder.camera if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", folder.camera) else f"camera{n}"
        source = SourceSettings(kind="images", uri=str(folder.path.resolve()), fps_hz=fps_hz)
        nodes[node] = CameraNode(camera=folder.camera, source=source)
    nodes[FUSION] = FusionNode()
    session = Session(name, str(out.parent.resolve()), str(Path(rig).resolve()), "lossless")
    return Graph(session, nodes)


def import_openpose(
    root: Path,
    rig_path: Path,
    out: Path,
    fps_hz: float = 60.0,
    cameras: Iterable[str] = (),
    overrides: Iterable[str] = (),
    units: str | None = None,
    skeleton: str | None = None,
) -> Imported:
    """Read, fuse and record. All files are read before anything is written; KinecastError refuses the whole."""
    if not 0.1 <= fps_hz <= 1000:
        raise KinecastError(f"--fps {fps_hz}: expected 0.1 to 1000")
    rig = load_rig(rig_path, units)
    folders = find_folders(root, rig.names, cameras)
    rig = rig.subset(tuple(f.camera for f in folders))
    graph = graph_of(folders, str(rig_path), root.resolve().name, out, fps_hz)
    if overrides:
        graph = parse(dump(graph), "the import", Path.cwd(), overrides)
    numbers = [n for f in folders for n in f.files]
    frames = range(min(numbers), max(numbers) + 1)
    if len(frames) > 100 * len(set(numbers)):
        raise KinecastError(
            f"{root}: frames {frames[0]} to {frames[-1]}, but only {len(set(numbers))} of them are there"
        )
    period_ns = round(1e9 / fps_hz)
    loaded = [load_folder(f, rig[f.camera], frames) for f in folders]
    name = decide_skeleton(loaded, skeleton)
    views = [messages(f, rig[f.folder.camera], name, period_ns) for f in loaded]
    reports = [_report(folder, rig, views, fps_hz) for folder in folders]
    about = About(uuid.uuid4().hex, graph.session.name, made_by="import openpose")
    sets, people = record(out, about, rig, graph, views, reports)
    return Imported(out, name, len(frames), {f.camera: len(frames) - len(f.files) for f in folders}, sets, people)


def record(
    out: Path, about: About, rig: Rig, graph: Graph, views: list[list[Keypoints2D]], reports: list[SourceReport],
    attachments: Mapping[str, bytes] | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Fuse what the cameras of ``rig`` saw, in their order, and record all; how many sets and people came out.

    Nothing is written over, and nothing is left where it fails. attachments: by name, beside rig and launch file.
    """
    made: Counter[str] = Counter()
    people: set[int] = set()
    with atomic_path(out, overwrite=False) as file:
        files = {RIG: native.dumps(rig).encode(), LAUNCH: dump(graph).encode()} | dict(attachments or {})
        writer = begin(file, about, str(out), files)
        sink = Sink(writer)
        first = min(v[0].t_capture_ns for v in views if v)
        for report in reports:
            sink.put(f"source/{report.camera}", report, first)
        for o in fuse(rig, graph, views, sink):
            made[o.topic.partition("/")[0]] += 1
            if o.topic == "poses":
                people |= set(o.record.person_ids.tolist())
        writer.finish()
    return made["framesets"], len(people)


def _report(folder: Folder, rig: Rig, views: list[list[Keypoints2D]], fps_hz: float) -> SourceReport:
    skeleton = next(v[0].skeleton for v in views if v and v[0].camera == folder.camera)
    uri = str(folder.path.resolve())
    return SourceReport(folder.camera, "openpose", uri, rig[folder.camera].size_px, fps_hz, False, 0, skeleton)


def fuse(rig: Rig, graph: Graph, views: list[list[Keypoints2D]], sink: Sink) -> Iterator[Out]:
    """Feed all cameras' messages, frame by frame, to a lossless fusion. All is recorded; what came out is yielded."""
    settings = graph.nodes[FUSION]
    assert isinstance(settings, FusionNode)
    fused = {n: graph.camera_of(n) for n in fused_cameras(graph, FUSION)}
    settings = replace(settings, cameras=tuple(fused.values()))
    core = FusionCore(rig, settings, 0, pace="lossless", name=FUSION, nodes=fused)
    t_ns = 0

    def heard() -> Iterator[Keypoints2D | End]:
        """Everything is recorded; what is fused is handed on."""
        nonlocal t_ns
        for view in (v for row in zip(*views, strict=True) for v in row):
            t_ns = view.t_capture_ns
            sink.put(f"keypoints/{view.camera}", view, t_ns)
            if view.camera in settings.cameras:
                yield view
        for node in graph.of_kind("camera"):
            end = End(node, len(views[rig.names.index(graph.camera_of(node))]), 0, "last file")
            sink.put(f"end/{node}", end, t_ns)
            yield end

    for _, outs in fuse_messages(core, heard()):
        for out in outs:
            sink.put(out.topic, out.record, t_ns)
            yield out
