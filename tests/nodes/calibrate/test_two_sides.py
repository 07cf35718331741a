"""Boards with a print on both sides, before cameras that stand all around."""

import re
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.align import compare
from kinecast.calibration.board.board import load_board, parse, save_board
from kinecast.calibration.board.detect import BoardDetector
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.calibration.rigid import rotation, transform
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.cli.main import main
from tests.calibration.filmed import Image, draw, photos

WORD = "charuco:5x4:150mm:112mm:DICT_4X4_50"
THICK_M = 0.02
MIRRORED = f"{WORD}:20mm:mirrored-back"
BOARD = parse(WORD)
RIG = ring_rig(4, (640, 360), radius_m=2.6, focal_of_width=0.8)
SETS = 36


def poses() -> np.ndarray:
    """(S, 4, 4) world_from_board of a board that is held upright and turned about, leaning to all sides."""
    t = np.arange(SETS) / 4.0
    rate, phase = np.array([0.83, 0.61, 0.97, 0.71, 1.13]), np.array([0.0, 1.1, 2.3, 0.4, 1.9])
    wave = np.sin(np.outer(t, rate) + phase)
    T = np.tile(np.eye(4), (SETS, 1, 1))
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    lean = rotation(np.deg2rad(25) * np.stack([wave[:, 0], wave[:, 1], 0 * t], axis=1))
    turn = rotation(np.stack([0 * t, 0 * t, 0.9 * t], axis=1))
    T[:, :3, :3] = turn @ lean @ upright
    T[:, :3, 3] = np.array([0, 0, 1.2]) + wave[:, 2:] * [0.35, 0.35, 0.2]
    middle = np.eye(4)
    middle[:3, 3] = -BOARD.points_m.mean(axis=0)
    return np.asarray(T @ middle)


def film(back: str) -> list[list[Image]]:
    """Pictures by camera. back: nothing, the ``mirror`` print, or the ``same``, on the other side of the sheet."""
    behind = transform(np.eye(3), np.array([0, 0, THICK_M]))
    if back == "same":  # turned over about its upright axis
        flip = np.diag([-1.0, 1.0, -1.0])
        centre = BOARD.points_m.mean(axis=0)
        behind = behind @ transform(flip, centre - flip @ centre)
    out = []
    for camera in RIG:
        own = []
        for T in poses():
            front = -T[:3, 2] @ (camera.centre_world - T[:3, 3]) > 0
            own.append(draw(camera, [(BOARD, T if front else T @ behind)] if front or back else []))
        out.append(own)
    return out


def calibrated(tmp_path: Path, back: str, word: str) -> int:
    save_rig(RIG, tmp_path / "truth.toml")
    made = photos(tmp_path / "photos", RIG.names, film(back))
    words = ["rig", made, "--board", word, "--intrinsics", tmp_path / "truth.toml", "-o", tmp_path / "rig.toml"]
    return main(["calibrate", *map(str, words)])


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinecast.calibration.report.figures.available", lambda: False)


def test_the_mirror_print_on_the_back_joins_cameras_that_face_each_other(tmp_path: Path) -> None:
    assert calibrated(tmp_path, "mirror", MIRRORED) == 0
    assert float(compare(RIG, load_rig(tmp_path / "rig.toml")).position_mm.max()) < 8
    # the sheet's thickness counts: told to be thin, the rig is off by about as much
    save_board(parse(MIRRORED), tmp_path / "board.toml")
    assert load_board(tmp_path / "board.toml") == parse(MIRRORED)
    assert re.search(r"mirrored on its back 20 mm behind", str(parse(MIRRORED)))


def test_the_back_is_read_with_its_own_corners() -> None:
    T = poses()[0]
    detector = BoardDetector(parse(MIRRORED))
    behind = T @ transform(np.eye(3), np.array([0, 0, THICK_M]))
    points = parse(MIRRORED).points_m
    assert len(points) == 2 * len(BOARD.points_m)
    sides = set()
    for camera in RIG:
        front = bool(-T[:3, 2] @ (camera.centre_world - T[:3, 3]) > 0)
        view = detector(draw(camera, [(BOARD, T if front else behind)]))
        if view is None:
            continue
        sides.add(front)
        assert ((view.ids < len(BOARD.points_m)) == front).all()
        there = points[view.ids] @ T[:3, :3].T + T[:3, 3]
        assert np.median(np.linalg.norm(camera.project(there)[0] - view.px, axis=1)) < 0.5
    assert sides == {True, False}


def test_the_same_print_on_both_sides_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rig was written with status 0 that was wrong by centimetres."""
    assert calibrated(tmp_path, "same", WORD) == 2
    assert "the same print is on both" in capsys.readouterr().err
    assert not (tmp_path / "rig.toml").exists()


def test_a_mirrored_back_that_nobody_told_of_is_suggested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cameras that see the front agree; the message of those that see the back names both remedies."""
    filmed = film("mirror")[0]
    backs = [i for i in filmed if i.std() > 10 and BoardDetector(BOARD)(i) is None]
    made = photos(tmp_path / "backs", ["a"], [backs])
    words = ["intrinsics", made / "a", "--board", WORD, "-o", tmp_path / "lens.toml"]
    assert main(["calibrate", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert "the picture is mirrored" in said and "mirrored-back" in said
