"""The registry of topics as data: what it says is what the nodes do."""

from dataclasses import replace

from kinecast.engines.timing import rig_watch
from kinecast.nodes.bus import health_meter
from kinecast.nodes.bus.codec import json_schema
from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.bus.wiring import judged_topic, rate_hz
from kinecast.nodes.camera import loop
from kinecast.nodes.graph.records import KINDS, SUPERVISOR, FusionNode, kind_of
from tests.nodes.bus.graphs import graph


def test_writers_and_readers_are_kinds_of_nodes() -> None:
    kinds = {*KINDS, SUPERVISOR}
    for t in TOPICS.values():
        assert t.writers and {*t.writers, *t.readers, *t.watchers} <= kinds, t.name
        assert not set(t.readers) & set(t.watchers), t.name
        assert t.key in ("", "camera", "node") and t.record.__doc__


def test_rates_are_those_of_the_code() -> None:
    assert TOPICS["health"].rate == 1e9 / health_meter.PERIOD_NS
    assert TOPICS["source"].rate == 1e9 / loop.REPORT_NS
    assert TOPICS["rig_health"].rate == 1e9 / rig_watch.PERIOD_NS


def test_the_rate_of_every_topic_follows_from_the_launch_file() -> None:
    g = graph(cameras=3, recorder=True)
    g.nodes["cam1"] = replace(g.nodes["cam1"], rate_hz=25.0)  # type: ignore[arg-type]
    g.nodes["cam2"] = replace(g.nodes["cam2"], rate_hz=5.0)  # type: ignore[arg-type]
    g.nodes["fusion"] = FusionNode(cameras=("cam0", "cam1"))
    told = {(t.name, n): rate_hz(g, t, n) for t in TOPICS.values() for n in g.nodes if kind_of(g, n) in t.writers}
    assert [told["keypoints", c] for c in ("cam0", "cam1", "cam2")] == [100.0, 25.0, 5.0]
    sets = {name for name, t in TOPICS.items() if t.rate == "sets"}
    assert sets == {"framesets", "poses", "bodies", "meshes"} and {told[t, "fusion"] for t in sets} == {25.0}
    assert told["health", "recorder"] == 2 and told["source", "cam0"] == 0.2 and told["end", "fusion"] is None
    g.nodes["cam0"] = replace(g.nodes["cam0"], rate_hz=None)  # type: ignore[arg-type]
    g.nodes["cam1"] = replace(g.nodes["cam1"], rate_hz=None)  # type: ignore[arg-type]
    assert rate_hz(g, TOPICS["poses"], "fusion") is None and rate_hz(g, TOPICS["keypoints"], "cam0") is None


def test_every_kind_is_judged_by_one_topic_at_most_and_that_is_its_own() -> None:
    g = graph(cameras=1, recorder=True, viewer=True)
    names = {n: judged[1] if (judged := judged_topic(g, n)) else "" for n in (*g.nodes, SUPERVISOR)}
    assert names == {"cam0": "keypoints/cam0", "fusion": "poses", "recorder": "", "viewer": "", SUPERVISOR: ""}
    judged_by = [kind for t in TOPICS.values() if t.judged for kind in t.writers]
    assert len(set(judged_by)) == len(judged_by)


def test_a_row_can_be_read_by_nobody_only_where_it_is_for_programs_outside() -> None:
    assert [name for name, t in TOPICS.items() if not (t.readers or t.watchers)] == ["meshes"]
    assert not any(t.watchers for t in TOPICS.values() if t.delivery == "link")


def test_every_record_can_be_told_to_a_stranger() -> None:
    for topic in TOPICS.values():
        schema = json_schema(topic.record)
        assert schema["properties"] and schema["description"], topic.name


def test_what_may_lose_nothing_is_recorded_by_a_reader_that_is_waited_for() -> None:
    for t in TOPICS.values():
        assert t.delivery != "lossless" or "recorder" in t.readers, t.name
        assert t.delivery != "latest" or not t.readers, f"{t.name}: who takes only the newest looks on"
    assert [name for name, t in TOPICS.items() if not t.recorded] == [
        "preview_wish",
        "preview",
        "meshes",
        "hello",
        "ack",
    ]
