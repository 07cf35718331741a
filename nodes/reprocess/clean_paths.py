"""Steps of :mod:`nodes.reprocess.clean` that change where joints are: gaps filled, paths filtered."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.estimate.path_filters import butterworth, one_euro
from kinecast.engines.estimate.rts import smooth
from kinecast.engines.records import Poses, pack_covariance, unpack_covariance
from kinecast.nodes.recording.frame_sets import FrameSetBundle
from kinecast.nodes.reprocess.clean_people import Bundles, Step, people_of, rows_of, seconds_of

FILL_SD_M_S = 0.3  # a filled joint is so much less sure for every second to the nearest that was seen


def fill(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    at = seconds_of(bundles)
    out = list(bundles)
    joints = frames = 0
    for person in sorted(people_of(bundles)):
        here = [(n, int(np.flatnonzero(b.poses.person_ids == person)[0])) for n, b in enumerate(bundles)
                if b.poses is not None and person in b.poses.person_ids]  # fmt: skip
        sets = np.array([n for n, _ in here])
        rows = [(bundles[n].poses, p) for n, p in here]
        points = np.stack([q.points_world_m[p] for q, p in rows if q is not None]).astype(np.float64)
        for n in range(sets[0], sets[-1] + 1):
            known = np.searchsorted(sets, n)
            there = known < len(sets) and sets[known] == n
            filled = _between(points, at[sets], at[n], step.seconds)
            missing = np.isfinite(filled[0][:, 0]) & (~np.isfinite(points[known][:, 0]) if there else True)
            if not missing.any():
                continue
            near = int(np.argmin(np.abs(sets - n)))
            example = rows[near]
            assert example[0] is not None
            out[n] = _with_filled(out[n], person, example[0], example[1], filled, missing)
            joints += int(missing.sum())
            frames += not there
    return (
        out,
        f"fill: {joints} joints in gaps of up to {step.seconds:g} s; {frames} person-frames were not there at all",
    )


def _between(
    points: NDArray[np.float64], at_s: NDArray[np.float64], t_s: float, limit_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joints (J, 3) at ``t_s`` on straight lines between what was seen before and after, NaN across longer gaps; and
    how long ago or hence, in s, the nearest was (J,)."""
    seen = np.isfinite(points[:, :, 0])
    before = np.where(seen & (at_s <= t_s)[:, None], at_s[:, None], -np.inf).max(axis=0)
    after = np.where(seen & (at_s >= t_s)[:, None], at_s[:, None], np.inf).min(axis=0)
    gap = after - before
    good = np.isfinite(gap) & (gap <= limit_s)
    out = np.full(points.shape[1:], np.nan)
    for j in np.flatnonzero(good):
        a, b = np.searchsorted(at_s, before[j]), np.searchsorted(at_s, after[j])
        share = 0.0 if gap[j] == 0 else (t_s - before[j]) / gap[j]
        out[j] = (1 - share) * points[a, j] + share * points[b, j]
    return out, np.where(good, np.minimum(t_s - before, after - t_s), np.nan)


def _with_filled(
    bundle: FrameSetBundle,
    person: int,
    example: Poses,
    row: int,
    filled: tuple[NDArray[np.float64], NDArray[np.float64]],
    missing: NDArray[np.bool_],
) -> FrameSetBundle:
    poses = bundle.poses
    assert poses is not None
    J = len(missing)
    if person not in poses.person_ids:
        absent = rows_of(example, np.array([row]), np.array([person], np.int32))
        blank = {
            "points_world_m": np.full((1, J, 3), np.nan, np.float32),
            "covariance_m2": np.full((1, J, 6), np.nan, np.float32),
            "confidence": np.zeros((1, J), np.float32),
            "residual_px": np.full((1, J), np.nan, np.float32),
            "views": np.zeros((1, J), np.uint32),
            "derived": np.zeros((1, J), np.bool_),
            "detections": np.full((1, len(poses.cameras)), -1, np.int32),
        }
        blank |= {n: np.zeros_like(getattr(absent, n)) for n in ("lifted", "filled") if getattr(absent, n).size}
        poses = _joined(poses, replace(absent, **blank))
    p = int(np.flatnonzero(poses.person_ids == person)[0])
    flags = poses.filled.copy() if poses.filled.size else np.zeros(poses.derived.shape, np.bool_)
    new = {n: getattr(poses, n).copy() for n in ("points_world_m", "covariance_m2", "residual_px", "views", "derived")}
    new["points_world_m"][p, missing] = filled[0][missing]
    sd = FILL_SD_M_S * filled[1][missing] + 0.01
    new["covariance_m2"][p, missing] = pack_covariance(np.eye(3) * sd[:, None, None] ** 2)
    new["residual_px"][p, missing], new["views"][p, missing], new["derived"][p, missing] = np.nan, 0, False
    flags[p, missing] = True
    return replace(bundle, poses=replace(poses, **new, filled=flags))


def _joined(a: Poses, b: Poses) -> Poses:
    """The people of both messages; an array that either lacks is left empty, but for flags, which are then false."""
    new: dict[str, Any] = {}
    for name, axes in Poses.SHAPES.items():
        x, y = getattr(a, name), getattr(b, name)
        optional = axes.endswith("…")
        if not optional:
            new[name] = np.concatenate([x, y])
        elif x.size or y.size:
            there = x if x.size else y
            plain = 1 if name == "fresh" else 0  # what says nothing of flow is news
            both = (v if v.size else np.full((len(r.person_ids), *there.shape[1:]), plain, there.dtype)
                    for v, r in ((x, a), (y, b)))  # fmt: skip
            new[name] = np.concatenate(list(both))
    return replace(a, **new)


def filter_paths(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    at = seconds_of(bundles)
    if len(at) < 2:
        raise KinecastError(f"{where}: one frame set cannot be filtered")
    rate_hz = float(1.0 / np.median(np.diff(at)))
    out = list(bundles)
    moved = []
    for person in sorted(people_of(bundles)):
        J = next(b.poses.derived.shape[1] for b in bundles if b.poses is not None)
        points, covariance = np.full((len(bundles), J, 3), np.nan), np.full((len(bundles), J, 6), np.nan)
        rows = {}
        for n, b in enumerate(bundles):
            assert b.poses is not None
            for p in np.flatnonzero(b.poses.person_ids == person).tolist():
                rows[n] = p
                points[n], covariance[n] = b.poses.points_world_m[p], b.poses.covariance_m2[p]
        try:
            done = _filtered(step, points, covariance, at, rate_hz)
        except ValueError as e:
            raise KinecastError(f"--filter {step.name}: {e}") from None
        for n, p in rows.items():
            poses = out[n].poses
            assert poses is not None
            new = poses.points_world_m.copy()
            new[p] = done[n]
            moved.append(np.linalg.norm(new[p] - poses.points_world_m[p], axis=-1))
            out[n] = replace(out[n], poses=replace(poses, points_world_m=new, filtered=_label(step)))
    median = 1e3 * float(np.nanmedian(np.concatenate(moved)))
    bodies = any(b.bodies is not None for b in bundles)
    hint = "; bodies stay as they were: `kinecast fit` fits them again" if bodies else ""
    return out, f"filter: {_label(step)} moved joints by {median:.1f} mm in the median{hint}"


def _label(step: Step) -> str:
    return "smoothed" if step.name == "rts" else f"{step.name} {step.cutoff_hz:g} Hz"


def _filtered(
    step: Step, points: NDArray[np.float64], covariance: NDArray[np.float64], at: NDArray[np.float64], rate_hz: float
) -> NDArray[np.float64]:
    if step.name == "rts":
        return np.asarray(smooth(at, points, unpack_covariance(covariance.astype(np.float32))).points_m)
    return (butterworth if step.name == "butterworth" else one_euro)(points, rate_hz, step.cutoff_hz)
