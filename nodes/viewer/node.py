"""The viewer node: the newest people in an Open3D window where there is a display, and a picture of them on disk.

People are drawn as their bodies where fusion fits some, else as skeletons.

It looks at the newest message only and can be slow or die without anybody else noticing.
"""

import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

import cv2

from kinecast.calibration.formats import load_rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies, Poses
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.fusion.meshes import Mesher, PeopleMesh
from kinecast.nodes.graph.records import FusionNode, Graph, NodeContext, ViewerNode
from kinecast.nodes.viewer.overlay import Image, Pen, label_person, legend
from kinecast.nodes.viewer.scene import LineRenderer, Renderer, Scene, make_scene, viewpoint
from kinecast.nodes.viewer.scene_open3d import MEAN_S, PeopleGeometry, dress, open_renderer, reason

POLL_S = 0.03  # a window that is not polled redraws only while the mouse moves
PICTURE = "viewer.png"
SLOW_LIMIT = 2  # pictures in a row
FINISH_S = 2.0  # for the last picture, of the five that a stop may take


class Window:
    """An Open3D window that can be turned with the mouse. RuntimeError where it does not open."""

    def __init__(self, scene: Scene, size_px: tuple[int, int], title: str) -> None:
        import open3d

        gui = open3d.visualization.gui
        self._app: Any = gui.Application.instance
        self._app.initialize()
        self._window: Any = self._app.create_window(title, *size_px)
        self._widget: Any = gui.SceneWidget()
        self._widget.scene = open3d.visualization.rendering.Open3DScene(self._window.renderer)
        self._window.add_child(self._widget)
        dress(self._widget.scene, open3d)
        self._people = PeopleGeometry(self._widget.scene, open3d)
        self._people.add_still(scene)
        view = viewpoint(scene, size_px)
        self._widget.scene.camera.look_at(scene.centre, view.centre_world, scene.up)

    def show(self, poses: Poses | None, mesh: PeopleMesh | None = None) -> bool:
        """Draw, handle the mouse, and return whether the window is still open."""
        self._people.update(poses, mesh)
        self._widget.force_redraw()
        return bool(self._app.run_one_tick())

    def close(self) -> None:
        """Close the window."""
        self._app.quit()


class Snapshots:
    """Writes the newest pose as a picture, off screen, in a thread of its own: a renderer may take seconds to start.

    What is offered while a picture is being drawn is left out. note: why it is not Open3D that draws, "" where it is.
    """

    def __init__(self, scene: Scene, size_px: tuple[int, int], path: Path) -> None:
        self._scene, self._path = scene, path
        self._view = viewpoint(scene, size_px)
        self._renderer: Renderer | None = None
        self._saved: Poses | None = None
        self._waiting: queue.Queue[tuple[Poses, PeopleMesh | None] | None] = queue.Queue(1)
        self._idle = threading.Event()
        self._idle.set()
        self._failure: KinecastError | None = None
        self.note = ""
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def offer(self, poses: Poses, mesh: PeopleMesh | None = None) -> bool:
        """Have these people drawn; False where the one before still is. KinecastError where it could not be written."""
        if self._failure is not None:
            raise self._failure
        if not self._idle.is_set():
            return False
        self._idle.clear()
        self._waiting.put((poses, mesh))
        return True

    def finish(self, poses: Poses | None, mesh: PeopleMesh | None = None) -> None:
        """Save the last pose: by the renderer where it is quick, else in plain lines. Two seconds at most."""
        if self._idle.wait(FINISH_S / 2) and poses is not None and poses is not self._saved and self.offer(poses, mesh):
            self._idle.wait(FINISH_S / 2)
        if poses is not None and poses is not self._saved:
            self._write(LineRenderer(self._scene).render(poses, self._view, mesh), poses)

    def _run(self) -> None:
        while (people := self._waiting.get()) is not None:
            try:
                self._write(self._draw(*people), people[0])
            except KinecastError as e:
                self._failure = e
            finally:
                self._idle.set()

    def _draw(self, poses: Poses, mesh: PeopleMesh | None) -> Image:
        if self._renderer is None:
            self._renderer, self.note = open_renderer(self._scene, self._view.size_px)
        try:
            return self._renderer.render(poses, self._view, mesh).copy()
        except RuntimeError as e:
            self._renderer.close()
            self._renderer, self.note = LineRenderer(self._scene), reason(str(e))
            return self._renderer.render(poses, self._view, mesh)

    def _write(self, image: Image, poses: Poses) -> None:
        px, _ = self._view.project(poses.points_world_m)
        for p, person in enumerate(poses.person_ids.tolist()):
            label_person(image, px[p], person, Pen.for_picture(image))
        legend(image, f"people: {len(poses.person_ids)}", f"set {poses.frameset_seq}")
        _, data = cv2.imencode(self._path.suffix, image)
        with atomic_path(self._path, overwrite=True) as file:
            file.write(data.tobytes())
        self._saved = poses

    def close(self) -> None:
        """End the thread and the renderer, where they are idle; else they end with the process."""
        if self._idle.is_set():
            self._waiting.put(None)
            self._thread.join()
            if self._renderer is not None:
                self._renderer.close()


def has_display() -> bool:
    """Whether a window could open here."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(settings: ViewerNode, scene: Scene, title: str) -> tuple[Window | None, str]:
    """The window that is asked for, or None and the reason. KinecastError where it must be and cannot."""
    if settings.window == "off":
        return None, ""
    why = "there is no display"
    if has_display():
        try:
            return Window(scene, settings.size_px, title), ""
        except Exception as e:  # Open3D raises whatever its libraries raise
            why = reason(str(e).splitlines()[0] if str(e) else type(e).__name__)
    if settings.window == "on":
        raise KinecastError(f"the viewer cannot open a window: {why}; set DISPLAY, or window: off and save_every_s")
    return None, why


class Newest:
    """The newest people, with the meshes of their bodies. note: why bodies are not drawn, "" where they are."""

    def __init__(self, mesher: Mesher) -> None:
        self._mesher = mesher
        self.poses: Poses | None = None
        self._bodies: Bodies | None = None
        self._mesh: PeopleMesh | None = None
        self.note = ""

    def take(self, poses: object, bodies: object) -> None:
        """What was received; None, or something else, where nothing new was."""
        self.poses = poses if isinstance(poses, Poses) else self.poses
        if isinstance(bodies, Bodies):
            self._bodies, self._mesh = bodies, None

    @property
    def mesh(self) -> PeopleMesh | None:
        """Their meshes, posed when they are asked for."""
        if self._mesh is None and self._bodies is not None and not self.note:
            try:
                self._mesh = self._mesher.mesh(self._bodies)
            except KinecastError as e:
                self.note = f"no meshes: {e}"
        return self._mesh


def body_files(graph: Graph) -> tuple[str, ...]:
    """The bodies that the fusion nodes of a graph name."""
    nodes = (graph.nodes[n] for n in graph.of_kind("fusion"))
    return tuple(n.body for n in nodes if isinstance(n, FusionNode) and n.body != "off")


def main(context: NodeContext) -> None:
    """Run the viewer node of ``context`` until it is asked to stop or its window is closed."""
    settings = context.graph.nodes[context.name]
    assert isinstance(settings, ViewerNode)
    session = context.graph.session
    scene = make_scene(load_rig(session.rig))
    snapshots = Snapshots(scene, settings.size_px, Path(session.out) / PICTURE)
    with Bus(context) as bus:
        window, bus.note = open_window(settings, scene, f"Kinecast: {session.name}")
        bus.state = "running"
        try:
            _loop(bus, window, snapshots, settings.save_every_s, Newest(Mesher("bodies", body_files(context.graph))))
        finally:
            snapshots.close()
            if window is not None:
                window.close()


def _loop(bus: Bus, window: Window | None, snapshots: Snapshots, save_every_s: float | None, people: Newest) -> None:
    due_s = time.monotonic()
    slow = 0
    while not bus.stopping:
        _take(people, bus, POLL_S)
        if window is not None:
            began = time.monotonic()
            if not window.show(people.poses, people.mesh):
                return
            slow = slow + 1 if time.monotonic() - began > MEAN_S else 0
            if slow == SLOW_LIMIT:  # a node that hangs in its window cannot stop in time
                window.close()
                window, bus.note = None, reason(f"a picture takes {time.monotonic() - began:.1f} s")
        due = save_every_s is not None and time.monotonic() >= due_s
        if due and people.poses is not None and snapshots.offer(people.poses, people.mesh):
            due_s = time.monotonic() + (save_every_s or 0.0)
        bus.note = snapshots.note or people.note or bus.note
    _take(people, bus, 0.0)
    if save_every_s is not None:
        snapshots.finish(people.poses, people.mesh)


def _take(people: Newest, bus: Bus, timeout_s: float) -> None:
    newest = bus.latest(timeout_s)
    people.take(*(newest[t].record if t in newest else None for t in ("poses", "bodies")))
