"""What the fusion process says of itself: the health that the recorder keeps and ``kinecast status`` shows."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from kinecast.engines.synth import World, messages, ring_rig
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.cli.commands.status import health_lines
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.node import HealthReport
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp
from kinecast.nodes.recording.summary import as_json, summarise


def test_pictures_of_another_size_are_told_by_health_status_and_summary(tmp_path: Path) -> None:
    rig = ring_rig(4)
    core, meter = FusionCore(rig, FusionNode()), HealthMeter("fusion", "fusion")
    nodes = {**dict.fromkeys(rig.names, CameraNode()), "fusion": FusionNode()}
    graph = Graph(Session(pace="lossless"), nodes)
    bus = SimpleNamespace(meter=meter, note="", context=SimpleNamespace(graph=graph))
    report, sets = HealthReport(bus), 0  # type: ignore[arg-type]
    for view in messages(World(people=1), rig, frames=70):
        seen = replace(view, size_px=(640, 360)) if view.camera == "cam04" else view
        for out in core.handle(0, f"keypoints/{view.camera}", seen):
            report.hear(out)  # the health of the rig too, which comes once a second and takes no note away
            sets += out.topic == "framesets"
    assert sets >= 68 and meter.drops == {"picture_size/cam04": sets}
    assert bus.note == "pictures of cam04 have another size than in the rig: their views are not used"
    meter.note = bus.note
    health = meter.snapshot(1)
    line = next(x for x in health_lines(graph, {"fusion": health}) if x.startswith("fusion"))
    assert f"size of cam04 is not the rig's {sets}" in line and bus.note in line
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.record(Stamp("health/fusion", 0), health)
        writer.finish()
    recording = Recording.open(tmp_path / "a.mcap")
    assert as_json(recording, summarise(recording))["drops"] == {"fusion": {"picture_size/cam04": sets}}
