"""The main job on the real clip: the whole graph, then the video, the exports and the figures, in one folder."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.capture.decode import VideoDecoder
from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import whole_folder
from kinecast.capture.progress import progress
from kinecast.nodes.bus.messages import KERNELS, KERNELS_THERE
from kinecast.nodes.bus.ports import free_ports
from kinecast.nodes.evaluate.session_quality import Figures, measure
from kinecast.nodes.exchange import sample_clip
from kinecast.nodes.exchange.export.formats import FORMATS, Choices, write
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import (
    BusSettings,
    CameraNode,
    DetectorSettings,
    FusionNode,
    Graph,
    Node,
    Pace,
    RecorderNode,
    Session,
    SourceSettings,
)
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.paths import next_path
from kinecast.nodes.reprocess.refine_rig import Refinement, refine_in_place
from kinecast.nodes.supervise.supervisor import NodeStatus, Outcome, Supervisor

RECORDING, VIDEO, SUMMARY, LOG = "session.mcap", "demo.mp4", "summary.json", "nodes.log"
EXPORTS = ("trc", "c3d", "csv", "smpl", "bvh", "glb", "mot")
MIN_FRAMES = 10  # a person seen for less gets no file

Draw = Callable[[Recording, Path, Callable[[int, int], None]], list[str]]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user wants of a demo. people: 1 or 2. out: the folder of the results. refine: the rig, from people.

    body: as a fusion node's.
    """

    people: int = 1
    profile: str = "performance"
    realtime: bool = False
    out: Path = Path("out/demo")
    refine: bool = False
    body: str = "neutral"


@dataclass(frozen=True, slots=True)
class Result:
    """The files of a demo, all in its folder, and its figures. notes: lines for the user. seconds: by step."""

    recording: Path
    video: Path | None
    exports: tuple[Path, ...]
    summary: Path
    figures: Figures
    notes: tuple[str, ...]
    seconds: dict[str, float]


def run_demo(ask: DemoOptions, console: Console, draw: Draw | None = None) -> Result:
    """Run it all. What was in the folder is replaced only once everything is done.

    draw: writes the video of a recording to a path, calls back with frames done and to do, and returns lines for the
    user; None: no video.
    KinecastError where the clip or a model is missing, a node failed, or the folder holds something else.
    """
    guard(ask.out)
    sample = sample_clip.clip(ask.people)
    with whole_folder(ask.out.resolve()) as folder:
        graph = write_launch(ask, sample, folder)
        totals = {name: VideoDecoder(str(path), name).frames or 0 for name, path in sample.videos.items()}
        began = time.monotonic()
        outcome = _supervise(graph, totals, console, folder / LOG)
        seconds = {"graph": time.monotonic() - began}
        if outcome.code or outcome.stopped:
            console.print((folder / LOG).read_text(), markup=False, highlight=False, soft_wrap=True)
            raise KinecastError(_why(outcome) + _kept(folder / RECORDING, ask.out))
        refinement: Refinement | None = None
        if ask.refine:
            began = time.monotonic()
            refinement = refine_in_place(folder / RECORDING, folder / "rig.toml")
            seconds["refine"] = time.monotonic() - began
        result = _finish(folder, console, seconds, draw, refinement)
    return _moved(result, folder, ask.out)


def guard(out: Path) -> None:
    """KinecastError where ``out`` is something that a demo did not make: it would be replaced."""
    if out.exists() and not out.is_dir():
        raise KinecastError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file():
        raise KinecastError(f"{out} holds something that is not a demo's result: choose another --out, or empty it")


def write_launch(ask: DemoOptions, sample: sample_clip.Clip, folder: Path) -> Graph:
    """Write ``rig.toml`` and ``launch.yaml`` into the folder; the launch file runs again by ``kinecast run``."""
    save_rig(_sized(load_rig(sample.calibration), sample), folder / "rig.toml")
    pace: Pace = "realtime" if ask.realtime else "lossless"
    nodes: dict[str, Node] = {
        name: CameraNode(
            source=SourceSettings("video", str(path)),
            detector=DetectorSettings(ask.profile, max_people=max(2, ask.people + 1)),
            rate_hz=sample_clip.FPS_HZ if ask.realtime else None,
        )
        for name, path in sample.videos.items()
    }
    # somebody else stands in the background of two cameras: who is followed is who at least three cameras see
    nodes |= {"fusion": FusionNode(min_views=3, body=ask.body, lift="shipped"), "recorder": RecorderNode(RECORDING)}
    graph = Graph(Session("demo", ".", "rig.toml", pace), nodes, BusSettings(base_port=free_ports(len(nodes) + 1)))
    (folder / "launch.yaml").write_text(launch_file.dump(graph))
    return launch_file.load(folder / "launch.yaml")


def _sized(rig: Rig, sample: sample_clip.Clip) -> Rig:
    """The rig with the sizes of the videos: two are cut to 1080 columns of the 1088 that were calibrated.

    What is cut is padding on the right, so the pixels before it keep their places and K stays as it is.
    """
    sizes = {name: VideoDecoder(str(path), name).size_px for name, path in sample.videos.items()}
    return replace(rig, cameras=tuple(replace(c, size_px=sizes[c.name]) for c in rig.subset(tuple(sizes))))


def _supervise(graph: Graph, totals: dict[str, int], console: Console, log: Path) -> Outcome:
    kernels = 0
    with progress("fusing", console) as show, log.open("w") as file:

        def say(node: str, line: str) -> None:
            file.write(f"{node}: {line}\n")
            file.flush()
            if "starting again" in line:  # a node died: worth a look while it runs
                console.print(f"{node}: {line}", markup=False, highlight=False, soft_wrap=True)

        def watch(statuses: dict[str, NodeStatus]) -> None:
            nonlocal kernels
            if (there := compiling(statuses)) is not None:
                kernels = there[1]
                show("compiling", *there, "kernels, first start only")
                return
            if kernels:
                show("compiling", kernels, kernels, "kernels, done")
            for name, total in totals.items():
                show(name, _done(name, statuses), total)

        return Supervisor(graph, on_line=say).run(watch)


def compiling(statuses: dict[str, NodeStatus]) -> tuple[int, int] | None:
    """How many kernels a fusion that is starting has compiled, of how many; None where none compiles."""
    for status in statuses.values():
        found = status.health.found if status.health is not None else {}
        if status.state == "starting" and KERNELS in found:
            return found.get(KERNELS_THERE, 0), found[KERNELS]
    return None


def _done(name: str, statuses: dict[str, NodeStatus]) -> int:
    status = statuses.get(name)
    health = status.health if status is not None else None
    return health.published.get(f"keypoints/{name}", 0) if health is not None else 0


def _why(outcome: Outcome) -> str:
    failed = [f"{s.name} {s.state}: {s.reason}" for s in outcome.nodes.values() if s.state == "failed"]
    return "the graph did not come to its end: " + ("; ".join(failed) or outcome.stopped or "no reason was given")


def _kept(recording: Path, out: Path) -> str:
    """Move what an unfinished run recorded beside ``out``; says where, or nothing where nothing was recorded."""
    if not recording.is_file():
        return ""
    kept, _ = next_path(out.with_name(f"{out.name}-unfinished{recording.suffix}"), again=False)
    recording.replace(kept)
    return f"; what was recorded is in {kept}"


def _finish(
    folder: Path, console: Console, seconds: dict[str, float], draw: Draw | None, refinement: Refinement | None = None
) -> Result:
    """Figures, exports and video from the recording."""
    recording = Recording.open(folder / RECORDING)
    notes: list[str] = [*recording.damage(), *(refinement.lines if refinement else ())]
    figures = measure(recording)
    exports: list[Path] = []
    for kind in EXPORTS:
        row = FORMATS[kind]
        if row.holds == "joints" or figures.body.bodies:
            choices = Choices(min_frames=MIN_FRAMES if "min_frames" in row.options else 1)
            exports += write(recording, kind, folder / f"demo{row.suffix}", choices).files
    video: Path | None = None
    if draw is not None:
        began = time.monotonic()
        video = folder / VIDEO
        with progress("drawing the video", console) as show:
            notes += draw(recording, video, lambda done, total: show("", done, total))
        seconds["render"] = time.monotonic() - began
    summary = folder / SUMMARY
    plain = figures.plain() | {"seconds": {k: round(v, 2) for k, v in seconds.items()}}
    if refinement is not None:
        plain["refinement"] = refinement.plain
    summary.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n")
    return Result(folder / RECORDING, video, tuple(exports), summary, figures, tuple(notes), seconds)


def _moved(result: Result, old: Path, new: Path) -> Result:
    def at(path: Path) -> Path:
        return new / path.relative_to(old)

    return replace(
        result,
        recording=at(result.recording),
        video=at(result.video) if result.video else None,
        exports=tuple(at(p) for p in result.exports),
        summary=at(result.summary),
    )
