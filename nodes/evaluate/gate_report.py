"""What the gates do to accuracy, where the truth is known: errors of what each lets through, and of what it refuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics.steady import limb_joints
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.shards import REASONS, SKELETON, load_manifest, read_shard
from kinecast.nodes.dataset.session import content_key
from kinecast.nodes.evaluate.ground_truth import Truth, synthetic
from kinecast.nodes.recording.file import Recording

Float = NDArray[np.float64]

FAR_M = 0.5  # a person who is further from everybody in the truth is nobody of it


@dataclass(frozen=True, slots=True)
class Row:
    """A gate alone, none of them, or all: person-frames kept and refused, with their mean errors."""

    gate: str
    kept: int
    refused: int
    kept_mm: float
    refused_mm: float
    kept_p90_mm: float


def gate_report(folder: Path, recordings: Sequence[Path]) -> list[Row]:
    """Errors of the fitted limb joints of a data set's sessions, whose recordings know their truth.

    Raises KinecastError where a recording is not in the data set or has no truth.
    """
    manifest = load_manifest(folder)
    errors: list[Float] = []
    refused: list[NDArray[np.uint16]] = []
    for path in recordings:
        session = manifest.sessions.get(content_key(Recording.open(path)))
        if session is None:
            raise KinecastError(f"{path}: not in {folder}; build it first")
        truth = synthetic.read(path)
        at = {t: n for n, t in truth.times_ns.items()}
        for file in session.shards:
            shard = read_shard(folder / file.file)
            error = np.array(
                [
                    _error(points, truth, at.get(t))
                    for t, points in zip(shard.t_ns.tolist(), shard.body_points_m, strict=True)
                ]
            )
            errors.append(error)
            refused.append(shard.refused)
    e, bits = np.concatenate(errors), np.concatenate(refused)
    e, bits = e[np.isfinite(e)], bits[np.isfinite(e)]
    if not len(e):
        raise KinecastError(f"{folder}: nobody of it is in the truth")
    masks = {"none": np.zeros(len(e), np.bool_)}
    masks |= {name: (bits >> i & 1) > 0 for i, name in enumerate(REASONS)}
    masks["all"] = bits != 0
    return [_row(name, e * 1e3, mask) for name, mask in masks.items()]


def _row(name: str, mm: Float, refused: NDArray[np.bool_]) -> Row:
    kept, gone = mm[~refused], mm[refused]
    nan = float("nan")
    return Row(
        name, len(kept), len(gone), float(kept.mean()) if len(kept) else nan, float(gone.mean()) if len(gone) else nan,
        float(np.percentile(kept, 90)) if len(kept) else nan,
    )  # fmt: skip


def _error(points: NDArray[np.float32], truth: Truth, frame: int | None) -> float:
    """Mean distance of the limb joints from the nearest person of the truth; NaN where nobody is near."""
    if frame is None:
        return float("nan")
    limbs = list(limb_joints(SKELETON))
    names = [skeleton(SKELETON).joints[j] for j in limbs]
    columns = [truth.joints.index(n) for n in names]
    found = [
        float(np.nanmean(np.linalg.norm(points[limbs] - person[columns], axis=-1)))
        for person in truth.frames.get(frame, {}).values()
    ]
    best = min(found, default=float("nan"))
    return best if best < FAR_M else float("nan")
