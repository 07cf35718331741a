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
    report, sets = HealthReport(bus, core), 0  # type: ignore[arg-type]
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


def test_how_long_sets_waited_and_who_is_always_late_are_told_by_health() -> None:
    rig = ring_rig(4)
    settings = FusionNode(max_wait_ms=300)
    core, meter = FusionCore(rig, settings, pace="realtime"), HealthMeter("fusion", "fusion")
    bus = SimpleNamespace(meter=meter, note="", context=SimpleNamespace(graph=Graph(Session(pace="realtime"), {})))
    report = HealthReport(bus, core)  # type: ignore[arg-type]
    late_ns = 120_000_000

    def hear(frames: int, late_ns: int) -> int:
        views = [(v.t_capture_ns + (late_ns if v.camera == "cam04" else 5_000_000), v) for v in seen[: 4 * frames]]
        del seen[: 4 * frames]
        for now_ns, view in sorted(views, key=lambda x: x[0]):
            for out in [*core.handle(now_ns, f"keypoints/{view.camera}", view), *core.tick(now_ns)]:
                report.hear(out)
        return views[-1][0]

    seen = list(messages(World(people=1), rig, frames=80))
    now_ns = hear(40, late_ns)
    told = meter.snapshot(now_ns).latency_ms
    assert told["delay of cam01"][1] == 5 and told["delay of cam04"][1] == 120
    assert abs(told["wait for views"][0] - 115) < 1 and bus.note == ""
    hear(40, 450_000_000)
    assert bus.note == "too late for their sets: cam04 445 ms after the first; max_wait_ms is 300"
