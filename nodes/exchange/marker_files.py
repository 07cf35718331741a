"""Marker files of other systems: TRC (OpenSim, Pose2Sim), C3D, and the CSV of OptiTrack's Motive and Vicon's Nexus."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded

UNITS_M = {"m": 1.0, "meters": 1.0, "mm": 0.001, "millimeters": 0.001, "cm": 0.01, "centimeters": 0.01}


@dataclass(frozen=True, slots=True, eq=False)
class Markers:
    """Names of the markers, frame numbers (T,) from 0, points (T, M, 3) metres in the file's own axes, NaN where
    lost."""

    names: tuple[str, ...]
    numbers: NDArray[np.int64]
    points_m: NDArray[np.float64]


@guarded("a file of markers")
def read_markers(path: Path) -> Markers:
    """The markers of a file, by its suffix; KinecastError says what is wrong with it, and where."""
    readers = {".trc": read_trc, ".c3d": read_c3d, ".csv": read_csv}
    if path.suffix.lower() not in readers:
        raise KinecastError(f"{path}: a file of markers is one of {', '.join(readers)}")
    return readers[path.suffix.lower()](path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror or e}") from None


def _markers(path: Path, names: list[str], numbers: list[int], points: NDArray[np.float64], unit: str) -> Markers:
    if not numbers:
        raise KinecastError(f"{path}: there is no frame in it")
    if unit.lower() not in UNITS_M:
        raise KinecastError(f"{path}: its unit is {unit!r}, expected one of {', '.join(UNITS_M)}")
    first = numbers[0]
    short = tuple(name.rpartition(":")[2].strip() for name in names)  # Subject:LElbow
    return Markers(short, np.array(numbers, np.int64) - first, points * UNITS_M[unit.lower()])


def read_trc(path: Path) -> Markers:
    """Read a TRC file as OpenSim defines it. Empty fields are missing markers."""
    lines = _text(path).splitlines()
    if len(lines) < 6 or not lines[0].startswith("PathFileType"):
        raise KinecastError(f"{path}: not a TRC file: it does not begin with PathFileType and five lines of heading")
    head = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    names = [n.strip() for n in lines[3].split("\t")[2:] if n.strip()]
    unit = head.get("Units", "").strip()
    if unit not in ("m", "mm", "cm") or not names:
        raise KinecastError(f"{path}: line 3: Units is {unit!r}, expected m, mm, cm, and markers on line 4")
    numbers, rows = [], []
    for k, line in enumerate(lines[5:], 6):
        if not line.strip():
            continue
        cells = (line.rstrip("\r\n").split("\t") + [""] * (3 * len(names)))[: 2 + 3 * len(names)]
        try:
            numbers.append(int(cells[0]))
            rows.append([float(c) if c.strip() else np.nan for c in cells[2:]])
        except ValueError:
            raise KinecastError(f"{path}: line {k}: expected a frame number, a time and {len(names)} markers") from None
    return _markers(path, names, numbers, np.array(rows).reshape(len(rows), len(names), 3), unit)


def read_c3d(path: Path) -> Markers:
    """Read the points of a C3D file, those with a residual below 0 as missing. KinecastError where ezc3d is missing."""
    try:
        import ezc3d
    except ImportError:
        raise KinecastError("C3D needs the package ezc3d: pip install 'kinecast[c3d]'") from None
    if not path.is_file():
        raise KinecastError(f"{path}: there is no such file")
    try:
        file = ezc3d.c3d(str(path))
        point = file["parameters"]["POINT"]
        names = [str(n) for n in point["LABELS"]["value"]]
        unit = str(point["UNITS"]["value"][0]).strip()
        points = np.asarray(file["data"]["points"][:3], np.float64).transpose(2, 1, 0)
    except Exception as e:  # what a library in C++ makes of a file that is none
        raise KinecastError(f"{path}: not a C3D file of points ({e or type(e).__name__})") from None
    lost = np.asarray(file["data"]["meta_points"]["residuals"])[0].T < 0
    points[lost] = np.nan
    return _markers(path, names, list(range(len(points))), points, unit)


def read_csv(path: Path) -> Markers:
    """Read the CSV of Motive (``Format Version``) or Nexus (``Trajectories``); KinecastError for another table."""
    rows = list(csv.reader(_text(path).splitlines()))
    first = next((n for n, row in enumerate(rows) if row and row[0].strip().lower() in ("frame", "trajectories")), -1)
    if rows and rows[0] and rows[0][0].strip() == "Format Version" and first >= 0:
        return _motive(path, rows, first)
    if first >= 0 and rows[first][0].strip().lower() == "trajectories":
        return _nexus(path, rows, first)
    raise KinecastError(f"{path}: neither Motive's CSV (Format Version …) nor Nexus's (Trajectories)")


def _motive(path: Path, rows: list[list[str]], head: int) -> Markers:
    """Rows above ``Frame`` say of each column its type, name and whether it is a position."""
    said = dict(zip(rows[0][::2], rows[0][1::2], strict=False))
    above = {next((c.strip().lower() for c in row[:2] if c.strip()), ""): row for row in rows[1:head]}
    names_row, kinds = above.get("name"), above.get("type", [])
    what = rows[head - 1]  # Rotation or Position
    if names_row is None:
        raise KinecastError(f"{path}: no row of names above line {head + 1}")
    starts = [
        c
        for c in range(2, len(rows[head]) - 2)
        if [v.strip() for v in rows[head][c : c + 3]] == ["X", "Y", "Z"]
        and (c >= len(what) or what[c].strip() in ("Position", ""))
        and (c >= len(kinds) or "Marker" in kinds[c] or "Bone" in kinds[c] or not kinds[c].strip())
    ]
    unit = said.get("Length Units", "Meters")
    return _table(path, [names_row[c] for c in starts], starts, rows[head + 1 :], head + 2, unit)


def _nexus(path: Path, rows: list[list[str]], at: int) -> Markers:
    """``Trajectories``, the rate, a row of names, ``Frame,Sub Frame,X,Y,Z…``, a row of units."""
    head = next((n for n in range(at + 1, min(at + 6, len(rows))) if rows[n][:1] and rows[n][0].strip() == "Frame"), -1)
    if head < 1 or head + 1 >= len(rows):
        raise KinecastError(f"{path}: no row Frame, Sub Frame, X, Y, Z under Trajectories")
    starts = [c for c in range(2, len(rows[head]) - 2) if [v.strip() for v in rows[head][c : c + 3]] == ["X", "Y", "Z"]]
    names = [rows[head - 1][c] if c < len(rows[head - 1]) else "" for c in starts]
    units = rows[head + 1]
    unit = next((u.strip() for u in units[2:] if u.strip()), "mm")
    return _table(path, names, starts, rows[head + 2 :], head + 3, unit)


def _table(path: Path, names: list[str], starts: list[int], rows: list[list[str]], line: int, unit: str) -> Markers:
    if not starts:
        raise KinecastError(f"{path}: no columns X, Y, Z of a marker")
    numbers, points = [], []
    for k, row in enumerate(rows, line):
        if not any(c.strip() for c in row):
            break  # another section may follow
        cells = row + [""] * (starts[-1] + 3 - len(row))
        try:
            numbers.append(int(cells[0]))
            points.append([[float(v) if v.strip() else np.nan for v in cells[c : c + 3]] for c in starts])
        except ValueError:
            raise KinecastError(f"{path}: line {k}: expected a frame number and {len(starts)} markers") from None
    return _markers(path, names, numbers, np.array(points, np.float64).reshape(len(points), len(starts), 3), unit)
