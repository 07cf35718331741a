"""Where the world is: origin, floor and upward axis, from a board on the floor or from points that were measured."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from kinecast.calibration.align import moved
from kinecast.calibration.board.board import Board
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.rigid import inverse, similarity, transform
from kinecast.calibration.solve.distances import triangulate
from kinecast.capture.errors import KinecastError

Up = Literal["y", "z"]
# cameras look down by 45° at the most on average, and the mean of several that look from all sides leans less
MOST_LEAN_DEG = 50.0
LEAST_FLAT_M = 0.010  # triangulated corners of a board that lies still are off by some millimetres at most
# columns: the world's axes in those of a frame whose z is up
AXES: dict[str, Float] = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),  # x stays, y up, z towards the viewer
}


def board_in_world(rig: Rig, views: dict[str, BoardView], board: Board) -> tuple[Float, float]:
    """(4, 4) world_from_board of a board that lies still, and how far its triangulated corners are from flat (m, RMS).

    One camera is enough where it alone sees the board; its flat pose is then used. KinecastError where none does.
    """
    from kinecast.calibration.solve.intrinsics import board_pose, usable

    if not views:
        raise KinecastError(f"no camera sees the board ({board}) on the floor: film it lying flat, seen by two cameras")
    cameras = [rig[n] for n in views]
    px = np.full((len(cameras), len(board.points_m), 2), np.nan)
    for c, view in enumerate(views.values()):
        px[c, view.ids] = view.px
    points = triangulate(cameras, px)
    ok = np.isfinite(points).all(axis=1)
    singular_values = (
        np.linalg.svd(board.points_m[ok, :2] - board.points_m[ok, :2].mean(axis=0), compute_uv=False)
        if ok.sum() > 3
        else [0, 0]
    )
    if len(cameras) >= 2 and singular_values[1] > 0.3 * board.square_m:
        T, _ = similarity(points[ok], board.points_m[ok], scaled=False)
        there = board.points_m[ok] @ T[:3, :3].T + T[:3, 3]
        return T, float(np.sqrt(((there - points[ok]) ** 2).sum(axis=1).mean()))
    for name, view in views.items():
        found = board_pose(view, board, rig[name]) if usable(view, board) else None
        if found is not None:
            return inverse(rig[name].cam_from_world) @ found[0], float("nan")
    raise KinecastError("the board on the floor is seen too poorly to place the world: put it nearer, in full view")


def from_board(rig: Rig, world_from_board: Float, board: Board, up: Up = "z", seen_by: Sequence[str] = ()) -> Rig:
    """The rig with its origin in the middle of a board on the floor, x along the board's rows.

    seen_by: the cameras that see the board (all, where none are named). Its printed side looks away from the floor, and
    who sees it is above it: up is that side. A camera below the floor then is one that does not belong there.
    """
    centre = board.points_m.mean(axis=0)
    normal = world_from_board[:3, 2]
    at = world_from_board[:3, :3] @ centre + world_from_board[:3, 3]
    above = sum(np.sign((rig[n].centre_world - at) @ normal) for n in (seen_by or rig.names))
    if above == 0:  # as many on either side: the farther ones, whose side is surer
        above = sum((rig[n].centre_world - at) @ normal for n in (seen_by or rig.names))
    x, z = world_from_board[:3, 0], normal if above > 0 else -normal
    R = np.stack([x, np.cross(z, x), z], axis=1)  # the axes of the floor frame in the old world
    floor_from_world = inverse(transform(R, at))
    return _turned(rig, floor_from_world, up)


def floor_warnings(rig: Rig, rms_m: float) -> list[str]:
    """What speaks against a floor: cameras below it, pictures that stand on their head, corners that contradict."""
    out = []
    below = [c.name for c in rig if c.centre_world @ rig.up_world < 0]
    if below:
        out.append(
            f"{', '.join(below)} stand below the floor of the board: it did not lie on the floor, or they look through "
            "glass; lay it flat, its printed side up"
        )
    turned = [c.name for c in rig if c.R[1] @ rig.up_world > np.cos(np.deg2rad(60))]
    if turned:
        out.append(
            f"the pictures of {', '.join(turned)} stand on their head in this world: if those cameras are mounted "
            "upright, the board did not lie on the floor"
        )
    mean_up = np.mean([-c.R[1] for c in rig], axis=0)
    lean = float(np.rad2deg(np.arccos(np.clip(mean_up @ rig.up_world / max(np.linalg.norm(mean_up), 1e-9), -1, 1))))
    if lean > MOST_LEAN_DEG and not turned:
        out.append(
            f"what the cameras' pictures call up is {lean:.0f}° from the board's: unless all cameras are rolled, the "
            "board stood upright, on a wall or a stand; lay it on the floor"
        )
    if rms_m > LEAST_FLAT_M:
        out.append(
            f"the corners of the board on the floor are off by {1000 * rms_m:.0f} mm: it moved between the pictures, "
            "or a camera has moved since the rig was made"
        )
    return out


def _turned(rig: Rig, floor_from_world: Float, up: Up) -> Rig:
    new_from_floor = transform(AXES[up].T, np.zeros(3))
    return replace(moved(rig, new_from_floor @ floor_from_world), up=up)


def turned_up(rig: Rig, up: Up) -> Rig:
    """A rig whose world is z up in a world that is ``up`` up."""
    return _turned(rig, np.eye(4), up)


def from_points(
    rig: Rig, points_old_m: Float, points_new_m: Float, up: Up, scaled: bool = False
) -> tuple[Rig, float, float]:
    """The rig in the world in which (n, 3) points have given coordinates; RMS of what is left in m, and the scale.

    KinecastError where fewer than three points are known, or they lie on a line.
    """
    ok = np.isfinite(points_old_m).all(axis=1)
    if ok.sum() < 3:
        raise KinecastError(f"{int(ok.sum())} of the given points are seen by two cameras; three are the least")
    singular_values = np.linalg.svd(points_new_m[ok] - points_new_m[ok].mean(axis=0), compute_uv=False)
    if singular_values[1] < 0.05 * singular_values[0]:
        raise KinecastError("the given points lie on one line: add one beside it")
    T, scale = similarity(points_new_m[ok], points_old_m[ok], scaled)
    there = scale * points_old_m[ok] @ T[:3, :3].T + T[:3, 3]
    rms = float(np.sqrt(((there - points_new_m[ok]) ** 2).sum(axis=1).mean()))
    return replace(moved(rig, T, scale), up=up), rms, scale


def upright(rig: Rig, cameras: Sequence[Camera], up: Up = "z") -> Rig:
    """A first world where no floor was filmed: up is what the cameras' pictures call up, on average, and the
    origin is the point that they look at. A guess, to be replaced by a floor."""
    z = np.mean([-c.R[1] for c in cameras], axis=0)
    z = z / np.linalg.norm(z)
    off_axis = [np.eye(3) - np.outer(c.R[2], c.R[2]) for c in cameras]
    A = np.sum(off_axis, axis=0) + 1e-6 * np.eye(3)
    focus = np.linalg.solve(A, np.sum([m @ c.centre_world for m, c in zip(off_axis, cameras, strict=True)], axis=0))
    x = cameras[0].R[0] - (cameras[0].R[0] @ z) * z
    x = x / np.linalg.norm(x)
    return _turned(rig, inverse(transform(np.stack([x, np.cross(z, x), z], axis=1), focus)), up)
