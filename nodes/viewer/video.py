"""A recording as a video: every camera's pictures with bodies and skeletons drawn in, beside a 3D view.

Videos are read from the first frame to the last wanted one, in order; a frame is found by its capture time. Where a
video is missing the skeletons are drawn on black, and a note says so.
"""

import math
import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera, Rig
from kinecast.capture.errors import KinecastError
from kinecast.nodes.fusion.meshes import Mesher, PeopleMesh
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import CameraNode
from kinecast.nodes.recording.body_meshes import mesher_of
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import FrameSetBundle, iter_frame_sets
from kinecast.nodes.viewer.mesh_raster import draw_mesh
from kinecast.nodes.viewer.overlay import Image, Pen, draw_view, label_person, legend, text
from kinecast.nodes.viewer.scene import LineRenderer, Renderer, Scene, make_scene, viewpoint
from kinecast.nodes.viewer.scene_open3d import open_renderer, reason
from kinecast.nodes.viewer.video_io import Footage, Writer, scaled

HEIGHT_PX = 1080
MAX_WIDTH_PX = 2560
PANEL_ASPECT = 0.75  # of the 3D view, width to height, while it stands beside the cameras
GAP_PX = 4
PANEL_HZ = 30.0  # the 3D view costs the most and needs no more
SWING_DEG, SWING_S = 25.0, 8.0  # the 3D view moves to and fro, so that depth can be seen
STANDARD_HZ = [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 60)
]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands in the picture: (x, y, w, h) of each camera's cell and of the 3D view, in pixels."""

    size_px: tuple[int, int]
    cells: tuple[tuple[int, int, int, int], ...]
    panel: tuple[int, int, int, int] | None


@dataclass(slots=True)
class Rendered:
    """What was written. renderer: what drew the 3D view, "" where there is none. notes: lines for the user."""

    paths: list[Path] = field(default_factory=list)
    frames: int = 0
    rate_hz: float = 0.0
    renderer: str = ""
    notes: list[str] = field(default_factory=list)


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


def arrange(aspects: list[float], height_px: int, panel: bool) -> Layout:
    """Rows of equal cells that show the cameras as large as they get on a 16:9 screen, and the 3D view on the right."""
    aspect, n = float(np.median(aspects)), len(aspects)
    side = PANEL_ASPECT if panel else 0.0
    best, rows, width = 0.0, 1, 0.0
    for r in range(1, n + 1):
        w = math.ceil(n / r) * aspect / r + side  # for a height of 1
        cell = min(1.0, (16 / 9) / w) / r
        if cell > best * 1.02:
            best, rows, width = cell, r, w
    columns = math.ceil(n / rows)
    height = min(height_px, (MAX_WIDTH_PX - columns * GAP_PX) / width)
    h, w_cell = _even(height / rows), _even(height / rows * aspect)
    cells = [((i % columns) * (w_cell + GAP_PX), (i // columns) * (h + GAP_PX), w_cell, h) for i in range(n)]
    left, total_h = columns * (w_cell + GAP_PX), rows * (h + GAP_PX) - GAP_PX
    w3 = _even(height * side)
    total_w = left + w3 if panel else left - GAP_PX
    return Layout((_even(total_w), _even(total_h)), tuple(cells), (left, 0, w3, total_h) if panel else None)


def rate_of(times_ns: Collection[int]) -> Fraction:
    """The rate of a session from its stamps: a usual one where it is within half a percent, else as measured."""
    steps = np.diff(np.unique(np.array(list(times_ns), np.int64)))
    if not len(steps):
        return Fraction(30)
    measured = 1e9 / float(np.median(steps))
    near = min(STANDARD_HZ, key=lambda r: abs(float(r) - measured))
    if abs(float(near) - measured) <= 0.005 * measured:
        return near
    return Fraction(measured).limit_denominator(1000) if measured >= 1 else Fraction(1)


@dataclass(slots=True)
class _Survey:
    """What a first pass over the recording finds out. points: a sample of joints, (N, 3) metres."""

    body_ids: set[str] = field(default_factory=set)

    times_ns: list[int] = field(default_factory=list)
    points: list[Any] = field(default_factory=list)


class Chosen:
    """Which sets are drawn. from_s, to_s: since the first set of the recording. every: each n-th of the recording."""

    def __init__(self, from_s: float, to_s: float, every: int) -> None:
        self._from_s, self._to_s, self._every = from_s, to_s, every
        self._zero_ns: int | None = None

    def takes(self, number: int, t_ns: int) -> bool:
        """Whether the set of this number, which is asked for in order, is one of them."""
        self._zero_ns = t_ns if self._zero_ns is None else self._zero_ns
        t_s = (t_ns - self._zero_ns) / 1e9
        return self._from_s <= t_s <= self._to_s and number % self._every == 0


def _survey(recording: Recording, chosen: Chosen) -> _Survey:
    out, number = _Survey(), 0
    for topic, _, record in recording.messages(("framesets", "poses", "bodies")):
        if topic == "framesets":
            if chosen.takes(number, record.t_set_ns):
                out.times_ns.append(record.t_set_ns)
            number += 1
        elif topic == "bodies":
            out.body_ids.add(record.body_id)
        elif len(out.points) < 5000 and len(record.person_ids):
            out.points.append(record.points_world_m.reshape(-1, 3))
    if not out.times_ns:
        where = "within --from and --to" if number else "in it"
        raise KinecastError(f"{recording.path}: there is no frame set {where}, so nothing to draw")
    return out


def _settings(recording: Recording) -> dict[str, CameraNode]:
    """The camera nodes of the launch file that is attached, by camera; empty where none can be read."""
    try:
        graph = launch_file.parse(recording.launch_text, "launch file", Path.cwd())
    except KinecastError:
        return {}
    pairs = ((graph.camera_of(n), graph.nodes[n]) for n in graph.of_kind("camera"))
    return {camera: node for camera, node in pairs if isinstance(node, CameraNode)}


def render(
    recording: Recording,
    out: Path,
    *,
    cameras: tuple[str, ...] = (),
    height_px: int = HEIGHT_PX,
    with_3d: bool = True,
    separate: bool = False,
    bodies: bool = True,
    body: str = "",
    span_s: tuple[float, float] = (0.0, math.inf),
    every: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rendered:
    """Write the video ``out``, and with ``separate`` one more for each camera, ``<out>_<camera>.mp4``.

    cameras: those to show, () for all. height_px: of the whole picture. bodies: draw the bodies of the recording; body:
    the file of a body of the user's own. span_s: from and to, seconds since the first set. every: each n-th set of it
    alone. progress: called with frames done and to do.
    KinecastError where there is nothing to draw, a camera is unknown, the recording's body is not at hand, or the file
    cannot be written.
    """
    rig = recording.rig
    for name in cameras:
        if name not in rig.names:
            raise KinecastError(f"{recording.path}: there is no camera {name!r}; it has {', '.join(rig.names)}")
    rig = rig.subset(cameras) if cameras else rig
    chosen = Chosen(*span_s, every)
    survey = _survey(recording, chosen)
    rate = rate_of(survey.times_ns)
    layout = arrange([c.size_px[0] / c.size_px[1] for c in rig], height_px, with_3d)
    done = Rendered(rate_hz=float(rate))
    mesher = mesher_of(recording, body) if bodies else None
    if mesher is not None:
        for body_id in survey.body_ids:
            mesher.model(body_id)  # refused before anything is drawn
    composer = _Composer(recording, rig, layout, survey, chosen, done, mesher)
    paths = [out, *(out.with_name(f"{out.stem}_{name}{out.suffix or '.mp4'}") for name in rig.names if separate)]
    sizes = [layout.size_px, *((w, h) for _, _, w, h in layout.cells)]
    whole = False
    writers: list[Writer] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writers += [Writer(path, size, rate) for path, size in zip(paths, sizes, strict=False)]
        for picture, cells, t_ns in composer.pictures():
            for writer, image in zip(writers, [picture, *cells], strict=False):
                writer.write(image, t_ns - survey.times_ns[0])
            done.frames += 1
            progress(done.frames, len(survey.times_ns))
        whole = True
    finally:
        composer.close()
        for writer in writers:
            writer.close(whole)
    done.paths = paths
    return done


@dataclass(frozen=True, slots=True, eq=False)
class _Drawing:
    """A set whose cells are being drawn: of each camera the picture, and whether it is black for want of one."""

    joined: FrameSetBundle
    mesh: PeopleMesh | None
    cells: "list[Future[tuple[Image, bool]]]"


class _Composer:
    """Draws one set after the other; the 3D view of the next is being drawn elsewhere meanwhile."""

    def __init__(
        self, recording: Recording, rig: Rig, layout: Layout, survey: _Survey, chosen: "Chosen", done: Rendered,
        mesher: Mesher | None,
    ) -> None:  # fmt: skip
        self._recording, self._rig, self._layout, self._done = recording, rig, layout, done
        self._mesher, self._chosen = mesher, chosen
        self._pool = ThreadPoolExecutor(os.cpu_count(), "draw")
        self._t0 = survey.times_ns[0]
        reports, settings, near = recording.openings, _settings(recording), recording.path.parent
        self._footage = {c: Footage(c, reports.get(c, []), settings.get(c), near) for c in rig.names}
        done.notes += [note for f in self._footage.values() for note in f.notes]
        self._scene: Scene = make_scene(rig, np.concatenate(survey.points) if survey.points else None)
        self._renderer: Renderer | None = None
        if layout.panel is not None:
            self._renderer, why = open_renderer(self._scene, layout.panel[2:])
            done.renderer = self._renderer.name
            done.notes += [why] if why else []
        self._black = 0
        self._last: dict[str, Future[tuple[Image, bool]]] = {}
        self._panel_image: Image | None = None
        self._panel_due_ns = self._t0
        self._asked = False

    def pictures(self) -> Iterator[tuple[Image, list[Image], int]]:
        """(whole picture, one for each camera, time of the set). The cells of the next set are drawn meanwhile."""
        before: _Drawing | None = None
        for joined in self._sets():
            drawing = self._begin(joined)
            if before is not None:
                yield self._finish(before)
            before = drawing
        if before is not None:
            yield self._finish(before)
        if self._black:
            self._done.notes.append(f"{self._black} pictures were not found in the videos and are black")

    def _sets(self) -> Iterator[FrameSetBundle]:
        for number, joined in enumerate(iter_frame_sets(self._recording)):
            if self._chosen.takes(number, joined.frameset.t_set_ns):
                yield joined

    def _begin(self, joined: FrameSetBundle) -> "_Drawing":
        """Have the cells of a set drawn; each camera's video is read by one thread at a time, in order."""
        mesh = None
        if joined.bodies is not None and self._mesher is not None:
            mesh = self._mesher.mesh(joined.bodies)
        cells = []
        for camera, (_, _, width, height) in zip(self._rig, self._layout.cells, strict=True):
            last = self._last.get(camera.name)
            cell = self._pool.submit(self._cell, last, camera, joined, mesh, width, height)
            self._last[camera.name] = cell
            cells.append(cell)
        return _Drawing(joined, mesh, cells)

    def _finish(self, drawing: "_Drawing") -> tuple[Image, list[Image], int]:
        joined = drawing.joined
        w, h = self._layout.size_px
        canvas: Image = np.zeros((h, w, 3), np.uint8)
        self._ask(joined, drawing.mesh)
        if self._layout.panel is not None:
            x, y, pw, ph = self._layout.panel
            canvas[y : y + ph, x : x + pw] = self._panel(joined, drawing.mesh, pw, ph)
        cells = []
        for future, (x, y, cw, ch) in zip(drawing.cells, self._layout.cells, strict=True):
            cell, black = future.result()
            self._black += black
            canvas[y : y + ch, x : x + cw] = cell
            cells.append(cell)
        return canvas, cells, joined.frameset.t_set_ns

    def _cell(
        self, last: "Future[tuple[Image, bool]] | None", camera: Camera, joined: FrameSetBundle,
        mesh: PeopleMesh | None, width: int, height: int,
    ) -> tuple[Image, bool]:  # fmt: skip
        """One camera's picture, and whether it is black for want of one. last: of this camera, which comes before."""
        if last is not None:
            last.result()
        keypoints = joined.keypoints.get(camera.name)
        footage = self._footage[camera.name]
        picture = footage.at(keypoints.t_capture_ns) if keypoints is not None and not footage.why else None
        scale = min(width / camera.size_px[0], height / camera.size_px[1])
        w, h = min(width, round(camera.size_px[0] * scale)), min(height, round(camera.size_px[1] * scale))
        inner = np.zeros((h, w, 3), np.uint8) if picture is None else scaled(picture, (w, h))
        if mesh is not None:
            draw_mesh(inner, camera, mesh)
        draw_view(inner, camera, joined.poses, keypoints, [] if mesh is None else mesh.person_ids.tolist())
        cell: Image = np.zeros((height, width, 3), np.uint8)
        x, y = (width - w) // 2, (height - h) // 2
        cell[y : y + h, x : x + w] = inner
        number = f"#{keypoints.frame_seq}" if keypoints is not None else "no frame"
        legend(cell, camera.name, f"{(joined.frameset.t_set_ns - self._t0) / 1e9:.2f} s  {number}")
        if picture is None:
            text(cell, "no picture", (8, height - 12), Pen.for_picture(cell).text)
        return cell, picture is None and keypoints is not None and not footage.why

    def _view(self, joined: FrameSetBundle) -> Camera:
        assert self._layout.panel is not None
        t_s = (joined.frameset.t_set_ns - self._t0) / 1e9
        swing = SWING_DEG * math.sin(2 * math.pi * t_s / SWING_S)
        return viewpoint(self._scene, self._layout.panel[2:], swing)

    def _ask(self, joined: FrameSetBundle, mesh: PeopleMesh | None) -> None:
        """Have the 3D view drawn by its own process while this one draws the cameras."""
        self._asked = joined.frameset.t_set_ns >= self._panel_due_ns
        submit = getattr(self._renderer, "submit", None)
        if submit is not None and self._asked:
            self._panel_due_ns = joined.frameset.t_set_ns + round(0.98e9 / PANEL_HZ)
            try:
                submit(joined.poses, self._view(joined), mesh)
            except OSError as e:
                self._fall_back(str(e))

    def _panel(self, joined: FrameSetBundle, mesh: PeopleMesh | None, width: int, height: int) -> Image:
        if self._panel_image is not None and not self._asked:
            return self._panel_image
        view = self._view(joined)
        assert self._renderer is not None
        try:
            collect = getattr(self._renderer, "collect", None)
            image = (collect() if collect is not None else self._renderer.render(joined.poses, view, mesh)).copy()
        except RuntimeError as e:
            self._fall_back(str(e))
            image = self._renderer.render(joined.poses, view, mesh)
        if joined.poses is not None:
            pen = Pen.for_picture(image)
            px, _ = view.project(joined.poses.points_world_m)
            for p, person in enumerate(joined.poses.person_ids.tolist()):
                label_person(image, px[p], person, pen)
        count = 0 if joined.poses is None else len(joined.poses.person_ids)
        legend(image, f"3D, {self._rig.up} up", f"{count} {'person' if count == 1 else 'people'}")
        self._panel_image = image
        return image

    def _fall_back(self, why: str) -> None:
        assert self._renderer is not None
        self._renderer.close()
        self._renderer = LineRenderer(self._scene)
        self._done.renderer += " and " + self._renderer.name
        self._done.notes.append(reason(why))

    def close(self) -> None:
        """Close videos and renderer."""
        self._pool.shutdown(cancel_futures=True)
        for footage in self._footage.values():
            footage.close()
        if self._renderer is not None:
            self._renderer.close()
