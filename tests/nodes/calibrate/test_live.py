"""``kinecast calibrate live`` over small videos of a board: in files' order, paced by threads, kept for later."""

import argparse
import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from kinecast.calibration.board.board import Board, parse, save_board
from kinecast.calibration.board.detect import BoardDetector
from kinecast.calibration.footage import find_footage, read_timestamps
from kinecast.calibration.solve.coverage import BoardCoverage, Wanted
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate import coverage_display, live

BOARD = parse("charuco:5x4:60mm:45mm:DICT_4X4_50")
SIZE, FRAMES, FPS = (320, 240), 24, 10


def board_image(board: Board) -> np.ndarray:
    return board.cv_board().generateImage((150, 120), marginSize=6)


def write_videos(folder: Path, cameras: int = 2) -> Path:
    """A board that slides through the picture of every camera, a little later in each."""
    folder.mkdir(parents=True, exist_ok=True)
    image = board_image(BOARD)
    for c in range(cameras):
        out = cv2.VideoWriter(str(folder / f"cam{c}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, SIZE)
        for k in range(FRAMES):
            x, y = 10 + 6.5 * k, 40 + 40 * np.sin(k / 4 + c)
            M = np.array([[1, 0.1 * c, x], [0, 1, y]])
            frame = cv2.warpAffine(image, M, SIZE, borderValue=90)
            out.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        out.release()
    save_board(BOARD, folder / "board.toml")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("live") / "videos")


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    live.add_arguments(parser)
    return parser.parse_args(words)


def test_a_folder_gives_the_same_lamps_each_time(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        assert live.run(arguments(str(videos), "--known-lenses", "--rate-hz", "10")) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and "enough: stop filming, and calibrate" in said[0]
    assert f"places in {FRAMES} pictures" in said[0] and "cam0 and cam1: green" in said[0]
    # lenses too: the board was neither tilted nor everywhere, and that is said
    assert live.run(arguments(str(videos), "--rate-hz", "10")) == 1
    out = capsys.readouterr().out
    assert "tilt the board" in out and "of its picture" in out


def test_the_rate_and_the_duration_count_by_the_time_of_the_pictures(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live.run(arguments(str(videos), "--rate-hz", "5"))
    assert f"places in {FRAMES // 2} pictures" in capsys.readouterr().out
    live.run(arguments(str(videos), "--rate-hz", "10", "--duration", "0.95"))
    assert "places in 10 pictures" in capsys.readouterr().out


def test_stops_as_soon_as_it_is_enough(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert live.run(arguments(str(videos), "--known-lenses", "--rate-hz", "10", "--stop")) == 0
    assert f"places in {FRAMES} pictures" not in capsys.readouterr().out


def launch_file(folder: Path, videos: Path, pace: str, kind: str = "video") -> Path:
    text = f"version: 1\nsession: {{rig: none.toml, pace: {pace}}}\nnodes:\n  fusion: {{kind: fusion}}\n"
    for c in range(2):
        source = "{kind: synthetic}" if kind == "synthetic" else f"{{kind: video, uri: {videos / f'cam{c}.avi'}}}"
        text += f"  eye{c}: {{kind: camera, camera: c{c}, source: {source}}}\n"
    save_board(BOARD, folder / "board.toml")
    (folder / "launch.yaml").write_text(text)
    return folder / "launch.yaml"


@pytest.mark.parametrize("pace", ["lossless", "realtime"])
def test_cameras_of_a_launch_file_need_no_rig_and_are_kept(
    pace: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, kept = launch_file(tmp_path, videos, pace), tmp_path / "kept"
    words = (str(file), "--known-lenses", "--rate-hz", "10", "--record", str(kept))
    status = live.run(arguments(*words))
    out = capsys.readouterr().out
    assert "c0: " in out and "c1: " in out and "timestamps.csv" in out
    found = find_footage(kept)
    stamps, _ = read_timestamps(kept / "timestamps.csv", found)
    with (kept / "timestamps.csv").open() as f:
        assert {r["camera"] for r in csv.DictReader(f)} == {"c0", "c1"} == {k.name for k in found}
    if pace == "lossless":
        assert status == 0 and [len(s) for s in stamps] == [FRAMES, FRAMES]
        assert np.allclose(np.diff(stamps[0]), 1e9 / FPS, atol=1e6)
    else:  # a slow machine may skip pictures, so only that some came from both
        assert all(len(s) > 0 and (np.diff(s) > 0).all() for s in stamps)
    with pytest.raises(KinecastError, match="something already"):
        live.run(arguments(*words))


def test_what_cannot_be_looked_at_is_refused(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="nobody holds a board"):
        live.run(arguments(str(launch_file(tmp_path, videos, "lossless", "synthetic"))))
    with pytest.raises(KinecastError, match=r"no camera 'c9'; it has c0, c1"):
        live.run(arguments(str(launch_file(tmp_path, videos, "lossless")), "--cameras", "c9"))
    (tmp_path / "gone").mkdir()
    with pytest.raises(KinecastError, match="gone"):
        live.run(arguments(str(launch_file(tmp_path, tmp_path / "gone", "realtime"))))
    with pytest.raises(KinecastError, match="--rate-hz"):
        live.run(arguments(str(videos), "--rate-hz", "0"))


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        return self.t_ns

    def wait_until_ns(self, t_ns: int) -> None:
        self.t_ns = max(self.t_ns, t_ns)


def seen(wanted: int) -> BoardCoverage:
    coverage = BoardCoverage(["a", "b"], BOARD, Wanted(shared=wanted).for_known_lenses())
    detector = BoardDetector(BOARD)
    image = board_image(BOARD)
    for k in range(4):
        M = np.array([[1, 0, 10.0 + 30 * k], [0, 1, 40.0]])
        view = detector(cv2.warpAffine(image, M, SIZE, borderValue=90), k, k * 10**9)
        assert view is not None
        coverage.add("a", view)
        coverage.add("b", view)
    return coverage


def test_the_screen_rings_once_and_does_not_flood() -> None:
    out, clock = io.StringIO(), Hand()
    console = Console(file=out, force_terminal=True, width=150, height=40)
    early, late = seen(8).coverage(), seen(4).coverage()
    assert not early.enough and late.enough
    with coverage_display.Screen(clock, console) as screen:
        assert screen.due and not screen.show(early) and not screen.due
        clock.t_ns += 10**9
        assert screen.due
        for _ in range(3):
            assert screen.show(late)
            clock.t_ns += 10**9
    text = out.getvalue()
    assert text.count("\a") == 1 and "● 4" in text and "enough" in text and "▀" in text


def test_plain_lines_where_there_is_no_terminal() -> None:
    out, clock = io.StringIO(), Hand()
    found = seen(8).coverage()
    with coverage_display.Screen(clock, Console(file=out, force_terminal=False, width=150)) as screen:
        for _ in range(12):
            screen.show(found)
            clock.t_ns += 10**9
    assert out.getvalue().splitlines() == [found.advice] * 2
    assert "hold the board where a and b both see it, in 4 more places" in found.advice
