"""``kinecast evaluate body-views SESSION``: view ablation of the body fit.

Bodies alone from fewer and fewer views of the same frames: how far from the truth, and whether they say so.

A synthetic sequence knows its truth; of a recording the fit of all its views stands in for it, so that what all views
share (a detector's habits, the body's limits) cancels out. Every window of n neighbouring cameras is one run, begun
without points, shape unknown.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.solver import (
    FLAG_RESIDUAL,
    FLAG_SHAPE_OPEN,
    GATE_SIGMA,
    BodyObservations,
    BodySolver,
    Fit,
)
from kinecast.nodes.evaluate import report
from kinecast.nodes.fusion.bodies import BodyStage
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets

Float = NDArray[np.float64]

LAG_S = 0.125  # as far as a fit remembers
BEGIN_S = 0.5  # of every run is not scored: a first frame has no past
HONEST = (0.199, 0.739, 0.971)  # of a normal error in 3 dimensions that is as large as stated, alike in all of them


Joints = Sequence[Mapping[int, Float]]  # of every frame: identity → (24, 3) m


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """From n views. error_m, sd_m: (N, 24) distance to the truth and stated σ per axis. flagged: share of person-frames
    with a large residual; open: with a shape that has not settled; runs: how many windows of cameras.
    """

    views: int
    runs: int
    error_m: Float
    sd_m: Float
    flagged: float
    open: float

    @property
    def stated_of_met(self) -> float:
        """RMS of the stated uncertainty over RMS of the error."""
        return float(np.sqrt(3 * np.mean(self.sd_m**2) / np.mean(self.error_m**2)))

    @property
    def inside(self) -> tuple[float, float, float]:
        """Share of the joints inside 1, 2, 3 σ."""
        z = self.error_m / self.sd_m
        return float((z < 1).mean()), float((z < 2).mean()), float((z < 3).mean())


def follow(solver: BodySolver, frames: list[BodyObservations], cameras: list[int]) -> list[dict[int, Fit]]:
    """The bodies of every frame, from these cameras alone."""
    out: list[dict[int, Fit]] = []
    for frame in frames:
        w = np.zeros_like(frame.w)
        w[:, cameras] = frame.w[:, cameras]
        found = solver.fit_all(frame.t_ns, frame.ids, frame.xy, w)
        out.append({i: f for i, f in zip(frame.ids, found, strict=True) if f is not None})
    return out


def from_views(
    solver: Callable[[], BodySolver], frames: list[BodyObservations], truth: Joints, views: int
) -> Scores | None:
    """Every window of so many neighbouring cameras; None where nobody was fitted."""
    C = frames[0].w.shape[1]
    windows = [[(c + k) % C for k in range(views)] for c in range(C if views < C else 1)]
    error, sd, flags = [], [], []
    for window in windows:
        first: dict[int, int] = {}
        for frame, fits, true in zip(frames, follow(solver(), frames, window), truth, strict=True):
            for i, fit in fits.items():
                began = first.setdefault(i, frame.t_ns)
                if i in true and frame.t_ns - began >= BEGIN_S * 1e9:
                    error.append(np.linalg.norm(fit.joints - true[i], axis=-1))
                    sd.append(fit.joint_sd_m)
                    flags.append(fit.flags)
    if not error:
        return None
    bits = np.array(flags)
    flagged, still_open = float((bits & FLAG_RESIDUAL > 0).mean()), float((bits & FLAG_SHAPE_OPEN > 0).mean())
    return Scores(views, len(windows), np.stack(error), np.stack(sd), flagged, still_open)


@dataclass(frozen=True, slots=True)
class Habits:
    """Of the residuals of a fit to all views: the share of their variance that is still there after ``LAG_S``, and the
    share that all keypoints of a view have in common. NaN where the recording is too short.
    """

    persistent: float
    common: float


def habits(solver: BodySolver, frames: list[BodyObservations]) -> Habits:
    """What the residuals of these frames have in common; white noise has 0 and about 1 over the number of keypoints."""
    fits = follow(solver, frames, list(range(frames[0].w.shape[1])))
    P = solver.cameras.P
    rows: dict[int, list[tuple[int, Float]]] = {}
    for frame, found in zip(frames, fits, strict=True):
        for p, i in enumerate(frame.ids):
            if i not in found:
                continue
            h = np.einsum("cij,kj->cki", P[:, :, :3], found[i].points) + P[:, None, :, 3]
            r = (h[..., :2] / h[..., 2:] - frame.xy[p]) * np.sqrt(frame.w[p])[..., None]
            r[(frame.w[p] <= 0) | ((r**2).sum(axis=-1) > GATE_SIGMA**2)] = np.nan
            rows.setdefault(i, []).append((frame.t_ns, r))
    square, product, common, pairs, views = 0.0, 0.0, 0.0, 0, 0
    for told in rows.values():
        times = np.array([t for t, _ in told])
        later = np.searchsorted(times, times + round(LAG_S * 1e9))
        for k, (t, r) in enumerate(told):
            middle = _mean(r, 1)
            common, views = common + float(np.nansum(middle**2)), views + int(np.isfinite(middle).sum())
            if later[k] < len(told) and times[later[k]] - t < 2e9 * LAG_S:
                both = r * told[later[k]][1]
                n = np.isfinite(both)
                product, pairs = product + float(both[n].sum()), pairs + int(n.sum())
                square += float((r[n] ** 2).sum())
    every = np.concatenate([r.ravel() for told in rows.values() for _, r in told]) if rows else np.zeros(0)
    variance = float(np.nanmean(every**2)) if np.isfinite(every).any() else float("nan")
    return Habits(product / square if pairs else float("nan"), common / views / variance if views else float("nan"))


@dataclass(frozen=True, slots=True)
class Whole:
    """All views. body_px, points_px: median distance of keypoints from the body's and from the triangulated points, of
    those keypoints that both have. slide_mps, free_mps: mean speed of points of feet while they are held, with the
    contact term and without.
    """

    body_px: float
    points_px: float
    slide_mps: float
    free_mps: float


def whole(stage: BodyStage, frames: list[BodyObservations], points: list[Float]) -> Whole:
    """The bodies of all views beside triangulated points (P, K, 3) of every frame, and what holding feet is worth."""
    every = list(range(frames[0].w.shape[1]))
    held, free = (follow(stage.fresh_solver(None, contact), frames, every) for contact in (True, False))
    cameras, feet = stage.solver.cameras, stage.solver.feet
    off: tuple[list[Float], list[Float]] = ([], [])
    speed: tuple[list[Float], list[Float]] = ([], [])
    for t, frame in enumerate(frames):
        for p, i in enumerate(frame.ids):
            if i not in held[t]:
                continue
            there = (frame.w[p] > 0) & np.isfinite(points[t][p]).all(axis=-1)
            for out, X in zip(off, (held[t][i].points, points[t][p]), strict=True):
                h = np.einsum("cij,kj->cki", cameras.P[:, :, :3], X) + cameras.P[:, None, :, 3]
                r = np.linalg.norm(h[..., :2] / h[..., 2:] - frame.xy[p], axis=-1) * cameras.focal_px[:, None]
                out.append(r[there])
            if t and i in held[t - 1] and i in free[t - 1] and i in free[t]:
                rest = np.isfinite(held[t][i].rests[:, 0]) & np.isfinite(held[t - 1][i].rests[:, 0]) & (feet >= 0)
                dt = (frame.t_ns - frames[t - 1].t_ns) / 1e9
                for out, fits in zip(speed, (held, free), strict=True):
                    moved = fits[t][i].points[feet[rest]] - fits[t - 1][i].points[feet[rest]]
                    out.append(np.linalg.norm(moved, axis=-1) / dt)

    def middle(rows: list[Float], how: Callable[[Float], Any]) -> float:
        flat = np.concatenate(rows) if rows else np.zeros(0)
        return float(how(flat)) if len(flat) else float("nan")

    return Whole(*(middle(r, np.median) for r in off), *(middle(r, np.mean) for r in speed))


def _mean(r: Float, axis: int) -> Float:
    """Mean of what is finite; NaN where nothing is."""
    n = np.isfinite(r).sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(n > 0, np.nansum(r, axis=axis) / n, np.nan))


def of_recording(recording: Recording, body: str) -> tuple[list[Scores], Habits, Whole]:
    """One view fewer than all, two fewer and so on. KinecastError where nobody is in the recording."""
    frames: list[BodyObservations] = []
    points: list[Float] = []
    stage: BodyStage | None = None
    for joined in iter_frame_sets(recording):
        if joined.poses is None:
            continue
        if stage is None:
            stage = BodyStage(recording.rig, joined.frameset.cameras, body)
        given = stage.views_of(joined.frameset, joined.keypoints)
        stage.step(joined.frameset, joined.keypoints, joined.poses, given)  # learns how large the noise is
        seen = stage.observations(joined.frameset, joined.keypoints, joined.poses, given)
        frames.append(BodyObservations(joined.frameset.t_set_ns, joined.poses.person_ids.tolist(), seen.xy, seen.w))
        points.append(joined.poses.points_world_m.astype(np.float64))
    if stage is None or not any(f.ids for f in frames):
        raise KinecastError(f"{recording.path}: there are no people in it; `kinecast info` shows what there is")
    fresh = stage.fresh_solver
    C = frames[0].w.shape[1]
    truth: Joints = [{i: f.joints for i, f in fits.items()} for fits in follow(fresh(None), frames, list(range(C)))]
    found = [from_views(lambda: fresh(None), frames, truth, n) for n in range(C - 1, 0, -1)]
    return [s for s in found if s is not None], habits(fresh(None), frames), whole(stage, frames, points)


def figures(scores: list[Scores], residuals: Habits | None = None, all_views: Whole | None = None) -> dict[str, Any]:
    """Under stable keys."""
    rows = [
        {
            "views": s.views, "runs": s.runs, "person_frames": len(s.error_m),
            "mean_m": float(s.error_m.mean()), "median_m": float(np.median(s.error_m)),
            "p95_m": float(np.percentile(s.error_m, 95)), "stated_sd_m": float(np.sqrt(np.mean(s.sd_m**2))),
            "stated_of_met": s.stated_of_met, "inside_1_2_3_sigma": list(s.inside),
            "large_residual": s.flagged, "shape_open": s.open,
        }
        for s in scores
    ]  # fmt: skip
    out: dict[str, Any] = {"honest": list(HONEST), "views": rows}
    if residuals is not None:
        out["residuals"] = {"persistent": residuals.persistent, "common": residuals.common}
    if all_views is not None:
        out["all_views"] = asdict(all_views)
    return out


def show(told: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table(
        "views", "mean / median / p95", "stated σ per axis", "stated / met", "inside 1, 2, 3 σ", "residual flag"
    )
    for row in told["views"]:
        mean, median, p95, sd = (1e3 * row[k] for k in ("mean_m", "median_m", "p95_m", "stated_sd_m"))
        inside = " / ".join(f"{100 * s:.0f}" for s in row["inside_1_2_3_sigma"])
        stated, flagged = f"{row['stated_of_met']:.2f}", f"{100 * row['large_residual']:.1f} %"
        far = f"{mean:.1f} / {median:.1f} / {p95:.0f} mm"
        table.add_row(str(row["views"]), far, f"{sd:.1f} mm", stated, f"{inside} %", flagged)
    console.print(table)
    if "residuals" in told:
        kept, shared = told["residuals"]["persistent"], told["residuals"]["common"]
        console.print(
            f"of the variance of all views' residuals {kept:.2f} is still there after {1e3 * LAG_S:g} ms and "
            f"{shared:.2f} is common to all keypoints of a view"
        )
    if "all_views" in told:
        w = told["all_views"]
        console.print(
            f"all views: the body's keypoints reproject with a median of {w['body_px']:.1f} px, the triangulated with "
            f"{w['points_px']:.1f}; feet at rest slide by {1e3 * w['slide_mps']:.0f} mm/s, without the contact term "
            f"{1e3 * w['free_mps']:.0f}"
        )
    shares = ", ".join(f"{100 * s:.0f}" for s in HONEST)
    console.print(f"honest is 1 and, of errors alike in all directions, {shares} %")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recording, which body."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="a recording with people in it (.mcap)")
    parser.add_argument("--body", default="neutral", metavar="NAME", help="name or file of the body")
    report.add_outputs(parser)


def run(args: argparse.Namespace) -> int:
    """Bodies alone from fewer views. 1 where nobody was fitted."""
    report.check_outputs(args)
    scores, residuals, all_views = of_recording(Recording.open(args.session), args.body)
    told = figures(scores, residuals, all_views)
    report.emit(args, told, partial(show, told))
    return 0 if scores else 1
