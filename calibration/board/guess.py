"""Which board is in a picture: likely ones tried, the mirrored and the inverted picture too, and said in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from kinecast.calibration.board.board import DICTIONARIES, Board, dictionary
from kinecast.calibration.board.detect import BoardDetector, Image, grey_of
from kinecast.calibration.camera import Float, frozen

# the largest of each family: the smaller ones hold the same markers, so they are found by it
FAMILIES = tuple(d for d in DICTIONARIES if d.endswith(("_1000", "ORIGINAL")) or ("APRILTAG" in d and "h" in d))
MOST_SIDE = 16
FIRST_MARKERS = 64
SMALL_PX = 1280  # a marker of 3 % of the picture then still has 38 pixels


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """What a picture shows: a board of unknown size in metres (squares are taken as the one that was given, or 1 cm).

    mirrored: the picture is a mirror image. marker_share: edge of the markers ÷ of the squares, as seen.
    """

    board: Board
    mirrored: bool
    found: int
    marker_share: float


def guess(images: Sequence[Image], given: Board | None = None) -> Guess | None:
    """The board that most of some pictures show; None where none is found. given: what the user believes.

    Looked for in small copies first, which is ten times as quick, then in the pictures themselves.
    """
    small = [_shrunk(i) for i in images]
    found = _guess(small, given)
    if found is None and any(a.shape != b.shape for a, b in zip(small, images, strict=True)):
        found = _guess(images, given)
    return found


def _shrunk(image: Image) -> Image:
    shrink = SMALL_PX / max(image.shape[:2])
    if shrink >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _guess(images: Sequence[Image], given: Board | None) -> Guess | None:
    # first what was told, in all its disguises: it is mostly right but for its size
    near = () if given is None or given.kind == "chessboard" else (_largest(given.dictionary),)
    families = (near, tuple(n for n in FAMILIES if n not in near))
    # by the first markers of every family: they are on nearly every board, and whole families take seconds each
    for names in families:
        if (found := _disguised(images, names, given, FIRST_MARKERS)) is not None:
            return found
    chess = _chessboard([grey_of(i) for i in images], given)
    if chess is not None:
        return Guess(chess, False, chess.columns * chess.rows, 0.0)
    for names in families:
        if (found := _disguised(images, names, given, None)) is not None:
            return found
    return None


def _disguised(images: Sequence[Image], names: Sequence[str], given: Board | None, first: int | None) -> Guess | None:
    """A board of these families, as it is, inverted, mirrored or both; first: so many markers of each are looked for
    to tell the family, None: all.
    """
    for mirrored in (False, True) if names else ():
        for inverted in (False, True):
            greys = [grey_of(i, inverted) for i in images]
            if mirrored:
                greys = [np.ascontiguousarray(g[:, ::-1]) for g in greys]
            found = _markers(greys, names, inverted, given, first)
            if found is not None:
                return replace(found, mirrored=mirrored)
    return None


def say(found: Guess | None, given: Board | None) -> str:
    """The guess beside what was given, with the remedy."""
    if found is None:
        return (
            "no board of a known kind is in these pictures: give some in which it is large, whole, sharp and evenly lit"
        )
    b = found.board
    what = f"{b.columns}×{b.rows} {b.kind}" + ("" if b.kind == "chessboard" else f", {b.dictionary}")
    what = ("inverted " if b.inverted else "") + what
    if found.mirrored:
        return (
            f"this is a {what}, but the picture is mirrored: turn mirroring off in the camera's settings and film "
            "anew; or, where the board has a mirror print on its back, say so (back = 'mirror' in its file, or "
            ":mirrored-back)"
        )
    if given is None:
        return f"this is a {what}; measure a square and write a board.toml with it"
    if given.kind == "charuco" and b.kind == "chessboard" and _within(b, given):
        return (
            "squares of a board are there, but no markers can be read in them: it is too small, blurred or dark, or "
            "its markers are of no known dictionary; film it nearer, slower, in more light"
        )
    wrong = []
    if given.kind != b.kind:
        wrong.append(f"a {given.kind}")
    if (given.columns, given.rows) != (b.columns, b.rows):
        wrong.append(f"{given.columns}×{given.rows}")
    if given.kind == b.kind != "chessboard":
        if _family(given.dictionary) != _family(b.dictionary):
            wrong.append(given.dictionary)
        if given.inverted != b.inverted:
            wrong.append("inverted" if given.inverted else "not inverted")
        if given.legacy != b.legacy and b.rows % 2 == 0:
            wrong.append("the legacy pattern" if given.legacy else "not the legacy pattern")
        ratio = given.marker_m / given.square_m
        if given.kind == b.kind == "charuco" and abs(found.marker_share - ratio) > 0.05:
            wrong.append(f"markers of {ratio:.2f} squares, they are {found.marker_share:.2f}")
    if not wrong:
        return f"this is a {what}, as you said (the size of its squares no picture can tell: measure one)"
    return f"this is a {what}, you said {', '.join(wrong)}: put the board file right"


def _within(chess: Board, given: Board) -> bool:
    """Whether a part of the squares of a ChArUco board looks like that chessboard."""
    fits = min(chess.columns, chess.rows) <= min(given.columns, given.rows)
    return fits and max(chess.columns, chess.rows) <= max(given.columns, given.rows)


def _family(name: str) -> str:
    return name.rsplit("_", 1)[0] if name[5].isdigit() else name


def _largest(name: str) -> str:
    """The largest dictionary of a family, which holds the markers of the smaller ones under the same numbers."""
    return next((n for n in FAMILIES if _family(n) == _family(name)), name)


def _markers(
    greys: Sequence[Image], names: Sequence[str], inverted: bool, given: Board | None, first: int | None
) -> Guess | None:
    """ChArUco boards, by the family of markers of which most are found; first: as of ``_disguised``."""
    best: tuple[int, str, list[tuple[Float, Float]]] = (0, "", [])
    for name in names:
        seen = _seen(greys, dictionary(name), first)
        # a single marker of a small family is found in any picture by accident
        count = sum(len(i) for i, _ in seen)
        if count > best[0] and (count >= 3 * len(greys) or count >= 4):
            best = (count, name, seen)
    if best[0] and first is not None:
        best = (best[0], best[1], _seen(greys, dictionary(best[1]), None))
    if not best[0]:
        return None
    _, name, seen = best
    every = np.concatenate([np.unique(i) for i, _ in seen])
    # clutter is now and then read as a marker, but not as the same one again
    often = {i for i in every.tolist() if len(seen) < 3 or (every == i).sum() > 1}
    if not often:
        return None
    highest = int(max(often))
    once = []
    for ids, corners in seen:
        unique = np.array([(ids == i).sum() == 1 and i in often for i in ids])
        if unique.sum() >= 4:
            once.append((ids[unique], corners[unique]))
    return _layout(name, once, highest, inverted, given) if once else None


def _seen(greys: Sequence[Image], family: cv2.aruco.Dictionary, first: int | None) -> list[tuple[Float, Float]]:
    """(numbers, corners (n, 4, 2)) of the markers in every picture that shows any; first: so many of the family."""
    if first is not None:
        family = cv2.aruco.Dictionary(family.bytesList[:first], family.markerSize, family.maxCorrectionBits)
    detector = cv2.aruco.ArucoDetector(family, cv2.aruco.DetectorParameters())
    out = []
    for grey in greys:
        found, ids, _ = detector.detectMarkers(grey)
        if ids is not None and len(ids):
            corner = np.array(found, dtype=np.float64).reshape(-1, 4, 2)
            out.append((np.asarray(ids, dtype=np.float64).ravel(), frozen(corner)))
    return out


def _layout(
    name: str, seen: list[tuple[Float, Float]], highest: int, inverted: bool, given: Board | None
) -> Guess | None:
    """Columns and rows by which layout the markers' places fit; rows by the highest number that was seen."""
    square = given.square_m if given is not None else 0.01
    best: tuple[float, Board] | None = None
    for columns in range(3, MOST_SIDE + 1):
        for legacy in (False, True):
            rows = next((r for r in range(3, MOST_SIDE + 1) if columns * r // 2 > highest), None)
            if rows is None or (legacy and rows % 2):
                continue
            # where the last row holds no new marker, columns tell nothing of it: the least that fits is said
            board = Board(
                "charuco", columns, rows, square, 0.75 * square, dictionary=name, inverted=inverted, legacy=legacy
            )
            # summed over pictures, each as heavy as it shows markers: four of them fit some wrong layouts too
            error = sum(len(i) * _misfit(board, i, c) for i, c in seen) / sum(len(i) for i, _ in seen)
            if best is None or error < 0.8 * best[0]:
                best = (error, board)
    if best is None or best[0] > 0.25:
        return None
    board = best[1]
    ids, corners = max(seen, key=lambda s: len(s[0]))
    share = _marker_share(board, ids, corners)
    return Guess(replace(board, marker_m=min(max(share, 0.1), 0.99) * square), False, len(ids), share)


def _centres(board: Board) -> Float:
    return frozen([m.mean(axis=0)[:2] for m in board.cv_board().getObjPoints()])


def _misfit(board: Board, ids: Float, corners: Float) -> float:
    """How far the markers are from where the layout has them, in squares (mean over middles, median over corners)."""
    if len(ids) < 4:
        return np.inf
    there = _centres(board)[ids.astype(int)]
    H, _ = cv2.findHomography(corners.mean(axis=1), there, cv2.LMEDS)
    if np.shape(H) != (3, 3):
        return np.inf
    middle = cv2.perspectiveTransform(corners.mean(axis=1).reshape(-1, 1, 2), H).reshape(-1, 2)
    # a mean: the legacy pattern of some sizes has four of five markers where the other has them
    error = float(np.minimum(np.linalg.norm(middle - there, axis=1) / board.square_m, 1.0).mean())
    # a sheared lattice has its middles in place too, but its markers are then no upright squares
    flat = cv2.perspectiveTransform(corners.reshape(-1, 1, 2), H).reshape(-1, 4, 2) - middle[:, None]
    upright = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])
    half = float(np.median((flat * upright).mean(axis=(1, 2))))
    return error + float(np.median(np.linalg.norm(flat - half * upright, axis=2)) / board.square_m)


def _marker_share(board: Board, ids: Float, corners: Float) -> float:
    there = _centres(board)[ids.astype(int)]
    H, _ = cv2.findHomography(corners.mean(axis=1), there, cv2.LMEDS)
    flat = cv2.perspectiveTransform(corners.reshape(-1, 1, 2), H).reshape(-1, 4, 2)
    edges = np.linalg.norm(flat - np.roll(flat, 1, axis=1), axis=2)
    return float(np.median(edges) / board.square_m)


def _chessboard(greys: Sequence[Image], given: Board | None) -> Board | None:
    """The largest size that is found; the size that was given first."""
    square = given.square_m if given is not None else 0.01
    if given is not None and given.kind == "chessboard":
        detector = BoardDetector(replace(given, inverted=False), thorough=True)
        if any(detector(g) is not None for g in greys):
            return given
    sizes: list[tuple[int, int]] = []
    for grey in greys:
        shrink = min(1.0, 1000 / max(grey.shape))
        small = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else grey
        found, _, meta = cv2.findChessboardCornersSBWithMeta(
            small, (3, 3), cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_LARGER
        )
        if found and meta is not None:
            sizes.append((min(meta.shape), max(meta.shape)))
    if not sizes:
        return None
    columns, rows = max(set(sizes), key=lambda s: (sizes.count(s) > 1, s[0] * s[1]))
    if given is not None and (given.columns, given.rows) == (rows, columns):
        columns, rows = rows, columns
    return Board("chessboard", columns, rows, square)
