"""What was fused once is fused again from its journal, bit for bit; what is not there is named."""

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.formats import native
from kinecast.engines.records import Poses
from kinecast.engines.synth import Noise
from kinecast.nodes.bench import replay as session
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording import frame_sets
from kinecast.nodes.recording.diff import compare
from kinecast.nodes.recording.file import RIG, About, Recording, RecordingWriter
from kinecast.nodes.reprocess import replay as replay_module
from kinecast.nodes.reprocess.replay import replay
from tests.nodes.reprocess.scene import RIGGED, Change, Live

FRAMES = 24


def lossless(path: Path, change: Change = lambda topic, record: record) -> Recording:
    """A session of two people that was never late."""
    session = Live(path, change)
    core = FusionCore(RIGGED, FusionNode())
    session.fuse(core, range(FRAMES))
    for name in RIGGED.names:
        session.give(core.handle(0, f"end/{name}", None), 0)
    session.close()
    return Recording.open(path)


def test_it_is_bit_identical_and_again_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = lossless(tmp_path / "a.mcap")
    seen = [len(r.person_ids) for _, _, r in recording.messages(("poses",))]
    assert max(seen) == 2  # there is something to compare
    out = tmp_path / "again.mcap"
    assert cli.main(["replay", str(tmp_path / "a.mcap"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"bit-identical: {FRAMES} of {FRAMES} sets" in said and "× real time" in said
    again = Recording.open(out)
    diffs = compare(recording, again)
    assert len(diffs) == 6 and not any(d.parts for d in diffs)
    assert again.rig.names == recording.rig.names and again.launch_text == recording.launch_text
    # and that one can be replayed too
    assert replay(again).identical


def test_a_forged_number_of_a_set_is_counted_and_not_listed(tmp_path: Path) -> None:
    """It took 5.9 GB for a list of all the numbers in between."""

    def forge(topic: str, record: Any) -> Any:
        return replace(record, seq=10**15) if topic == "framesets" and record.seq == FRAMES - 1 else record

    recording = lossless(tmp_path / "forged.mcap", forge)
    tracemalloc.start()
    done = replay(recording)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.missing["framesets"] == 10**15 - FRAMES + 1 and done.first_missing["framesets"] == FRAMES - 1
    assert not done.identical and peak < 100e6


def test_sets_that_did_not_wait_for_a_late_view_are_repeated_as_they_were(tmp_path: Path) -> None:
    session = Live(tmp_path / "late.mcap")
    session.fuse(FusionCore(RIGGED, FusionNode(), pace="realtime"), range(FRAMES), late=(7, 8, 15))
    session.close()
    recording = Recording.open(tmp_path / "late.mcap")
    sets = [r for _, _, r in recording.messages(("framesets",))]
    assert {s.reason for s in sets} >= {"complete", "deadline"}
    done = replay(recording)
    assert done.sets == len(sets) and done.identical


def test_a_restarted_fusion_begins_anew(tmp_path: Path) -> None:
    session = Live(tmp_path / "restart.mcap")
    session.fuse(FusionCore(RIGGED, FusionNode(), 0), range(10))
    session.fuse(FusionCore(RIGGED, FusionNode(), 1), range(10, 20), life=1)
    session.close()
    recording = Recording.open(tmp_path / "restart.mcap")
    assert {r.run_index for _, _, r in recording.messages(("framesets",))} == {0, 1}
    done = replay(recording)
    assert done.sets >= 18 and done.identical


def test_a_difference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def nudge(topic: str, record: Any) -> Any:
        if isinstance(record, Poses) and record.frameset_seq == 13:
            return replace(record, points_world_m=record.points_world_m + np.float32(0.002))
        return record

    lossless(tmp_path / "a.mcap", nudge)
    assert cli.main(["replay", str(tmp_path / "a.mcap")]) == 1
    said = capsys.readouterr().out
    assert f"bit-identical: {FRAMES - 1} of {FRAMES} sets" in said
    assert "they part at set 13: points_world_m; up to 3.46" in said  # 2 mm on each axis: 2 · √3


def test_missing_messages_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lose(topic: str, record: Any) -> Any:
        gone = (topic == "keypoints/cam2" and record.frame_seq in (5, 6)) or (topic == "framesets" and record.seq == 20)
        return None if gone else record

    lossless(tmp_path / "a.mcap", lose)
    assert cli.main(["replay", str(tmp_path / "a.mcap")]) == 1
    said = capsys.readouterr().out
    assert "missing: 2 of keypoints/cam2, the first is number 5" in said
    assert "missing: 1 of framesets, the first is number 20" in said


def test_another_setting_is_not_a_replay_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lossless(tmp_path / "a.mcap")
    out = tmp_path / "b.mcap"
    command = ["replay", str(tmp_path / "a.mcap"), "--out", str(out), "--set", "nodes.fusion.max_people=1"]
    assert cli.main(command) == 0
    assert "not a replay of the same graph: nodes.fusion.max_people=1" in capsys.readouterr().out
    assert "max_people: 1" in Recording.open(out).launch_text
    assert cli.main([*command[:-1], "nodes.fusion.max_peeple=1"]) == 2
    assert "max_people" in capsys.readouterr().err


def test_what_cannot_be_replayed_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lossless(tmp_path / "a.mcap", lambda topic, record: None if topic == "framesets" else record)
    with (tmp_path / "b.mcap").open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.attach(RIG, native.dumps(RIGGED).encode())
        writer.finish()
    with (tmp_path / "c.mcap").open("wb") as file:
        RecordingWriter(file, About()).finish()
    for name, reason in {"a": "no journal", "b": "no launch file is attached", "c": "no rig is attached"}.items():
        assert cli.main(["replay", str(tmp_path / f"{name}.mcap"), "--out", str(tmp_path / "out.mcap")]) == 2
        said = capsys.readouterr().err
        assert reason in said and said.count("\n") == 1
        assert not (tmp_path / "out.mcap").exists()


def test_memory_does_not_grow_with_the_length_of_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept to join messages is bounded (here by few frames, so that both sessions are long against it)."""
    monkeypatch.setattr(frame_sets, "KEEP_FRAMES", 32)
    monkeypatch.setattr(replay_module, "warm_up_shown", lambda *_: None)  # its cores come and go alike
    peaks = []
    for n, frames in enumerate((30, 200, 500)):  # the first loads what is loaded once
        recording = Recording.open(session.record(tmp_path / f"{n}.mcap", 3, 1, frames, 30.0, Noise(2.0)))
        gc.collect()
        tracemalloc.start()
        done = replay(recording)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert done.identical and done.sets >= frames
    # a set with its keypoints and poses is 8 kB, so that keeping them all would be 2.4 MB more; what clocks and rig are
    # learnt from fills its windows in the meantime
    assert peaks[2] - peaks[1] < 0.25 * 300 * 8e3
