"""Lamps while a board is filmed: synthetic walks fill them, and what is missing is named."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kinecast.calibration.board.board import parse
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Camera
from kinecast.calibration.rigid import transform
from kinecast.calibration.solve.coverage import BoardCoverage, Coverage, Wanted, tilted_to
from kinecast.engines.synth.boards import watch_board
from kinecast.engines.synth.rigs import ring_rig

BOARD = parse("charuco:6x5:120mm:90mm:DICT_5X5_50")
SIZE = (1280, 720)
CAMERA = Camera("c", SIZE, np.array([[1100.0, 0, 640], [0, 1100, 360], [0, 0, 1]]), np.zeros(4), np.eye(4))


def view(
    x: float = 0.0, y: float = 0.0, z: float = 2.0, turn: tuple[float, float] = (0, 0), t_s: float = 0.0
) -> BoardView:
    """The board before CAMERA, its middle at (x, y, z) m, turned about the picture's x and y by degrees."""
    R = cv2.Rodrigues(np.deg2rad([turn[0], turn[1], 0.0]))[0]
    T = transform(R, [x, y, z]) @ transform(np.eye(3), -BOARD.points_m.mean(axis=0))
    px, _ = CAMERA.project(BOARD.points_m @ T[:3, :3].T + T[:3, 3])
    return BoardView(0, round(t_s * 1e9), np.arange(len(px), dtype=np.int32), px, 2.0, False, SIZE)


def test_a_board_that_stands_still_is_one_view() -> None:
    c = BoardCoverage(["a", "b"], BOARD)
    for k in range(50):
        c.add("a", view(t_s=k / 30))
        c.add("b", view(t_s=k / 30))
    lamps = c.coverage()
    assert [k.views for k in lamps.cameras] == [1, 1] and lamps.pairs[0].shared == 1
    c.add("a", view(0.2, t_s=5))
    assert c.coverage().cameras[0].views == 2


def test_pairs_need_the_same_moment_in_whatever_order_they_come() -> None:
    c = BoardCoverage(["a", "b"], BOARD, window_s=0.02)
    for k in range(10):
        c.add("a", view(0.1 * k - 0.5, t_s=k / 10))
    for k in range(10):  # the other camera's pictures come late
        c.add("b", view(0.1 * k - 0.5, t_s=k / 10 + 0.015))
    assert c.coverage().pairs[0].shared == 10 and c.coverage().pairs[0].indicator == "green"
    apart = BoardCoverage(["a", "b"], BOARD, window_s=0.02)
    for k in range(10):
        apart.add("a", view(0.1 * k - 0.5, t_s=k / 10))
        apart.add("b", view(0.1 * k - 0.5, t_s=k / 10 + 0.04))
    assert apart.coverage().pairs[0].shared == 0 and len(apart.coverage().groups) == 2


@pytest.mark.parametrize(
    ("turn", "side"),
    [((0, 0), ""), ((10, 0), ""), ((0, 35), "right"), ((0, -35), "left"), ((35, 0), "top"), ((-35, 0), "bottom")],
)
def test_tilts_by_the_edge_that_is_nearer(turn: tuple[float, float], side: str) -> None:
    """Turned by a positive angle about y (down), what is right comes nearer; about x (right), what is above does."""
    R = cv2.Rodrigues(np.deg2rad([turn[0], turn[1], 0.0]))[0]
    corners = {"right": [1, 0, 0], "left": [-1, 0, 0], "bottom": [0, 1, 0], "top": [0, -1, 0]}
    if side:
        assert (R @ corners[side])[2] < -0.5
    assert tilted_to(view(turn=turn), BOARD) == side


def test_blurred_and_doubled_pictures_do_not_count_and_are_named() -> None:
    c = BoardCoverage(["a"], BOARD)
    for k in range(10):
        c.add("a", replace(view(0.1 * k), edge_px=20.0))
    lamp = c.coverage().cameras[0]
    assert lamp.views == 0 and lamp.blurred == 10 and "move it slower" in lamp.missing
    for k in range(10):
        c.add("a", replace(view(0.1 * k), repeated=True))
    assert "two boards" in c.coverage().cameras[0].missing


def walk(cameras: int, sets: int, wanted: Wanted, blind: tuple[int, ...] = ()) -> Coverage:
    rig = ring_rig(cameras, SIZE, radius_m=2.5, focal_of_width=0.8)
    seen = watch_board(rig, BOARD, sets=sets, reach_m=1.0).seen
    c = BoardCoverage(rig.names, BOARD, wanted)
    for s in range(sets):
        for i, camera in enumerate(seen):
            if i not in blind:
                c.add(camera.name, camera.by_frame.get(s))
    return c.coverage()


def test_a_walk_fills_the_lamps_and_a_short_one_does_not() -> None:
    wanted = Wanted(views=20, covered=0.4, tilts=3, shared=8)
    early, late = walk(4, 15, wanted), walk(4, 250, wanted)
    assert not early.enough and early.advice != "this is enough"
    assert late.enough and late.advice == "this is enough" and len(late.groups) == 1
    assert all(c.indicator == "green" and not c.missing for c in late.cameras)
    assert all(e.views <= k.views and e.looked < k.looked for e, k in zip(early.cameras, late.cameras, strict=True))
    known = walk(4, 120, wanted.for_known_lenses())
    assert known.enough


def test_a_camera_without_the_board_is_named() -> None:
    lamps = walk(4, 120, Wanted(covered=0.3), blind=(2,))
    assert not lamps.enough and lamps.cameras[2].indicator == "red"
    assert lamps.advice == f"show the board to {lamps.cameras[2].name}"


def test_two_groups_are_told_which_pair_to_join() -> None:
    c = BoardCoverage(["a", "b", "c", "d"], BOARD, Wanted().for_known_lenses())
    for k in range(12):
        for name, late in (("a", 0.0), ("b", 0.0), ("c", 50.0), ("d", 50.0)):
            c.add(name, view(0.1 * k - 0.6, t_s=k + late))
    for k in range(3):
        c.add("b", view(0.1 * k, t_s=100.0 + k))
        c.add("d", view(0.1 * k, t_s=100.0 + k))
    lamps = c.coverage()
    assert lamps.groups == (("a", "b"), ("c", "d")) and not lamps.enough
    assert lamps.advice == "hold the board where b and d both see it, in 5 more places"


def test_empty_parts_of_the_picture_are_named() -> None:
    c = BoardCoverage(["a"], BOARD)
    for k in range(30):
        c.add("a", view(-0.7, -0.3 + 0.02 * k, z=1.8, t_s=k))
    lamp = c.coverage().cameras[0]
    assert "right" in lamp.missing and "left" not in lamp.missing.split(" of its picture")[0]
    assert 0 < lamp.covered < 0.5 and lamp.indicator == "yellow"
