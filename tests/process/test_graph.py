"""The whole graph with its real nodes on a synthetic world: every frame, rates, drops, exit codes; kills in turn."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.formats import save_rig
from kinecast.engines.records import Poses
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.bus.health_verdict import judge
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import CameraNode, Graph, Node, SourceSettings
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.supervise.supervisor import NodeStatus, Supervisor
from tests.capture.videos import make_video
from tests.children import PATHS, Start, wait_until_gone
from tests.process.graphs import CAMERAS, WAIT_S, assert_nothing_is_left, make

pytestmark = pytest.mark.alone
ENV = os.environ | {"PYTHONPATH": PATHS}
LOST_S = 0.5  # of data that the recorder had received, at most, when it is killed


def poses(path: Path) -> list[Poses]:
    return [record for _, _, record in Recording.open(path).messages(("poses",))]


def test_lossless_every_frame_arrives_and_two_runs_agree(tmp_path: Path) -> None:
    frames = 60
    runs = []
    for turn in ("a", "b"):
        (tmp_path / turn).mkdir()
        g = make(tmp_path / turn, "lossless", frames)
        outcome = Supervisor(g).run(timeout_s=WAIT_S)
        assert (outcome.code, outcome.stopped) == (0, ""), {n.name: n.reason for n in outcome.nodes.values()}
        assert all(n.health is not None and not n.health.drops for n in outcome.nodes.values())
        file = tmp_path / turn / "out/session.mcap"
        recording = Recording.open(file)
        seqs: dict[str, list[int]] = {}
        for topic, stamp, _ in recording.messages():
            seqs.setdefault(topic, []).append(stamp.sequence)
        assert not recording.cut_short and not recording.unreadable
        for camera in CAMERAS:
            assert seqs[f"keypoints/{camera}"] == list(range(frames))
        assert seqs["poses"] == seqs["framesets"] == list(range(frames))
        assert {f"end/{n}" for n in (*CAMERAS, "fusion")} <= set(seqs)
        runs.append(poses(file))
        assert_nothing_left(g, outcome.nodes)
    for a, b in zip(*runs, strict=True):
        assert a.person_ids.tobytes() == b.person_ids.tobytes()
        assert a.points_world_m.tobytes() == b.points_world_m.tobytes(), a.frameset_seq
    assert sum(len(p.person_ids) for p in runs[0]) > frames // 2, "there was somebody to see"


def test_video_that_its_encoder_cut_is_accepted_and_fused(tmp_path: Path) -> None:
    frames = 15
    make(tmp_path, "lossless", frames)
    save_rig(ring_rig(len(CAMERAS), (1088, 640)), tmp_path / "rig.toml")
    cut = np.full((640, 1080, 3), 90, np.uint8)
    make_video(tmp_path / "cut.mp4", frames, fps=20, pictures=[cut] * frames)
    # the detector looks at the stamp alone, so that people walk through grey video
    g = launch_file.load(tmp_path / "launch.yaml")
    g = replace(g, nodes={n: _of_video(node, tmp_path / "cut.mp4") for n, node in g.nodes.items()})
    outcome = Supervisor(g).run(timeout_s=WAIT_S)
    assert (outcome.code, outcome.stopped) == (0, ""), {n.name: n.reason for n in outcome.nodes.values()}
    fused = poses(tmp_path / "out/session.mcap")
    assert len(fused) == frames and sum(len(p.person_ids) for p in fused) > frames // 2
    assert set().union(*(p.cameras for p in fused if (p.views >> 2 & 1).any())) == set(CAMERAS)
    assert not any(camera in reason for camera in CAMERAS for reason in fused[-1].refused)


def _of_video(node: Node, video: Path) -> Node:
    if not isinstance(node, CameraNode):
        return node
    return replace(node, source=SourceSettings("video", str(video), people=node.source.people))


def test_realtime_begins_when_everybody_is_ready(tmp_path: Path) -> None:
    g = make(tmp_path, "realtime", 40)
    outcome = Supervisor(g).run(timeout_s=WAIT_S)
    assert (outcome.code, outcome.stopped) == (0, "")
    recording = Recording.open(tmp_path / "out/session.mcap")
    first: dict[str, int] = {}
    for _, _, view in recording.messages(("keypoints",)):
        first.setdefault(view.camera, view.frame_seq)
    for camera in CAMERAS:
        health = outcome.nodes[camera].health
        assert health is not None and "before_start" not in health.drops, health.drops
        assert first[camera] <= 2  # all were there when the world began, fusion's compiling done


def assert_nothing_left(g: Graph, nodes: dict[str, NodeStatus]) -> None:
    out = Path(g.session.out)
    strange = [f.name for f in out.iterdir() if f.suffix != ".mcap"]
    assert strange == []
    files = list(out.iterdir())
    for file in files:
        file.rename(out / f"record-{file.name}")  # what assert_nothing_is_left takes for a recording
    assert_nothing_is_left(g, [n.pid for n in nodes.values()])
    for file in files:
        (out / f"record-{file.name}").rename(file)


class InTurn:
    """Kills recorder, fusion and a camera with -9, each once all is well again; then stops the graph."""

    def __init__(self) -> None:
        self.victims = ["recorder", "fusion", "cam02"]
        self.killed_ns: dict[str, int] = {}
        self.well_since_ns = 0
        self.on_rate = 0

    def __call__(self, supervisor: Supervisor, nodes: dict[str, NodeStatus]) -> None:
        now = time.monotonic_ns()
        fresh = all(
            n.health is not None and n.health.incarnation == n.restarts and n.state == "running" for n in nodes.values()
        )
        fusion = nodes["fusion"].health
        seen = fusion is not None and fusion.published.get("poses", 0) > 20
        if not (fresh and seen):
            self.well_since_ns = 0
            return
        self.well_since_ns = self.well_since_ns or now
        if now - self.well_since_ns < 2_500_000_000:  # a whole span of the rates in health
            return
        verdicts = [judge(supervisor.graph, n, s.health, now) for n, s in nodes.items()]
        self.on_rate += all(v.alive and v.on_rate is not False for v in verdicts)
        if not self.victims:
            supervisor.stop("seen enough")
            return
        victim = self.victims.pop(0)
        pid = nodes[victim].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.killed_ns[victim] = time.monotonic_ns()
        self.well_since_ns = 0


def test_killed_in_turn_the_graph_recovers_and_the_recording_goes_on(tmp_path: Path) -> None:
    g = make(tmp_path, "realtime", None)
    turn = InTurn()
    supervisor = Supervisor(g)
    outcome = supervisor.run(lambda nodes: turn(supervisor, nodes), WAIT_S)
    assert (outcome.code, outcome.stopped) == (0, "seen enough"), {n: s.reason for n, s in outcome.nodes.items()}
    assert {n: s.restarts for n, s in outcome.nodes.items() if s.restarts} == {"recorder": 1, "fusion": 1, "cam02": 1}
    assert turn.on_rate >= 1, "everything alive and on rate at once"
    recording = Recording.open(tmp_path / "out/session.mcap")
    assert [s.cut_short for s in recording.segments] == [True, False]
    stamps: dict[str, list[tuple[int, int, int, int]]] = {}
    recorder = None
    for topic, s, record in recording.messages():
        stamps.setdefault(topic, []).append((s.segment, s.incarnation, s.sequence, s.t_log_ns))
        if isinstance(record, Health) and record.node == "recorder":
            recorder = record
    assert recorder is not None and recorder.drops == {"restart/fusion": 1, "restart/cam02": 1}
    # the cameras that were not touched: no gap but the outage of the recorder, and that takes little of what it had
    for camera in ("cam01", "cam03"):
        seen = stamps[f"keypoints/{camera}"]
        for (segment, _, a, _), (later, _, b, _) in itertools.pairwise(seen):
            assert b == a + 1 or segment != later
        last_ns = max(t for segment, _, _, t in seen if segment == 0)
        assert (turn.killed_ns["recorder"] - last_ns) * 1e-9 < LOST_S
    # fusion and the camera lived twice, and their counts begin again
    assert {i for _, i, _, _ in stamps["poses"]} == {i for _, i, _, _ in stamps["keypoints/cam02"]} == {0, 1}
    for topic in ("poses", "keypoints/cam02"):
        again = [q for segment, i, q, _ in stamps[topic] if i == 1]
        assert again == list(range(len(again)))
    assert_nothing_left(g, outcome.nodes)


def kinecast(start_child: Start, folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kinecast.nodes", *words]
    return start_child(command, cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_run_and_status_and_a_supervisor_that_is_killed(tmp_path: Path, start_child: Start) -> None:
    g = make(tmp_path, "realtime", None)
    run = kinecast(start_child, tmp_path, "run")
    until = time.monotonic() + WAIT_S
    status: dict[str, Any] = {}
    while not status or not all(n["alive"] and n["valid"] for n in status.values()):
        assert run.poll() is None and time.monotonic() < until, (run.communicate()[1], status)
        status = json.loads(kinecast(start_child, tmp_path, "status", "--json").communicate()[0])
    pids = [n["health"]["pid"] for n in status.values()]
    assert (
        set(status) == {*CAMERAS, "fusion", "recorder", "supervisor"}
        and status["supervisor"]["health"]["pid"] == run.pid
    )
    run.kill()
    run.communicate()
    wait_until_gone(pids)
    assert kinecast(start_child, tmp_path, "status", "--once").wait() == 1
    assert not Recording.open(tmp_path / "out/session.mcap").cut_short, "the recorder heard of it and closed its file"
    assert_nothing_left(g, {})


def test_bad_input_is_one_line_and_status_2(tmp_path: Path, start_child: Start) -> None:
    make(tmp_path, "lossless", 5)
    save_rig(ring_rig(2, (320, 240)), tmp_path / "two.toml")
    for override, said in (
        ("session.rig=two.toml", "camera 'cam03' (nodes.cam03) is in the launch file but not in the rig"),
        ("session.rig=none.toml", "none.toml"),
        ("session.out=launch.yaml/x", "choose a folder of yours"),
        ("bus.host=192.0.2.1", "could read and forge them; keep to 127.0.0.1"),
        ("bus.host=0.0.0.0", "could read and forge them; keep to 127.0.0.1"),
        ("nodes.cam01.sorce.kind=usb", "unknown key 'sorce' in nodes.cam01; did you mean 'source'?"),
    ):
        run = kinecast(start_child, tmp_path, "run", "--set", override)
        error = run.communicate()[1]
        assert run.returncode == 2 and said in error and len(error.splitlines()) == 1


def test_a_camera_whose_file_is_missing_does_not_hold_up_the_others(tmp_path: Path) -> None:
    g = make(tmp_path, "lossless", 10)
    overrides = ["nodes.cam02.source.kind=video", "nodes.cam02.source.uri=none.mp4"]
    g = launch_file.load(tmp_path / "launch.yaml", overrides)
    outcome = Supervisor(g).run(timeout_s=WAIT_S)
    assert (outcome.code, outcome.stopped) == (2, "")
    assert outcome.nodes["cam02"].state == "failed" and "none.mp4" in outcome.nodes["cam02"].reason
    assert {outcome.nodes[n].state for n in ("cam01", "cam03", "fusion", "recorder")} == {"done"}
    assert len(poses(tmp_path / "out/session.mcap")) == 10
