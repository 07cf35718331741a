"""``kinecast train noise``: the noise model from residuals of recordings.

A residual is what a detector said less what all views together made of the person.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import FrameSet, Keypoints2D, Poses
from kinecast.engines.skeleton import direct_index, skeleton
from kinecast.engines.train.data.detector_noise import Residuals
from kinecast.engines.train.data.detector_noise_fit import fit_noise
from kinecast.nodes.recording.file import Recording

Float = NDArray[np.float64]
HALPE = skeleton("halpe26")
FEWEST = 30  # frames of a person in a view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recordings, and where the model goes."""
    parser.add_argument("recordings", type=Path, nargs="+", metavar="MCAP", help="recordings that were fused")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="TOML")
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
    seen: dict[tuple[str, int], Keypoints2D] = {}
    sets: dict[tuple[int, int], FrameSet] = {}
    rows: dict[tuple[int, str], list[tuple[int, Float, Float, NDArray[np.bool_]]]] = defaultdict(list)
    can: dict[str, NDArray[np.bool_]] = {}
    for _, _, record in recording.messages(("keypoints", "framesets", "poses")):
        if isinstance(record, Keypoints2D):
            seen[record.camera, record.frame_seq] = record
            can[record.camera] = direct_index(record.skeleton, "halpe26") >= 0
        elif isinstance(record, FrameSet):
            sets[record.epoch, record.seq] = record
        elif isinstance(record, Poses) and record.skeleton == "halpe26":
            frameset = sets.get((record.epoch, record.frameset_seq))
            for person, camera, found in _matched(record, frameset, seen):
                rows[person, camera].append((record.t_set_ns, *_errors(record, person, found, rig, camera)))
    out = [_together(parts, can[camera]) for (_, camera), parts in rows.items() if len(parts) >= FEWEST]
    if not out:
        raise KinecastError(f"{path}: nobody was fused for {FEWEST} frames in it; fuse it first: `kinecast replay`")
    return out


def _matched(poses: Poses, frameset: FrameSet | None, seen: dict[tuple[str, int], Keypoints2D]) -> Any:
    """(person id, camera, (message, row)) of every detection that a person was made from."""
    if frameset is None:
        return
    for p, person in enumerate(poses.person_ids):
        for c, camera in enumerate(poses.cameras):
            row, message = int(poses.detections[p, c]), seen.get((camera, int(frameset.frame_seqs[c])))
            if row >= 0 and message is not None and row < len(message.keypoints_px):
                yield int(person), camera, (message, row)


def _errors(
    poses: Poses, person: int, found: tuple[Keypoints2D, int], rig: Any, camera: str
) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Error (26, 2) in extents, confidence (26,) and what was given (26,), as they were told; the sides put right."""
    message, row = found
    index = direct_index(message.skeleton, "halpe26")
    px = np.where((index >= 0)[:, None], message.keypoints_px[row][index], np.nan).astype(np.float64)
    confidence = np.where(index >= 0, message.confidence[row][index], 0).astype(np.float64)
    p = int(np.flatnonzero(poses.person_ids == person)[0])
    points = np.where(poses.derived[p, :, None], np.nan, poses.points_world_m[p].astype(np.float64))
    truth = rig.cameras[rig.names.index(camera)].project(points)[0]
    extent = float(np.sqrt(np.nanmean(((truth - np.nanmean(truth, axis=0)) ** 2).sum(-1))))
    return (px - truth) / extent, confidence, confidence > 0


def _together(parts: list[tuple[int, Float, Float, NDArray[np.bool_]]], can: NDArray[np.bool_]) -> Residuals:
    t, error, confidence, given = (np.array(column) for column in zip(*parts, strict=True))
    size = np.nanmean(np.linalg.norm(error[:, 5:17], axis=-1), axis=1)
    swapped = size > 5 * np.nanmedian(size)  # a whole body of limbs that far off is the other way round
    return Residuals(error, confidence, given, can, swapped, float(np.median(np.diff(t))) / 1e9)
