"""Boards: their file, their picture, the printed page, and what is seen of them."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinecast.calibration.board.board import Board, load_board, parse, save_board
from kinecast.calibration.board.detect import BoardDetector
from kinecast.calibration.board.draw import pdf, picture
from kinecast.calibration.board.guess import guess, say
from kinecast.capture.errors import KinecastError
from kinecast.nodes.cli import main as cli
from tests.calibration.filmed import origin_m

CHARUCO = parse("charuco:5x6:30mm:22mm:DICT_4X4_50")
BOARDS = [
    CHARUCO,
    parse("charuco:4x5:30mm:22mm:DICT_5X5_50:inverted"),
    parse("charuco:5x6:30mm:22mm:DICT_4X4_50:legacy"),
    parse("chessboard:4x7:30mm"),
    parse("grid:3x2:40mm:10mm:DICT_APRILTAG_36h11"),
    parse("marker:1x1:100mm:DICT_6X6_50"),
]


@pytest.mark.parametrize("board", BOARDS, ids=str)
def test_a_board_file_comes_back(board: Board, tmp_path: Path) -> None:
    save_board(board, tmp_path / "board.toml")
    assert load_board(tmp_path / "board.toml") == board


@pytest.mark.parametrize("board", BOARDS, ids=str)
def test_every_corner_of_a_drawn_board_is_found_where_it_is(board: Board) -> None:
    """A drawn edge lies within half a pixel of its place (whole pixels are painted)."""
    scale, margin = 3000.0, 0.04
    view = BoardDetector(board, thorough=True)(picture(board, scale, margin))
    assert view is not None and len(view) == len(board.points_m) and not view.repeated
    there = (board.points_m[view.ids, :2] + np.array(origin_m(board)) + margin) * scale - 0.5
    gap = np.linalg.norm(view.px - there, axis=1)
    turned = np.linalg.norm(view.px - there[::-1], axis=1)  # a chessboard alone has no first corner
    assert min(gap.max(), turned.max() if board.kind == "chessboard" else np.inf) < 1.5


def test_the_picture_is_the_one_of_opencv() -> None:
    for board in BOARDS[:3]:
        ours = picture(board, 2000.0, 0.0)
        theirs = board.cv_board().generateImage((ours.shape[1], ours.shape[0]), marginSize=0)
        theirs = 255 - theirs if board.inverted else theirs
        assert (np.abs(ours.astype(int) - theirs) > 128).mean() < 0.04  # edges fall on other pixels


def test_a_printed_page_has_the_true_size() -> None:
    """A square of 30 mm is 85.04 points wide, the page is A4, the ruler 100 mm."""
    text = pdf(CHARUCO).decode("latin-1")
    box = re.search(r"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", text)
    assert box is not None and [float(v) for v in box.groups()] == pytest.approx([595.276, 841.890], abs=0.01)
    widths = [float(w) for w in re.findall(r"^[\d.]+ [\d.]+ ([\d.]+) [\d.]+ re f", text, re.MULTILINE)]
    square = 0.030 * 72 / 0.0254
    assert sum(abs(w - square) < 0.1 for w in widths) >= 15
    assert any(abs(w - 0.1 * 72 / 0.0254) < 0.01 for w in widths)
    start = int(re.findall(r"startxref\n(\d+)", text)[0])
    assert text[start:].startswith("xref")


def test_a_board_that_fits_no_page_is_refused() -> None:
    with pytest.raises(KinecastError, match="does not fit on A4"):
        pdf(parse("chessboard:4x7:60mm"), "A4")


@pytest.mark.parametrize(
    ("word", "match"),
    [
        ("charuco:5x7", "is no board"),
        ("chessboard:4x7:DICT_4X4_50", "length of a square"),
        ("charuco:5x7:40mm:50mm", "must fit into the squares"),
        ("charuco:5x7:40mm:30mm:DICT_9X9_50", "no dictionary"),
        ("charuco:20x20:20mm:15mm:DICT_4X4_50", "only 50"),
        ("chessboard:4x7:60000mm", "check the unit"),
    ],
)
def test_a_wrong_word_says_what_is_wrong(word: str, match: str) -> None:
    with pytest.raises(KinecastError, match=match):
        parse(word)


def test_a_caliscope_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "charuco.toml"
    path.write_text(
        'columns = 4\nrows = 5\nboard_height = 11.0\nboard_width = 8.5\ndictionary = "DICT_4X4_1000"\n'
        'units = "inch"\naruco_scale = 0.75\nsquare_size_override_cm = 5.4\ninverted = true\n'
    )
    assert load_board(path) == Board("charuco", 4, 5, 0.054, 0.0405, dictionary="DICT_4X4_1000", inverted=True)


def seen_at_a_slant(board: Board) -> np.ndarray:
    image = picture(board, 2500.0, 0.04)
    h, w = image.shape
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    slant = np.array([[60, 30], [w + 20, 60], [w - 30, h], [20, h + 50]], np.float32)
    H = cv2.getPerspectiveTransform(corners, slant)
    return cv2.warpPerspective(image, H, (w + 100, h + 100), borderValue=128)


def test_wrong_columns_and_rows_are_told_apart() -> None:
    told = parse("charuco:6x5:30mm:22mm:DICT_4X4_50")
    assert "5×6 charuco" in (said := say(guess([seen_at_a_slant(CHARUCO)], told), told)) and "you said 6×5" in said
    right = guess([seen_at_a_slant(CHARUCO)], CHARUCO)
    assert "as you said" in say(right, CHARUCO)
    assert right is not None and right.marker_share == pytest.approx(22 / 30, abs=0.03)


def test_an_inverted_and_a_mirrored_board_are_named() -> None:
    assert "you said not inverted" in say(guess([255 - seen_at_a_slant(CHARUCO)], CHARUCO), CHARUCO)
    mirror = np.ascontiguousarray(seen_at_a_slant(CHARUCO)[:, ::-1])
    assert BoardDetector(CHARUCO)(mirror) is None
    assert "mirrored" in say(guess([mirror], CHARUCO), CHARUCO)


def test_an_empty_picture_is_no_board() -> None:
    blank = np.full((480, 640), 128, np.uint8)
    assert BoardDetector(CHARUCO)(blank) is None and "no board of a known kind" in say(guess([blank], CHARUCO), CHARUCO)


def test_two_boards_in_view_are_noticed() -> None:
    one = picture(CHARUCO, 2000.0, 0.03)
    view = BoardDetector(CHARUCO)(np.hstack([one, one]))
    assert view is None or view.repeated


def test_blur_widens_the_edges() -> None:
    image = seen_at_a_slant(CHARUCO)
    sharp, soft = BoardDetector(CHARUCO)(image), BoardDetector(CHARUCO)(cv2.GaussianBlur(image, (0, 0), 2.0))
    assert sharp is not None and soft is not None and sharp.edge_px < 3 and soft.edge_px > 2 * sharp.edge_px


@pytest.mark.parametrize(
    ("word", "metres"), [("80mm", 0.08), ("8cm", 0.08), ("0.06m", 0.06), ("2.5in", 0.0635), (".06m", 0.06)]
)
def test_lengths_have_units(word: str, metres: float) -> None:
    assert parse(f"chessboard:4x7:{word}").square_m == pytest.approx(metres, abs=1e-12)
    board = parse(f"charuco:4x7:{word}:{0.5 * metres}m")
    assert (board.square_m, board.marker_m) == pytest.approx((metres, 0.5 * metres), abs=1e-9)


@pytest.mark.parametrize("word", ["60", "60ft", "6e1mm", "-60mm", "6.0.0mm"])
def test_what_is_no_length_is_told(word: str) -> None:
    with pytest.raises(KinecastError, match=r"is no length|is missing"):
        parse(f"chessboard:4x7:{word}")


@pytest.mark.parametrize(("size", "symmetric"), [("4x7", False), ("6x8", True), ("5x7", True), ("5x8", False)])
def test_a_chessboard_that_looks_the_same_turned_by_half_is_not_printed(
    size: str, symmetric: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = parse(f"chessboard:{size}:30mm")
    assert board.symmetric == symmetric
    # it is so in the picture: turned by half, the same
    drawn = picture(board, 500.0, 0.01)
    assert (np.abs(drawn.astype(int) - drawn[::-1, ::-1]).mean() < 10) == symmetric
    words = ["calibrate", "board", f"chessboard:{size}:30mm", "--pdf", str(tmp_path / "b.pdf")]
    assert cli.main(words) == (2 if symmetric else 0)
    assert (tmp_path / "b.pdf").exists() != symmetric
    assert ("looks the same" in capsys.readouterr().err) == symmetric
    if symmetric:
        assert cli.main([*words, "--anyway"]) == 0 and (tmp_path / "b.pdf").exists()


def test_whole_families_of_markers_are_not_tried_where_a_chessboard_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine families, four disguises and six pictures of 4 MP took a minute to say that a word was wrong."""
    whole: list[int] = []
    real = cv2.aruco.ArucoDetector

    class Counted:  # not a subclass: OpenCV's classes are no bases, a subclass of one writes beyond its memory
        def __init__(self, family: cv2.aruco.Dictionary, *more: object) -> None:
            self.inner = real(family, *more)  # type: ignore[call-overload]
            self.size = len(family.bytesList)

        def detectMarkers(self, image: np.ndarray) -> object:
            whole.append(self.size)
            return self.inner.detectMarkers(image)

    monkeypatch.setattr(cv2.aruco, "ArucoDetector", Counted)
    shown = seen_at_a_slant(parse("chessboard:4x7:30mm"))
    found = guess([shown] * 3, parse("chessboard:5x8:30mm"))
    assert found is not None and (found.board.columns, found.board.rows) == (4, 7)
    assert whole and max(whole) <= 64
    high = parse("charuco:5x6:30mm:22mm:DICT_5X5_1000")
    found = guess([seen_at_a_slant(high)], parse("chessboard:4x7:30mm"))
    assert found is not None and found.board.kind == "charuco" and (found.board.columns, found.board.rows) == (5, 6)
