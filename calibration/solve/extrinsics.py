"""All cameras of a rig at once, from a board that was moved before them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kinecast.calibration.align import compare
from kinecast.calibration.board.board import Board
from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.footage import BoardSightings, FrameSets
from kinecast.calibration.lens import LensKind, camera_of, lens_vector
from kinecast.calibration.rigid import inverse, rotation_vector
from kinecast.calibration.solve.bundle import Free, Observations, Solution, State, linearise, solve
from kinecast.calibration.solve.distances import Distances, board_distances
from kinecast.calibration.solve.frame_shift import Shift, find_shift
from kinecast.calibration.solve.intrinsics import LensFit, fit_lens, lens_prior, usable
from kinecast.calibration.solve.pose_graph import MIN_SHARED, PoseGraph, Views, connect, same_on_both_sides
from kinecast.calibration.solve.result import Calibration, Lengths, Variant
from kinecast.calibration.solve.warnings import (
    link_error,
    link_results,
    link_warnings,
    rig_warnings,
    shift_warning,
    spoilt,
    summarise,
)
from kinecast.calibration.solve.world import upright
from kinecast.capture.errors import KinecastError

ROUGH_PX = (30.0, 8.0, 2.0)  # first poses of cameras chained over several links are off by tens of pixels
GIVEN = LensKind("given", "brown", ())
LONGEST_GAP_S = 0.6  # between frame sets over which the board's motion is still known
ROUNDS = 8
MIN_SETS = 4
SURE_OFFSET_SD = 5.0  # a time offset is believed from so many standard deviations on
LEAST_GAIN = 0.95  # and where it takes the scale of the residuals below this share


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """lens: as :func:`calibration.solve.intrinsics.fit_lens`. refine: lenses with the rig. offsets: time offsets of
    cameras.

    halves: solve again for either half of the frame sets, to see how far the rigs are apart.
    """

    lens: str = "auto"
    refine: bool = True
    offsets: bool = True
    halves: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What the solver is given: views of the P frame sets used, their numbers and times, observations, first poses."""

    views: Views
    number: Float
    t_s: Float
    seen: Observations
    world_from_board: Float


def calibrate(
    seen: Sequence[BoardSightings],
    sets: FrameSets,
    board: Board,
    options: Options | None = None,
    given: Rig | None = None,
    warnings: Sequence[str] = (),
) -> Calibration:
    """Cameras, lenses and time offsets from the views of a moving board.

    given: lenses that are known already, by name. warnings: what was noticed before. The world is a guess
    (:func:`calibration.solve.world.upright`), metric by the board. KinecastError says what is missing and what to film.
    """
    began, options = time.perf_counter(), options or Options()
    fits = [_lens(s, board, options, given) for s in seen]
    cameras = [f.camera if isinstance(f, LensFit) else f for f in fits]
    kinds = tuple(f.kind if isinstance(f, LensFit) else replace(GIVEN, model=f.model) for f in fits)
    views: Views = [[s.by_frame.get(int(sets.frame[i, c])) for c, s in enumerate(seen)] for i in range(len(sets))]
    names = [s.name for s in seen]
    graph = connect(views, board, cameras)
    shifts = _shifts(graph) if options.offsets else []
    said = list(warnings)
    if board.symmetric and len(seen) > 1:
        said.append(
            f"the {board} looks the same turned by half: cameras that see it from different sides may disagree about "
            "its first corner; where links contradict each other, film a board with one more row, or a charuco"
        )
    if shifts:
        said += [shift_warning(names, shift, sets) for shift in shifts]
        views, sets = _shifted(views, sets, shifts)
        graph = connect(views, board, cameras)
    if not board.back and (pair := same_on_both_sides(graph.cam_from_board, board)) is not None:
        raise KinecastError(
            f"cameras {names[pair[0]]} and {names[pair[1]]} see the board ({board}) from opposite sides, and the same "
            "print is on both: which side is which cannot be told, and the rig would be wrong by centimetres; cover "
            'one side, or print the back as in a mirror (back = "mirror", and thickness_mm)'
        )
    if len(graph.groups) > 1 or len(seen) < 2:
        raise link_error(seen, graph, board)
    problem = _problem(views, sets, board, graph)
    shared = sum(sum(v is not None for v in row) >= 2 for row in problem.views)
    if shared < MIN_SETS:
        why = "".join(f"{text}; " for s in seen for text in spoilt(s))
        raise KinecastError(
            f"{why}{shared} frame sets show the board to two cameras at once; {MIN_SETS} are the least and 30 are "
            "good: move the board slowly through the whole room, seen by as many cameras as can be"
        )
    plain, timed = _solve(problem, graph.cam_from_world, cameras, kinds, options)
    best = timed or plain
    rig = _rig(best, cameras)
    world = upright(rig, rig.cameras)
    stamped = rival = None
    if timed is not None:
        stamped = lengths_of(board_distances(rig.cameras, problem.views, board))
        rival = _variant(plain, cameras, problem, board)
    halves = _halves(problem, best, cameras, kinds, options) if options.halves else np.full(len(cameras), np.nan)
    result = Calibration(
        rig=world,
        board=str(board),
        cameras=summarise(seen, world, kinds, fits, best, problem.seen, problem.number, halves),
        links=link_results(names, graph),
        frame_sets=len(problem.views),
        scale_px=best.scale_px,
        lengths=lengths_of(board_distances(rig.cameras, _at_one_instant(problem, best), board)),
        lengths_stamped=stamped,
        rival=rival,
        warnings=(),
        seconds=time.perf_counter() - began,
    )
    said += [w for f in fits if isinstance(f, LensFit) for w in f.warnings if "no inverse" not in w]
    said += link_warnings(names, graph) + rig_warnings(result, seen, best)
    return replace(result, warnings=tuple(said))


def lengths_of(found: Distances) -> Lengths:
    """The numbers of a measured board that are kept."""
    px = found.reprojection_px
    median = float(np.median(px)) if len(px) else float("nan")
    return Lengths(found.error_m, found.true_m, found.bias_mm, found.rmse_mm, found.scale, median)


def _lens(seen: BoardSightings, board: Board, options: Options, given: Rig | None) -> LensFit | Camera:
    if not seen.views:
        raise KinecastError(
            f"camera {seen.name}: the board ({board}) is in none of {seen.looked} pictures: is the description right? "
            "`kinecast calibrate board --guess` looks which board it is"
        )
    if given is None:
        return fit_lens(seen.views, board, seen.size_px, seen.name, options.lens)
    try:
        lens = given[seen.name]
    except KeyError as e:
        raise KinecastError(f"the given lenses: {e.args[0]}") from None
    if lens.size_px != seen.size_px:
        raise KinecastError(
            f"camera {seen.name}: its pictures are {seen.size_px[0]}×{seen.size_px[1]}, the given lens is for "
            f"{lens.size_px[0]}×{lens.size_px[1]}: a lens holds for one size; calibrate it for this one"
        )
    return replace(lens, cam_from_world=np.eye(4))


def _shifts(graph: PoseGraph) -> list[Shift]:
    """Cameras that agree with the others only when read later or earlier by whole frame sets.

    From the root on, first all cameras that agree as they stand; then the one that a shift makes agree best with any
    of those, and so on. What no shift helps is left as it is.
    """
    poses, known, out = graph.cam_from_board, {graph.root: 0}, []
    count = poses.shape[1]
    good = [k for k in graph.links if k.agree >= MIN_SHARED and k.agree > 0.5 * k.shared]
    while len(known) < count:
        near = next(
            ((k.a, k.b) if k.a in known else (k.b, k.a) for k in good if (k.a in known) != (k.b in known)), None
        )
        if near is not None:
            known[near[1]] = known[near[0]]
            if known[near[0]]:
                out.append(Shift(*near, known[near[0]], 1.0, 0.0))
            continue
        rest = [c for c in range(count) if c not in known]
        most = min(len(poses) - 8, 150)
        tried = [find_shift(poses[:, a], poses[:, c], (a, c), most) for a in known for c in rest]
        best = max((t for t in tried if t is not None), key=lambda t: t.share, default=None)
        if best is None:
            break
        known[best.b] = known[best.a] + best.frames
        out.append(replace(best, frames=known[best.b]))
    return [k for k in out if k.frames]


def _shifted(views: Views, sets: FrameSets, shifts: Sequence[Shift]) -> tuple[Views, FrameSets]:
    new = [list(row) for row in views]
    frame, stamp = sets.frame.copy(), sets.stamp_ns.copy()
    for shift in shifts:
        c, n = shift.b, len(views)
        source = np.arange(n) + shift.frames
        inside = (source >= 0) & (source < n)
        both = inside & (sets.frame[:, c] >= 0)
        both[inside] &= sets.frame[source[inside], c] >= 0
        late = np.median(sets.stamp_ns[source[both], c] - sets.stamp_ns[both, c]) if both.any() else 0
        for i in range(n):
            new[i][c] = views[source[i]][c] if inside[i] else None
        frame[:, c] = np.where(inside, sets.frame[np.clip(source, 0, n - 1), c], -1)
        stamp[:, c] = np.where(inside, sets.stamp_ns[np.clip(source, 0, n - 1), c] - int(late), 0)
    return new, FrameSets(frame, stamp)


def _problem(views: Views, sets: FrameSets, board: Board, graph: PoseGraph) -> Problem:
    """The frame sets whose board is placed and that say something: two cameras see it, or one sees it well."""
    points, lag = board.points_m, sets.lag_s
    placed = np.isfinite(graph.world_from_board[:, 0, 0])
    kept = [
        i
        for i in np.flatnonzero(placed).tolist()
        if sum(v is not None for v in views[i]) >= 2 or any(v is not None and usable(v, board) for v in views[i])
    ]
    camera, pose, at, px, late = [], [], [], [], []
    for p, i in enumerate(kept):
        for c, v in enumerate(views[i]):
            if v is not None:
                camera.append(np.full(len(v), c))
                pose.append(np.full(len(v), p))
                at.append(points[v.ids])
                px.append(v.px)
                late.append(np.full(len(v), lag[i, c]))
    seen = Observations(
        np.concatenate(camera or [np.zeros(0, np.intp)]).astype(np.intp),
        np.concatenate(pose or [np.zeros(0, np.intp)]).astype(np.intp),
        np.concatenate(at or [np.zeros((0, 3))]),
        np.concatenate(px or [np.zeros((0, 2))]),
        np.concatenate(late or [np.zeros(0)]),
    )
    return Problem([views[i] for i in kept], np.array(kept), sets.t_s[kept], seen, graph.world_from_board[kept])


def board_twist(world_from_board: Float, t_s: Float) -> Float:
    """(P, 6) rad/s and m/s of the board in its own axes, from the poses before and after; 0 over gaps."""
    out = np.zeros((len(t_s), 2, 6))
    count = np.zeros((len(t_s), 1))
    if len(t_s) > 1:
        gap = np.diff(t_s)
        step = inverse(world_from_board[:-1]) @ world_from_board[1:]
        back = inverse(step)
        known = (gap > 1e-6) & (gap < LONGEST_GAP_S)
        safe = np.where(known, gap, 1.0)[:, None]
        out[:-1, 1] = np.concatenate([rotation_vector(step[:, :3, :3]), step[:, :3, 3]], axis=1) / safe * known[:, None]
        out[1:, 0] = -np.concatenate([rotation_vector(back[:, :3, :3]), back[:, :3, 3]], axis=1) / safe * known[:, None]
        count[:-1, 0] += known
        count[1:, 0] += known
    return np.asarray(out.sum(axis=1) / np.maximum(count, 1))


def _solve(
    problem: Problem,
    placed: Float,
    cameras: Sequence[Camera],
    kinds: tuple[LensKind, ...],
    options: Options,
    offset_s: Float | None = None,
) -> tuple[Solution, Solution | None]:
    """The rig as the stamps say, and the one with time offsets where the data clearly want them.

    offset_s: (C,) start values; the second solution is then always made.
    """
    count = len(cameras)
    models = [c.model for c in cameras]
    lenses = tuple(lens_vector(c) for c in cameras)
    state = State(placed, problem.world_from_board, lenses, np.zeros((len(problem.t_s), 6)), np.zeros(count))
    every, none = np.ones(count, bool), np.zeros(count, bool)
    refine = options.refine and any(k.free for k in kinds)
    known = tuple(lens_prior(c.model, v, c.size_px) for c, v in zip(cameras, lenses, strict=True))
    solution = solve(problem.seen, state, models, Free(every, kinds, False, none), gauge=6, floors_px=ROUGH_PX)
    # lags of the stamps alone are taken into account from here on
    state = replace(solution.state, twist=board_twist(solution.state.world_from_board, problem.t_s))
    plain = solve(problem.seen, state, models, Free(every, kinds, refine, none, priors=known), gauge=6)
    if not options.offsets:
        return plain, None
    off = every.copy()
    off[np.argmax(np.bincount(problem.seen.camera, minlength=count))] = False  # the one that sees most keeps the time
    timed = plain
    if offset_s is not None:
        timed = replace(plain, state=replace(plain.state, offset_s=offset_s))
    for _ in range(ROUNDS):
        before = timed.state.offset_s
        moving = replace(timed.state, twist=board_twist(timed.state.world_from_board, problem.t_s))
        timed = solve(
            problem.seen, moving, models, Free(every, kinds, refine, off, priors=known), gauge=6, iterations=15
        )
        if np.abs(timed.state.offset_s - before).max() < 2e-4:
            break
    if offset_s is not None:
        return plain, timed
    sure = max(abs(timed.state.offset_s[c]) / max(timed.sd(c, "offset_s"), 1e-9) for c in np.flatnonzero(off).tolist())
    if sure < SURE_OFFSET_SD or timed.scale_px > LEAST_GAIN * plain.scale_px:
        return plain, None
    return plain, timed


def _rig(solution: Solution, cameras: Sequence[Camera]) -> Rig:
    state = solution.state
    return Rig(
        tuple(
            camera_of(c.name, c.size_px, c.model, lens, T)
            for c, lens, T in zip(cameras, state.lenses, state.cam_from_world, strict=True)
        )
    )


def _at_one_instant(problem: Problem, solution: Solution) -> Views:
    """The views as they would be, had all cameras looked at the time of the frame set: moved by the board's motion."""
    still = replace(solution.state, twist=np.zeros_like(solution.state.twist))
    models = ["fisheye" if len(v) == 8 else "brown" for v in still.lenses]
    moved = linearise(problem.seen, still, models, derivatives=False).residual - solution.residual_px  # type: ignore[arg-type]
    px, at, out = problem.seen.px - moved, 0, []
    for row in problem.views:
        new = []
        for view in row:
            new.append(None if view is None else replace(view, px=px[at : at + len(view)]))
            at += 0 if view is None else len(view)
        out.append(new)
    return out


def _variant(plain: Solution, cameras: Sequence[Camera], problem: Problem, board: Board) -> Variant:
    rig = _rig(plain, cameras)
    median = float(np.median(np.linalg.norm(plain.residual_px, axis=1)))
    return Variant(
        "as stamped", upright(rig, rig.cameras), median, lengths_of(board_distances(rig.cameras, problem.views, board))
    )


def _halves(
    problem: Problem, best: Solution, cameras: Sequence[Camera], kinds: tuple[LensKind, ...], options: Options
) -> Float:
    """(C,) mm between the places of each camera in the rigs of the first and of the second half of the recording."""
    rigs = []
    middle = len(problem.t_s) // 2
    for part in (np.arange(len(problem.t_s)) < middle, np.arange(len(problem.t_s)) >= middle):
        keep = part[problem.seen.pose]
        views = np.bincount(problem.seen.camera[keep], minlength=len(cameras))
        if part.sum() < 2 * MIN_SETS or (views < 24).any():
            return np.full(len(cameras), np.nan)
        seen = problem.seen.subset(keep)
        seen = replace(seen, pose=(np.cumsum(part) - 1)[seen.pose])
        half = Problem([], problem.number[part], problem.t_s[part], seen, best.state.world_from_board[part])
        timed = bool(np.any(best.state.offset_s))
        start = [replace(c, K=k.K, distortion=k.distortion) for c, k in zip(cameras, _rig(best, cameras), strict=True)]
        plain, other = _solve(
            half,
            best.state.cam_from_world,
            start,
            kinds,
            replace(options, offsets=timed),
            best.state.offset_s if timed else None,
        )
        rigs.append(_rig(other or plain, cameras))
    return compare(rigs[0], rigs[1]).position_mm
