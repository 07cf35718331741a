"""Another lifter between two frame sets: nobody is lost, the journal says which, and replay follows it bit for bit."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.formats import native
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.lifter import load_lifter
from kinecast.engines.models.promoted import LIFTERS as store
from kinecast.engines.records import FrameSet, Keypoints2D
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.engines.timing.solve import Clocks
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.reload import ask, on_request, renew
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, RIG, About, Recording, RecordingWriter, Stamp
from kinecast.nodes.reprocess.replay import replay
from kinecast.nodes.reprocess.sync_clocks import Timing, write_synced
from tests.engines.lift.toy_lifter import write
from tests.nodes.fusion.scene import only
from tests.nodes.oracle import Oracle

RIGGED = ring_rig(4)
SETTINGS = FusionNode(lift="default")
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def lifters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of two promoted toys, the second in force."""
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    return [store.install(write(tmp_path / f"{n}.safetensors", channels=n), "", "", "").name for n in (8, 12)]


def session(path: Path, first: str, after: int, people: int = 2, frames: int = 45) -> Recording:
    """Fused with the lifter ``first``, and after so many sets with the one in force."""
    graph = Graph(
        Session("live", "/out", "/rig.toml", "lossless"),
        {**{c: CameraNode(camera=c, source=SourceSettings(uri="/none")) for c in RIGGED.names}, "fusion": SETTINGS},
    )
    core = FusionCore(RIGGED, SETTINGS, lifter=load_lifter(str(store.by_name(first))))
    count: Counter[str] = Counter()
    edit = only(RIGGED.names[0])  # from 1 s on: the lifter alone keeps people in the room
    with path.open("wb") as file:
        writer = RecordingWriter(file, About("id", "live"))
        writer.attach(RIG, native.dumps(RIGGED).encode())
        writer.attach(LAUNCH, dump(graph).encode())

        def put(topic: str, record: Any) -> None:
            writer.record(Stamp(topic, count[topic]), record)
            count[topic] += 1

        for view in messages(World(people=people), RIGGED, frames=frames, noise=Noise(2.0)):
            if count["framesets"] == after and view.camera == RIGGED.names[0]:
                assert renew(core.lifting, SETTINGS)
            seen = edit(view.t_capture_ns / 1e9, view)
            put(f"keypoints/{view.camera}", seen)
            for out in core.handle(0, f"keypoints/{view.camera}", seen):
                put(out.topic, out.record)
        for name in RIGGED.names:
            for out in core.handle(0, f"end/{name}", End(name, frames, 0, "")):
                put(out.topic, out.record)
        writer.finish()
    return Recording.open(path)


def test_the_journal_names_them_and_replay_follows_bit_for_bit(tmp_path: Path, lifters: list[str]) -> None:
    recording = session(tmp_path / "a.mcap", lifters[0], after=20)
    named = [r.lifter for _, _, r in recording.messages(("framesets",)) if isinstance(r, FrameSet)]
    assert named == [lifters[0]] * 20 + [lifters[1]] * 25
    done = replay(recording)
    assert done.identical and done.sets == 45
    # as it does when neither is in force any more
    store.roll_back()
    assert replay(recording).identical
    # it was the lifters that were followed: all the way with one of them something else comes out
    alone = replay(recording, overrides=[f"nodes.fusion.lift={store.by_name(lifters[0])}"])
    assert alone.diff.parts and not alone.missing


def test_sync_takes_up_the_lifters_that_were_in_force(tmp_path: Path, lifters: list[str]) -> None:
    recording = session(tmp_path / "a.mcap", lifters[0], after=20)
    none = np.zeros(4)
    clocks = Clocks(none, none, none, none, 0.0, ("",) * 4, none, none, np.zeros((4, 0)), 0, 0.0, 0.0)
    timing = Timing(RIGGED, clocks, np.zeros(4, np.int64), True)
    write_synced(recording, timing, tmp_path / "synced.mcap")
    synced = Recording.open(tmp_path / "synced.mcap")
    named = [r.lifter for _, _, r in synced.messages(("framesets",)) if isinstance(r, FrameSet)]
    # a lossless set waits for the frame after it, so the change may come a set or two before where it was
    first = named.count(lifters[0])
    assert 18 <= first <= 20 and named == [lifters[0]] * first + [lifters[1]] * (45 - first)
    assert replay(synced).identical
    store.roll_back()
    (store.folder() / "promoted-2.safetensors").unlink()
    with pytest.raises(KinecastError, match=f"was fused with the lifter {lifters[1]} and here is {lifters[0]}"):
        write_synced(recording, timing, tmp_path / "again.mcap")
    assert not (tmp_path / "again.mcap").exists()


def test_a_replay_asks_for_the_weights_that_it_needs_and_for_no_others(tmp_path: Path, lifters: list[str]) -> None:
    recording = session(tmp_path / "a.mcap", lifters[0], after=12, frames=12)
    first, second = (store.folder() / f"promoted-{n}.safetensors" for n in (1, 2))
    second.write_bytes(second.read_bytes()[:1000])  # in force, and not of this recording
    assert replay(recording).identical
    second.unlink()
    assert replay(recording).identical
    first.write_bytes(first.read_bytes()[:1000])
    with pytest.raises(KinecastError, match=f"was fused with the lifter {lifters[0]} and here is .*: give its weights"):
        replay(recording)


def test_people_and_identities_stay_even_in_one_view() -> None:
    world = World(people=1, seed=3)
    first, second = (Oracle(RIGGED, world, seed=s) for s in (0, 1))
    second.name = "oracle-2"
    edit = only("cam01")
    core, poses, sets = FusionCore(RIGGED, FusionNode(), lifter=first), [], []
    for view in messages(world, RIGGED, frames=75, noise=Noise(3.0)):
        if view.frame_seq == 45 and view.camera == RIGGED.names[0]:
            assert core.lifting is not None
            core.lifting.offer(second)
        seen: Keypoints2D = edit(view.t_capture_ns / 1e9, view)
        for out in core.handle(0, f"keypoints/{view.camera}", seen):
            {"poses": poses, "framesets": sets}.get(out.topic, []).append(out.record)
    # the set of frame 44 is closed by the next frame
    assert [s.lifter for s in sets] == ["oracle-1"] * 44 + ["oracle-2"] * (len(sets) - 44)
    late = [p for p in poses if p.t_set_ns > 0.5e9]
    assert {tuple(p.person_ids.tolist()) for p in late} == {(1,)}
    # alone from 1.0 s on, swapped at 1.5 s: no jump beyond what a new pair of errors (6 % of 5 m) makes
    roots = np.array([p.points_world_m[0, 19] for p in poses if p.t_set_ns > 1.0e9], np.float64)
    assert np.linalg.norm(np.diff(roots, axis=0), axis=1).max() < 3 * 0.06 * 5.0
    # one until then, the other from then on, at once
    assert first.steps[-1][0] < sets[44].t_set_ns == second.steps[0][0]


def test_a_damaged_file_changes_nothing_and_is_named(
    tmp_path: Path, lifters: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    core = FusionCore(RIGGED, SETTINGS)
    assert core.lifter == lifters[1]
    file = store.folder() / "promoted-2.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert not renew(core.lifting, SETTINGS) and not renew(None, FusionNode())
    assert core.lifting is not None and core.lifting.renewed() == lifters[1]
    assert "is damaged, it is not what was promoted: `kinecast train rollback` goes back" in caplog.text
    assert "lift is off" in caplog.text


def test_a_signal_asks_for_it(lifters: list[str]) -> None:
    core = FusionCore(RIGGED, SETTINGS, lifter=load_lifter(str(store.by_name(lifters[0]))))
    stage = core.lifting
    assert stage is not None
    offered = threading.Event()
    offer = stage.offer
    stage.offer = lambda lifter: (offer(lifter), offered.set())[0]  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGHUP)
    try:
        with on_request(stage, SETTINGS):
            assert core.lifter == lifters[0]
            os.kill(os.getpid(), signal.SIGHUP)
            assert offered.wait(WAIT_S)
            assert stage.name == lifters[0] and stage.renewed() == lifters[1]
        os.kill(os.getpid(), signal.SIGHUP)  # one that comes late kills nobody
    finally:
        signal.signal(signal.SIGHUP, before)


# 0 here: this process, whose number every worker of pytest has another of
@pytest.mark.parametrize(("pid", "why"), [(-1, "is -1"), (1, "is 1"), (0, "another program")])
def test_nobody_else_is_signalled_whatever_pid_a_message_names(
    pid: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    with pytest.raises(KinecastError, match=why):
        ask("fusion", pid or os.getpid())
    with pytest.raises(ProcessLookupError):
        ask("fusion", 1 << 40)
