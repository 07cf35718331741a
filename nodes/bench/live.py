"""The whole graph live: four paced cameras on this machine, from pictures to poses, and what was lost on the way.

The sample clip, played forward and back without end, comes at any rate: the files are transcoded once, with every
second frame left out at 30 Hz, so that people move at their own speed; at other rates they move faster or slower.
"""

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from kinecast.calibration.formats import load_rig, save_rig
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit
from kinecast.nodes.bus.messages import CommonRate
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
from kinecast.nodes.supervise.supervisor import Outcome, Supervisor

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


@dataclass(frozen=True, slots=True)
class Case:
    """What is played. whole: with lifter and bodies. preload: frames in memory, so that decoding costs nothing."""

    profile: str
    fps_hz: float
    whole: bool = False
    preload: bool = False

    @property
    def name(self) -> str:
        """For a row."""
        more = (", lifter and bodies" if self.whole else "") + (", frames in memory" if self.preload else "")
        return f"live {self.profile}, {len(CAMERAS)} × {self.fps_hz:g} Hz{more}"


# what the issue of speed is judged by
CASES = {
    "lightweight-30": Case("lightweight", 30, whole=True),
    "lightweight-60": Case("lightweight", 60),
    "performance-25": Case("performance", 25),
}
NOW, BEFORE = "now", "before"


def graph_of(folder: Path, case: Case, way: str = NOW) -> Graph:
    """Four cameras, fusion and a recorder, paced in real time. way: BEFORE has the settings of before, NOW today's."""
    save_rig(load_rig(clip(1).calibration), folder / "rig.toml")
    detector, fusion = DetectorSettings(profile=case.profile), FusionNode()
    session = Session("bench", str(folder), str(folder / "rig.toml"), "realtime")
    if case.whole:
        fusion = replace(fusion, lift="default", body="neutral")
    if way == BEFORE:
        detector = replace(detector, model_every="1", find_every=10)
        fusion, session = replace(fusion, lift_views=None), replace(session, common_rate="off")
    nodes: dict[str, CameraNode | FusionNode | RecorderNode] = {}
    for camera, path in videos(case.fps_hz).items():
        source = SourceSettings(kind="video", uri=str(path), loop="repeat", preload=case.preload)
        nodes[camera] = CameraNode(source=source, detector=detector, rate_hz=case.fps_hz)
    ports = BusSettings(base_port=free_ports(len(CAMERAS) + 3))
    return Graph(session, {**nodes, "fusion": fusion, "recorder": RecorderNode()}, ports)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which detector, how fast, how long."""
    parser.add_argument("--profile", default="lightweight", help="of the detector")
    parser.add_argument("--fps", type=float, default=30, help="frames per second of each camera")
    parser.add_argument("--seconds", type=float, default=60, help="how long, after warm-up")
    parser.add_argument("--preload", action="store_true", help="frames already decoded, in memory")
    parser.add_argument("--whole", action="store_true", help="with lifter and bodies")
    parser.add_argument(
        "--compare", action="store_true", help="the settings of before and now, in turns, and the ratio"
    )
    parser.add_argument("--case", nargs="+", choices=CASES, help="instead of profile and fps")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print; KinecastError where a node failed."""
    if not 1 <= args.fps <= 1000 or not 1 <= args.seconds <= 3600:
        raise KinecastError("--fps is from 1 to 1000, --seconds from 1 to 3600")
    check_json(args)
    cases = [CASES[c] for c in args.case or ()] or [Case(args.profile, args.fps, args.whole, args.preload)]
    rows: list[Row] = []
    for case in cases:
        rows += compared(case, args.seconds) if args.compare else rows_of(case.name, play(case, args.seconds))
    emit(args, rows)
    return 0


@dataclass(frozen=True, slots=True)
class Played:
    """What a run came to. fps_hz: of each camera. figures: as of a session.

    unreported: frames that are missing and that nobody counted. left_out: frames between the moments that all cameras
    took. held: the last word on the rate. model_ms: p50 of a picture in the camera process, from memory to keypoints.
    """

    fps_hz: float
    figures: dict[str, Any]
    unreported: int
    left_out: int
    held: CommonRate
    model_ms: float

    @property
    def cameras_hz(self) -> float:
        """Frames a second that were taken and fused, of the mean camera."""
        cameras = self.figures["cameras"].values()
        used = sum(c["frames"] - c["unused"] for c in cameras)
        return float(used / max(1, sum(c["frames"] for c in cameras)) * (self.figures["fps"] or 0.0))


def play(case: Case, seconds: float, way: str = NOW) -> Played:
    """Play for ``seconds`` after a warm-up; KinecastError where a node failed."""
    folder = Path(tempfile.mkdtemp(prefix="kinecast-bench-"))
    try:
        graph = graph_of(folder, case, way)
        load_s = LOAD_S + (PRELOAD_S if case.preload else 0.0)
        outcome = Supervisor(graph).run(timeout_s=load_s + WARM_UP_S + seconds)
        if failed := _failed(outcome):
            raise KinecastError(f"the graph did not run: {'; '.join(failed)}")
        recording = Recording.open(folder / "session.mcap")
        times = [record.t_set_ns for _, _, record in recording.messages(("framesets",))]
        if not times or times[-1] - times[0] < (WARM_UP_S + seconds) * 1e9:
            raise KinecastError("the graph was not running for long enough: the machine is busy with something else")
        figures = measure(recording, times[-1] - int(seconds * 1e9)).plain()
        orders = [record for _, _, record in recording.messages(("common_rate",))]
        health = {n: s.health for n, s in outcome.nodes.items() if n in CAMERAS and s.health is not None}
        missing = {c: _gaps(recording, c) for c in health}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told = {c: h.drops.get("skipped_at_source", 0) + h.drops.get("left_out", 0) for c, h in health.items()}
    return Played(
        case.fps_hz,
        figures,
        sum(max(0, missing[c] - told[c]) for c in health),
        sum(h.drops.get("left_out", 0) for h in health.values()),
        orders[-1] if orders else CommonRate(0.0, 0, 0.0),
        max((h.latency_ms["detect"][0] for h in health.values() if "detect" in h.latency_ms), default=float("nan")),
    )


def _failed(outcome: Outcome) -> list[str]:
    """The nodes that failed, and why. One that an overloaded machine could not stop in time has played all the same."""
    late = outcome.stopped == "time is up"
    return [
        f"{name}: {node.reason}"
        for name, node in outcome.nodes.items()
        if node.state == "failed" and not (late and "signal 9" in node.reason)
    ]


def _gaps(recording: Recording, camera: str) -> int:
    """Numbers between the first and the last frame of a camera that do not appear."""
    numbers = [record.frame_seq for _, _, record in recording.messages((f"keypoints/{camera}",))]
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


def rows_of(where: str, played: Played) -> list[Row]:
    """The table of one run."""
    figures = played.figures
    rows = [
        Row(f"{where}: {step}", value["p50"], "ms", note=f"p95 {value['p95']:.1f} ms")
        for step, value in figures["latency_ms"].items()
    ]
    cameras = figures["cameras"].values()
    lost = sum(c["dropped"] for c in cameras)
    total = sum(c["frames"] + c["skipped_at_source"] for c in cameras)
    note = f"{lost} of {total} frames"
    note += f"; {played.left_out} left out: {played.held.note}" if played.left_out else ""
    return [
        *rows,
        Row(f"{where}: dropped", 100 * lost / max(1, total), "%", aim=1, note=note),
        Row(f"{where}: frames fused", played.cameras_hz, "/s", note=f"of a camera, which gives {played.fps_hz:g}"),
        Row(f"{where}: not reported", float(played.unreported), "frames", aim=0),
        Row(f"{where}: a picture in its camera", played.model_ms, "ms", note="median, from memory to keypoints"),
        Row(f"{where}: poses", figures["fps"] or 0.0, "/s", note=f"{figures['identities']} identities"),
    ]


def compared(case: Case, seconds: float) -> list[Row]:
    """The settings of before and of now, in turns, twice each for half of the time; and now's rate of before's."""
    turns = [(way, play(case, max(1.0, seconds / 2), way)) for way in (BEFORE, NOW, NOW, BEFORE)]
    rows: list[Row] = []
    for number, (way, played) in enumerate(turns, 1):
        rows += rows_of(f"{case.name}, {way} ({number})", played)
    rate = {way: sum(p.cameras_hz for w, p in turns if w == way) / 2 for way in (BEFORE, NOW)}
    note = f"{rate[NOW]:.1f} of {rate[BEFORE]:.1f} a second and camera"
    ratio = rate[NOW] / max(1e-9, rate[BEFORE])
    return [*rows, Row(f"{case.name}: frames fused, now of before", ratio, "×", note=note)]
