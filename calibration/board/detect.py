"""Boards in pictures: corners by id to a fraction of a pixel, and how sharp the picture of the board is."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.board.board import Board, dictionary
from kinecast.calibration.camera import Float, frozen

Image = NDArray[np.uint8]
Ids = NDArray[np.int32]
# of findChessboardCornersSB: sub-pixel by itself, and steadier under blur than the older one with cornerSubPix
CHESS_FLAGS = cv2.CALIB_CB_NORMALIZE_IMAGE
CLASSIC_FLAGS = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
SMALL_PX = 1000
MIN_CORNERS = 4
MOST_BY_CHANCE = 6


@dataclass(frozen=True, slots=True, eq=False)
class BoardView:
    """One picture of the board.

    frame: number of the picture in its video. t_ns: when it was taken. ids: (n,) corners, px: (n, 2).
    edge_px: width of the edges on the board, from black to white: 1–2 is sharp, 5 is blurred. repeated: whether a
    marker was there twice (two boards in view). size_px: of the picture.
    """

    frame: int
    t_ns: int
    ids: Ids
    px: Float
    edge_px: float
    repeated: bool
    size_px: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "px", frozen(self.px))

    def __len__(self) -> int:
        return len(self.ids)


class BoardDetector:
    """Finds one kind of board in pictures."""

    def __init__(self, board: Board, thorough: bool = False) -> None:
        """thorough: for photos, of which there are few; a video has other pictures where one is hard."""
        self.board, self._thorough = board, thorough
        self._charuco: cv2.aruco.CharucoDetector | None = None
        self._markers: cv2.aruco.ArucoDetector | None = None
        self._points = board.points_m
        self.doubled = False  # whether the last picture shows markers twice, also where no view came of it
        if board.kind != "chessboard":
            parameters = cv2.aruco.DetectorParameters()
            # a detector that meets a board turned away; small markers are still 3 % of the picture's width
            parameters.minMarkerPerimeterRate = 0.02
            if board.kind in ("grid", "marker"):
                parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
            self._markers = cv2.aruco.ArucoDetector(dictionary(board.dictionary), parameters)
            if board.kind == "charuco":
                self._charuco = cv2.aruco.CharucoDetector(board.cv_board(), cv2.aruco.CharucoParameters(), parameters)

    def __call__(self, image: Image, frame: int = 0, t_ns: int = 0) -> BoardView | None:
        """The board in a BGR or grey picture; None where it is not seen, or fewer than 4 corners of it."""
        grey = grey_of(image, self.board.inverted)
        if self._charuco is not None:
            ids, px, repeated = self._find_charuco(self._charuco, grey)
            if self.board.back and len(ids) < MIN_CORNERS and not repeated:
                ids, px, repeated = self._find_back(self._charuco, grey)
        elif self._markers is not None:
            ids, px, repeated = self._find_markers(self._markers, grey)
        else:
            ids, px, repeated = self._find_chessboard(grey)
        self.doubled = repeated
        if len(ids) < MIN_CORNERS:
            return None
        h, w = grey.shape
        return BoardView(frame, t_ns, ids, px, edge_width_px(grey, px), repeated, (w, h))

    def _find_charuco(self, detector: cv2.aruco.CharucoDetector, grey: Image) -> tuple[Ids, Float, bool]:
        corners, ids, _, marker_ids = detector.detectBoard(grey)
        repeated = _repeated(np.asarray([] if marker_ids is None else marker_ids, dtype=np.int32))
        if ids is None or len(ids) == 0:
            return _none(repeated)
        px = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
        ids = np.asarray(ids, dtype=np.int32).ravel()
        keep = self._plausible(ids, px)
        return ids[keep], px[keep], repeated

    def _find_back(self, detector: cv2.aruco.CharucoDetector, grey: Image) -> tuple[Ids, Float, bool]:
        """The mirror print on the back: read in the mirrored picture, with the numbers of the corners behind."""
        ids, px, repeated = self._find_charuco(detector, np.ascontiguousarray(grey[:, ::-1]))
        if len(ids) < MOST_BY_CHANCE:  # some markers of small dictionaries are nearly the mirror image of another
            return _none(repeated)
        px = px * [-1.0, 1.0] + [grey.shape[1] - 1.0, 0.0]
        return ids + np.int32(len(self._points) // 2), px, repeated

    def _find_markers(self, detector: cv2.aruco.ArucoDetector, grey: Image) -> tuple[Ids, Float, bool]:
        corners, ids, _ = detector.detectMarkers(grey)
        if ids is None or len(ids) == 0:
            return _none(False)
        ids = np.asarray(ids, dtype=np.int32).ravel() - self.board.first_id
        ours = (ids >= 0) & (ids < self.board.markers)
        repeated = _repeated(ids[ours])
        once = [int(i) for i in np.flatnonzero(ours) if (ids[ours] == ids[i]).sum() == 1]
        if not once:
            return _none(repeated)
        px = np.concatenate([np.asarray(corners[i], dtype=np.float64).reshape(4, 2) for i in once])
        four = np.concatenate([4 * ids[i] + np.arange(4, dtype=np.int32) for i in once])
        return four.astype(np.int32), px, repeated

    def _find_chessboard(self, grey: Image) -> tuple[Ids, Float, bool]:
        size = (self.board.columns, self.board.rows)
        px = find_chessboard(grey, size, self._thorough)
        if px is None or not self._plausible(np.arange(len(px), dtype=np.int32), px).all():
            return _none(False)
        return np.arange(len(px), dtype=np.int32), px, False

    def _plausible(self, ids: Ids, px: Float) -> NDArray[np.bool_]:
        """(n,) corners that lie where the others say: one that jumped to a neighbour is half a square off."""
        keep = np.ones(len(ids), bool)
        if len(ids) < 6:
            return keep
        plane = self._points[ids, :2]
        H, _ = cv2.findHomography(plane, px, cv2.LMEDS)
        if np.shape(H) != (3, 3):
            return keep
        there = cv2.perspectiveTransform(plane.reshape(-1, 1, 2), H).reshape(-1, 2)
        side = cv2.perspectiveTransform((plane + np.array([self.board.square_m, 0.0])).reshape(-1, 1, 2), H).reshape(
            -1, 2
        )
        length = np.median(np.linalg.norm(side - there, axis=1))
        # a tenth of a square is far more than a lens bends between neighbours, and far less than a jump
        return np.asarray(np.linalg.norm(there - px, axis=1) < max(0.2 * float(length), 2.0))


def grey_of(image: Image, inverted: bool = False) -> Image:
    """A BGR or grey picture as (H, W) grey, turned into its negative where the board is printed so."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image, dtype=np.uint8)
    return 255 - grey if inverted else grey


def find_chessboard(grey: Image, size: tuple[int, int], thorough: bool = True) -> Float | None:
    """(n, 2) inner corners of a chessboard of ``size`` (columns, rows), row by row, or None.

    Found in a small copy, which is quick, and measured in the part of the picture that holds it. The first square is
    the darker one where the two ends of the board differ (columns + rows odd); else the order may be turned by 180°.
    thorough: what is not found at first is looked for again with more patience, some seconds a picture.
    """
    shrink = min(1.0, SMALL_PX / max(grey.shape))
    small = grey if shrink == 1.0 else cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    found, at = cv2.findChessboardCorners(small, size, flags=CLASSIC_FLAGS)
    px = None
    if found:
        rough = (np.asarray(at, dtype=np.float64).reshape(-1, 2) + 0.5) / shrink - 0.5
        px = _measured(grey, rough, size)
    elif thorough:
        found, at = cv2.findChessboardCornersSB(grey, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
        px = _measured(grey, np.asarray(at, dtype=np.float64).reshape(-1, 2), size) if found else None
    return None if px is None else _dark_first(grey, px, size)


def _measured(grey: Image, rough: Float, size: tuple[int, int]) -> Float:
    """The corners to a fraction of a pixel, from rough ones: in the part of the picture around them."""
    gap = _gap(rough.reshape(size[1], size[0], 2))
    h, w = grey.shape
    margin = 2.5 * gap[1] + 4
    low = np.clip(np.floor(rough.min(axis=0) - margin).astype(int), 0, [w, h])
    high = np.clip(np.ceil(rough.max(axis=0) + margin).astype(int), 0, [w, h])
    part = np.ascontiguousarray(grey[low[1] : high[1], low[0] : high[0]])
    # the finest search doubles the picture first: where the squares are large that is time for nothing
    flags = CHESS_FLAGS | (cv2.CALIB_CB_ACCURACY if max(part.shape) < 500 else 0)
    found, at = cv2.findChessboardCornersSB(part, size, flags=flags)
    if not found:
        half = int(np.clip(gap[0] / 3, 2, 11))
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-3)
        start = np.ascontiguousarray((rough - low).astype(np.float32).reshape(-1, 1, 2))
        at = cv2.cornerSubPix(part, start, (half, half), (-1, -1), criteria)
    return frozen(np.asarray(at, dtype=np.float64).reshape(-1, 2) + low)


def _dark_first(grey: Image, px: Float, size: tuple[int, int]) -> Float:
    """The corners in the order that begins at the dark end of the board, where the ends differ."""
    columns, rows = size
    if (columns + rows) % 2 == 0:
        return px
    at = px.reshape(rows, columns, 2)
    ends = [np.mean(at[:2, :2].reshape(-1, 2), axis=0), np.mean(at[-2:, -2:].reshape(-1, 2), axis=0)]
    first, last = (float(cv2.getRectSubPix(grey, (3, 3), (float(x), float(y))).mean()) for x, y in ends)
    return frozen(px[::-1] if first > last else px)


def _gap(corners: Float) -> tuple[float, float]:
    """Least and greatest distance between neighbours of (rows, columns, 2) corners."""
    gaps = np.concatenate([np.linalg.norm(np.diff(corners, axis=a), axis=-1).ravel() for a in (0, 1)])
    return float(gaps.min()), float(gaps.max())


def _none(repeated: bool) -> tuple[Ids, Float, bool]:
    return np.zeros(0, np.int32), np.zeros((0, 2)), repeated


def _repeated(ids: Ids) -> bool:
    flat = ids.ravel()
    # one marker twice may be a reflection or a misread one; two of them are a second board
    return len(flat) - len(np.unique(flat)) >= 2


def edge_width_px(grey: Image, px: Float) -> float:
    """How many pixels the edges on the board take from black to white: contrast ÷ steepest slopes, around the corners.

    A step blurred by a Gaussian of σ px gives 2.5 σ; the sampling alone 1 to 2.
    """
    h, w = grey.shape
    low = np.clip(np.floor(px.min(axis=0)).astype(int) - 2, 0, [w - 1, h - 1])
    high = np.clip(np.ceil(px.max(axis=0)).astype(int) + 3, 1, [w, h])
    part = grey[low[1] : high[1], low[0] : high[0]]
    if min(part.shape) < 5:
        return float("nan")
    dark, light = np.percentile(part, (5, 95))
    gx, gy = cv2.Sobel(part, cv2.CV_32F, 1, 0), cv2.Sobel(part, cv2.CV_32F, 0, 1)
    # per direction, as a moving board is blurred along its way alone; the blunter of the two counts
    slopes = [float(np.percentile(np.abs(g), 98)) / 8 for g in (gx, gy)]
    return float((light - dark) / max(min(slopes), 1e-3))
