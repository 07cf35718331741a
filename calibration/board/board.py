"""Calibration boards as data: what they look like, where their corners are, and the small file that describes one."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import tomli_w

from kinecast.calibration.camera import Float, frozen
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded

Kind = Literal["charuco", "chessboard", "grid", "marker"]
Back = Literal["", "mirror"]
_NAMES = r"DICT_(\dX\d_\d+|ARUCO_ORIGINAL|APRILTAG_.*h.*|ARUCO_MIP_36h12)"
DICTIONARIES = tuple(sorted(n for n in dir(cv2.aruco) if re.fullmatch(_NAMES, n)))
INCH_M = 0.0254
LENGTHS_M = {"mm": 0.001, "cm": 0.01, "in": INCH_M, "inch": INCH_M, "m": 1.0}
HEAD = """\
# A calibration board. columns × rows: squares of a charuco board, INNER CORNERS of a chessboard, markers of a grid.
# Measure the printed board with a ruler and write what you measured: every length of the rig hangs on it.
"""


@dataclass(frozen=True, slots=True)
class Board:
    """One board. Corners lie in the plane z = 0 of its own frame: x along a row, y down the columns, metres.

    columns, rows: squares of a ChArUco board, inner corners of a chessboard, markers of a grid; 1 × 1 of a marker.
    square_m: edge of a square (charuco, chessboard), or of a marker (grid, marker). marker_m: edge of a ChArUco
    board's markers. gap_m: between the markers of a grid. inverted: printed white on black. legacy: the ChArUco
    pattern of OpenCV before 4.6 (differs for even rows). first_id: of the first marker. back: ``mirror`` where the same
    pattern is on the back as in a mirror, so that every corner lies on its twin; thickness_m: of the sheet between.
    """

    kind: Kind
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    gap_m: float = 0.0
    dictionary: str = "DICT_4X4_50"
    inverted: bool = False
    legacy: bool = False
    first_id: int = 0
    back: Back = ""
    thickness_m: float = 0.0

    def __post_init__(self) -> None:
        least = {"charuco": 3, "chessboard": 3, "grid": 1, "marker": 1}
        if self.kind not in least:
            raise KinecastError(f"board kind {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if not least[self.kind] <= min(self.columns, self.rows) <= max(self.columns, self.rows) <= 60:
            raise KinecastError(
                f"a {self.kind} has from {least[self.kind]} to 60 columns and rows, not {self.columns} × {self.rows}"
            )
        if not (math.isfinite(self.square_m) and 0.001 <= self.square_m <= 5):
            raise KinecastError(f"the square of the board is {self.square_m:g} m: it is 0.001 to 5 m; check the unit")
        if self.kind == "charuco" and not 0.1 * self.square_m <= self.marker_m < self.square_m:
            raise KinecastError(
                f"the markers ({self.marker_m * 1000:g} mm) must fit into the squares ({self.square_m * 1000:g} mm)"
            )
        if not 0 <= self.gap_m <= 5:
            raise KinecastError(f"the gap between markers is {self.gap_m:g} m: it is 0 to 5 m")
        if self.back not in get_args(Back):
            raise KinecastError(f"the back of a board is '' or 'mirror', not {self.back!r}")
        if self.back and self.kind != "charuco":
            raise KinecastError(f"a {self.kind} with a mirror print on its back is not read: print a charuco")
        if not 0 <= self.thickness_m <= 0.1:
            raise KinecastError(f"the sheet of the board is {self.thickness_m:g} m thick: it is 0 to 0.1 m")
        if self.kind != "chessboard":
            if self.dictionary not in DICTIONARIES:
                raise KinecastError(f"there is no dictionary {self.dictionary!r}; known are {', '.join(DICTIONARIES)}")
            known = len(dictionary(self.dictionary).bytesList)
            if self.first_id < 0 or self.first_id + self.markers > known:
                raise KinecastError(f"the board has {self.markers} markers, {self.dictionary} only {known}")

    @property
    def markers(self) -> int:
        """How many markers are on it."""
        cells = self.columns * self.rows
        return {"charuco": cells // 2, "chessboard": 0, "grid": cells, "marker": 1}[self.kind]

    @property
    def symmetric(self) -> bool:
        """Whether it looks the same turned by half: a chessboard whose ends are of one colour. Cameras that see it from
        different sides then call different corners the first.
        """
        return self.kind == "chessboard" and (self.columns + self.rows) % 2 == 0

    @property
    def points_m(self) -> Float:
        """(n, 3) corners by id: row by row; of a grid four a marker, clockwise from its top left; then those of the
        back in the same order, each behind its twin.
        """
        face, through = self._face_m, np.array([0.0, 0.0, self.thickness_m])
        return frozen(np.concatenate([face, face + through])) if self.back else face

    @property
    def _face_m(self) -> Float:
        if self.kind in ("charuco", "chessboard"):
            less = 1 if self.kind == "charuco" else 0
            x, y = np.meshgrid(np.arange(self.columns - less), np.arange(self.rows - less))
            flat = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1) + np.array([less, less, 0.0])
            return frozen(flat * self.square_m)
        pitch = self.square_m + self.gap_m
        corner = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]) * self.square_m
        at = [[c * pitch, r * pitch, 0.0] for r in range(self.rows) for c in range(self.columns)]
        return frozen((np.array(at)[:, None] + corner).reshape(-1, 3))

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the printed pattern."""
        if self.kind == "charuco":
            return self.columns * self.square_m, self.rows * self.square_m
        if self.kind == "chessboard":
            return (self.columns + 1) * self.square_m, (self.rows + 1) * self.square_m
        pitch = self.square_m + self.gap_m
        return self.columns * pitch - self.gap_m, self.rows * pitch - self.gap_m

    def __str__(self) -> str:
        turned = "inverted " if self.inverted else ""
        size = f"{self.square_m * 1000:g} mm"
        if self.kind == "chessboard":
            return f"{turned}chessboard of {self.columns}×{self.rows} inner corners, squares {size}"
        if self.kind == "marker":
            return f"{turned}marker {self.first_id} of {self.dictionary}, {size}"
        old = ", legacy pattern" if self.legacy else ""
        old += f", mirrored on its back {self.thickness_m * 1000:g} mm behind" if self.back else ""
        what = "squares" if self.kind == "charuco" else "markers"
        return f"{turned}{self.columns}×{self.rows} {self.kind} {self.dictionary}{old}, {what} {size}"

    def cv_board(self) -> Any:
        """OpenCV's object for a ChArUco board or a grid."""
        ids = np.arange(self.first_id, self.first_id + self.markers)
        if self.kind == "charuco":
            size = (self.columns, self.rows)
            board = cv2.aruco.CharucoBoard(size, self.square_m, self.marker_m, dictionary(self.dictionary), ids)
            board.setLegacyPattern(self.legacy)
            return board
        size = (self.columns, self.rows)
        # OpenCV wants a gap above 0; it is used for drawing alone
        return cv2.aruco.GridBoard(size, self.square_m, max(self.gap_m, 1e-9), dictionary(self.dictionary), ids)


def dictionary(name: str) -> Any:
    """OpenCV's dictionary of that name."""
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def parse(text: str) -> Board:
    """A board from a word of the command line: ``charuco:5x7:40mm:30mm:DICT_4X4_50``, ``chessboard:4x7:6cm``.

    KinecastError says what does not fit.
    """
    words = text.split(":")
    size = re.fullmatch(r"(\d{1,3})[x×](\d{1,3})", words[1]) if len(words) > 2 else None
    if words[0] not in get_args(Kind) or size is None:
        raise KinecastError(
            f"{text!r} is no board: write a board.toml, or KIND:COLUMNSxROWS:SQUARE, as chessboard:4x7:60mm "
            "or charuco:5x7:40mm:30mm:DICT_4X4_50[:inverted]"
        )
    rest = [w for w in words[2:] if not w[:1].isdigit() and not w.startswith((".", "-", "+"))]
    metres = [_length_m(w, text) for w in words[2:] if w not in rest]
    if not metres:
        raise KinecastError(f"{text!r}: the length of a square is missing: measure it, and add it as 60mm")
    unknown = [w for w in rest if w not in DICTIONARIES and w not in ("inverted", "legacy", "mirrored-back")]
    if unknown:
        raise KinecastError(
            f"{text!r}: {unknown[0]!r} is no dictionary of markers, nor 'inverted', 'legacy' or 'mirrored-back'"
        )
    kind: Any = words[0]
    second = metres[1] if len(metres) > 1 else (0.75 if kind == "charuco" else 0.25) * metres[0]
    return Board(
        kind,
        int(size[1]),
        int(size[2]),
        metres[0],
        marker_m=second if kind == "charuco" else 0.0,
        gap_m=second if kind == "grid" else 0.0,
        dictionary=next((w for w in rest if w in DICTIONARIES), "DICT_4X4_50"),
        inverted="inverted" in rest,
        legacy="legacy" in rest,
        back="mirror" if "mirrored-back" in rest else "",
        thickness_m=metres[2] if len(metres) > 2 else 0.0,
    )


def _length_m(word: str, text: str) -> float:
    """Metres of a length with its unit, as 60mm, 8cm, 0.06m or 2.5in."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(mm|cm|inch|in|m)", word)
    if found is None:
        raise KinecastError(f"{text!r}: {word} is no length: a number and its unit, as 60mm, 8cm, 0.06m or 2.5in")
    return round(float(found[1]) * LENGTHS_M[found[2]], 9)


KEYS = ("kind", "columns", "rows", "square_mm", "marker_mm", "gap_mm", "dictionary", "inverted", "legacy", "first_id",
        "back", "thickness_mm")  # fmt: skip


@guarded("a board")
def load_board(path: str | Path) -> Board:
    """Read a ``board.toml``, or the ``charuco.toml`` of Caliscope. KinecastError names file and key."""
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise KinecastError(f"cannot read board file {path}: {e.strerror or e}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise KinecastError(f"{path}: not a board file, and not valid TOML: {e}") from None
    try:
        if "kinecast_board" in table:
            return _ours(table, path)
        if "aruco_scale" in table:
            return _caliscope(table, path)
    except KinecastError as e:
        raise KinecastError(f"{path}: {e}") from None
    raise KinecastError(f"{path}: no board in it: expected kinecast_board = 1, or a Caliscope charuco.toml")


def _number(table: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KinecastError(f"{key} must be a number, not {value!r}" if key in table else f"{key} is missing")
    return float(value)


def _whole_number(table: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = _number(table, key, default)
    if value != int(value):
        raise KinecastError(f"{key} must be a whole number, not {value:g}")
    return int(value)


def _flag(table: Mapping[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise KinecastError(f"{key} must be true or false, not {value!r}")
    return value


def _ours(table: Mapping[str, Any], path: Path) -> Board:
    if table["kinecast_board"] != 1:
        raise KinecastError(f"version {table['kinecast_board']!r} of a board file is not known, only 1")
    unknown = sorted(set(table) - {*KEYS, "kinecast_board"})
    if unknown:
        raise KinecastError(f"{unknown[0]} is not a key of a board; known are {', '.join(KEYS)}")
    kind: Any = table.get("kind")
    if not isinstance(kind, str):
        raise KinecastError("kind is missing: one of " + ", ".join(get_args(Kind)))
    one = 1 if kind == "marker" else None
    return Board(
        kind,  # type: ignore[arg-type]
        _whole_number(table, "columns", one),
        _whole_number(table, "rows", one),
        _number(table, "square_mm") / 1000,
        _number(table, "marker_mm", 0.0) / 1000,
        _number(table, "gap_mm", 0.0) / 1000,
        str(table.get("dictionary", "DICT_4X4_50")),
        _flag(table, "inverted"),
        _flag(table, "legacy"),
        _whole_number(table, "first_id", 0),
        table.get("back", ""),
        _number(table, "thickness_mm", 0.0) / 1000,
    )


def _caliscope(table: Mapping[str, Any], path: Path) -> Board:
    """The square is ``square_size_override_cm`` where it is given, else what fits the paper, as Caliscope has it."""
    columns, rows = _whole_number(table, "columns"), _whole_number(table, "rows")
    if table.get("square_size_override_cm"):
        square = round(_number(table, "square_size_override_cm") / 100, 9)
    else:
        unit = {"inch": INCH_M, "cm": 0.01, "mm": 0.001, "m": 1.0}.get(str(table.get("units")))
        if unit is None:
            raise KinecastError(f"units {table.get('units')!r} is none of inch, cm, mm, m")
        square = unit * min(_number(table, "board_width") / columns, _number(table, "board_height") / rows)
    return Board(
        "charuco",
        columns,
        rows,
        square,
        marker_m=round(square * _number(table, "aruco_scale"), 9),
        dictionary=str(table.get("dictionary", "DICT_4X4_50")),
        inverted=_flag(table, "inverted"),
        legacy=_flag(table, "legacy_pattern"),
    )


def save_board(board: Board, path: Path) -> None:
    """Write a ``board.toml``."""
    table: dict[str, Any] = {"kinecast_board": 1, "kind": board.kind, "columns": board.columns, "rows": board.rows}
    table["square_mm"] = round(board.square_m * 1000, 6)
    if board.kind == "charuco":
        table["marker_mm"] = round(board.marker_m * 1000, 6)
    if board.kind == "grid":
        table["gap_mm"] = round(board.gap_m * 1000, 6)
    if board.kind != "chessboard":
        table["dictionary"] = board.dictionary
        table["first_id"] = board.first_id
    table["inverted"] = board.inverted
    if board.legacy:
        table["legacy"] = True
    if board.back:
        table |= {"back": board.back, "thickness_mm": round(board.thickness_m * 1000, 6)}
    atomic_write(path, HEAD + tomli_w.dumps(table))


def read_board(text: str | Path) -> Board:
    """A board file, or a board in one word (:func:`parse`)."""
    if str(text).partition(":")[0] in get_args(Kind):
        return parse(str(text))
    return load_board(text)
