"""``kinecast evaluate holdout SESSION``: leave-one-camera-out validation, without a truth.

Are covariances calibrated? Each camera in turn is held out and predicted from the others.

The recording is fused again without the camera; the people who come out are looked for in its picture. How far its
keypoints lie from where the joints should be seen is compared with the covariance of the joints, projected, plus the
noise that the other cameras' residuals tell of a keypoint. Nothing of the camera goes into either. Of a detector's
habits a camera that is held out shows what views do not share, and only that: the common ones it has itself.
"""

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from kinecast.capture.errors import KinecastError
from kinecast.engines.habits.systematic import view_sd_m
from kinecast.engines.metrics import coverage
from kinecast.engines.observations import CameraArrays, camera_arrays, undistort_detections
from kinecast.engines.records import FrameSet, Keypoints2D, Poses, unpack_covariance
from kinecast.engines.triangulate.measure import drifted_sigma
from kinecast.engines.triangulate.solve import noise_sigma
from kinecast.nodes.evaluate import report
from kinecast.nodes.evaluate.cells import cell, percents
from kinecast.nodes.fusion.detector_habits import detector_of
from kinecast.nodes.fusion.set_views import SKELETON
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import FrameSetBundle, iter_frame_sets
from kinecast.nodes.reprocess.run_fusion import Views, fuse_sets, fusion_settings

Float = NDArray[np.float64]
GATE_M = 0.25  # a person in the picture whose median joint is further off, at the person, is somebody else
JOINTS_TO_PAIR_PERSON = 4
SAME_TIME_NS = 1_000_000  # views further from the time of their set are left out: the motion between is no covariance
HONEST = (0.393, 0.865, 0.989)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """N keypoints of one camera. error_px: (N, 2); covariance_px2: (N, 2, 2), pixels of the picture without its lens.
    followed: (N,) which of them optical flow had moved since a model looked. habits_px2: (N,) variance per axis of what
    the views of one joint do not share, by the table of the detector.

    unmatched: people of the others who were in the picture's sets and nowhere in its detections. elsewhen: views that
    were of another time.
    """

    camera: str
    error_px: Float
    covariance_px2: Float
    unmatched: int
    elsewhen: int
    followed: NDArray[np.bool_]
    habits_px2: Float


def hold_out(recording: Recording) -> list[HeldOut]:
    """Every camera of the recording held out; KinecastError where there are fewer than three or no journal."""
    rig = recording.rig
    settings = replace(fusion_settings(recording), body="off")  # no body is compared
    sets = list(iter_frame_sets(recording))
    cameras = [c for c in rig.names if any(c in s.frameset.cameras for s in sets)]
    if len(cameras) < 3:
        raise KinecastError(f"{recording.path}: {len(cameras)} cameras; to hold one out there must be three")
    return [_held_out(recording, settings, sets, c) for c in cameras]


def _held_out(recording: Recording, settings: FusionNode, sets: list[FrameSetBundle], camera: str) -> HeldOut:
    arrays = camera_arrays(recording.rig.subset((camera,)))
    errors, covariances, followed = [np.zeros((0, 2))], [np.zeros((0, 2, 2))], [np.zeros(0, np.bool_)]
    habits = [np.zeros(0)]
    unmatched = elsewhen = 0

    def others(frameset: FrameSet, views: Views) -> tuple[FrameSet, Views]:
        return without(frameset, camera), {c: v for c, v in views.items() if c != camera}

    for fused in fuse_sets(recording, settings, sets=sets, change=others):
        poses, view = fused.poses, fused.recorded.keypoints.get(camera)
        if view is None or not len(poses.person_ids):
            continue
        if abs(_time_ns(fused.recorded.frameset, view) - fused.frameset.t_set_ns) > SAME_TIME_NS:
            elsewhen += 1
            continue
        e, cov, flown, own, missed = errors_of(arrays, poses, view, np.median(fused.noise_factor, axis=0))
        errors.append(e)
        covariances.append(cov)
        followed.append(flown)
        habits.append(own)
        unmatched += missed
    return HeldOut(camera, np.concatenate(errors), np.concatenate(covariances), unmatched, elsewhen,
                   np.concatenate(followed), np.concatenate(habits))  # fmt: skip


def without(frameset: FrameSet, camera: str) -> FrameSet:
    """The frame set as if the rig had no such camera."""
    keep = [i for i, c in enumerate(frameset.cameras) if c != camera]
    arrays = {n: getattr(frameset, n)[keep] for n in ("frame_seqs", "offsets_ns", "arrivals_ns")}
    return replace(frameset, cameras=tuple(frameset.cameras[i] for i in keep), **arrays)


def _time_ns(frameset: FrameSet, view: Keypoints2D) -> int:
    return view.t_capture_ns - int(frameset.offsets_ns[frameset.cameras.index(view.camera)])


def errors_of(
    camera: CameraArrays, poses: Poses, view: Keypoints2D, factor: Float
) -> tuple[Float, Float, NDArray[np.bool_], Float, int]:
    """Errors (N, 2) and covariances (N, 2, 2) in px, which were followed by flow, the variances (N,) px² of what views
    do not share of habits, and how many people were not found in the view."""
    found = undistort_detections(camera, [view], SKELETON)
    points = np.where(poses.derived[..., None], np.nan, poses.points_world_m.astype(np.float64))
    P, J = points.shape[:2]
    local = points @ camera.P[0, :, :3].T + camera.P[0, :, 3]
    depth = np.where(local[..., 2] > 0.05, local[..., 2], np.nan)
    seen = local[..., :2] / depth[..., None]
    gap = np.linalg.norm(seen[:, None] - found.xy[None], axis=-1) * depth[:, None]
    shared = np.isfinite(gap).sum(axis=-1) >= JOINTS_TO_PAIR_PERSON
    cost = np.full(gap.shape[:2], GATE_M)
    cost[shared] = np.minimum(np.nanmedian(gap[shared], axis=-1), GATE_M) if shared.any() else []
    a, b = linear_sum_assignment(cost)
    a, b = a[cost[a, b] < GATE_M], b[cost[a, b] < GATE_M]
    slope = (camera.P[0, :2, :3] - seen[..., None] * camera.P[0, 2, :3]) / depth[..., None, None]
    full = unpack_covariance(poses.covariance_m2)
    middle = np.nanmedian(depth, axis=1, keepdims=True) if J else depth
    confidence = found.confidence[b]
    with np.errstate(divide="ignore"):
        told = drifted_sigma(noise_sigma(camera, middle)[a], middle[a], found.look_age_s[b, None])
        sigma = told * factor / np.where(confidence > 0, confidence, np.nan)
    covariance = slope[a] @ full[a] @ np.swapaxes(slope[a], -1, -2) + sigma[..., None, None] ** 2 * np.eye(2)
    error = found.xy[b] - seen[a]
    ok = np.isfinite(error).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2))
    f = camera.focal_px[0]
    flown = np.broadcast_to(found.look_age_s[b, None] > 0, ok.shape)
    others = np.maximum(np.bitwise_count(poses.views[a]), 1)
    own = (view_sd_m(detector_of({view.camera: view})) / depth[a]) ** 2 * (1 + 1 / others)
    return error[ok] * f, covariance[ok] * f * f, flown[ok], own[ok] * f * f, P - len(a)


def figures(held: list[HeldOut]) -> dict[str, Any]:
    """Shares inside 1, 2, 3 σ and the median error, of each camera and of all, under stable keys."""
    every = HeldOut(
        "all", np.concatenate([h.error_px for h in held]), np.concatenate([h.covariance_px2 for h in held]),
        sum(h.unmatched for h in held), sum(h.elsewhen for h in held), np.concatenate([h.followed for h in held]),
        np.concatenate([h.habits_px2 for h in held]),
    )  # fmt: skip
    out: dict[str, Any] = {"honest": list(HONEST), "cameras": {}}
    for h in [*held, every]:
        inside, n = coverage(h.error_px, h.covariance_px2)
        whole = h.covariance_px2 + h.habits_px2[:, None, None] * np.eye(2)
        size = np.linalg.norm(h.error_px, axis=-1)
        row = {
            "inside_1_2_3_sigma": inside.tolist(),
            "inside_with_habits": coverage(h.error_px, whole)[0].tolist(),
            "n": n,
            "median_px": float(np.median(size)) if n else float("nan"),
            "people_not_found": h.unmatched,
            "views_of_another_time": h.elsewhen,
        }
        if h is every:
            out["all"] = row
            out["per_axis_inside_2_sigma"] = per_axis(every.error_px, every.covariance_px2, every.followed)
        else:
            out["cameras"][h.camera] = row
    return out


def per_axis(error_px: Float, covariance_px2: Float, followed: NDArray[np.bool_]) -> dict[str, tuple[float, int]]:
    """Share of errors (N, 2) inside 2 σ, axis by axis, and how many there are: of keypoints that a model gave in their
    own picture, and of those that optical flow had moved since, followed (N,). 0.954 is honest."""
    inside = np.abs(error_px) <= 2 * np.sqrt(np.diagonal(covariance_px2, axis1=1, axis2=2))
    kinds = {"looked at": ~followed, "followed": followed}
    return {kind: (float(inside[who].mean()), 2 * int(who.sum())) for kind, who in kinds.items() if who.any()}


def show(scores: dict[str, Any], console: Console) -> None:
    """Print the table."""
    heads = ("held out", "inside 1, 2, 3 σ", "with habits", "keypoints", "median")
    table = Table(*heads, "people not found", "views of another time")
    for name, row in [*scores["cameras"].items(), ("all", scores["all"])]:
        more = str(row["people_not_found"]), str(row["views_of_another_time"])
        inside = [percents(row[key]) for key in ("inside_1_2_3_sigma", "inside_with_habits")]
        table.add_row(name, *inside, str(row["n"]), cell(row["median_px"], 1, "px"), *more)
    console.print(table)
    console.print(f"honest is {percents(scores['honest'])}")
    for kind, (share, n) in scores["per_axis_inside_2_sigma"].items():
        console.print(f"keypoints {kind}: {100 * share:.1f} % of {n} inside 2 σ of each axis; honest is 95.4 %")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recording."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="a recording of three cameras or more (.mcap)")
    report.add_outputs(parser)


def run(args: argparse.Namespace) -> int:
    """Each camera predicted from the others. 1 where nobody was."""
    report.check_outputs(args)
    scores = figures(hold_out(Recording.open(args.session)))
    report.emit(args, scores, partial(show, scores))
    return 0 if scores["all"]["n"] else 1
