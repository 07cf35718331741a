"""Recordings of every schema version that there ever was can be read, field by field."""

from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.refusals import REFUSALS, code_of, sentence
from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.cli.main import main
from kinecast.nodes.exchange.export import read_people
from kinecast.nodes.graph.launch_file import parse
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.summary import as_json, summarise
from tests.golden.make_v1 import FRAMES, PEOPLE
from tests.golden.make_v1_sentences import DROPPED, DROPS, REFUSED, numbered
from tests.nodes.recording.scene import PERIOD_NS, body, circle_rig, frameset, keypoints

V1 = Path(__file__).parent / "v1.mcap"
SENTENCES = V1.with_name("v1-sentences.mcap")  # made before causes had codes
LATER = {"bodies", "rig_health", "common_rate"}  # topics that came after the file was made


@pytest.fixture(scope="module")
def golden() -> Recording:
    return Recording.open(V1)


def test_it_is_small() -> None:
    assert V1.stat().st_size < 200_000


def test_every_message_is_read(golden: Recording) -> None:
    seen = Counter(topic.partition("/")[0] for topic, _, _ in golden.messages())
    assert seen == {"source": 4, "keypoints": 4 * FRAMES, "framesets": FRAMES, "poses": FRAMES, "health": 1, "end": 5}
    assert set(seen) == {t.name for t in TOPICS.values() if t.recorded and t.version == 1} - LATER
    assert not golden.unreadable and not golden.unknown and not golden.cut_short


def test_the_values_are_those_of_the_scene(golden: Recording) -> None:
    rig = circle_rig()
    for _, stamp, got in golden.messages(("keypoints",)):
        want = keypoints(rig, rig.names.index(got.camera), stamp.sequence, PEOPLE)
        assert (got.frame_seq, got.t_capture_ns, got.skeleton) == (want.frame_seq, want.t_capture_ns, "halpe26")
        # float32 pixels up to 1280 are good to 1e-4
        np.testing.assert_allclose(got.keypoints_px, want.keypoints_px, atol=1e-3)
        np.testing.assert_array_equal(got.local_ids, [0, 1])
    for _, stamp, got in golden.messages(("framesets",)):
        np.testing.assert_array_equal(got.frame_seqs, frameset(rig, stamp.sequence).frame_seqs)
    people = read_people(golden)
    assert people.points_world_m.shape == (FRAMES * PEOPLE, 26, 3)
    for n in range(FRAMES):
        np.testing.assert_allclose(people.points_world_m[2 * n + 1], body(1, n * PERIOD_NS / 1e9), atol=1e-6)
    (health,) = (r for _, _, r in golden.messages(("health",)))
    assert health.latency_ms == {"total": (0.5, 0.75)} and health.drops == {"late": 1}


def test_what_travels_with_it_is_read(golden: Recording) -> None:
    for ours, theirs in zip(golden.rig, circle_rig(), strict=True):
        # written with all digits, so only the making of the rotation may differ by machine
        np.testing.assert_allclose(ours.cam_from_world, theirs.cam_from_world, atol=1e-12)
    assert list(parse(golden.launch_text, "golden", Path("/")).nodes) == [*circle_rig().names, "fusion"]
    assert golden.models == {"toy": "00ff"} and len(golden.sources) == 4
    assert golden.about["session"] == "golden"


def test_fields_that_came_later_have_defaults(golden: Recording) -> None:
    """Each record can be made from the fields that version 1 had: the others must have a default."""
    for topic, _, record in golden.messages():
        assert all(hasattr(record, f.name) for f in fields(type(record))), topic


def test_causes_that_were_sentences_are_read_as_codes_and_told_as_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recording = Recording.open(SENTENCES)
    summary = as_json(recording, summarise(recording))
    assert list(summary["refused"].values()) == list(range(1, len(REFUSED) + 1)), "none is lost, none is joined"
    assert {code_of(key) for key in summary["refused"]} <= set(REFUSALS)
    assert summary["refused"]["outlier_view"] == 2 and summary["refused"]["picture_size/cam4"] == len(REFUSED)
    for node, drops in DROPS.items():
        assert [sentence(key) for key in summary["drops"][node]] == list(drops)
        assert all(code_of(key) in REFUSALS for key in summary["drops"][node])
    for _, _, frames in recording.messages(("framesets",)):
        assert [sentence(key) for key in frames.dropped] == list(DROPPED) and "late/cam1" in frames.dropped
    assert main(["info", str(SENTENCES)]) == 0
    told = capsys.readouterr().out
    assert "refused by fusion: " + ", ".join(f"{s} {n}" for s, n in numbered(REFUSED).items()) in told
    for node, drops in DROPS.items():
        assert f"drops of {node}: " + ", ".join(f"{s} {n}" for s, n in numbered(drops).items()) in told
