"""From boards seen by single cameras to one world: relative poses of camera pairs, chained along the surest links."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinecast.calibration.board.board import Board
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Camera, Float
from kinecast.calibration.rigid import inverse, rotation_vector, transform
from kinecast.calibration.rigid import rotation as rotation_matrix
from kinecast.calibration.solve.intrinsics import board_pose, usable

MIN_SHARED = 3  # a link of two cameras needs as many board poses that agree
ROTATION_RAD = np.deg2rad(6.0)  # single-view poses of a small board are off by some degrees
DISTANCE_SHARE = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """What two cameras (numbers a < b) know of each other.

    shared: frame sets in which both see the board. agree: those whose relative pose agrees with the one taken.
    a_from_b: (4, 4).
    """

    a: int
    b: int
    shared: int
    agree: int
    a_from_b: Float


@dataclass(frozen=True, slots=True, eq=False)
class PoseGraph:
    """cam_from_world (C, 4, 4) of the connected cameras, NaN of the others; world is the root camera's frame.

    world_from_board: (S, 4, 4), NaN where no connected camera places the board. cam_from_board: (S, C, 4, 4) by single
    views, NaN where a view does not tell. groups: cameras that hang together,
    largest first. tree: the links used.
    """

    cam_from_world: Float
    world_from_board: Float
    cam_from_board: Float
    links: tuple[Link, ...]
    tree: tuple[Link, ...]
    groups: tuple[tuple[int, ...], ...]
    root: int


Views = Sequence[Sequence[BoardView | None]]  # by frame set, then by camera


def single_poses(views: Views, board: Board, cameras: Sequence[Camera]) -> tuple[Float, Float]:
    """cam_from_board (S, C, 4, 4) of every view that tells it alone, else NaN; and how surely (S, C), 0 to 1.

    Surely: 0 where the mirrored pose of the flat board fits as well.
    """
    out, sure = np.full((len(views), len(cameras), 4, 4), np.nan), np.zeros((len(views), len(cameras)))
    for s, row in enumerate(views):
        for c, view in enumerate(row):
            if view is None or not usable(view, board):
                continue
            found = board_pose(view, board, cameras[c])
            if found is None or found[1] > 0.01 * max(view.size_px):
                continue
            T, error, other = found
            out[s, c] = T
            # noise of 0.3 px keeps two perfect fits from looking different
            sure[s, c] = 1 - ((error + 0.3) / (other + 0.3)) ** 2 if np.isfinite(other) else 1.0
    return out, sure


def relative(a: Float, b: Float, sure: Float) -> tuple[Float, int]:
    """The relative pose (4, 4) that most of (n, 4, 4) candidates a · b⁻¹ agree with, and how many do."""
    T = a @ inverse(b)
    distance = np.maximum(np.linalg.norm(a[:, :3, 3], axis=1), np.linalg.norm(b[:, :3, 3], axis=1))
    some = np.argsort(-sure, kind="stable")[:150]
    T, distance, sure = T[some], distance[some], sure[some]
    turn = np.linalg.norm(rotation_vector(np.swapaxes(T[:, None, :3, :3], -1, -2) @ T[None, :, :3, :3]), axis=-1)
    gap = np.linalg.norm(T[:, None, :3, 3] - T[None, :, :3, 3], axis=-1) / np.maximum(distance, 1e-9)
    near = (turn < ROTATION_RAD) & (gap < DISTANCE_SHARE)
    best = int(np.argmax(near @ (sure + 0.05)))
    inlier = near[best]
    weight = (sure[inlier] + 0.05) / (sure[inlier] + 0.05).sum()
    base = T[best, :3, :3]
    mean = base @ rotation_matrix((rotation_vector(base.T @ T[inlier, :3, :3]) * weight[:, None]).sum(axis=0))
    return transform(mean, (T[inlier, :3, 3] * weight[:, None]).sum(axis=0)), int(inlier.sum())


def same_on_both_sides(poses: Float, board: Board) -> tuple[int, int] | None:
    """Two cameras whose relative poses agree only if one of them sees the same print on the board's back; None: none.

    poses: (S, C, 4, 4) cam_from_board, NaN where a view does not tell. A board that reads alike from both sides is
    turned by half about an axis in its plane: each camera's pose is right, and as a pair they contradict each other.
    """
    middle = board.points_m.mean(axis=0)
    there = np.isfinite(poses[:, :, 0, 0])
    for a in range(poses.shape[1]):
        for b in range(a + 1, poses.shape[1]):
            both = there[:, a] & there[:, b]
            if both.sum() < 2 * MIN_SHARED:
                continue
            A, B = poses[both, a], poses[both, b]
            agree = relative(A, B, np.ones(len(A)))[1]
            for turn in (np.diag([-1.0, 1.0, -1.0]), np.diag([1.0, -1.0, -1.0])):
                flip = transform(turn, middle - turn @ middle)
                turned = relative(A, B @ flip, np.ones(len(A)))[1]
                if turned >= max(MIN_SHARED, 2 * agree, len(A) // 3):
                    return a, b
    return None


def connect(views: Views, board: Board, cameras: Sequence[Camera]) -> PoseGraph:
    """Place the cameras by the board poses that pairs of them share; the most agreed links first."""
    count = len(cameras)
    poses, sure = single_poses(views, board, cameras)
    there = np.isfinite(poses[:, :, 0, 0])
    links = []
    for a in range(count):
        for b in range(a + 1, count):
            both = there[:, a] & there[:, b]
            shared = sum(row[a] is not None and row[b] is not None for row in views)
            if not both.any():
                links.append(Link(a, b, shared, 0, np.full((4, 4), np.nan)))
                continue
            T, agree = relative(poses[both, a], poses[both, b], np.sqrt(sure[both, a] * sure[both, b]))
            links.append(Link(a, b, shared, agree, T))
    tree, groups = _tree(count, [k for k in links if k.agree >= MIN_SHARED])
    weight = np.zeros(count)
    for k in tree:
        weight[[k.a, k.b]] += k.agree
    root = max(groups[0], key=lambda c: weight[c])
    placed = np.full((count, 4, 4), np.nan)
    placed[root] = np.eye(4)
    waiting = [k for k in tree if k.a in groups[0]]
    while waiting:
        for k in list(waiting):
            if np.isfinite(placed[k.a, 0, 0]) and not np.isfinite(placed[k.b, 0, 0]):
                placed[k.b] = inverse(k.a_from_b) @ placed[k.a]
            elif np.isfinite(placed[k.b, 0, 0]) and not np.isfinite(placed[k.a, 0, 0]):
                placed[k.a] = k.a_from_b @ placed[k.b]
            else:
                continue
            waiting.remove(k)
    boards = _place_boards(views, board, cameras, poses, placed)
    return PoseGraph(placed, boards, poses, tuple(links), tuple(tree), groups, root)


def _tree(count: int, links: list[Link]) -> tuple[list[Link], tuple[tuple[int, ...], ...]]:
    """The strongest spanning forest (Kruskal), and the groups that it holds together, largest first."""
    group = list(range(count))
    tree = []
    for k in sorted(links, key=lambda k: -k.agree):
        if group[k.a] != group[k.b]:
            tree.append(k)
            old, new = group[k.b], group[k.a]
            group = [new if g == old else g for g in group]
    sets = [tuple(c for c in range(count) if group[c] == g) for g in sorted(set(group))]
    return tree, tuple(sorted(sets, key=lambda g: -len(g)))


def _place_boards(views: Views, board: Board, cameras: Sequence[Camera], poses: Float, placed: Float) -> Float:
    """Of each set the board pose, among those that single cameras give, that suits all cameras best."""
    out = np.full((len(views), 4, 4), np.nan)
    points = board.points_m
    for s, row in enumerate(views):
        best = np.inf
        for c in range(len(cameras)):
            if not (np.isfinite(poses[s, c, 0, 0]) and np.isfinite(placed[c, 0, 0])):
                continue
            T = inverse(placed[c]) @ poses[s, c]
            error = 0.0
            for other, view in enumerate(row):
                if view is None or not np.isfinite(placed[other, 0, 0]):
                    continue
                there = placed[other] @ T
                at = points[view.ids] @ there[:3, :3].T + there[:3, 3]
                px = cameras[other].distort(at[:, :2] / np.maximum(at[:, 2:], 1e-3))
                error += float(np.minimum(np.linalg.norm(px - view.px, axis=1), 100.0).sum())
            if error < best:
                best, out[s] = error, T
    return out
