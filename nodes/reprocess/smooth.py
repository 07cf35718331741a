"""A recording whose people are smoothed with knowledge of the future, and what that does to the residuals.

The bodies of a live session knew no future and are fitted again: a live body jitters round the smoothed joints of its
own person. Fitted to the whole sequence, from the same keypoints and the smoothed joints, it does not: what is written
is what ``kinecast smooth`` and then ``kinecast fit`` write.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import FREE, load_body
from kinecast.engines.body.sequence.solver import device_of
from kinecast.engines.estimate.implied_joints import imply_joints, joint_roles
from kinecast.engines.estimate.rts import PSD_M2_S3, smooth
from kinecast.engines.observations import keypoints_of
from kinecast.engines.records import FrameSet, Keypoints2D, Poses, pack_covariance, unpack_covariance
from kinecast.engines.skeleton import skeleton
from kinecast.engines.triangulate.left_right import BETTER, LEAST_ERROR_M
from kinecast.nodes.recording.body_meshes import body_file
from kinecast.nodes.recording.derive import copy_views, derived_recording
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets
from kinecast.nodes.reprocess.fit_bodies import fit_recording

Float = NDArray[np.float64]


@dataclass(slots=True)
class Smoothing:
    """What came of it. before_px, after_px: residuals of the joints told, each against the same keypoints."""

    sets: int = 0
    people: int = 0
    joints: int = 0
    moved_m: list[Float] = field(default_factory=list)
    before_px: list[Float] = field(default_factory=list)
    after_px: list[Float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """One person's smoothed joints by (epoch, number of the set)."""

    rows: dict[tuple[int, int], int]
    points: Float
    velocity: Float
    covariance: Float


def _paths(recording: Recording, psd: float) -> dict[int, _Path]:
    """Everybody's path; what was derived is left out, for it follows from the joints that were measured."""
    rows: dict[int, list[tuple[tuple[int, int], int, Float, Float]]] = {}
    for _, _, poses in recording.messages(("poses",)):
        if poses.filtered:
            raise KinecastError(
                f"{recording.path}: its people are {poses.filtered} already; smooth the points as measured "
                "(kinecast replay RECORDING --set nodes.fusion.smooth=false --out RAW.mcap)"
            )
        for p, person in enumerate(poses.person_ids.tolist()):
            points = np.where(poses.derived[p][:, None], np.nan, poses.points_world_m[p].astype(np.float64))
            covariance = unpack_covariance(poses.covariance_m2[p])
            if poses.fresh.size:  # what flow repeats is counted once
                covariance /= poses.fresh[p].astype(np.float64)[:, None, None]
            rows.setdefault(person, []).append(
                ((poses.run_index, poses.frameset_seq), poses.t_set_ns, points, covariance)
            )
    out = {}
    for person, seen in rows.items():
        seen.sort(key=lambda row: row[1])
        t_s = np.array([row[1] - seen[0][1] for row in seen]) / 1e9
        done = smooth(t_s, np.stack([r[2] for r in seen]), np.stack([r[3] for r in seen]), psd)
        numbers = {row[0]: n for n, row in enumerate(seen)}
        out[person] = _Path(numbers, done.points_m, done.velocity_mps, done.covariance_m2)
    return out


def smooth_recording(recording: Recording, out: Path, psd: float = PSD_M2_S3) -> Smoothing:
    """Write a recording with the same frame sets and keypoints and smoothed people, which say so.

    Bodies that were fitted with the future known follow from the keypoints, which stay, and are taken over; those of a
    live session are not: see :func:`smooth_all`.
    psd: m²/s³, see :mod:`engines.estimate.rts`. Raises KinecastError where there are no people, they are filtered
    already, or ``out`` exists.
    """
    if not 0.01 <= psd <= 1e4:
        raise KinecastError(f"--psd {psd}: expected 0.01 to 10000 m²/s³")
    paths = _paths(recording, psd)
    if not paths:
        raise KinecastError(f"{recording.path}: there are no people in it; `kinecast info` shows what there is")
    rig = recording.rig
    done = Smoothing(people=len(paths))
    fitted = recording.about.get("made_by") == "fit"
    with atomic_path(out, overwrite=False) as file:
        writer = derived_recording(
            file, recording, "fit" if fitted else "smooth", recording.launch_text, str(out), keep=("rig_health",)
        )
        for joined in iter_frame_sets(recording):
            copy_views(writer, joined)
            if joined.poses is not None and joined.poses_stamp is not None:
                poses = _smoothed(joined.poses, joined.frameset, joined.keypoints, rig, paths, done)
                writer.record(joined.poses_stamp, poses)
            if fitted and joined.bodies is not None and joined.bodies_stamp is not None:
                writer.record(joined.bodies_stamp, joined.bodies)
            done.sets += 1
        writer.finish()
    return done


def _smoothed(
    poses: Poses, frameset: FrameSet, views: dict[str, Keypoints2D], rig: Rig, paths: dict[int, _Path], done: Smoothing
) -> Poses:
    """The message with smoothed points, their covariances, and residuals against the keypoints that were used."""
    P, J = poses.points_world_m.shape[:2]
    points, velocity = np.full((P, J, 3), np.nan), np.zeros((P, J, 3))
    covariance = np.full((P, J, 3, 3), np.nan)
    for p, person in enumerate(poses.person_ids.tolist()):
        path = paths[person]
        row = path.rows[poses.run_index, poses.frameset_seq]
        points[p], velocity[p], covariance[p] = path.points[row], path.velocity[row], path.covariance[row]
    raw = poses.points_world_m.astype(np.float64)
    measured = np.isfinite(points[..., 0])
    velocity[~measured] = 0.0
    before = residuals(raw, raw, velocity, poses, frameset, views, rig)
    after = residuals(points, raw, velocity, poses, frameset, views, rig)
    done.joints += int(measured.sum())
    done.moved_m.append(np.linalg.norm(points - raw, axis=-1)[measured])
    both = np.isfinite(before) & np.isfinite(after)
    done.before_px.append(before[both])
    done.after_px.append(after[both])
    confidence = np.where(measured, poses.confidence, 0.0).astype(np.float64)
    derived = imply_joints(points, covariance, confidence, joint_roles(poses.skeleton))
    return replace(
        poses,
        points_world_m=points.astype(np.float32),
        covariance_m2=pack_covariance(covariance),
        confidence=confidence.astype(np.float32),
        residual_px=after.astype(np.float32),
        derived=derived,
        filtered="smoothed",
    )


def residuals(
    points: Float,
    raw: Float,
    velocity: Float,
    poses: Poses,
    frameset: FrameSet,
    views: dict[str, Keypoints2D],
    rig: Rig,
) -> Float:
    """(P, J) RMS reprojection error in pixels over the views that each joint stood on; NaN where it stood on none.

    Each view is met at its own moment: the point is moved there by its velocity (m/s). Whether a view had exchanged
    left and right is judged by the ``raw`` point, so that no smoothing can excuse itself with it.
    """
    P, J = points.shape[:2]
    flip = np.array(skeleton(poses.skeleton).flip)
    total, count = np.zeros((P, J)), np.zeros((P, J))
    every, _, has = keypoints_of(poses, views)
    for c, name in enumerate(poses.cameras):
        known = has[:, c]
        if not known.any():
            continue
        late_s = (views[name].t_capture_ns - int(frameset.offsets_ns[c]) - poses.t_set_ns) / 1e9
        given = every[known, c]
        px = rig[name].project(points[known] + late_s * velocity[known])[0]
        there, depth_m = rig[name].project(raw[known] + late_s * velocity[known])
        straight, other = (np.linalg.norm(there - g, axis=-1) for g in (given, given[:, flip]))
        with np.errstate(invalid="ignore"):
            wrong = straight * depth_m > LEAST_ERROR_M * rig[name].K[0, 0]
            swapped = (wrong & (other < BETTER * straight)) | (np.isnan(straight) & np.isfinite(other))
        error2 = ((px - np.where(swapped[..., None], given[:, flip], given)) ** 2).sum(axis=-1)
        used = ((poses.views[known] >> np.uint32(c)) & 1).astype(bool) & np.isfinite(error2)
        total[known] += np.where(used, error2, 0.0)
        count[known] += used
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Float = np.sqrt(np.where(count > 0, total / count, np.nan))
    return out


def smooth_all(recording: Recording, out: Path, psd: float = PSD_M2_S3, device: str = "auto") -> tuple[Smoothing, str]:
    """Write the recording with smoothed people and their bodies; returns what came of it, and a line on the bodies.

    The line is "" where there were none. Where they cannot be fitted again (no torch, a body file that is not at hand)
    they are left out and the line says why and what to do. Raises as :func:`smooth_recording`
    does.
    """
    body_id = next((b.body_id for _, _, b in recording.messages(("bodies",)) if len(b.person_ids)), "")
    if not body_id or recording.about.get("made_by") == "fit":
        done = smooth_recording(recording, out, psd)
        return done, "bodies: as they were fitted, with the future known" if body_id else ""
    try:
        body = body_named(recording, body_id)
        device_of(device)
    except KinecastError as e:
        done = smooth_recording(recording, out, psd)
        return (
            done,
            f"bodies: left out, for those of a live session do not fit smoothed joints ({e}); then kinecast fit",
        )
    if out.exists():  # before the work, not after it
        raise KinecastError(f"{out} exists already: choose another name, or move it away")
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "smoothed.mcap"
        done = smooth_recording(recording, between, psd)
        fitted = fit_recording(Recording.open(between), out, body, device)
    return done, f"bodies: {len(fitted.residual_px)} fitted again, with the future known"


def body_named(recording: Recording, body_id: str) -> str:
    """The name or file by which the body of that id is loaded; KinecastError where it is not at hand."""
    file = body_file(recording)
    for name in (*FREE, file):
        if name and (name in FREE or Path(name).expanduser().is_file()) and load_body(name).id == body_id:
            return name
    raise KinecastError(f"its body {body_id} is not at hand: kinecast fit --body FILE")
