"""``info``, ``recover`` and ``diff``, as a user calls them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.nodes.bus.messages import Health
from kinecast.nodes.cli import main as cli
from kinecast.nodes.recording.diff import differing, distance_mm, stable_fields
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp
from kinecast.nodes.recording.paths import segment_path
from kinecast.nodes.recording.recover import recover
from kinecast.nodes.recording.summary import as_json, summarise
from tests.nodes.recording.scene import circle_rig, frameset, keypoints, poses, write_scene


def test_info_counts_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scene(tmp_path / "a.mcap", frames=13, people=2)
    assert cli.main(["info", str(tmp_path / "a.mcap"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["topics"]["keypoints/cam3"]["messages"] == 13
    assert told["topics"]["poses"]["rate_hz"] == pytest.approx(60, rel=1e-3)
    assert told["cameras"]["cam1"] | {"source": "scene"} == told["cameras"]["cam1"]
    assert told["cameras"]["cam1"]["detections"] == 26 and told["cameras"]["cam1"]["size_px"] == [1280, 720]
    assert told["frame_sets"] == {"count": 13, "reasons": {"complete": 13}, "epochs": [0]}
    assert told["people"] == {"0": 13, "1": 13}
    assert told["rig"]["cameras"] == list(circle_rig().names)
    assert told["cut_short"] is False and told["duration_s"] == pytest.approx(12 / 60, rel=1e-3)
    assert cli.main(["info", str(tmp_path / "a.mcap")]) == 0
    assert "people: 2 (id in sets: 0 in 13, 1 in 13)" in capsys.readouterr().out


def test_info_counts_what_was_lost(tmp_path: Path) -> None:
    rig = circle_rig()
    path = tmp_path / "gaps.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        for life, sequences in enumerate(((0, 1, 4, 5), (0, 2))):
            for n in sequences:
                writer.record(Stamp("keypoints/cam1", n, incarnation=life), keypoints(rig, 0, n))
        writer.record(Stamp("health/fusion", 0), Health("fusion", "fusion", 1, "running", 0, drops={"late": 4}))
        writer.finish()
    recording = Recording.open(path)
    told = as_json(recording, summarise(recording))
    assert told["topics"]["keypoints/cam1"] == {
        "messages": 6, "bytes": told["topics"]["keypoints/cam1"]["bytes"], "rate_hz": None, "lost": 3, "lives": 2
    }  # fmt: skip
    assert told["drops"] == {"fusion": {"late": 4}} and told["rig"] is None and told["outages_s"] == []


def test_info_says_how_long_nothing_was_recorded(tmp_path: Path) -> None:
    rig = circle_rig()
    first = tmp_path / "a.mcap"
    for number, times in enumerate(((1, 2), (3.5, 4))):
        with segment_path(first, number).open("wb") as file:
            writer = RecordingWriter(file, About("one", segment=number))
            for t in times:
                writer.record(Stamp("poses", round(t * 2), round(t * 1e9)), poses(rig, 0))
            writer.finish()
    summary = summarise(Recording.open(first))
    assert summary.outages_s == [1.5]
    later = summarise(Recording.open(segment_path(first, 1)))
    assert later.topics["poses"].lost == 0  # what came before it is in the other segment


def test_recover_joins_segments_and_says_what_was_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "session.mcap"
    write_scene(first, frames=14, finish=False, about=About("one", "walk"))
    first.write_bytes(first.read_bytes()[:-700])
    write_scene(segment_path(first, 1), frames=5, about=About("one", "walk", segment=1))
    readable = [(s.topic, s.sequence, p) for s, p in Recording.open(first).raw()]
    assert cli.main(["recover", str(first)]) == 0
    said = capsys.readouterr().out
    assert "session.mcap: cut short" in said and f"{len(readable)} messages of 2 segment(s)" in said
    got = Recording.open(tmp_path / "session-recovered.mcap")
    assert not got.cut_short and len(got.segments) == 1
    assert [(s.topic, s.sequence, p) for s, p in got.raw()] == readable
    assert got.rig.names == circle_rig().names and got.about["session"] == "walk"
    # the next one leaves it alone
    assert cli.main(["recover", str(first)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_recover_of_nothing_says_so_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "session.mcap"
    for content in (b"", b"\x89MC", b"\x89MCAP0\r\n"):
        first.write_bytes(content)
        assert cli.main(["recover", str(first)]) == 2
        assert "not one message is left in it" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == [first]


def test_recover_copies_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "new.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.write(Stamp("faces", 0, version=1), b"abc")
        writer.write(Stamp("poses", 1, version=9), b"def")
        writer.finish()
    recover(Recording.open(path), tmp_path / "copy.mcap")
    copied = [(s.topic, s.version, p) for s, p in Recording.open(tmp_path / "copy.mcap").raw()]
    assert copied == [("faces", 1, b"abc"), ("poses", 9, b"def")]


def test_diff_of_the_same_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scene(tmp_path / "a.mcap", frames=8)
    write_scene(tmp_path / "b.mcap", frames=8, flush_every=2)
    assert cli.main(["diff", str(tmp_path / "a.mcap"), str(tmp_path / "b.mcap")]) == 0
    assert capsys.readouterr().out.endswith("no difference\n")


def test_diff_names_the_first_difference_and_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = write_scene(tmp_path / "a.mcap", frames=8)
    with (tmp_path / "b.mcap").open("wb") as file:
        writer = RecordingWriter(file, About())
        for n in range(8):
            for c, name in enumerate(rig.names):
                if (c, n) != (2, 6):
                    writer.record(Stamp(f"keypoints/{name}", n), keypoints(rig, c, n))
            writer.record(Stamp("framesets", n), replace(frameset(rig, n), decided_ns=n + 1))
            moved = poses(rig, n)
            if n in (5, 7):
                # n mm along y
                moved = replace(moved, points_world_m=moved.points_world_m + np.float32([0, n * 1e-3, 0]))
            writer.record(Stamp("poses", n), moved)
        writer.finish()
    assert cli.main(["diff", str(tmp_path / "a.mcap"), str(tmp_path / "b.mcap")]) == 1
    said = capsys.readouterr().out
    assert "keypoints/cam3: 7 the same, 1 only in the first" in said
    assert "framesets: 8 the same" in said  # when it was decided is not compared
    line = next(
        x for x in said.splitlines() if x.startswith("poses: 6 the same, 2 different (points_world_m 2), up to ")
    )
    # float32 of coordinates near 1 m is good to 0.1 µm
    assert float(line.split()[-3]) == pytest.approx(7, abs=1e-3)
    assert said.endswith("they part at keypoints/cam3, frame 6: only in the first\n")


def test_volatile_fields_are_left_out() -> None:
    a = poses(circle_rig(), 3)
    assert "t_solved_ns" not in stable_fields(type(a)) and "refused" in stable_fields(type(a))
    assert differing(a, replace(a, t_solved_ns=5, step_ns={"sync": 3})) == []
    nan = np.full_like(a.confidence, np.nan)
    assert differing(replace(a, residual_px=nan), replace(a, residual_px=nan.copy())) == []
    assert differing(a, replace(a, confidence=nan)) == ["confidence"]


def test_distances_are_between_the_same_people() -> None:
    a = poses(circle_rig(), 3, people=2)
    b = replace(a, person_ids=a.person_ids[::-1].copy(), points_world_m=a.points_world_m[::-1] + np.float32(0.003))
    # a shift of 3 mm on each axis; float32 of coordinates near 1 m is good to 0.1 µm
    assert distance_mm(a, b) == pytest.approx(3 * np.sqrt(3), abs=1e-3)
    assert distance_mm(a, replace(a, person_ids=a.person_ids + 10)) == 0.0


def test_a_field_that_came_later_is_not_held_against_an_older_recording() -> None:
    now = poses(circle_rig(), 4, people=2)
    now = replace(now, bias_sd_m=np.full(now.derived.shape, 0.01, np.float32))
    before = replace(now, bias_sd_m=np.zeros((0, 0), np.float32))
    assert differing(before, now) == differing(now, before) == []
    assert differing(now, replace(now, bias_sd_m=now.bias_sd_m * np.float32(2))) == ["bias_sd_m"]
    assert differing(before, replace(now, confidence=now.confidence * np.float32(0.5))) == ["confidence"]
