"""The lens of one camera from views of a board: which pictures, how many coefficients, and how far to trust them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from kinecast.calibration.board.board import Board
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Camera, Float, LensModel
from kinecast.calibration.lens import KINDS, NAMES, LensKind, camera_of
from kinecast.calibration.rigid import rotation, transform
from kinecast.calibration.solve.bundle import Free, Observations, Prior, Solution, State, solve
from kinecast.capture.errors import KinecastError

GRID = (8, 6)  # cells of the coverage map
LADDER = ("centre", "radial2", "brown4", "brown5")
LENSES = ("auto", *KINDS)
MOST_VIEWS = 60  # more of a moving board add time and no knowledge
FOLDS = 4
MIN_VIEWS = 3
MIN_VIEW_CORNERS = 6
BLURRED_PX = 8.0  # width of an edge at 1280 px of picture: a lens out of focus or a motion of 2 σ px


@dataclass(frozen=True, slots=True, eq=False)
class LensFit:
    """The lens of one camera.

    camera: at the origin. kind: which numbers were estimated. solution: residuals of the views used, covariance.
    views: those used. held_out_px: RMS distance in views that were left out of the fit, of the kind taken and of all
    that were tried. coverage: (6, 8) corners in each cell of the picture. tilt_deg: (V,) of the board in each view.
    """

    camera: Camera
    kind: LensKind
    solution: Solution
    views: tuple[BoardView, ...]
    held_out_px: float
    tried_px: dict[str, float]
    coverage: Float
    tilt_deg: Float
    warnings: tuple[str, ...]

    @property
    def rms_px(self) -> float:
        """Root mean square distance of the views used."""
        return float(np.sqrt((self.solution.residual_px**2).sum(axis=1).mean()))


def usable(view: BoardView, board: Board) -> bool:
    """Whether a view alone tells where the board is: six corners, not on one line."""
    if len(view) < (4 if board.kind in ("grid", "marker") else MIN_VIEW_CORNERS):
        return False
    singular_values = np.linalg.svd(np.diff(board.points_m[view.ids, :2], axis=0), compute_uv=False)
    return bool(singular_values[1] > 0.2 * board.square_m)


def board_pose(view: BoardView, board: Board, camera: Camera) -> tuple[Float, float, float] | None:
    """(4, 4) cam_from_board, its RMS in px, and that of the mirrored pose which a flat board also allows.

    None where no pose fits. The picture is undistorted first, so that any lens model serves.
    """
    flat = camera.undistort(view.px)
    ok = np.isfinite(flat).all(axis=1)
    if ok.sum() < 4:
        return None
    points = board.points_m[view.ids][ok]
    behind = float(points[0, 2])  # a view shows one face, which is flat
    points = np.ascontiguousarray(points - [0, 0, behind])
    try:
        count, rs, ts, _ = cv2.solvePnPGeneric(
            points, np.ascontiguousarray(flat[ok][:, None]), np.eye(3), np.zeros(4), flags=cv2.SOLVEPNP_IPPE
        )
    except cv2.error:
        return None
    found = []
    for r, t in zip(rs[:count], ts[:count], strict=True):
        r, t = cv2.solvePnPRefineLM(points, flat[ok][:, None], np.eye(3), np.zeros(4), r, t)
        T = transform(rotation(r.ravel()), t.ravel())
        there = points @ T[:3, :3].T + T[:3, 3]
        if not np.isfinite(there).all() or (there[:, 2] <= 0).any():
            continue
        px = camera.distort(there[:, :2] / there[:, 2:])
        found.append((T, float(np.sqrt(((px - view.px[ok]) ** 2).sum(axis=1).mean()))))
    if not found:
        return None
    found.sort(key=lambda f: f[1])
    face_from_board = transform(np.eye(3), np.array([0.0, 0.0, -behind]))
    return found[0][0] @ face_from_board, found[0][1], found[1][1] if len(found) > 1 else float("inf")


def lens_prior(model: LensModel, lens: Float, size_px: tuple[int, int]) -> Prior:
    """What is known of any lens before a picture is seen: weak, but what the data cannot tell does not run off.

    Principal points of cameras lie within some percent of the middle (σ 3 % of the longer side), pixels are square
    within 0.5 %, tangential terms are some thousandths, radial ones below 1. Focal lengths are left alone.
    """
    names, (w, h) = NAMES[model], size_px
    sd = dict.fromkeys(names, 0.5) | {"cx": 0.03 * max(w, h), "cy": 0.03 * max(w, h), "p1": 0.003, "p2": 0.003}
    mean = np.zeros(len(names))
    mean[2:4] = (w - 1) / 2, (h - 1) / 2
    information = np.diag([1 / sd[n] ** 2 for n in names])
    square = 1 / (0.005 * lens[0]) ** 2
    information[:2, :2] = [[square, -square], [-square, square]]
    return Prior(mean, information)


def observations(views: Sequence[BoardView], board: Board) -> Observations:
    """One camera's views, each of its own pose."""
    counts = [len(v) for v in views]
    total = sum(counts)
    return Observations(
        np.zeros(total, dtype=np.intp),
        np.repeat(np.arange(len(views)), counts),
        np.concatenate([board.points_m[v.ids] for v in views]),
        np.concatenate([v.px for v in views]),
        np.zeros(total),
    )


def start_lens(views: Sequence[BoardView], board: Board, size_px: tuple[int, int]) -> Float:
    """(12,) lens vector with a focal length that suits the views; the centre in the middle, no distortion.

    The focal length that explains the views best, by search: closed forms fail where the board was hardly tilted.
    """
    w, h = size_px
    centre = np.array([(w - 1) / 2, (h - 1) / 2])
    best = (np.inf, float(max(w, h)))
    some = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, 15).round().astype(int))]
    for f in max(w, h) * np.geomspace(0.25, 6, 24):
        camera = camera_of("start", size_px, "brown", np.array([f, f, *centre, *np.zeros(8)]), np.eye(4))
        errors = [p[1] for v in some if (p := board_pose(v, board, camera)) is not None]
        # the median over views: one blurred view does not choose the focal length
        error = float(np.median(errors)) if len(errors) >= (len(some) + 1) // 2 else np.inf
        best = min(best, (error, float(f)))
    return np.array([best[1], best[1], *centre, *np.zeros(8)])


def _poses(views: Sequence[BoardView], board: Board, camera: Camera) -> Float:
    out = []
    for v in views:
        found = board_pose(v, board, camera)
        out.append(found[0] if found else transform(np.eye(3), [0, 0, 20 * board.square_m]))
    return np.array(out)


def fit_kind(
    views: Sequence[BoardView],
    board: Board,
    size_px: tuple[int, int],
    kind: LensKind,
    start: Float,
    poses: Float | None = None,
) -> Solution:
    """Fit one kind of lens to views, from a lens vector of that model."""
    camera = camera_of("fit", size_px, kind.model, start, np.eye(4))
    boards = _poses(views, board, camera) if poses is None else poses
    known = (lens_prior(kind.model, start, size_px),)
    state = State(np.eye(4)[None], boards, (start,), np.zeros((len(views), 6)), np.zeros(1))
    off = np.zeros(1, bool)
    return solve(observations(views, board), state, [kind.model], Free(off, (kind,), True, off, priors=known))


def held_out_px(
    views: Sequence[BoardView], board: Board, size_px: tuple[int, int], kind: LensKind, start: Float, poses: Float
) -> tuple[float, Float]:
    """Median over left-out views of their RMS in px, their pose alone being free; and the RMS of each view (V,)."""
    out = np.full(len(views), np.nan)
    folds = min(FOLDS, len(views))
    if len(views) - -(-len(views) // folds) < MIN_VIEWS:
        return float("nan"), out
    for fold in range(folds):
        left = np.arange(len(views)) % folds == fold
        train = [v for v, out_ in zip(views, left, strict=True) if not out_]
        lens = fit_kind(train, board, size_px, kind, start, poses[~left]).state.lenses[0]
        test = [v for v, out_ in zip(views, left, strict=True) if out_]
        none = LensKind("none", kind.model, ())
        fit = fit_kind(test, board, size_px, none, lens, poses[left])
        r2 = (fit.residual_px**2).sum(axis=1)
        count = [len(v) for v in test]
        out[left] = np.sqrt(np.add.reduceat(r2, np.cumsum([0, *count[:-1]])) / count)
    return float(np.sqrt(np.nanmedian(out**2))), out


def fit_lens(
    views: Sequence[BoardView],
    board: Board,
    size_px: tuple[int, int],
    name: str = "camera",
    lens: str = "auto",
    start: Float | None = None,
) -> LensFit:
    """The lens of a camera from its views of the board.

    lens: a name of ``lens.KINDS``, or ``auto``: coefficients are added as long as views that were left out of the fit
    are seen better by more than chance. KinecastError where no lens can be fitted.
    """
    good = [v for v in views if usable(v, board)]
    if len(good) < MIN_VIEWS:
        raise KinecastError(
            f"camera {name}: {len(good)} pictures show enough of the board ({board}) for a lens; {MIN_VIEWS} are the "
            "least and 20 are good: film it nearer, tilted this way and that, in every part of the picture"
        )
    begin = start_lens(good, board, size_px) if start is None else start
    chosen = select(good, board, camera_of(name, size_px, "brown", begin, np.eye(4)))
    chosen, dropped = _without_bad(chosen, board, size_px, begin)
    if lens == "auto":
        kinds = [KINDS[k] for k in LADDER]
    else:
        kinds = [KINDS["centre"], KINDS[lens]] if KINDS[lens].model == "brown" else [KINDS[lens]]
    tried: dict[str, float] = {}
    best: tuple[LensKind, Solution, float, Float] | None = None
    vector, poses = begin, None
    for kind in kinds:
        if kind.model == "fisheye":
            vector = np.array([*begin[:4], 0, 0, 0, 0])
        solution = fit_kind(chosen, board, size_px, kind, vector, poses)
        vector, poses = solution.state.lenses[0], solution.state.world_from_board
        error, each = held_out_px(chosen, board, size_px, kind, vector, poses)
        tried[kind.name] = error
        if best is None or lens != "auto" or _better(each, best[3]):
            best = (kind, solution, error, each)
    assert best is not None
    if lens == "auto" and folds(camera_of(name, size_px, "brown", best[1].state.lenses[0], np.eye(4))):
        best = _unfolded(chosen, board, size_px, begin, tried) or best
    kind, solution, error, _ = best
    camera = camera_of(name, size_px, kind.model, solution.state.lenses[0], np.eye(4))
    tilt = np.rad2deg(np.arccos(np.clip(np.abs(solution.state.world_from_board[:, 2, 2]), 0, 1)))
    fit = LensFit(camera, kind, solution, tuple(chosen), error, tried, coverage_map(good, size_px), tilt, ())
    return replace(fit, warnings=tuple(lens_warnings(fit, dropped)))


def folds(camera: Camera) -> int:
    """At how many of nine points of the picture's border the lens has no inverse."""
    w, h = camera.size_px
    border = [[x, y] for x in (0, (w - 1) / 2, w - 1) for y in (0, (h - 1) / 2, h - 1)]
    return int(np.isnan(camera.undistort(border)).any(axis=1).sum())


def _unfolded(
    views: list[BoardView], board: Board, size_px: tuple[int, int], start: Float, tried: dict[str, float]
) -> tuple[LensKind, Solution, float, Float] | None:
    """A lens that can be inverted in the whole picture: where the board never came, a polynomial may fold back."""
    for kind in (KINDS["division"], KINDS["division2"], KINDS["brown8"]):
        solution = fit_kind(views, board, size_px, kind, start)
        lens, poses = solution.state.lenses[0], solution.state.world_from_board
        if folds(camera_of("fit", size_px, "brown", lens, np.eye(4))):
            continue
        error, each = held_out_px(views, board, size_px, kind, lens, poses)
        tried[kind.name] = error
        if not error > 1.15 * min(tried.values()):
            return kind, solution, error, each
    return None


def _better(each: Float, than: Float) -> bool:
    """Whether views left out are seen better by over 1 % and by more than chance: paired, two standard errors."""
    gain = np.log(np.maximum(than, 1e-6)) - np.log(np.maximum(each, 1e-6))
    gain = gain[np.isfinite(gain)]
    if len(gain) < 3:
        return False
    return bool(gain.mean() > max(0.01, 2 * gain.std(ddof=1) / np.sqrt(len(gain))))


def _without_bad(
    views: list[BoardView], board: Board, size_px: tuple[int, int], start: Float
) -> tuple[list[BoardView], int]:
    """Views less those that fit four times worse than the others and by over 2 px: misread, or the board was bent."""
    solution = fit_kind(views, board, size_px, KINDS["centre"], start)
    counts = np.array([len(v) for v in views])
    r = np.linalg.norm(solution.residual_px, axis=1)
    each = np.array([np.median(part) for part in np.split(r, np.cumsum(counts)[:-1])])
    bad = each > max(4 * float(np.median(each)), 2.0)
    if len(views) - bad.sum() < MIN_VIEWS:
        return views, 0
    return [v for v, b in zip(views, bad, strict=True) if not b], int(bad.sum())


def lens_warnings(fit: LensFit, dropped: int = 0) -> list[str]:
    """What should keep a user from believing a lens, and what to film; nothing where it is sound."""
    name, out = fit.camera.name, []
    covered = float((fit.coverage > 0).mean())
    if dropped:
        out.append(f"camera {name}: {dropped} pictures did not fit the others and were left out")
    if len(fit.views) < 10:
        out.append(
            f"camera {name}: {len(fit.views)} pictures of the board are few for a lens (20 are good): "
            f"only {len(fit.kind.free)} numbers were estimated ({', '.join(fit.kind.free)})"
        )
    if covered < 0.6:
        out.append(
            f"camera {name}: the board covered {100 * covered:.0f} % of the picture; beyond it the lens is a guess: "
            f"film the board at the {_uncovered(fit.coverage)}"
        )
    if folds(fit.camera):
        out.append(fold_warning(name, folds(fit.camera)))
    if int((fit.tilt_deg > 20).sum()) < 3:
        out.append(
            f"camera {name}: the board was tilted by over 20° in {int((fit.tilt_deg > 20).sum())} pictures; without "
            "tilt the focal length cannot be told from the distance: turn the board by 30–45° to all sides"
        )
    if fit.solution.scale_px > 1.0:
        out.append(
            f"camera {name}: the corners miss by {fit.solution.scale_px:.1f} px (0.1–0.5 is usual): "
            "is the board flat, are columns, rows and kind right, is the lens a fisheye (--lens fisheye)?"
        )
    edge = float(np.nanmedian([v.edge_px for v in fit.views]))
    if edge > BLURRED_PX * max(fit.camera.size_px) / 1280:
        out.append(
            f"camera {name}: the board is blurred (edges {edge:.0f} px wide): hold it still for each picture, give it "
            "more light or a shorter exposure"
        )
    return out


def fold_warning(name: str, points: int) -> str:
    """The sentence about a lens without an inverse at some of nine points of the picture's border."""
    return (
        f"camera {name}: the lens has no inverse at {points} of 9 points of the picture's border, where people "
        "would be lost: film the board there"
    )


def focal_warning(name: str, focal_px: float, sd_px: float) -> list[str]:
    """The sentence where a focal length is uncertain by over 1 %."""
    if sd_px < 0.01 * focal_px:
        return []
    return [
        f"camera {name}: the focal length is uncertain by {100 * sd_px / focal_px:.1f} %: "
        "film the board nearer and tilted"
    ]


def _uncovered(coverage: Float) -> str:
    empty = coverage == 0
    h, w = empty.shape
    sides = {
        "left": empty[:, : w // 4],
        "right": empty[:, -(w // 4) :],
        "top": empty[: h // 3],
        "bottom": empty[-(h // 3) :],
    }
    worst = [n for n, part in sides.items() if part.mean() > 0.5]
    return ", ".join(worst) or "corners"


def coverage_map(views: Sequence[BoardView], size_px: tuple[int, int]) -> Float:
    """(6, 8) corners seen in each cell of the picture."""
    px = np.concatenate([v.px for v in views]) if views else np.zeros((0, 2))
    w, h = size_px
    counts, _, _ = np.histogram2d(px[:, 1], px[:, 0], bins=GRID[::-1], range=[[0, h], [0, w]])
    return np.asarray(counts, dtype=np.float64)


def select(views: Sequence[BoardView], board: Board, camera: Camera, most: int = MOST_VIEWS) -> list[BoardView]:
    """The ``most`` views that tell the most: new parts of the picture, new tilts and distances, sharp ones first.

    Greedy: each view is worth the sum over what it shows of 1 / (1 + how often that is shown already), times how
    sharp it is.
    """
    if len(views) <= most:
        return list(views)
    w, h = camera.size_px
    shows: list[set[tuple[str, int, int]]] = []
    for v in views:
        cell = np.clip((v.px / [w, h] * GRID).astype(int), 0, np.array(GRID) - 1)
        what = {("cell", int(x), int(y)) for x, y in cell}
        pose = board_pose(v, board, camera)
        if pose is not None:
            tilt = pose[0][:2, 2]
            turn = int(np.arctan2(tilt[1], tilt[0]) / (np.pi / 4)) if np.hypot(*tilt) > 0.2 else 9
            what |= {("tilt", turn, int(np.hypot(*tilt) / 0.25)), ("far", int(np.log2(pose[0][2, 3]) * 2), 0)}
        shows.append(what)
    sharp = np.array([1.0 / max(v.edge_px, 1.0) if np.isfinite(v.edge_px) else 0.2 for v in views])
    count: dict[tuple[str, int, int], int] = {}
    left: set[int] = set(range(len(views)))
    chosen: list[int] = []
    while len(chosen) < most:
        best = max(left, key=lambda i: sharp[i] * sum(1 / (1 + count.get(s, 0)) for s in shows[i]))
        left.remove(best)
        chosen.append(best)
        for s in shows[best]:
            count[s] = count.get(s, 0) + 1
    return [views[i] for i in sorted(chosen)]
