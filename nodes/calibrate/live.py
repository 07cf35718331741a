"""``kinecast calibrate live``: while the board is filmed, lamps of cameras and pairs, what is missing, and a beep.

The pictures come from the cameras of a launch file, or from a folder of videos to try it on; ``--record`` keeps them
for `kinecast calibrate rig`. Devices are read by a thread each; files without a pace in the order of their times, so
that the same files give the same lamps.
"""

import argparse
import heapq
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kinecast.calibration.board.board import Board, read_board
from kinecast.calibration.board.detect import BoardDetector, BoardView
from kinecast.calibration.footage import find_footage
from kinecast.calibration.solve.coverage import BoardCoverage, Coverage, Wanted
from kinecast.capture.clock import MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.open import open_source
from kinecast.capture.record import VideoRecorder, read_sidecar
from kinecast.capture.source import Source, SourceStalled
from kinecast.nodes.calibrate import inputs
from kinecast.nodes.calibrate.coverage_display import Screen, lines
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import CameraNode, SourceSettings

WAIT_S = 0.25


@dataclass(frozen=True, slots=True)
class Eye:
    """One camera to look through. live: its pictures come at their own time."""

    name: str
    settings: SourceSettings
    live: bool


@dataclass(slots=True)
class Running:
    """What is open. Recorders by camera, where the pictures are kept."""

    sources: dict[str, Source] = field(default_factory=dict)
    recorders: dict[str, VideoRecorder] = field(default_factory=dict)

    def close(self) -> None:
        """Release every device and finish every video."""
        for source in self.sources.values():
            source.close()
        for recorder in self.recorders.values():
            recorder.close()


Look = tuple[str, int, BoardView | None]  # camera, time in ns, what was seen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="LAUNCH|FOLDER|VIDEO|URL",
        help="a launch file with the cameras, their addresses, or videos or a folder of them to try it on",
    )
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of the file")
    inputs.add_board(parser)
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help="only these cameras")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="keep the videos and their timestamps.csv")
    parser.add_argument("--known-lenses", action="store_true", help="lenses are calibrated: only pairs count")
    parser.add_argument("--rate-hz", type=float, default=5.0, help="pictures of each camera looked at a second")
    parser.add_argument("--duration", type=float, metavar="S", help="stop after so many seconds of pictures")
    parser.add_argument("--stop", action="store_true", help="stop as soon as it is enough")


def run(args: argparse.Namespace) -> int:
    """Show lamps until the pictures end, it is enough (``--stop``), or Ctrl-C. 0 where it is enough, 1 where not."""
    if not 0.2 <= args.rate_hz <= 60 or (args.duration is not None and args.duration <= 0):
        raise KinecastError("--rate-hz is from 0.2 to 60, --duration more than 0")
    board = _board(args)
    eyes = _eyes(args)
    wanted = Wanted().for_known_lenses() if args.known_lenses else Wanted()
    running = Running()
    try:
        open_all(eyes, running, args.record)
        rate_hz = min(s.info.fps_hz or 30.0 for s in running.sources.values())
        coverage = BoardCoverage([e.name for e in eyes], board, wanted, window_s=max(0.5 / rate_hz, 0.005))
        found = watch(eyes, running, board, coverage, args.rate_hz, args.duration, args.stop)
    finally:  # a camera that fails must not take with it what was kept
        running.close()
        line_of_kept = [kept(args.record, running)] if args.record else []
    for line in [*lines(found), *line_of_kept]:
        print(line)
    return 0 if found.enough else 1


def _board(args: argparse.Namespace) -> Board:
    if args.board:
        return read_board(args.board)
    source = Path(args.source[0])
    return inputs.board_of(args, source if source.is_dir() else source.parent)


def _eyes(args: argparse.Namespace) -> list[Eye]:
    from kinecast.nodes.calibrate.gather import eyes_of_words, names_videos

    if not names_videos(args.source):
        return eyes_of(Path(args.source[0]), args.set, args.cameras)
    eyes = eyes_of_words(args.source)
    missing = [n for n in args.cameras if n not in [e.name for e in eyes]]
    if missing:
        raise KinecastError(f"there is no camera {missing[0]!r}: there are {', '.join(e.name for e in eyes)}")
    return [e for e in eyes if not args.cameras or e.name in args.cameras]


def eyes_of(source: Path, overrides: list[str], names: list[str]) -> list[Eye]:
    """The cameras of a launch file or of a folder of videos. KinecastError where one is not there."""
    if source.is_dir():
        found = find_footage(source, names)
        photos = [f.name for f in found if not f.video]
        if photos:
            raise KinecastError(f"{source} holds photos; live needs videos or cameras: see `kinecast calibrate rig`")
        return [Eye(f.name, SourceSettings("video", str(f.paths[0])), False) for f in found]
    graph = launch_file.load(source, overrides)
    launch_file.check_secrets(graph)
    eyes = []
    for node in graph.of_kind("camera"):
        settings = graph.nodes[node]
        assert isinstance(settings, CameraNode)
        if settings.source.kind == "synthetic":
            raise KinecastError(
                f"{source}: nodes.{node} looks at the synthetic world, where nobody holds a board: name a device, a "
                "stream or a video in its source"
            )
        device = settings.source.kind in ("usb", "stream")
        eyes.append(Eye(graph.camera_of(node), settings.source, device or graph.session.pace == "realtime"))
    missing = [n for n in names if n not in [e.name for e in eyes]]
    if missing:
        raise KinecastError(f"{source} has no camera {missing[0]!r}; it has {', '.join(e.name for e in eyes)}")
    return [e for e in eyes if not names or e.name in names]


def open_all(eyes: list[Eye], running: Running, record: Path | None) -> None:
    """Open every camera, with a recorder where its video is kept: nothing is opened where the folder is not free."""
    if record is not None:
        if record.exists() and any(record.iterdir() if record.is_dir() else [record]):
            raise KinecastError(f"--record {record}: there is something already: name a new folder")
        record.mkdir(parents=True, exist_ok=True)
    clock = MonotonicClock()
    epoch_ns = clock.now_ns()
    for eye in eyes:
        s, recorder = eye.settings, None
        if record is not None:
            names = record / f"{eye.name}.mkv", record / f"{eye.name}.times.txt"
            recorder = VideoRecorder(*names, eye.name, encode=s.record == "encode", block=not eye.live)
            running.recorders[eye.name] = recorder
        running.sources[eye.name] = open_source(
            eye.name, s.kind, s.uri, live=eye.live, epoch_ns=epoch_ns if eye.live else 0, loop=s.loop, frames=s.frames,
            fps_hz=s.fps_hz, size_px=s.size_px, preload=s.preload, transport=s.transport, rotate=s.rotate,
            mirror=s.mirror, start_s=s.start_s, options=s.options, hardware=s.hardware, recorder=recorder, clock=clock,
        )  # fmt: skip


def watch(
    eyes: list[Eye],
    running: Running,
    board: Board,
    coverage: BoardCoverage,
    rate_hz: float,
    duration_s: float | None,
    stop: bool,
) -> Coverage:
    """Look until the pictures end, or as ``run`` says; the lamps at the end."""
    looks = _threaded(running, board, rate_hz) if any(e.live for e in eyes) else _merged(running, board, rate_hz)
    first_ns: int | None = None
    with Screen(MonotonicClock()) as screen:
        try:
            for camera, t_ns, view in looks:
                first_ns = t_ns if first_ns is None else first_ns
                if duration_s is not None and t_ns - first_ns > duration_s * 1e9:
                    break
                coverage.add(camera, view)
                if (stop or screen.due) and screen.show(coverage.coverage()) and stop:
                    break
        except KeyboardInterrupt:
            pass
        finally:
            looks.close()
        found = coverage.coverage()
        screen.show(found)
    return found


def _merged(running: Running, board: Board, rate_hz: float) -> "Looks":
    """Files without a pace: the pictures of all cameras in the order of their times."""
    return Looks(_in_order(running, board, rate_hz), threading.Event(), [])


def _in_order(running: Running, board: Board, rate_hz: float) -> Iterator[Look]:
    detectors = {n: BoardDetector(board) for n in running.sources}
    due = dict.fromkeys(running.sources, 0)
    heap: list[tuple[int, str, Frame]] = []

    def read(name: str) -> None:
        frame = running.sources[name].read(30.0)
        if frame is not None:
            heapq.heappush(heap, (frame.t_capture_ns, name, frame))

    for name in running.sources:
        read(name)
    while heap:
        t_ns, name, frame = heapq.heappop(heap)
        if t_ns >= due[name]:
            due[name] = t_ns + round(0.95e9 / rate_hz)  # a little less, or 30 Hz by 10 would be taken every fourth time
            yield name, t_ns, detectors[name](frame.image_bgr, frame.seq, t_ns)
        read(name)


class Looks:
    """Looks to be iterated, and the threads behind them, which ``close`` ends."""

    def __init__(self, inner: Iterator[Look], stopping: threading.Event, threads: list[threading.Thread]) -> None:
        self._inner, self._stopping, self._threads = inner, stopping, threads

    def __iter__(self) -> Iterator[Look]:
        return self._inner

    def close(self) -> None:
        """Stop the threads and wait for them."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(5.0)


def _threaded(running: Running, board: Board, rate_hz: float) -> Looks:
    """Cameras at their own pace: a thread each reads the newest picture and looks for the board."""
    out: queue.Queue[Look | KinecastError | str] = queue.Queue(256)
    stopping = threading.Event()

    def work(name: str, source: Source) -> None:
        detector, due = BoardDetector(board), 0
        try:
            while not stopping.is_set():
                try:
                    frame = source.read(WAIT_S)
                except SourceStalled:
                    continue
                if frame is None:
                    break
                if frame.t_capture_ns >= due:
                    due = frame.t_capture_ns + round(0.95e9 / rate_hz)
                    _put((name, frame.t_capture_ns, detector(frame.image_bgr, frame.seq, frame.t_capture_ns)))
            _put(name)
        except KinecastError as e:
            _put(e)

    def _put(item: Look | KinecastError | str) -> None:
        while not stopping.is_set():
            try:
                out.put(item, timeout=WAIT_S)
                return
            except queue.Full:
                continue

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in running.sources.items()]
    for thread in threads:
        thread.start()

    def looks() -> Iterator[Look]:
        ended = 0
        while ended < len(threads):
            item = out.get()
            if isinstance(item, KinecastError):
                raise item
            if isinstance(item, str):
                ended += 1
            else:
                yield item

    return Looks(looks(), stopping, threads)


def kept(folder: Path, running: Running) -> str:
    """Write ``timestamps.csv`` from the sidecars of the videos; what was kept, in a line."""
    from kinecast.capture.atomic_write import atomic_write

    rows, lost = ["camera,t_ns"], []
    there = {n: r for n, r in running.recorders.items() if r.sidecar.is_file()}
    for name, recorder in there.items():
        lost += [f"; the video of {name} is not whole: {recorder.failure}"] if recorder.failure else []
        rows += [f"{name},{t}" for t in read_sidecar(recorder.sidecar)[1].tolist()]
    if there:
        atomic_write(folder / "timestamps.csv", "\n".join(rows) + "\n")
    return f"{folder}: {len(there)} videos and timestamps.csv, for `kinecast calibrate rig {folder}`{''.join(lost)}"
