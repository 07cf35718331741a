"""Footage of a board before synthetic cameras: drawn through their lenses, as videos or as photos."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.board.board import Board
from kinecast.calibration.board.draw import picture
from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.rigid import rotation
from kinecast.engines.synth.rigs import look_at, ring_rig

Image = NDArray[np.uint8]
PX_PER_M, MARGIN_M = 500.0, 0.05
GREY = 110.0
Change = Callable[[int, int, Image], Image | None]  # camera, picture → what is filmed instead; None: left out


@cache
def _texture(board: Board) -> Image:
    return np.asarray(cv2.GaussianBlur(picture(board, PX_PER_M, MARGIN_M), (0, 0), 0.8), dtype=np.uint8)


@cache
def _rays(camera: Camera) -> NDArray[np.float64]:
    """(H, W, 3) the ray of every pixel, at depth 1."""
    w, h = camera.size_px
    x, y = np.meshgrid(np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64))
    flat = camera.undistort(np.stack([x.ravel(), y.ravel()], axis=1))
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1).reshape(h, w, 3)


def origin_m(board: Board) -> tuple[float, float]:
    """Where the origin of the board's frame is, from the top left of what ``rectangles`` draws.

    The frame of a chessboard begins at its first inner corner, that of the others at their edge.
    """
    return (board.square_m, board.square_m) if board.kind == "chessboard" else (0.0, 0.0)


def draw(camera: Camera, placed: Sequence[tuple[Board, NDArray[np.float64]]]) -> Image:
    """(H, W) picture of flat boards at (4, 4) world_from_board, those behind first; through the lens, with noise."""
    w, h = camera.size_px
    out = np.full((h, w), GREY, np.float32)
    for board, world_from_board in placed:
        T = camera.cam_from_world @ world_from_board
        texture = _texture(board)
        size = np.array(texture.shape[::-1]) / PX_PER_M
        low = -np.array(origin_m(board)) - MARGIN_M
        outline = low + size * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]])
        points = outline @ T[:3, :2].T + T[:3, 3]
        if (points[:, 2] < 0.05).any():
            continue
        px = camera.distort(points[:, :2] / points[:, 2:])
        x0, y0 = np.clip(np.floor(px.min(axis=0)).astype(int) - 3, 0, [w, h])
        x1, y1 = np.clip(np.ceil(px.max(axis=0)).astype(int) + 4, 0, [w, h])
        if x1 <= x0 or y1 <= y0:
            continue
        H = np.linalg.inv(np.stack([T[:3, 0], T[:3, 1], T[:3, 3]], axis=1))
        at = _rays(camera)[y0:y1, x0:x1] @ H.T
        maps = ((at[..., :2] / at[..., 2:] - low) * PX_PER_M - 0.5).astype(np.float32)
        inside = ((maps > 0) & (maps < np.array(texture.shape[::-1]) - 1)).all(axis=2)
        seen = cv2.remap(texture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR)
        out[y0:y1, x0:x1][inside] = seen[inside]
    return np.asarray(np.clip(out + _noise(w, h), 0, 255), dtype=np.uint8)


@cache
def _noise(w: int, h: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 2.0, (h, w)).astype(np.float32)


def rig_above(cameras: int = 3, size_px: tuple[int, int] = (640, 360)) -> Rig:
    """Cameras around at 2.4 m, 2.2 m from the middle, that look down on the board; mild lenses."""
    rig = ring_rig(cameras, size_px, focal_of_width=0.8)
    out = []
    for k, camera in enumerate(rig):
        angle = 2 * np.pi * k / cameras + 0.4
        place = np.array([2.2 * np.cos(angle), 2.2 * np.sin(angle), 2.4 + 0.1 * k])
        T = look_at(place, np.array([0, 0, 0.8]), np.array([0, 0, 1.0]))
        out.append(replace(camera, cam_from_world=T))
    return Rig(tuple(out), rig.name, "z")


def carried(board: Board, sets: int, fps_hz: float) -> NDArray[np.float64]:
    """(S, 4, 4) world_from_board of a board carried about 0.9 m high, its face up and leaning to all sides.

    Cameras that look down from around see it nearly always; it never passes the same place twice.
    """
    t = np.arange(sets) / fps_hz
    rate, phase = np.array([0.83, 0.61, 0.97, 0.71, 1.13, 0.37]), np.array([0.0, 1.1, 2.3, 0.4, 1.9, 0.2])
    wave = np.sin(np.outer(t, rate) + phase)
    up = np.array([1.0, -1.0, -1.0])  # the board's z points away from who looks at it
    T = np.tile(np.eye(4), (sets, 1, 1))
    none = np.zeros(sets)
    lean = rotation(np.deg2rad(30) * np.stack([wave[:, 3], wave[:, 4], none], axis=1))
    turn = rotation(np.deg2rad(150) * np.stack([none, none, wave[:, 5]], axis=1))
    T[:, :3, :3] = lean @ turn * up
    T[:, :3, 3] = np.array([0, 0, 0.9]) + wave[:, :3] * [0.6, 0.6, 0.3]
    middle = np.eye(4)
    middle[:3, 3] = -board.points_m.mean(axis=0)
    return np.asarray(T @ middle)


def film(rig: Rig, board: Board, sets: int, fps_hz: float = 4.0) -> list[list[Image]]:
    """Pictures by camera of a carried board; cameras that look at its back see nothing."""
    poses = carried(board, sets, fps_hz)
    out = []
    for camera in rig:
        own = []
        for T in poses:
            front = -T[:3, 2] @ (camera.centre_world - T[:3, 3]) > 0
            own.append(draw(camera, [(board, T)] if front else []))
        out.append(own)
    return out


def videos(
    folder: Path, names: Sequence[str], pictures: Sequence[Sequence[Image]], change: Change | None = None
) -> Path:
    """A video of each camera, at 4 pictures a second."""
    folder.mkdir(parents=True)
    for c, (name, own) in enumerate(zip(names, pictures, strict=True)):
        filmed = [p if change is None else change(c, n, p) for n, p in enumerate(own)]
        kept = [p for p in filmed if p is not None]
        out = cv2.VideoWriter(str(folder / f"{name}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 4, kept[0].shape[::-1])
        out.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
        for p in kept:
            out.write(cv2.cvtColor(p, cv2.COLOR_GRAY2BGR))
        out.release()
    return folder


def photos(folder: Path, names: Sequence[str], pictures: Sequence[Sequence[Image]]) -> Path:
    """A folder of photos of each camera; where there is one of each, the photos themselves."""
    for name, own in zip(names, pictures, strict=True):
        for n, p in enumerate(own):
            path = folder / name / f"{n:03d}.png" if len(own) > 1 else folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), p)
    return folder


def flat_on_floor(board: Board, lift_m: float = 0.0, lean_deg: float = 0.0) -> NDArray[np.float64]:
    """(4, 4) world_from_board: on the floor with its printed side up, or held at a lean."""
    T = np.eye(4)
    T[:3, :3] = rotation(np.deg2rad([lean_deg, 0.0, 0.0])) @ np.diag([1.0, -1, -1])
    T[:3, 3] = T[:3, :3] @ -board.points_m.mean(axis=0) + [0.0, 0.0, lift_m]
    return T
