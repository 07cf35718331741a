"""A recording that is fused again keeps what it had: bodies, how the rig is, and the weights that were in force.

On a synthetic session whose clocks are off, and on a piece of the real clip: both with lifter and bodies.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import FrameSet
from kinecast.engines.synth import CameraClock, Noise, ring_rig
from kinecast.engines.timing.solve import Clocks
from kinecast.nodes.bench import replay as bench
from kinecast.nodes.cli import main as cli
from kinecast.nodes.evaluate.camera_holdout import figures, hold_out
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.derive import derived_recording
from kinecast.nodes.recording.diff import compare
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.refine_rig import fuse_again
from kinecast.nodes.reprocess.replay import replay
from kinecast.nodes.reprocess.run_fusion import fuse_sets, fusion_settings
from kinecast.nodes.reprocess.sync_clocks import Timing, write_synced
from tests.nodes.reprocess import clip

OFFSETS_MS = np.array([35.0, 0.0, 20.0])
SETTINGS = FusionNode(body="neutral", lift="shipped")


def counts(recording: Recording) -> Counter[str]:
    return Counter(stamp.topic for stamp, _ in recording.raw())


def payloads(recording: Recording, topic: str) -> list[bytes]:
    return [payload for _, payload in recording.raw((topic,))]


def known_clocks(recording: Recording, offsets_ms: list[float]) -> Timing:
    """Clocks as an estimate would give them."""
    rig, C = recording.rig, len(recording.rig)
    offsets, none = np.array(offsets_ms) / 1e3, np.zeros(C)
    clocks = Clocks(offsets, none, none, none, 0.0, ("",) * C, none, none, np.zeros((C, 0)), 0, 0.0, 0.0)
    return Timing(rig, clocks, np.zeros(C, np.int64), True)


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """5 s of two people before three cameras whose clocks are off."""
    names = ring_rig(3).names
    clocks = {n: CameraClock(round(1e6 * o)) for n, o in zip(names, OFFSETS_MS, strict=True)}
    path = tmp_path_factory.mktemp("skewed") / "a.mcap"
    return Recording.open(bench.record(path, 3, 2, 150, 30.0, Noise(2.0), clocks, SETTINGS))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    clip.skip_where_it_was_not_fetched()
    return clip.session(tmp_path_factory.mktemp("clip") / "a.mcap", 24)


def assert_again_the_same(recording: Recording, folder: Path) -> None:
    """Fused again from its journal, all of it comes out bit for bit."""
    done = replay(recording, folder / "again.mcap")
    assert done.identical and done.bodies.same == done.sets
    again = Recording.open(folder / "again.mcap")
    diffs = compare(recording, again)
    assert {"framesets", "poses", "bodies"} <= {d.topic for d in diffs} and not any(d.parts for d in diffs)
    assert payloads(again, "rig_health") == payloads(recording, "rig_health")


def test_a_session_with_lifter_and_bodies_is_fused_again_bit_for_bit(skewed: Recording, tmp_path: Path) -> None:
    assert counts(skewed)["rig_health"] >= 4  # once a second, in 5 s
    assert_again_the_same(skewed, tmp_path)


def test_sync_keeps_bodies_lifter_and_the_health_of_the_rig(
    skewed: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "synced.mcap"
    assert cli.main(["sync", str(skewed.path), "-o", str(out)]) == 0
    synced = Recording.open(out)
    n = counts(synced)
    assert n["framesets"] == n["poses"] == n["bodies"] > 140 and n["rig_health"] >= 4
    bodies = [r for _, _, r in synced.messages(("bodies",))]
    assert sum(len(b.person_ids) for b in bodies) > 1.8 * n["framesets"]
    assert f"{sum(len(b.person_ids) for b in bodies)} bodies" in capsys.readouterr().out
    before, after = ([r for _, _, r in x.messages(("framesets",))] for x in (skewed, synced))
    assert {(s.lifter, s.body_prior) for s in after} == {(before[0].lifter, before[0].body_prior)}
    assert before[0].lifter.startswith("lifter-") and before[0].body_prior
    np.testing.assert_allclose(after[-1].offsets_ns / 1e6, OFFSETS_MS - OFFSETS_MS.mean(), atol=2.0)
    assert_again_the_same(synced, tmp_path)


def test_sync_says_which_bodies_it_leaves_out(tmp_path: Path) -> None:
    recording = Recording.open(bench.record(tmp_path / "a.mcap", 3, 1, 12, 30.0, Noise(2.0), None, SETTINGS))
    without = write_synced(
        recording, known_clocks(recording, [0, 0, 0]), tmp_path / "b.mcap", ["nodes.fusion.body=off"]
    )
    assert "bodies: left out" in without.note and not Recording.open(tmp_path / "b.mcap").holds("bodies")
    kept = write_synced(recording, known_clocks(recording, [0, 0, 0]), tmp_path / "c.mcap")
    assert kept.note == "" and kept.bodies > 0
    # clocks that were right are left as they are: the same sets, and so the same of everything
    assert not any(d.parts for d in compare(recording, Recording.open(tmp_path / "c.mcap")))


def test_the_real_clip_is_synced_and_fused_again_bit_for_bit(real: Recording, tmp_path: Path) -> None:
    assert_again_the_same(real, tmp_path)
    done = write_synced(real, known_clocks(real, [3.0, -3.0, 1.0, -1.0]), tmp_path / "synced.mcap")
    assert done.sets >= 20 and len(done.people) == 1 and done.bodies > 0.7 * done.sets and done.note == ""
    synced = Recording.open(tmp_path / "synced.mcap")
    assert {r.lifter for _, _, r in synced.messages(("framesets",))} == {
        r.lifter for _, _, r in real.messages(("framesets",))
    }
    (tmp_path / "again.mcap").unlink()
    assert_again_the_same(synced, tmp_path)


@pytest.mark.parametrize("which", ["skewed", "real"])
def test_another_rig_replaces_what_fusion_said_and_nothing_else(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recording: Recording = request.getfixturevalue(which)
    same, moved = tmp_path / "same.mcap", tmp_path / "moved.mcap"
    fuse_again(recording, recording.rig, same)
    assert [(s.topic, p) for s, p in Recording.open(same).raw(("keypoints", "source", "end", "framesets"))] == [
        (s.topic, p) for s, p in recording.raw(("keypoints", "source", "end", "framesets"))
    ]
    assert not any(d.parts for d in compare(recording, Recording.open(same)))
    assert payloads(Recording.open(same), "rig_health") == payloads(recording, "rig_health")
    rig = recording.rig
    shift = np.eye(4)
    shift[0, 3] = 0.01
    first = replace(rig.cameras[0], cam_from_world=shift @ rig.cameras[0].cam_from_world)
    other = replace(rig, cameras=(first, *rig.cameras[1:]))
    fuse_again(recording, other, moved)
    again = Recording.open(moved)
    assert again.about["made_by"] == "refine" and again.about["recording"] == recording.about["recording"]
    assert counts(again) == counts(recording) and len(payloads(again, "bodies")) > 0
    assert any(d.parts for d in compare(recording, again) if d.topic == "poses")
    # and that is what the other rig gives
    assert replay(again).identical


def test_a_camera_is_held_out_with_the_lifter_that_was_in_force(skewed: Recording, tmp_path: Path) -> None:
    settings = replace(fusion_settings(skewed), body="off")
    camera = skewed.rig.names[0]
    fused = list(fuse_sets(skewed, settings, change=lambda s, v: (s, {c: x for c, x in v.items() if c != camera})))
    named = [r.lifter for _, _, r in skewed.messages(("framesets",))]
    assert [f.frameset.lifter for f in fused] == named and all(f.bodies is None for f in fused)
    assert not any(f.poses.detections[:, 0].max(initial=-1) >= 0 for f in fused)
    # two views are left of three, and a lifter that fills what they do not see
    assert any(f.poses.lifted.any() for f in fused)
    assert figures(hold_out(skewed))["all"]["n"] > 0
    gone = renamed(skewed, tmp_path / "gone.mcap", "gone-1@00", "test")
    with pytest.raises(KinecastError, match=r"was fused with the lifter gone-1@00 and here is lifter-.*its weights"):
        hold_out(gone)


def renamed(recording: Recording, path: Path, lifter: str, made_by: str) -> Recording:
    """The same people without bodies, whose sets name another lifter."""
    with path.open("wb") as file:
        writer = derived_recording(file, recording, made_by, recording.launch_text, str(path))
        for _, stamp, record in recording.messages(("keypoints", "framesets", "poses")):
            writer.record(stamp, replace(record, lifter=lifter) if isinstance(record, FrameSet) else record)
        writer.finish()
    return Recording.open(path)


def test_recordings_of_the_sync_that_named_no_lifter_are_fused_again(skewed: Recording, tmp_path: Path) -> None:
    """They were refused, though it was the lifter of their settings that had made them."""
    done = replay(renamed(skewed, tmp_path / "old.mcap", "", "sync"))
    assert done.identical and done.sets > 140
    with pytest.raises(KinecastError, match="was fused with the lifter none"):
        replay(renamed(skewed, tmp_path / "other.mcap", "", "recorder"))
