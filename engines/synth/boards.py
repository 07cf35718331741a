"""A board moved before synthetic cameras: where each of its corners is seen, with noise, and the truth beside it."""

from dataclasses import dataclass

import numpy as np

from kinecast.calibration.board.board import Board
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Float, Rig
from kinecast.calibration.footage import BoardSightings, FrameSets
from kinecast.calibration.rigid import rotation, transform


@dataclass(frozen=True, slots=True, eq=False)
class BoardWalk:
    """seen: what each camera saw. sets: which pictures belong together. world_from_board: (S, 4, 4) the truth."""

    seen: tuple[BoardSightings, ...]
    sets: FrameSets
    world_from_board: Float


def board_path(
    t_s: Float, seed: int = 0, centre_m: tuple[float, float, float] = (0, 0, 1.2), reach_m: float = 0.8
) -> Float:
    """(S, 4, 4) world_from_board: carried about within ``reach_m`` of a place, turned to all sides and tilted.

    The board's z points away from who looks at it, so a camera sees it from the side of its −z.
    """
    rng = np.random.default_rng((seed, 77))
    phase = rng.uniform(0, 2 * np.pi, 6)
    rate = rng.uniform(0.25, 0.6, 6)
    wave = np.sin(rate * t_s[:, None] + phase)
    at = np.array(centre_m) + wave[:, :3] * [reach_m, reach_m, 0.4 * reach_m]
    # not evenly: what turns evenly looks the same at another time from another side
    turn = 1.0 * t_s + 0.9 * wave[:, 3] + phase[3]  # about the vertical: every camera has its turn
    lean = np.deg2rad(-35 + 25 * wave[:, 4])  # upwards, or cameras far apart would never see its face together
    roll = np.deg2rad(40) * wave[:, 5]
    z = np.stack([np.cos(turn) * np.cos(lean), np.sin(turn) * np.cos(lean), np.sin(lean)], axis=1)
    x = np.cross(np.array([0, 0, -1.0]), z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    base = np.stack([x, np.cross(z, x), z], axis=2)
    return transform(base @ rotation(np.stack([0 * roll, 0 * roll, roll], axis=1)), at)


def watch_board(
    rig: Rig,
    board: Board,
    *,
    sets: int = 60,
    fps_hz: float = 4.0,
    noise_px: float = 0.2,
    seed: int = 0,
    late_s: tuple[float, ...] = (),
    steepest_deg: float = 65.0,
    reach_m: float = 0.8,
) -> BoardWalk:
    """What the cameras of a rig see of a board that is carried about.

    late_s: by how much each camera sees later than its stamps say. steepest_deg: beyond this angle a camera does not
    find the board. A corner is seen where it falls into the picture; a view needs six.
    """
    rng = np.random.default_rng((seed, 78))
    t_s = np.arange(sets) / fps_hz
    late = np.array(late_s or (0.0,) * len(rig))
    points = board.points_m - board.points_m.mean(axis=0)
    views: list[list[BoardView]] = [[] for _ in rig]
    for c, camera in enumerate(rig):
        poses = board_path(t_s + late[c], seed, reach_m=reach_m)
        for s, T in enumerate(poses):
            towards = camera.centre_world - T[:3, 3]
            if -T[:3, 2] @ towards / np.linalg.norm(towards) < np.cos(np.deg2rad(steepest_deg)):
                continue
            px, _ = camera.project(points @ T[:3, :3].T + T[:3, 3])
            px = px + rng.normal(0, noise_px, px.shape)
            ok = np.isfinite(px).all(axis=1) & (px >= 0).all(axis=1) & (px < np.array(camera.size_px) - 1).all(axis=1)
            if ok.sum() < 6:
                continue
            ids = np.flatnonzero(ok).astype(np.int32)
            views[c].append(BoardView(s, round(t_s[s] * 1e9), ids, px[ok], 2.0, False, camera.size_px))
    frame = np.repeat(np.arange(sets)[:, None], len(rig), axis=1)
    stamps = np.round(frame / fps_hz * 1e9).astype(np.int64)
    centred = board_path(t_s, seed, reach_m=reach_m)
    shift = transform(np.eye(3), -board.points_m.mean(axis=0))
    seen = tuple(BoardSightings(k.name, tuple(v), sets, k.size_px) for k, v in zip(rig, views, strict=True))
    return BoardWalk(seen, FrameSets(frame.astype(np.int64), stamps), centred @ shift)
