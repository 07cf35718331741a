"""The 3D view by Open3D: bodies of balls and rods that are made once and only moved, off screen or in a window.

Off screen it runs in a process of its own: where a system library is missing, the renderer may take its process down
with it, and drawing a frame there does not hold up the one that decodes and encodes.
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from engines.records import Poses
from engines.skeleton import Skeleton, skeleton
from nodes.viewer.overlay import Colour, Image, bone_colours, colour_of, drawn_bones
from nodes.viewer.scene import BACKGROUND, LineRenderer, Renderer, Scene, resized

APT = "apt-get install libusb-1.0-0 libvulkan1 mesa-vulkan-drivers"
START_S, FRAME_S = 60.0, 30.0  # a software renderer on a busy machine; a picture takes 0.05–0.2 s there
JOINT_M, BONE_M, LINE_PX = 0.034, 0.028, 1.5


# post-processing, which would do this, is off
_TO_SCREEN = np.round(255 * (np.arange(256) / 255) ** (1 / 2.2)).astype(np.uint8)


def _rgba(colour: Colour) -> list[float]:
    b, g, r = colour
    return [r / 255, g / 255, b / 255, 1.0]


def rod_transform(a: NDArray[np.floating], b: NDArray[np.floating], radius_m: float) -> NDArray[np.float64]:
    """(4, 4): a rod of length 1 and radius 1 along z around the origin → from a to b, (3,) metres each."""
    d = np.asarray(b, np.float64) - a
    length = float(np.linalg.norm(d))
    T = np.eye(4)
    T[:3, 3] = (np.asarray(a, np.float64) + b) / 2
    if length < 1e-6:
        T[:3, :3] *= 1e-6
        return T
    z = d / length
    x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x /= np.linalg.norm(x)
    T[:3, :3] = np.stack([x * radius_m, np.cross(z, x) * radius_m, d], axis=1)
    return T


class PeopleGeometry:
    """The people of a scene. A slot of balls and rods is made the first time it is needed and then used again for
    whoever comes, so nothing grows while people come and go.

    scene: an ``Open3DScene``, off screen or of a window. library: the module ``open3d``.
    """

    def __init__(self, scene: Any, library: Any) -> None:
        self._scene = scene
        self._o3d = library
        self._slots: list[int | None] = []
        self._shown: set[str] = set()
        self._materials: dict[tuple[Colour, bool], Any] = {}
        self._body: Skeleton | None = None
        self._bones: tuple[tuple[int, int], ...] = ()
        self._ball = library.geometry.TriangleMesh.create_sphere(1.0, 10)
        self._rod = library.geometry.TriangleMesh.create_cylinder(1.0, 1.0, 12, 1)
        self._ball.compute_vertex_normals()
        self._rod.compute_vertex_normals()

    @property
    def slots(self) -> int:
        """How many bodies have been made."""
        return len(self._slots)

    def update(self, poses: Poses | None) -> None:
        """Show these people and hide all others."""
        ids = [] if poses is None else poses.person_ids.tolist()
        self._slots = [s if s in ids else None for s in self._slots]
        visible: set[str] = set()
        if poses is not None:
            self._body = self._body or skeleton(poses.skeleton)
            self._bones = drawn_bones(self._body)
            for p, person in enumerate(ids):
                visible |= self._place(self._slot(person), poses, p)
        for name in self._shown - visible:
            self._scene.show_geometry(name, False)
        for name in visible - self._shown:
            self._scene.show_geometry(name, True)
        self._shown = visible

    def _slot(self, person: int) -> int:
        if person in self._slots:
            return self._slots.index(person)
        if None not in self._slots:
            self._make(len(self._slots))
            self._slots.append(None)
        slot = self._slots.index(None)
        self._slots[slot] = person
        self._paint(slot, colour_of(person))
        return slot

    def _make(self, slot: int) -> None:
        assert self._body is not None
        plain = self._material(BACKGROUND, False)
        for j in range(len(self._body)):
            self._scene.add_geometry(f"ball {slot} {j}", self._ball, plain)
            self._scene.show_geometry(f"ball {slot} {j}", False)
        for k in range(len(self._bones)):
            self._scene.add_geometry(f"rod {slot} {k}", self._rod, plain)
            self._scene.show_geometry(f"rod {slot} {k}", False)

    def _paint(self, slot: int, colour: Colour) -> None:
        assert self._body is not None
        for k, shade in enumerate(bone_colours(self._body, colour)):
            self._scene.modify_geometry_material(f"rod {slot} {k}", self._material(shade, False))
        for j in range(len(self._body)):
            self._scene.modify_geometry_material(f"ball {slot} {j}", self._material((235, 235, 235), False))

    def _material(self, colour: Colour, line: bool) -> Any:
        key = (colour, line)
        if key not in self._materials:
            material = self._o3d.visualization.rendering.MaterialRecord()
            material.shader = "unlitLine" if line else "defaultLit"
            material.base_color = _rgba(colour)
            material.line_width = LINE_PX
            self._materials[key] = material
        return self._materials[key]

    def _place(self, slot: int, poses: Poses, p: int) -> set[str]:
        assert self._body is not None
        points = np.asarray(poses.points_world_m[p], np.float64)
        there = np.asarray(np.isfinite(points).all(axis=1))
        thin = np.where(poses.derived[p], 0.5, 1.0)  # what was implied is drawn thin
        visible = set()
        for j in np.flatnonzero(there):
            T = np.diag([*(3 * [JOINT_M * thin[j]]), 1.0])
            T[:3, 3] = points[j]
            self._scene.set_geometry_transform(f"ball {slot} {j}", T)
            visible.add(f"ball {slot} {j}")
        for k, (a, b) in enumerate(self._bones):
            if there[a] and there[b]:
                T = rod_transform(points[a], points[b], BONE_M * min(thin[a], thin[b]))
                self._scene.set_geometry_transform(f"rod {slot} {k}", T)
                visible.add(f"rod {slot} {k}")
        return visible

    def add_still(self, scene: Scene) -> None:
        """Add the floor and the cameras, once."""
        for i, lines in enumerate(scene.lines):
            count = len(lines.segments_world)
            shape = self._o3d.geometry.LineSet(
                self._o3d.utility.Vector3dVector(lines.segments_world.reshape(-1, 3)),
                self._o3d.utility.Vector2iVector(np.arange(2 * count).reshape(-1, 2)),
            )
            self._scene.add_geometry(f"still {i}", shape, self._material(lines.colour, True))


def dress(scene: Any, library: Any) -> None:
    """Background of an ``Open3DScene``, and only the effects that a software renderer draws in 0.1 s.

    With shadows, ambient occlusion, antialiasing or post-processing on, a picture was measured to take 10–80 s in
    Mesa 22.3: its shader cache overflows and everything is compiled again for every picture.
    """
    rendering = library.visualization.rendering
    scene.set_background(_rgba(BACKGROUND))
    scene.show_skybox(False)
    scene.view.set_shadowing(False, rendering.View.ShadowType.PCF)
    scene.view.set_ambient_occlusion(False)
    scene.view.set_antialiasing(False)
    scene.view.set_post_processing(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the renderer's C++ writes to file descriptors 1 and 2 to itself while it starts."""
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        for fd, old in zip((1, 2), saved, strict=True):
            os.dup2(old, fd)
            os.close(old)
        os.close(null)


class OffscreenOpen3D:
    """Open3D without a window, in this process."""

    name = "Open3D"

    def __init__(self, scene: Scene, size_px: tuple[int, int]) -> None:
        import open3d

        with _quiet():
            self._renderer: Any = open3d.visualization.rendering.OffscreenRenderer(*size_px)
        dress(self._renderer.scene, open3d)
        # one picture of the empty scene first: without it every later one was measured to take 15 s (see dress)
        self._renderer.render_to_image()
        self._people = PeopleGeometry(self._renderer.scene, open3d)
        self._people.add_still(scene)
        self._size = size_px

    def render(self, poses: Poses | None, view: Camera) -> Image:
        """See :class:`nodes.viewer.scene.Renderer`."""
        self._people.update(poses)
        self._renderer.setup_camera(view.K, view.cam_from_world, *view.size_px)
        rgb = np.asarray(self._renderer.render_to_image())
        return resized(_TO_SCREEN[rgb[..., ::-1]], view.size_px)

    def close(self) -> None:
        """Release the renderer."""
        self._renderer = None


def _serve(pipe: Connection, scene: Scene, size_px: tuple[int, int]) -> None:
    """Body of the rendering process: poses and a view in, a picture out, until the pipe closes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        renderer = OffscreenOpen3D(scene, size_px)
        pipe.send(None)
    except Exception as e:
        pipe.send(f"{type(e).__name__}: {e}".splitlines()[0])
        return
    try:
        while (job := pipe.recv()) is not None:
            pipe.send_bytes(renderer.render(*job).tobytes())
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


class RemoteOpen3D:
    """Open3D in a process of its own. A crash there is an error here, never the end of this process."""

    name = "Open3D"

    def __init__(self, scene: Scene, size_px: tuple[int, int]) -> None:
        """Raises RuntimeError with the reason where it does not start."""
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._size = size_px
        self._child = context.Process(target=_serve, args=(far, scene, size_px), daemon=True, name="kinecast-scene")
        self._child.start()
        far.close()
        try:
            self._await(START_S)
            why = self._pipe.recv()
        except (EOFError, OSError):
            self._child.join(5)
            why = f"its process died (exit code {self._child.exitcode})"
        except TimeoutError as e:
            why = str(e)
        if why is not None:
            self.close()
            raise RuntimeError(why)

    def _await(self, seconds: float) -> None:
        if not self._pipe.poll(seconds):
            raise TimeoutError(f"no answer for {seconds:.0f} s")

    def submit(self, poses: Poses | None, view: Camera) -> None:
        """Ask for a picture; :meth:`collect` gives it."""
        self._pipe.send((poses, view))

    def collect(self) -> Image:
        """The picture that was asked for. RuntimeError where the process has died."""
        try:
            self._await(FRAME_S)
            data = self._pipe.recv_bytes()
        except (EOFError, OSError, TimeoutError) as e:
            raise RuntimeError(f"its process stopped ({e or 'died'})") from None
        return np.frombuffer(data, np.uint8).reshape(self._size[1], self._size[0], 3)

    def render(self, poses: Poses | None, view: Camera) -> Image:
        """See :class:`nodes.viewer.scene.Renderer`."""
        self.submit(poses, view)
        return self.collect()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._child.join(2)
        if self._child.is_alive():
            self._child.kill()
            self._child.join(5)


def open_renderer(scene: Scene, size_px: tuple[int, int]) -> tuple[Renderer, str]:
    """The best renderer that starts, and a line for the user where it is not Open3D ("" where it is)."""
    try:
        return RemoteOpen3D(scene, size_px), ""
    except RuntimeError as e:
        return LineRenderer(scene), reason(str(e))


def reason(why: str) -> str:
    """One line: why Open3D does not draw, what does, what to do."""
    todo = "pip install 'kinecast[view]'" if "No module named" in why else f"{APT} (Debian, Ubuntu)"
    return f"Open3D does not start here: {why}; the 3D view is drawn with plain lines instead; to have it: {todo}"
