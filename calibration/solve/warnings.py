"""What a calibration says about itself: numbers by camera, missing links by name, warnings with what to film."""

from collections.abc import Sequence

import numpy as np

from kinecast.calibration.board.board import Board
from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.footage import BoardSightings, FrameSets
from kinecast.calibration.lens import NAMES, LensKind
from kinecast.calibration.solve.bundle import Observations, Solution
from kinecast.calibration.solve.frame_shift import Shift
from kinecast.calibration.solve.intrinsics import BLURRED_PX, LensFit, coverage_map, focal_warning, fold_warning, folds
from kinecast.calibration.solve.pose_graph import MIN_SHARED, Link, PoseGraph
from kinecast.calibration.solve.result import Calibration, CameraResult, LinkResult, Parameter
from kinecast.capture.errors import KinecastError

FEW_SETS = 15
FEW_SHARED = 8


def summarise(
    seen: Sequence[BoardSightings],
    rig: Rig,
    kinds: Sequence[LensKind],
    fits: Sequence[LensFit | Camera],
    solution: Solution,
    corners: Observations,
    number: Float,
    halves_mm: Float,
) -> tuple[CameraResult, ...]:
    """The numbers of every camera of a solved rig."""
    out = []
    for c, (s, camera, kind, fit) in enumerate(zip(seen, rig, kinds, fits, strict=True)):
        mine = corners.camera == c
        own = fit if isinstance(fit, LensFit) else None
        z = (solution.state.cam_from_world[c] @ solution.state.world_from_board[np.unique(corners.pose[mine])])[:, 2, 2]
        out.append(
            CameraResult(
                camera=camera,
                lens=kind.name,
                looked=s.looked,
                views=len(s.views),
                used=len(np.unique(corners.pose[mine])),
                parameters=tuple(
                    Parameter(n, float(v), solution.sd(c, n))
                    for n, v in zip(NAMES[camera.model], solution.state.lenses[c], strict=True)
                ),
                px=corners.px[mine],
                residual_px=solution.residual_px[mine],
                weight=solution.weight[mine],
                frame_set=number[corners.pose[mine]],
                coverage=coverage_map(s.views, s.size_px),
                tilt_deg=np.rad2deg(np.arccos(np.clip(np.abs(z), 0, 1))),
                held_out_px=own.held_out_px if own else float("nan"),
                tried_px=own.tried_px if own else {},
                edge_px=float(np.nanmedian([v.edge_px for v in s.views])),
                position_m=camera.centre_world,
                position_sd_m=solution.position_sd_m(c),
                rotation_sd_rad=float(np.sqrt(sum(solution.sd(c, n) ** 2 for n in ("wx", "wy", "wz")))),
                offset_s=float(solution.state.offset_s[c]),
                offset_sd_s=solution.sd(c, "offset_s"),
                halves_mm=float(halves_mm[c]),
            )
        )
    return tuple(out)


def lens_result(seen: BoardSightings, fit: LensFit) -> CameraResult:
    """The numbers of a camera whose lens alone was estimated."""
    solution = fit.solution
    counts = [len(v) for v in fit.views]
    return CameraResult(
        camera=fit.camera,
        lens=fit.kind.name,
        looked=seen.looked,
        views=len(seen.views),
        used=len(fit.views),
        parameters=tuple(
            Parameter(n, float(v), solution.sd(0, n))
            for n, v in zip(NAMES[fit.camera.model], solution.state.lenses[0], strict=True)
        ),
        px=np.concatenate([v.px for v in fit.views]),
        residual_px=solution.residual_px,
        weight=solution.weight,
        frame_set=np.repeat([v.frame for v in fit.views], counts),
        coverage=fit.coverage,
        tilt_deg=fit.tilt_deg,
        held_out_px=fit.held_out_px,
        tried_px=fit.tried_px,
        edge_px=float(np.nanmedian([v.edge_px for v in fit.views])),
        position_m=fit.camera.centre_world,
    )


def link_results(names: Sequence[str], graph: PoseGraph) -> tuple[LinkResult, ...]:
    """The links of a graph by name."""
    return tuple(LinkResult(names[k.a], names[k.b], k.shared, k.agree, k in graph.tree) for k in graph.links)


def _best_between(graph: PoseGraph, one: Sequence[int], two: Sequence[int]) -> Link | None:
    between = [k for k in graph.links if (k.a in one and k.b in two) or (k.a in two and k.b in one)]
    return max(between, key=lambda k: (k.agree, k.shared), default=None)


def two_boards(seen: BoardSightings) -> str:
    """The sentence about a camera that sees markers twice."""
    return (
        f"camera {seen.name}: {seen.doubled} pictures show markers twice and were left out: two boards are in view, or "
        "a mirror; take one away"
    )


def spoilt(seen: BoardSightings) -> list[str]:
    """Sentences about pictures that are not fit: two boards in view, blur."""
    out = [two_boards(seen)] if seen.two_boards else []
    edge = float(np.nanmedian([v.edge_px for v in seen.views])) if seen.views else 0.0
    if edge > BLURRED_PX * max(seen.size_px) / 1280:
        out.append(
            f"camera {seen.name}: the board is blurred (edges {edge:.0f} px wide, seen in {len(seen.views)} of "
            f"{seen.looked} pictures): move it slower, more light, shorter exposure"
        )
    return out


def link_error(seen: Sequence[BoardSightings], graph: PoseGraph, board: Board) -> KinecastError:
    """What is missing between the groups of cameras that do not hang together, and what to film."""
    names = [s.name for s in seen]
    if len(names) < 2:
        return KinecastError(
            f"a rig needs two cameras; there is one ({names[0]}): `kinecast calibrate intrinsics` "
            "calibrates a single lens"
        )
    main, rest = graph.groups[0], graph.groups[1:]
    said = [text for s in seen for text in spoilt(s)]
    for group in rest:
        best = _best_between(graph, group, main)
        who = ", ".join(names[c] for c in group)
        if best is None or best.shared == 0:
            other = names[graph.root]
            said.append(
                f"{who} never saw the board together with another camera: film the board where {names[group[0]]} "
                f"and {other}, or a camera near it, both see it, in {FEW_SHARED} places or more"
            )
        elif best.shared < MIN_SHARED:
            said.append(
                f"{names[best.a]} and {names[best.b]} saw the board together in {best.shared} frame sets only: "
                f"film it in {FEW_SHARED} places that both see"
            )
        else:
            said.append(
                f"{names[best.a]} and {names[best.b]} saw the board together in {best.shared} frame sets, but "
                f"only {best.agree} agree on where the cameras stand: the videos are not synchronised, a "
                "camera moved, or two boards are in view; film with synchronised cameras, or give timestamps.csv"
            )
    return KinecastError("cameras do not hang together: " + "; ".join(said) + "; or leave them out (--cameras)")


def link_warnings(names: Sequence[str], graph: PoseGraph) -> list[str]:
    """Links that the rig hangs on and that are weak."""
    out = []
    for k in graph.tree:
        if k.agree < FEW_SHARED:
            out.append(
                f"{names[k.a]} and {names[k.b]} hang together by {k.agree} frame sets only: film the board in "
                f"{FEW_SHARED} places or more that both see"
            )
        elif k.agree < 0.5 * k.shared:
            out.append(
                f"{names[k.a]} and {names[k.b]}: {k.shared - k.agree} of {k.shared} frame sets disagree on where "
                "they stand: is the board flat, was a camera touched, are the videos synchronised?"
            )
    return out


def shift_warning(names: Sequence[str], shift: Shift, sets: FrameSets) -> str:
    """The sentence about a camera that was read later or earlier."""
    interval_s = float(np.median(np.diff(sets.t_s))) if len(sets) > 1 else 0.0
    way = "later" if shift.frames > 0 else "earlier"
    return (
        f"the videos are not synchronised: {names[shift.b]} fits {names[shift.a]} when it is read {abs(shift.frames)} "
        f"frame sets ({abs(shift.frames) * interval_s:.2f} s) {way} ({100 * shift.share:.0f} % of the board poses "
        f"agree then, {100 * shift.share_now:.0f} % as they stand); that was done, but start the cameras together, or "
        "give timestamps.csv"
    )


def rig_warnings(result: Calibration, seen: Sequence[BoardSightings], solution: Solution) -> list[str]:
    """What should keep a user from believing a rig."""
    out = []
    if result.frame_sets < FEW_SETS:
        out.append(
            f"{result.frame_sets} frame sets are few (30 are good): move the board through the whole room for a minute"
        )
    if not solution.converged:
        out.append("the adjustment did not settle; its numbers are not final: film more views")
    if solution.undetermined:
        out.append(
            f"{solution.undetermined} directions of the rig are not determined by the pictures: film the board "
            "in more places and tilts"
        )
    for c, s in zip(result.cameras, seen, strict=True):
        name = c.camera.name
        out += spoilt(s)
        if c.offset_s and np.isfinite(c.offset_sd_s) and abs(c.offset_s) > 3 * c.offset_sd_s:
            way = "later" if c.offset_s > 0 else "earlier"
            out.append(
                f"camera {name} sees {abs(c.offset_s) * 1000:.0f} ± {c.offset_sd_s * 1000:.0f} ms {way} than its "
                "stamps say: taken into account here, but a rig holds no clocks: fusion and `kinecast sync` find it "
                "again in a session; synchronise it, or hold the board still at each place"
            )
        if np.isfinite(c.parameters[0].sd):
            out += focal_warning(name, c.parameters[0].value, c.parameters[0].sd)
        if folds(c.camera):
            out.append(fold_warning(name, folds(c.camera)))
        light = float((c.weight < 0.1).mean())
        if light > 0.1:
            out.append(
                f"camera {name}: {100 * light:.0f} % of its corners do not fit: misread, blurred, or the camera moved"
            )
        if c.position_sd_m > 0.02:
            out.append(
                f"camera {name}: its place is uncertain by {c.position_sd_m * 1000:.0f} mm: film the board nearer to "
                "it, together with its neighbours"
            )
        if c.halves_mm > 30:
            out.append(
                f"camera {name}: the two halves of the recording put it {c.halves_mm:.0f} mm apart: "
                "was it touched? if not, film more"
            )
    if result.scale_px > 1.5:
        out.append(
            f"the corners miss by {result.scale_px:.1f} px (0.2–0.6 is usual): do not believe this rig; check the "
            "board's description, the synchronisation and the lenses"
        )
    if result.lengths is not None and not abs(result.lengths.bias_mm) < 3 + 1000 * 0.01 * float(
        np.median(result.lengths.true_m)
    ):
        out.append(
            f"the board comes out {result.lengths.bias_mm:+.1f} mm wrong on average: the views contradict each other"
        )
    return out
