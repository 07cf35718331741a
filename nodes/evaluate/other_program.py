"""``kinecast evaluate other SESSION THEIRS``: two results of the same keypoints, without a truth.

How steady, how near to the keypoints, and how much each gives.

The other one is a file of markers: TRC, C3D, or the CSV of Motive or Nexus. Both are measured on the joint-frames that
both give, against the same keypoints in the same views: leaving out the hard ones helps neither.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics import bone_stability, jitter_m, limb_joints, reprojection, reprojection_errors
from kinecast.engines.metrics.joints import all_finite
from kinecast.engines.metrics.steady import LIMB_JOINTS, LIMBS
from kinecast.engines.observations import keypoints_of
from kinecast.nodes.evaluate import report
from kinecast.nodes.exchange.export.person_series import turn_y_up
from kinecast.nodes.exchange.marker_files import Markers, read_markers
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets

Float = NDArray[np.float64]
MIN_CONFIDENCE = 0.1  # of a keypoint that is compared with


def marker_of(joint: str) -> str:
    """``left_elbow`` → ``LElbow``."""
    side, _, rest = joint.partition("_")
    return side[0].upper() + rest.capitalize()


@dataclass(frozen=True, slots=True, eq=False)
class Both:
    """T frames, 12 limb joints, C cameras. ours, theirs: (T, 12, 3). keypoints_px: (T, C, 12, 2), NaN where none.

    person: the identity that the file was compared with. axes: how its axes were read.
    """

    t_ns: NDArray[np.int64]
    ours: Float
    theirs: Float
    keypoints_px: Float
    person: int = 0
    axes: str = ""


def gather(recording: Recording, markers: Markers, offset_frames: int = 0) -> Both:
    """Bring a person of a recording and the markers to the same frames and keypoints.

    A file of markers says neither whose it is nor which axis is up: y as OpenSim has it, or the recording's own axes,
    as they are exported. Of every identity and both axes the nearest is taken (median distance of the joints that both
    give). offset_frames: what is added to the recording's frame numbers to give those of the file, counted from its
    first.
    """
    rig = recording.rig
    lower = [name.lower() for name in markers.names]
    missing = [marker_of(j) for j in LIMB_JOINTS if marker_of(j).lower() not in lower]
    if missing:
        raise KinecastError(f"the file has no marker {', '.join(missing)}")
    columns = [lower.index(marker_of(j).lower()) for j in LIMB_JOINTS]
    place = {int(n): k for k, n in enumerate(markers.numbers.tolist())}
    found, anybody = _of_everybody(recording, place, offset_frames)
    if not anybody:
        raise KinecastError(f"{recording.path}: there is nobody in it")
    if not found:
        raise KinecastError(f"{recording.path}: no frame of it is in that file; see --offset-frames")
    best: tuple[float, Both] | None = None
    for axes, turn in (("y up", turn_y_up(rig)), (f"{rig.up} up, as recorded", np.eye(3))):
        points = markers.points_m[:, columns] @ turn
        for person, rows in found.items():
            ours, theirs = np.stack([r[2] for r in rows]), points[[r[1] for r in rows]]
            apart = np.linalg.norm(ours - theirs, axis=-1)
            off = float(np.nanmedian(apart)) if np.isfinite(apart).any() else np.inf
            if best is None or off < best[0]:
                times = np.array([r[0] for r in rows], np.int64)
                best = (off, Both(times, ours, theirs, np.stack([r[3] for r in rows]), person, axes))
    assert best is not None
    return best[1]


_Row = tuple[int, int, Float, Float]  # time, row of the markers, (12, 3) points, (C, 12, 2) keypoints


def _of_everybody(
    recording: Recording, place: dict[int, int], offset_frames: int
) -> tuple[dict[int, list[_Row]], bool]:
    """Identity → its rows in frames that the file has too; and whether the recording has anybody at all."""
    joints, names = list(limb_joints()), recording.rig.names
    found: dict[int, list[_Row]] = {}
    anybody = False
    for joined in iter_frame_sets(recording):
        poses = joined.poses
        if poses is None or not len(poses.person_ids):
            continue
        anybody = True
        used = joined.frameset.frame_seqs[joined.frameset.frame_seqs >= 0]
        number = int(np.bincount(used).argmax()) + offset_frames if len(used) else -1
        if number not in place:
            continue
        px, confidence, _ = keypoints_of(poses, joined.keypoints, names, "halpe26")
        px = np.where(confidence[..., None] < MIN_CONFIDENCE, np.nan, px)
        for k, person in enumerate(poses.person_ids.tolist()):
            ours = poses.points_world_m[k][joints].astype(np.float64)
            found.setdefault(int(person), []).append((poses.t_set_ns, place[number], ours, px[k][:, joints]))
    return found, anybody


def compare(both: Both, rig: Rig) -> dict[str, Any]:
    """The figures of both, on what both give, under stable keys."""
    given = {"ours": all_finite(both.ours), "theirs": all_finite(both.theirs)}
    common = given["ours"] & given["theirs"]
    bones = [(LIMB_JOINTS.index(a), LIMB_JOINTS.index(b)) for a, b in LIMBS]
    of = int(all_finite(both.keypoints_px).sum())
    out: dict[str, Any] = {
        "person": both.person,
        "axes": both.axes,
        "frames": len(both.t_ns),
        "joint_frames": int(common.size),
        "common": int(common.sum()),
    }
    for name, x in (("ours", both.ours), ("theirs", both.theirs)):
        shared = np.where(common[..., None], x, np.nan)
        r = reprojection(reprojection_errors(shared, both.keypoints_px, rig), of)
        stable = bone_stability(shared, bones)
        out[name] = {
            "joint_frames": int(given[name].sum()),
            "bones_std_over_mean": stable.std_over_mean,
            "bone_frames": stable.n,
            "reprojection_px": {"median": r.median, "mean": r.mean, "p90": r.p90, "n": r.n, "of": r.of},
            "jitter_mm": jitter_m(shared, both.t_ns).value * 1000,
        }
    apart = np.linalg.norm(both.ours - both.theirs, axis=-1)[common]
    median, p90 = np.percentile(apart, [50, 90]) if apart.size else (np.nan, np.nan)
    out["apart_mm"] = {"median": float(median) * 1000, "p90": float(p90) * 1000}
    return out


def show(figures: dict[str, Any], names: tuple[str, str], console: Console) -> None:
    """Print the comparison."""
    console.print(
        f"{figures['frames']} frames, {figures['common']} of {figures['joint_frames']} joint-frames are given by both; "
        f"the two are {figures['apart_mm']['median']:.0f} mm apart (median); compared with person {figures['person']}, "
        f"the file's axes read as {figures['axes']}"
    )
    table = Table("on what both give", *names)
    sides = [figures["ours"], figures["theirs"]]
    table.add_row("gives joint-frames", *(str(s["joint_frames"]) for s in sides))
    table.add_row("bones, std / mean", *(f"{100 * s['bones_std_over_mean']:.2f} %" for s in sides))
    for key in ("median", "mean", "p90"):
        table.add_row(f"reprojection, {key}", *(f"{s['reprojection_px'][key]:.2f} px" for s in sides))
    table.add_row("over keypoints", *(f"{s['reprojection_px']['n']} of {s['reprojection_px']['of']}" for s in sides))
    table.add_row("jitter", *(f"{s['jitter_mm']:.1f} mm" for s in sides))
    console.print(table)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Ours, theirs, and how frames are matched."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="a recording (.mcap)")
    parser.add_argument(
        "theirs", type=Path, metavar="THEIRS", help="what another program made of it: TRC, C3D, CSV of Motive or Nexus"
    )
    report.add_offset(parser, "what is added to our frame numbers to give theirs")
    report.add_outputs(parser)


def run(args: argparse.Namespace) -> int:
    """Two results of the same keypoints, on what both give. 1 where they share nothing."""
    report.check_outputs(args)
    recording = Recording.open(args.session)
    figures = compare(gather(recording, read_markers(args.theirs), args.offset_frames), recording.rig)
    report.emit(args, figures, partial(show, figures, ("ours", args.theirs.name)))
    return 0 if figures["common"] else 1
