"""The whole graph live: four paced cameras on this machine, from pictures to poses, and what was lost on the way.

The sample clip, played forward and back without end, comes at any rate: the files are transcoded once, with every
second frame left out at 30 Hz, so that people move at their own speed; at other rates they move faster or slower.
"""

import argparse
import os
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import av

from kinecast.calibration.formats import load_rig, save_rig
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit
from kinecast.nodes.bus.ports import free_ports
from kinecast.nodes.evaluate.session_quality import measure
from kinecast.nodes.exchange.sample_clip import CAMERAS, FPS_HZ, clip
from kinecast.nodes.graph.records import (
    BusSettings,
    CameraNode,
    DetectorSettings,
    FusionNode,
    Graph,
    RecorderNode,
    Session,
    SourceSettings,
)
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.supervise.supervisor import Supervisor

LOAD_S = 25.0  # engines open and kernels compile
WARM_UP_S = 5.0  # after the common start, for queues and tracks to settle
PRELOAD_S = 20.0  # to decode everything first


def transcode(source: Path, target: Path, fps_hz: float) -> None:
    """Write ``source`` forward and back as ``target`` at ``fps_hz``; written whole."""
    every = max(1, round(FPS_HZ / fps_hz))
    with av.open(str(source)) as container:
        frames = [f.reformat(format="yuv420p") for f in container.decode(video=0)][::every]
    rate = Fraction(fps_hz).limit_denominator(1001)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}.part")
    with av.open(str(part), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for number, frame in enumerate([*frames, *frames[-2:0:-1]]):
            frame.pts, frame.time_base = number, 1 / rate
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    part.replace(target)


def videos(fps_hz: float) -> dict[str, Path]:
    """The clip of one person at ``fps_hz``, forward and back, in the cache."""
    out = {}
    for camera, source in clip(1).videos.items():
        out[camera] = cache_dir() / "bench" / f"single-{fps_hz:g}hz" / f"{camera}.mp4"
        if not out[camera].exists():
            transcode(source, out[camera], fps_hz)
    return out


def graph_of(folder: Path, profile: str, fps_hz: float, preload: bool) -> Graph:
    """Four cameras, fusion and a recorder, paced in real time."""
    save_rig(load_rig(clip(1).calibration), folder / "rig.toml")
    nodes: dict[str, CameraNode | FusionNode | RecorderNode] = {}
    for camera, path in videos(fps_hz).items():
        nodes[camera] = CameraNode(
            source=SourceSettings(kind="video", uri=str(path), loop="repeat", preload=preload),
            detector=DetectorSettings(profile=profile),
            rate_hz=fps_hz,
        )
    return Graph(
        Session("bench", str(folder), str(folder / "rig.toml"), "realtime"),
        {**nodes, "fusion": FusionNode(), "recorder": RecorderNode()},
        BusSettings(base_port=free_ports(len(CAMERAS) + 3)),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which detector, how fast, how long."""
    parser.add_argument("--profile", default="lightweight", help="of the detector")
    parser.add_argument("--fps", type=float, default=30, help="frames per second of each camera")
    parser.add_argument("--seconds", type=float, default=60, help="how long, after warm-up")
    parser.add_argument("--preload", action="store_true", help="frames already decoded, in memory")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print; KinecastError where a node failed."""
    if not 1 <= args.fps <= 1000 or not 1 <= args.seconds <= 3600:
        raise KinecastError("--fps is from 1 to 1000, --seconds from 1 to 3600")
    check_json(args)
    emit(args, play(args.profile, args.fps, args.seconds, args.preload))
    return 0


def play(profile: str, fps_hz: float, seconds: float, preload: bool) -> list[Row]:
    """Play for ``seconds`` after a warm-up; KinecastError where a node failed."""
    folder = Path(tempfile.mkdtemp(prefix="kinecast-bench-"))
    try:
        graph = graph_of(folder, profile, fps_hz, preload)
        outcome = Supervisor(graph).run(timeout_s=LOAD_S + (PRELOAD_S if preload else 0.0) + WARM_UP_S + seconds)
        failed = [f"{n}: {s.reason}" for n, s in outcome.nodes.items() if s.state == "failed"]
        if failed:
            raise KinecastError(f"the graph did not run: {'; '.join(failed)}")
        recording = Recording.open(folder / "session.mcap")
        times = [record.t_set_ns for _, _, record in recording.messages(("framesets",))]
        if not times or times[-1] - times[0] < (WARM_UP_S + seconds) * 1e9:
            raise KinecastError("the graph was not running for long enough: the machine is busy with something else")
        figures = measure(recording, times[-1] - int(seconds * 1e9)).plain()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    where = f"live {profile}, {len(CAMERAS)} × {fps_hz:g} Hz{', frames in memory' if preload else ''}"
    rows = [
        Row(f"{where}: {step}", value["p50"], "ms", note=f"p95 {value['p95']:.1f} ms")
        for step, value in figures["latency_ms"].items()
    ]
    cameras = figures["cameras"].values()
    lost = sum(c["dropped"] for c in cameras)
    total = sum(c["frames"] + c["skipped_at_source"] for c in cameras)
    rows.append(Row(f"{where}: dropped", 100 * lost / max(1, total), "%", aim=1, note=f"{lost} of {total} frames"))
    rows.append(Row(f"{where}: poses", figures["fps"] or 0.0, "/s", note=f"{figures['identities']} identities"))
    return rows
