"""What a session as a whole is warned of: nobody found, most frames lost, and the cause that the counts tell."""

from dataclasses import replace

from kinecast.nodes.bus.messages import Health
from kinecast.nodes.bus.session_warnings import warnings
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings

FRAMES = 100
GRAPH = Graph(Session(), {"a": CameraNode(), "b": CameraNode(), "fusion": FusionNode()})
LIVE = replace(GRAPH, nodes={**GRAPH.nodes, "a": CameraNode(source=SourceSettings("usb", "0"))})


def camera(name: str, frames: int = FRAMES, people: int = FRAMES, **drops: int) -> Health:
    published = {f"keypoints/{name}": frames}
    return Health(name, "camera", 1, "ended", 0, published=published, drops=drops, found={"people": people})


def fusion(fused: int, people: int = FRAMES, sets: int = FRAMES, drops: dict[str, int] | None = None) -> Health:
    found = {"views fused": fused, "sets with people": people}
    return Health("fusion", "fusion", 1, "ended", 0, published={"poses": sets}, drops=drops or {}, found=found)


def lines(graph: Graph, a: Health, b: Health, f: Health | None) -> list[str]:
    return warnings(graph, {"a": a, "b": b, "fusion": f})


def test_a_session_that_is_well_is_not_warned_of() -> None:
    assert lines(GRAPH, camera("a"), camera("b"), fusion(2 * FRAMES)) == []
    assert lines(GRAPH, camera("a", 3), camera("b", 3), None) == []  # nothing to judge yet


def test_frames_that_nobody_looked_at_count_against_it() -> None:
    (line,) = lines(GRAPH, camera("a", skipped_at_source=300), camera("b", skipped_at_source=250), fusion(2 * FRAMES))
    assert "only 200 of 750 frames were fused (27%)" in line and "skipped at source 550" in line and "lossless" in line
    (line,) = lines(GRAPH, camera("a", before_start=300), camera("b"), fusion(2 * FRAMES))
    assert "before start 300" in line
    assert lines(LIVE, camera("a", before_start=300), camera("b"), fusion(2 * FRAMES)) == []  # a device is not awaited


def test_views_that_fusion_could_not_use_are_the_cause() -> None:
    drops = {"single_view/a": 90, "single_view/b": 80, "late/a": 12}
    (line,) = lines(GRAPH, camera("a"), camera("b"), fusion(20, drops=drops))
    assert "only 20 of 200" in line and "alone 170" in line and "start_s" in line


def test_nobody_is_said_with_what_the_cameras_saw() -> None:
    (line,) = lines(GRAPH, camera("a", people=0), camera("b", people=0), fusion(2 * FRAMES, people=0))
    assert "nobody was found in 100 frame sets: no camera saw anybody" in line
    found = fusion(2 * FRAMES, people=0)
    refused = replace(found, found={**found.found, "refused picture_size/a": 200, "refused too_few_joints": 3})
    (line,) = lines(GRAPH, camera("a"), camera("b"), refused)
    assert "saw people 200 times" in line and "size of a is not the rig's 200 times" in line


def test_a_fusion_that_was_never_there_is_said() -> None:
    (line,) = lines(GRAPH, camera("a"), camera("b"), None)
    assert "nothing was fused of 200 frames: fusion was never heard of" in line
    starting = Health("fusion", "fusion", 1, "starting", 0)
    (line,) = lines(GRAPH, camera("a"), camera("b"), starting)
    assert "fusion was starting" in line
