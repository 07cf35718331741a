"""``kinecast train noise``: the noise model from residuals of recordings.

A residual is what a detector said less what all views together made of the person.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.engines.observations import keypoints_of
from kinecast.engines.records import Poses
from kinecast.engines.skeleton import direct_index, skeleton
from kinecast.engines.train.data.detector_noise import Residuals
from kinecast.engines.train.data.detector_noise_fit import fit_noise
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets

Float = NDArray[np.float64]
HALPE = skeleton("halpe26")
FEWEST = 30  # frames of a person in a view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recordings, and where the model goes."""
    parser.add_argument("recordings", type=Path, nargs="+", metavar="MCAP", help="recordings that were fused")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="TOML", help="the noise model")
    parser.add_argument("--source", metavar="TEXT", help="what they are, for the file; default: their names")


def run(args: argparse.Namespace) -> int:
    """Fit and write; KinecastError where nobody was fused."""
    require_suffix(args.out, ".toml")
    found = [r for path in args.recordings for r in residuals(path)]
    model = fit_noise(found, args.source or ", ".join(path.name for path in args.recordings))
    model.save(args.out)
    print(f"{len(found)} people in views: {model.source}")
    print(args.out)
    return 0


def residuals(path: Path) -> list[Residuals]:
    """One for each person and view of a recording that was fused; KinecastError where nobody was."""
    recording = Recording.open(path)
    rig = recording.rig
    rows: dict[tuple[int, str], list[tuple[int, Float, Float, NDArray[np.bool_]]]] = defaultdict(list)
    can: dict[str, NDArray[np.bool_]] = {}
    for joined in iter_frame_sets(recording):
        poses = joined.poses
        can |= {c: direct_index(v.skeleton, "halpe26") >= 0 for c, v in joined.keypoints.items() if c not in can}
        if poses is None or poses.skeleton != "halpe26":
            continue
        px, confidence, known = keypoints_of(poses, joined.keypoints)
        for p, c in np.argwhere(known).tolist():
            error = _errors(poses, p, px[p, c], rig[poses.cameras[c]])
            told = confidence[p, c]
            rows[int(poses.person_ids[p]), poses.cameras[c]].append((poses.t_set_ns, error, told, told > 0))
    out = [_together(parts, can[camera]) for (_, camera), parts in rows.items() if len(parts) >= FEWEST]
    if not out:
        raise KinecastError(f"{path}: nobody was fused for {FEWEST} frames in it; fuse it first: `kinecast replay`")
    return out


def _errors(poses: Poses, p: int, px: Float, camera: Camera) -> Float:
    """(26, 2) how far the keypoints (26, 2) of a view lie from where the person's joints are seen, in extents."""
    points = np.where(poses.derived[p, :, None], np.nan, poses.points_world_m[p].astype(np.float64))
    truth = camera.project(points)[0]
    extent = float(np.sqrt(np.nanmean(((truth - np.nanmean(truth, axis=0)) ** 2).sum(-1))))
    return np.asarray((px - truth) / extent)


def _together(parts: list[tuple[int, Float, Float, NDArray[np.bool_]]], can: NDArray[np.bool_]) -> Residuals:
    t, error, confidence, given = (np.array(column) for column in zip(*parts, strict=True))
    size = np.nanmean(np.linalg.norm(error[:, 5:17], axis=-1), axis=1)
    swapped = size > 5 * np.nanmedian(size)  # a whole body of limbs that far off is the other way round
    return Residuals(error, confidence, given, can, swapped, float(np.median(np.diff(t))) / 1e9)
