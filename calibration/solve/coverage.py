"""What a moved board has shown so far, camera by camera and pair by pair, and what is still missing: while one films.

It takes what was seen and says how far each camera and pair is, as red, yellow and green; it reads no clock, no camera
and no lens (a rough one is guessed for tilts).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from kinecast.calibration.board.board import Board
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Camera, Float
from kinecast.calibration.solve.intrinsics import BLURRED_PX, GRID, board_pose, usable

Indicator = Literal["red", "yellow", "green"]
SIDES = ("left", "right", "top", "bottom")
MOVED = 0.02  # of the picture's width: a board that moved less is the same view again
TILT_DEG = 20.0
KEPT = 60  # views of each camera that may still find their partners: two seconds at 30 Hz


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is enough. views: different ones of each camera. covered: share of its picture. tilts: of the four sides to
    which the board was tilted by over 20°. shared: different frame sets of each pair that holds the rig together.
    """

    views: int = 20
    covered: float = 0.6
    tilts: int = 3
    shared: int = 8

    def for_known_lenses(self) -> "Wanted":
        """The same where lenses are known: then only pairs count."""
        return replace(self, views=self.shared, covered=0.0, tilts=0)


@dataclass(frozen=True, slots=True, eq=False)
class CameraCoverage:
    """One camera. looked: pictures. views: different ones of the board. cells (6, 8): corners by cell of the picture.

    tilts: sides to which the board was tilted. blurred: pictures too blurred to count. doubled: with two boards.
    missing: what to do for this camera, empty where it has enough.
    """

    name: str
    indicator: Indicator
    looked: int
    views: int
    cells: Float
    tilts: tuple[str, ...]
    blurred: int
    doubled: int
    missing: str

    @property
    def covered(self) -> float:
        """Share of the cells with a corner in them."""
        return float((self.cells > 0).mean())


@dataclass(frozen=True, slots=True)
class PairCoverage:
    """Two cameras and how many different places of the board both saw at once."""

    a: str
    b: str
    indicator: Indicator
    shared: int


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """Cameras and pairs, each with its indicator. groups: cameras that hang together by enough shared views. advice:
    the most useful next thing."""

    cameras: tuple[CameraCoverage, ...]
    pairs: tuple[PairCoverage, ...]
    groups: tuple[tuple[str, ...], ...]
    enough: bool
    advice: str


class BoardCoverage:
    """Counts what was seen. Views of one camera come in order of time, the cameras in any order."""

    def __init__(
        self, names: Sequence[str], board: Board, wanted: Wanted | None = None, window_s: float = 0.05
    ) -> None:
        """window_s: pictures of two cameras within it were taken together (half the interval of the slower one)."""
        self.names, self.board, self.wanted = tuple(names), board, wanted or Wanted()
        self._window_ns = round(window_s * 1e9)
        self._looked = dict.fromkeys(names, 0)
        self._blurred = dict.fromkeys(names, 0)
        self._doubled = dict.fromkeys(names, 0)
        self._views = dict.fromkeys(names, 0)
        self._cells: dict[str, Float] = {n: np.zeros(GRID[::-1]) for n in names}
        self._tilts: dict[str, dict[str, int]] = {n: dict.fromkeys(SIDES, 0) for n in names}
        self._last: dict[str, BoardView] = {}
        self._recent: dict[str, deque[BoardView]] = {n: deque(maxlen=KEPT) for n in names}
        self._shared: dict[frozenset[str], int] = {frozenset(p): 0 for p in combinations(names, 2)}
        self._pair_last: dict[frozenset[str], tuple[str, BoardView]] = {}

    def add(self, camera: str, view: BoardView | None) -> None:
        """One more picture of a camera: the board in it, or None. Blurred pictures are counted and do not help."""
        self._looked[camera] += 1
        if view is None:
            return
        self._doubled[camera] += int(view.repeated)
        if not usable(view, self.board):
            return
        # sampling alone makes edges 1 to 2 px wide, however small the picture is
        if view.edge_px > max(BLURRED_PX * max(view.size_px) / 1280, 3.0):
            self._blurred[camera] += 1
            return
        self._pair(camera, view)
        self._recent[camera].append(view)
        if not _moved(self._last.get(camera), view):
            return
        self._last[camera] = view
        self._views[camera] += 1
        (w, h), (across, down) = view.size_px, GRID
        x = np.clip((view.px[:, 0] * across / w).astype(int), 0, across - 1)
        y = np.clip((view.px[:, 1] * down / h).astype(int), 0, down - 1)
        np.add.at(self._cells[camera], (y, x), 1)
        side = tilted_to(view, self.board)
        if side:
            self._tilts[camera][side] += 1

    def _pair(self, camera: str, view: BoardView) -> None:
        """Count the view with those of other cameras at the same time, where the board has moved since."""
        for other in self.names:
            if other == camera or not self._recent[other]:
                continue
            near = min(self._recent[other], key=lambda v: abs(v.t_ns - view.t_ns))
            if abs(near.t_ns - view.t_ns) > self._window_ns:
                continue
            key = frozenset((camera, other))
            last = self._pair_last.get(key)
            if last is None or _moved(last[1], view if last[0] == camera else near):
                self._shared[key] += 1
                self._pair_last[key] = camera, view

    def coverage(self) -> Coverage:
        """Everything as it stands."""
        cameras = tuple(self._camera(n) for n in self.names)
        pairs = []
        for a, b in combinations(self.names, 2):
            n = self._shared[frozenset((a, b))]
            pairs.append(PairCoverage(a, b, "green" if n >= self.wanted.shared else "yellow" if n else "red", n))
        groups = _groups(self.names, [p for p in pairs if p.indicator == "green"])
        enough = len(groups) == 1 and all(c.indicator == "green" for c in cameras)
        return Coverage(cameras, tuple(pairs), groups, enough, self._advice(cameras, pairs, groups))

    def _camera(self, name: str) -> CameraCoverage:
        w, cells, views = self.wanted, self._cells[name], self._views[name]
        tilts = tuple(s for s in SIDES if self._tilts[name][s])
        covered = float((cells > 0).mean())
        missing = []
        if self._blurred[name] > max(3, views):
            missing.append("the board is blurred: move it slower, or give it more light")
        if self._doubled[name] > max(3, views // 10):
            missing.append("two boards, or a mirror: take one away")
        if views < w.views:
            missing.append(f"{w.views - views} more places" if views else "the board has not been seen")
        if covered < w.covered and views:
            missing.append(f"film the {_empty(cells)} of its picture")
        if len(tilts) < w.tilts and views:
            rest = [s for s in SIDES if s not in tilts]
            missing.append(f"tilt the board: its {' or '.join(rest)} edge towards the camera")
        done = views >= w.views and covered >= w.covered and len(tilts) >= w.tilts
        indicator: Indicator = "green" if done else "yellow" if views else "red"
        return CameraCoverage(
            name, indicator, self._looked[name], views, cells.copy(), tilts, self._blurred[name], self._doubled[name],
            "; ".join(missing),
        )  # fmt: skip

    def _advice(
        self, cameras: tuple[CameraCoverage, ...], pairs: list[PairCoverage], groups: tuple[tuple[str, ...], ...]
    ) -> str:
        unseen = [c.name for c in cameras if c.indicator == "red"]
        if unseen:
            return f"show the board to {', '.join(unseen)}"
        if len(groups) > 1:
            main = groups[0]
            between = [p for p in pairs if (p.a in main) != (p.b in main)]
            best = max(between, key=lambda p: p.shared)
            left = self.wanted.shared - best.shared
            return f"hold the board where {best.a} and {best.b} both see it, in {left} more places"
        rest = [c for c in cameras if c.indicator != "green"]
        if rest:
            worst = min(rest, key=lambda c: (c.views, c.covered))
            return f"{worst.name}: {worst.missing}"
        return "this is enough"


def _moved(before: BoardView | None, now: BoardView) -> bool:
    """Whether the board is elsewhere in the picture: its corners by the median moved, or others are seen."""
    if before is None:
        return True
    _, i, j = np.intersect1d(before.ids, now.ids, return_indices=True)
    if len(i) < 4:
        return True
    step = np.median(np.linalg.norm(before.px[i] - now.px[j], axis=1))
    return bool(step > MOVED * max(now.size_px))


def tilted_to(view: BoardView, board: Board) -> str:
    """The edge of the board's picture that is nearer to the camera, where it is tilted by over 20°; else empty.

    By a guessed lens (focal length = the longer side of the picture): tilts need no more.
    """
    w, h = view.size_px
    f = float(max(w, h))
    K = np.array([[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1]])
    found = board_pose(view, board, Camera("guess", view.size_px, K, np.zeros(4), np.eye(4)))
    if found is None:
        return ""
    normal = found[0][:3, 2] * np.sign(found[0][2, 2])  # away from the camera
    if np.rad2deg(np.arccos(np.clip(normal[2], -1, 1))) < TILT_DEG:
        return ""
    # a plane whose normal leans right comes nearer on its right side
    if abs(normal[0]) > abs(normal[1]):
        return "right" if normal[0] > 0 else "left"
    return "bottom" if normal[1] > 0 else "top"


def _empty(cells: Float) -> str:
    """Which parts of the picture are mostly empty, in words."""
    h, w = cells.shape
    parts = {
        "left": cells[:, : w // 4], "right": cells[:, -(w // 4) :], "top": cells[: h // 3], "bottom": cells[-(h // 3) :]
    }  # fmt: skip
    worst = [n for n, part in parts.items() if (part == 0).mean() > 0.5]
    return ", ".join(worst) or "corners"


def _groups(names: Sequence[str], pairs: Sequence[PairCoverage]) -> tuple[tuple[str, ...], ...]:
    """Cameras that hang together by pairs, the largest group first."""
    label = {n: i for i, n in enumerate(names)}
    for p in pairs:
        old, new = label[p.b], label[p.a]
        label = {n: new if k == old else k for n, k in label.items()}
    groups = [tuple(n for n in names if label[n] == k) for k in dict.fromkeys(label.values())]
    return tuple(sorted(groups, key=len, reverse=True))
