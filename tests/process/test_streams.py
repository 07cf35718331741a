"""Four RTSP cameras through the whole graph: fused from the second second on, through an outage of one of them.

``pytest -s`` prints the shares: before the outage, and in the ten seconds after.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kinecast.calibration.formats import save_rig
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.recording.file import Recording
from tests.capture.rtsp import RtspServer
from tests.children import PATHS
from tests.nodes.bus.graphs import free_base_port
from tests.process.graphs import WAIT_S

FPS = 15  # four encoders, four decoders and a graph on two cores
CAMERAS = ("cam01", "cam02", "cam03", "cam04")
SECOND = 1_000_000_000
PASSWORD, LOGIN = "s3cret-t0ken", "me:${CAM_PASSWORD}"
SHARE = 0.98


def write_launch(folder: Path, servers: dict[str, RtspServer]) -> Path:
    save_rig(ring_rig(len(CAMERAS), (320, 240)), folder / "rig.toml")
    cameras = "".join(
        f"  {c}: {{kind: camera, source: {{uri: '{s.url('live', LOGIN)}'}}}}\n" for c, s in servers.items()
    )
    (folder / "launch.yaml").write_text(
        f"version: 1\nsession: {{out: out, name: streams}}\nbus: {{base_port: {free_base_port(8)}}}\n"
        f"defaults: {{camera: {{detector: {{profile: synthetic}}, rate_hz: {FPS}}}}}\n"
        f"nodes:\n{cameras}  fusion: {{kind: fusion}}\n  recorder: {{kind: recorder}}\n"
    )
    return folder / "launch.yaml"


def frames_and_fused(recording: Recording) -> tuple[dict[str, dict[int, int]], dict[str, set[int]]]:
    """When each camera's frames were grabbed, by their number, and which of them were fused."""
    frames: dict[str, dict[int, int]] = {c: {} for c in CAMERAS}
    fused: dict[str, set[int]] = {c: set() for c in CAMERAS}
    for topic, _, record in recording.messages(("keypoints", "framesets")):
        if topic == "framesets":
            for camera, seq in zip(record.cameras, record.frame_seqs.tolist(), strict=True):
                fused[camera].add(seq)
        else:
            frames[record.camera][record.frame_seq] = record.t_grab_ns
    return frames, fused


@pytest.mark.timeout(300)
def test_streams_are_fused_and_one_that_was_away_is_back_soon(tmp_path: Path) -> None:
    live = {"cam04": {"b_frames": 2, "audio": True}}
    servers = {c: RtspServer({"live": live.get(c, {})}, fps=FPS, user="me", password=PASSWORD) for c in CAMERAS}
    log, launch = tmp_path / "log.txt", write_launch(tmp_path, servers)
    try:
        with log.open("w") as out:
            run = subprocess.Popen(
                [sys.executable, "-m", "kinecast.nodes", "run", str(launch), "--duration", "18"],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": PATHS, "CAM_PASSWORD": PASSWORD},
            )
            ready_ns = wait_for_fusion(run, log)
            time.sleep(3.0)
            servers["cam02"].kill()
            killed_ns = time.monotonic_ns()
            time.sleep(1.5)
            servers["cam02"].start()
            back_ns = time.monotonic_ns()
            assert run.wait(WAIT_S) == 0, log.read_text()
    finally:
        for server in servers.values():
            server.kill()
    recording = Recording.open(tmp_path / "out/session.mcap")
    frames, fused = frames_and_fused(recording)
    again_ns = min(t for t in frames["cam02"].values() if t > back_ns)
    assert again_ns - back_ns < 2 * SECOND + SECOND  # two, and the second in which a busy machine opens it
    last_ns = max(max(f.values()) for f in frames.values()) - SECOND  # the last are fused when it is over
    last_ns = min(last_ns, again_ns + 10 * SECOND)
    settled = {c: [(ready_ns + SECOND, last_ns)] for c in CAMERAS}
    settled["cam02"] = [(ready_ns + SECOND, killed_ns - SECOND // 2), (again_ns + SECOND, last_ns)]
    for camera, spans in settled.items():
        for begin, end in spans:
            seen = [seq for seq, t in frames[camera].items() if begin < t < end]
            assert len(seen) > FPS
            share = sum(seq in fused[camera] for seq in seen) / len(seen)
            print(f"{camera}: {share:.1%} of {len(seen)} frames fused from {(begin - ready_ns) / SECOND:.1f} s on")
            assert sum(seq in fused[camera] for seq in seen) >= SHARE * len(seen) - 1, (camera, begin, end)
    reports = [r for _, _, r in recording.messages(("source",)) if isinstance(r, SourceReport)]
    assert {r.camera for r in reports if r.timing.startswith("stream time")} == set(CAMERAS)
    told = log.read_text() + recording.launch_text + "".join(r.uri for r in reports)
    assert PASSWORD not in told and PASSWORD.encode() not in recording.path.read_bytes()


def wait_for_fusion(run: "subprocess.Popen[bytes]", log: Path) -> int:
    """When the graph fuses: monotonic ns. Fusion may have to compile first."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and run.poll() is None:
        if "fusion: state running" in log.read_text():
            return time.monotonic_ns()
        time.sleep(0.1)
    raise AssertionError(log.read_text())
