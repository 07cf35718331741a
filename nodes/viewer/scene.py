"""The 3D view as geometry: where to look from, the floor, the cameras; and a renderer of it in plain OpenCV lines.

Every renderer (these lines, Open3D off screen, Open3D in a window) draws the same :class:`Scene` from the same
:class:`calibration.camera.Camera`, so that labels fall on the same pixels in all of them.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.records import Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.fusion.meshes import PeopleMesh
from kinecast.nodes.viewer.mesh_raster import draw_mesh
from kinecast.nodes.viewer.overlay import Colour, Image, bone_colours, colour_of, dashed, dot, drawn_bones, line

Float = NDArray[np.float64]
BACKGROUND: Colour = (46, 40, 36)
FLOOR: Colour = (96, 88, 80)
RIM: Colour = (200, 200, 200)
NEAR_M = 0.05
FOV_DEG = 45.0
MESH_OPACITY = 0.95
SIDEWAYS_DEG = 30.0  # not straight through the widest gap between cameras: that is often a profile


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Segments (S, 2, 3) in metres of one colour."""

    segments_world: Float
    colour: Colour


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What stands still. up: (3,) unit vector. centre: (3,) the middle of what is to be seen, floor_m: height of the
    floor along ``up``, radius_m: how far around the centre the floor reaches, distance_m: from where to look at it.
    """

    rig: Rig
    up: Float
    centre: Float
    floor_m: float
    radius_m: float
    distance_m: float
    lines: tuple[Lines, ...]


class Renderer(Protocol):
    """Something that turns people into pictures of a scene: as meshes where there are some, else as skeletons."""

    name: str

    def render(self, poses: Poses | None, view: Camera, mesh: PeopleMesh | None = None) -> Image:
        """(H, W, 3) uint8 of ``view.size_px``."""
        ...

    def close(self) -> None:
        """Release what it holds; safe to call twice."""
        ...


def _level(up: Float) -> tuple[Float, Float]:
    """Two unit vectors that span the plane perpendicular to ``up``."""
    a = np.roll(up, 1)
    b = np.cross(up, a)
    return a, b


def make_scene(rig: Rig, people_world: ArrayLike | None = None) -> Scene:
    """The still part of a scene. people_world: (N, 3) joints seen over the session, metres; NaN are ignored.

    The floor is the world's ground plane, unless the people's lowest joints say that the ground is somewhere else by
    more than half a metre (a rig whose origin is not on the floor).
    """
    up = np.array(rig.up_world)
    eyes = np.stack([c.centre_world for c in rig])
    people = np.asarray(people_world if people_world is not None else np.zeros((0, 3)), np.float64).reshape(-1, 3)
    people = people[np.isfinite(people).all(axis=1)]
    floor = 0.0
    if len(people):
        lowest = float(np.percentile(people @ up, 1))
        floor = lowest if abs(lowest) > 0.5 else 0.0
        centre = np.median(people, axis=0)
        centre = centre + up * (floor + 0.9 - centre @ up)
        span = max(1.0, float(np.percentile(np.linalg.norm(people - centre, axis=1), 98)))
    else:
        centre = _looked_at(rig)
        centre = centre + up * (floor + 0.9 - centre @ up)
        span = 1.4
    a, b = _level(up)
    reach = np.linalg.norm((eyes - centre) @ np.stack([a, b]).T, axis=1)
    radius = float(np.clip(np.median(reach), 1.5, 8.0))
    lines = (Lines(_grid(centre, up, floor, radius), FLOOR), Lines(_frusta(rig, 0.12 * radius), RIM))
    # a person of this span then fills half of a picture
    return Scene(rig, up, centre, floor, radius, float(np.clip(4.8 * span, 3.0, 20.0)), lines)


def _looked_at(rig: Rig) -> Float:
    """The point nearest to all optical axes, or the middle of the cameras where those are parallel."""
    rows = np.eye(3) - np.einsum("ci,cj->cij", *(2 * [np.stack([c.R[2] for c in rig])]))
    eyes = np.stack([c.centre_world for c in rig])
    total = rows.sum(axis=0)
    if np.linalg.cond(total) > 1e4:
        return np.asarray(eyes.mean(axis=0) + 2.0 * rig.cameras[0].R[2])
    return np.asarray(np.linalg.solve(total, np.einsum("cij,cj->i", rows, eyes)))


def _grid(centre: Float, up: Float, floor_m: float, radius_m: float) -> Float:
    """Lines of a floor grid, 0.5 m or 1 m apart, at whole multiples in the world."""
    a, b = _level(up)
    step = 0.5 if radius_m < 4 else 1.0
    ka, kb = (np.round(centre @ axis / step) * step for axis in (a, b))
    half = np.ceil(radius_m / step) * step
    out = []
    for k in np.arange(-half, half + step / 2, step):
        for along, across, k0, k1 in ((a, b, ka, kb), (b, a, kb, ka)):
            middle = across * (k1 + k) + along * k0 + up * floor_m
            out.append((middle - along * half, middle + along * half))
    return np.array(out)


def _frusta(rig: Rig, depth_m: float) -> Float:
    """Edges of every camera's pyramid of view, and a tick on its upper side."""
    out = []
    for camera in rig:
        w, h = camera.size_px
        corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float64)
        rays = (corners - camera.K[:2, 2]) / [camera.K[0, 0], camera.K[1, 1]]
        tips = np.concatenate([rays, np.ones((4, 1))], axis=1) * depth_m
        roof = np.array([0.0, tips[0, 1] * 1.35, depth_m])
        world = (np.vstack([tips, roof]) - camera.t) @ camera.R
        eye = camera.centre_world
        for i in range(4):
            out += [(eye, world[i]), (world[i], world[(i + 1) % 4])]
        out += [(world[0], world[4]), (world[1], world[4])]
    return np.array(out)


def viewpoint(scene: Scene, size_px: tuple[int, int], azimuth_deg: float = 0.0, zoom: float = 1.0) -> Camera:
    """A camera that looks at the scene from outside and above. azimuth_deg: around ``up``, from the widest gap."""
    a, b = _level(scene.up)
    flat = (np.stack([c.centre_world for c in scene.rig]) - scene.centre) @ np.stack([a, b]).T
    angles = np.sort(np.arctan2(flat[:, 1], flat[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    where = angles[np.argmax(gaps)] + gaps.max() / 2 + np.deg2rad(azimuth_deg + SIDEWAYS_DEG)
    side = np.cos(where) * a + np.sin(where) * b
    w, h = size_px
    focal = 0.5 * min(w, 1.15 * h) / np.tan(np.deg2rad(FOV_DEG / 2))
    eye = scene.centre + (side * 0.92 + scene.up * 0.38) * scene.distance_m / zoom
    return look_at(eye, scene.centre - 0.1 * scene.up, scene.up, size_px, focal)


def look_at(eye: Float, target: Float, up: Float, size_px: tuple[int, int], focal_px: float) -> Camera:
    """A camera without distortion at ``eye`` (metres, world) that looks at ``target`` with ``up`` upwards."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    w, h = size_px
    K = np.array([[focal_px, 0, (w - 1) / 2], [0, focal_px, (h - 1) / 2], [0, 0, 1]])
    return Camera("view", size_px, K, np.zeros(5), T)


def project_segments(view: Camera, segments_world: Float) -> Float:
    """Segments (S, 2, 3) → (S', 2, 2) pixels, cut off behind the viewer; those wholly behind are left out."""
    cam = segments_world @ view.R.T + view.t
    cam = cam[(cam[..., 2] > NEAR_M).any(axis=1)]
    z0, z1 = cam[:, 0, 2], cam[:, 1, 2]
    for end, other, z, zo in ((0, 1, z0, z1), (1, 0, z1, z0)):
        behind = z < NEAR_M
        share = ((NEAR_M - zo[behind]) / (z[behind] - zo[behind]))[:, None]
        cam[behind, end] = cam[behind, other] + share * (cam[behind, end] - cam[behind, other])
    return np.asarray(view.distort(cam[..., :2] / cam[..., 2:]))


class LineRenderer:
    """The scene in anti-aliased lines, bodies by our own rasteriser: needs no other library, some milliseconds each."""

    name = "lines (OpenCV)"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def render(self, poses: Poses | None, view: Camera, mesh: PeopleMesh | None = None) -> Image:
        """See :class:`Renderer`. Skeletons are drawn from the farthest bone to the nearest, and before the meshes."""
        w, h = view.size_px
        image: Image = np.empty((h, w, 3), np.uint8)
        image[:] = BACKGROUND
        for lines in self._scene.lines:
            for a, b in project_segments(view, lines.segments_world):
                line(image, a, b, lines.colour, 1)
        bodied = set() if mesh is None else set(mesh.person_ids.tolist())
        if poses is not None:
            self._people(image, poses, view, bodied)
        if mesh is not None:
            draw_mesh(image, view, mesh, MESH_OPACITY)
        return image

    def _people(self, image: Image, poses: Poses, view: Camera, bodied: set[int]) -> None:
        body = skeleton(poses.skeleton)
        px, depth = view.project(poses.points_world_m)
        focal = view.K[0, 0]
        items = []
        for p, person in enumerate(poses.person_ids.tolist()):
            if person in bodied:
                continue
            shades = bone_colours(body, colour_of(person))
            for (a, b), shade in zip(drawn_bones(body), shades, strict=True):
                far = depth[p, a] + depth[p, b]
                if np.isfinite(px[p, [a, b]]).all() and np.isfinite(far):
                    items.append((far / 2, p, a, b, shade))
        for far, p, a, b, shade in sorted(items, reverse=True):
            width = max(1.5, 0.045 * focal / far)
            draw = dashed if poses.derived[p, a] or poses.derived[p, b] else line
            draw(image, px[p, a], px[p, b], shade, width)
            dot(image, px[p, b], 0.55 * width, shade)

    def close(self) -> None:
        """Nothing to release."""


def resized(image: Image, size_px: tuple[int, int]) -> Image:
    """``image`` at another size: halved for as long as it is twice as large, which is fast, then by straight lines."""
    while min(image.shape[1] / size_px[0], image.shape[0] / size_px[1]) >= 2:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[1::-1] == size_px:
        return image
    return np.asarray(cv2.resize(image, size_px, interpolation=cv2.INTER_LINEAR), np.uint8)
