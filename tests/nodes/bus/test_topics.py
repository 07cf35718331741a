"""The registry of topics as data: what it says is what the nodes do."""

from kinecast.nodes.bus import health_meter
from kinecast.nodes.bus.codec import json_schema
from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.bus.wiring import READS
from kinecast.nodes.camera import loop
from kinecast.nodes.graph.records import KINDS, SUPERVISOR


def test_writers_and_readers_are_kinds_of_nodes() -> None:
    for topic in TOPICS.values():
        assert topic.writers and set(topic.writers) <= {*KINDS, SUPERVISOR}, topic.name
    assert set(READS) == {*KINDS, SUPERVISOR}
    for reader, wanted in READS.items():
        assert set(wanted) <= {*KINDS, SUPERVISOR} and {f for w in wanted.values() for f in w} <= set(TOPICS), reader


def test_rates_are_those_of_the_code() -> None:
    assert TOPICS["health"].rate_hz == 1e9 / health_meter.PERIOD_NS
    assert TOPICS["source"].rate_hz == 1e9 / loop.REPORT_NS


def test_every_record_can_be_told_to_a_stranger() -> None:
    for topic in TOPICS.values():
        schema = json_schema(topic.record)
        assert schema["properties"] and schema["description"], topic.name


def test_what_is_recorded_and_lossless_is_awaited() -> None:
    """Of a topic that may not lose anything the recorder keeps everything."""
    lossless = {name for name, t in TOPICS.items() if t.delivery == "lossless"}
    assert lossless <= {name for name, t in TOPICS.items() if t.recorded}
