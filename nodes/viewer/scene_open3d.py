"""The 3D view by Open3D: meshes of fitted bodies, else people of balls and rods, off screen or in a window.

Off screen it runs in a process of its own: where a system library is missing, the renderer may take its process down
with it, and drawing a frame there does not hold up the one that decodes and encodes.
"""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.engines.records import Poses
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import ring_rig
from kinecast.nodes.fusion.meshes import PeopleMesh
from kinecast.nodes.viewer.overlay import Colour, Image, bone_colours, colour_of, drawn_bones
from kinecast.nodes.viewer.scene import BACKGROUND, LineRenderer, Renderer, Scene, make_scene, resized, viewpoint

APT = "apt-get install libusb-1.0-0 libvulkan1 mesa-vulkan-drivers"
START_S = 60.0  # on a busy machine
FIRST_S, MEAN_S = 8.0, 1.5  # a picture takes 0.05–0.2 s in software; slower than this and lines serve better
JOINT_M, BONE_M, LINE_PX = 0.034, 0.028, 1.5
JOINT: Colour = (225, 225, 225)


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


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A triangle mesh: vertices and normals (V, 3), triangles (T, 3) int32."""

    vertices: NDArray[np.float64]
    normals: NDArray[np.float64]
    triangles: NDArray[np.int32]


def people_mesh(
    poses: Poses | None, ball: Shape, rod: Shape, mesh: PeopleMesh | None = None
) -> tuple[Shape, NDArray[np.float64]]:
    """All people of a set as one mesh: their bodies where there are some, else balls (radius 1 at the origin) and rods
    (see :func:`rod_transform`).

    Returns the mesh in metres and the colour of each vertex (V, 3), red green blue in [0, 1].
    """
    parts: list[tuple[Shape, NDArray[np.float64], Colour]] = []
    bodied: set[int] = set()
    if mesh is not None:
        bodied |= set(mesh.person_ids.tolist())
        for p, person in enumerate(mesh.person_ids.tolist()):
            parts.append(
                (Shape(mesh.vertices_world_m[p], mesh.normals_world[p], mesh.faces), np.eye(4), colour_of(person))
            )
    if poses is not None:
        parts += _limbs(poses, ball, rod, bodied)
    return _joined(parts)


def _limbs(poses: Poses, ball: Shape, rod: Shape, bodied: set[int]) -> list[tuple[Shape, NDArray[np.float64], Colour]]:
    """Balls and rods of everybody who is not in ``bodied``: shape, where it goes (4, 4), colour."""
    body = skeleton(poses.skeleton)
    parts: list[tuple[Shape, NDArray[np.float64], Colour]] = []
    for p, person in enumerate(poses.person_ids.tolist()):
        if person in bodied:
            continue
        points = np.asarray(poses.points_world_m[p], np.float64)
        there = np.asarray(np.isfinite(points).all(axis=1))
        thin = np.where(poses.derived[p], 0.5, 1.0)  # what was implied is drawn thin
        for j in np.flatnonzero(there):
            T = np.diag([*(3 * [JOINT_M * thin[j]]), 1.0])
            T[:3, 3] = points[j]
            parts.append((ball, T, JOINT))
        shades = bone_colours(body, colour_of(person))
        for (a, b), shade in zip(drawn_bones(body), shades, strict=True):
            if there[a] and there[b]:
                parts.append((rod, rod_transform(points[a], points[b], BONE_M * min(thin[a], thin[b])), shade))
    return parts


def _joined(
    parts: list[tuple[Shape, NDArray[np.float64], Colour]],
) -> tuple[Shape, NDArray[np.float64]]:
    if not parts:
        return Shape(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.int32)), np.zeros((0, 3))
    offsets = np.cumsum([0, *(len(s.vertices) for s, _, _ in parts)])
    turned = [T[:3, :3] / np.maximum(np.linalg.norm(T[:3, :3], axis=0), 1e-12) for _, T, _ in parts]
    shape = Shape(
        np.concatenate([s.vertices @ T[:3, :3].T + T[:3, 3] for s, T, _ in parts]),
        np.concatenate([s.normals @ R.T for (s, _, _), R in zip(parts, turned, strict=True)]),
        np.concatenate([s.triangles + o for (s, _, _), o in zip(parts, offsets[:-1], strict=True)]).astype(np.int32),
    )
    return shape, np.concatenate([np.tile(_rgba(c)[:3], (len(s.vertices), 1)) for s, _, c in parts])


class PeopleGeometry:
    """The people of a scene: one mesh that is replaced as a whole, so nothing grows while people come and go.

    One mesh and not one for each limb: over a hundred of them a software renderer was measured to take 12–80 s a
    picture, with one 0.1 s. scene: an ``Open3DScene``, off screen or of a window. library: the module ``open3d``.
    """

    NAME = "people"

    def __init__(self, scene: Any, library: Any) -> None:
        self._scene, self._o3d = scene, library
        self._shown = False
        self._white = self._material((255, 255, 255), "defaultLit")
        self._ball = self._shape(library.geometry.TriangleMesh.create_sphere(1.0, 6))
        self._rod = self._shape(library.geometry.TriangleMesh.create_cylinder(1.0, 1.0, 10, 1))

    def _shape(self, mesh: Any) -> Shape:
        mesh.compute_vertex_normals()
        return Shape(*(np.array(x) for x in (mesh.vertices, mesh.vertex_normals, mesh.triangles)))

    def update(self, poses: Poses | None, mesh: PeopleMesh | None = None) -> None:
        """Show these people and nobody else."""
        if self._shown:
            self._scene.remove_geometry(self.NAME)
            self._shown = False
        shape, colours = people_mesh(poses, self._ball, self._rod, mesh)
        if len(shape.vertices):
            self._show(shape, colours)

    def warm_up(self) -> None:
        """Show one ball at the world's origin: the next picture compiles what people need."""
        self._show(self._ball, np.ones_like(self._ball.vertices))

    def _show(self, shape: Shape, colours: NDArray[np.float64]) -> None:
        vectors = self._o3d.utility.Vector3dVector
        triangles = self._o3d.utility.Vector3iVector(shape.triangles)
        mesh = self._o3d.geometry.TriangleMesh(vectors(shape.vertices), triangles)
        mesh.vertex_normals, mesh.vertex_colors = vectors(shape.normals), vectors(colours)
        self._scene.add_geometry(self.NAME, mesh, self._white)
        self._shown = True

    def _material(self, colour: Colour, shader: str) -> Any:
        material = self._o3d.visualization.rendering.MaterialRecord()
        material.shader = shader
        material.base_color = _rgba(colour)
        material.line_width = LINE_PX
        return material

    def add_still(self, scene: Scene) -> None:
        """Add the floor and the cameras, once."""
        for i, lines in enumerate(scene.lines):
            count = len(lines.segments_world)
            shape = self._o3d.geometry.LineSet(
                self._o3d.utility.Vector3dVector(lines.segments_world.reshape(-1, 3)),
                self._o3d.utility.Vector2iVector(np.arange(2 * count).reshape(-1, 2)),
            )
            self._scene.add_geometry(f"still {i}", shape, self._material(lines.colour, "unlitLine"))


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
    scene.scene.set_indirect_light_intensity(14000)  # there is no tone mapping: full light would wash colours out
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
        # a picture of the empty scene and one of the still scene first: without them every later one was measured to
        # take 5–30 s in software
        self._renderer.render_to_image()
        self._people = PeopleGeometry(self._renderer.scene, open3d)
        self._people.add_still(scene)
        view = viewpoint(scene, size_px)
        self._renderer.setup_camera(view.K, view.cam_from_world, *size_px)
        self._renderer.render_to_image()
        self._people.warm_up()
        self._renderer.render_to_image()
        self._size = size_px

    def render(self, poses: Poses | None, view: Camera, mesh: PeopleMesh | None = None) -> Image:
        """See :class:`nodes.viewer.scene.Renderer`."""
        self._people.update(poses, mesh)
        self._renderer.setup_camera(view.K, view.cam_from_world, *view.size_px)
        rgb = np.asarray(self._renderer.render_to_image())
        return resized(_TO_SCREEN[rgb[..., ::-1]], view.size_px)

    def close(self) -> None:
        """Release the renderer."""
        self._renderer = None


def die_with_parent() -> None:
    """See to it that a killed parent leaves no renderer behind, also not one that hangs in the driver.

    The kernel does it on Linux; elsewhere a thread, which a call that keeps the interpreter's lock holds up.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _serve(pipe: Connection, scene: Scene, size_px: tuple[int, int]) -> None:
    """Body of the rendering process: poses and a view in, a picture out, until the pipe closes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    die_with_parent()
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
        self._pictures, self._spent_s = 0, 0.0
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

    def submit(self, poses: Poses | None, view: Camera, mesh: PeopleMesh | None = None) -> None:
        """Ask for a picture; :meth:`collect` gives it."""
        self._pipe.send((poses, view, mesh))

    def collect(self) -> Image:
        """The picture that was asked for. RuntimeError where the process has died or is too slow to be of use."""
        began = time.monotonic()
        try:
            self._await(FIRST_S)
            data = self._pipe.recv_bytes()
        except TimeoutError:
            raise RuntimeError(f"a picture takes more than {FIRST_S:.0f} s") from None
        except (EOFError, OSError) as e:
            raise RuntimeError(f"its process stopped ({e or 'died'})") from None
        self._pictures += 1
        self._spent_s += time.monotonic() - began
        if self._pictures >= 4 and self._spent_s > MEAN_S * self._pictures:
            raise RuntimeError(f"a picture takes {self._spent_s / self._pictures:.1f} s")
        return np.frombuffer(data, np.uint8).reshape(self._size[1], self._size[0], 3)

    def render(self, poses: Poses | None, view: Camera, mesh: PeopleMesh | None = None) -> Image:
        """See :class:`nodes.viewer.scene.Renderer`."""
        self.submit(poses, view, mesh)
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


def probe() -> str:
    """Why Open3D does not draw off screen on this machine, in a line; "" where it does."""
    renderer, why = open_renderer(make_scene(ring_rig()), (160, 120))
    renderer.close()
    return why


def reason(why: str) -> str:
    """One line: why Open3D does not draw, what does, what to do."""
    todo = "pip install 'kinecast[view]'" if "No module named" in why else f"{APT} (Debian, Ubuntu)"
    what = "too slow" if "a picture takes" in why else "not to be had"
    advice = "a GPU helps" if what == "too slow" else f"to have it: {todo}"
    return f"Open3D is {what} here ({why}); the 3D view is drawn with plain lines instead; {advice}"
