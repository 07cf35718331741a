"""Shelf and Campus (Belagiannis et al. 2014): ``actorsGT.mat`` as published, or the same as JSON.

``actorsGT.mat`` holds ``actor3D``: a cell for each person of a cell for each frame of 14 × 3 metres, empty or NaN where
the person is not annotated. ``ground_truth.json``: a list of frames, each person → 15 × (x, y, z, confidence). The
fifteenth joint, the mid-hip, is the middle of the hips.

The joint called neck here is the bottom of the head, about 10 cm above the middle of the shoulders that detectors call
neck. It is taken as in VoxelPose's code and those after it (Tu et al. 2020): half way from the middle of the shoulders
to a point of the head, which is three parts nose and one part middle of the ears. Where an ear was not seen, the middle
of the ears is what fusion's head-top was made from, taken back from there; where the nose was not seen either, that
middle is the point of the head.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.evaluate.ground_truth.truth import Float, Truth, joints_of, load_json

JOINTS = skeleton("shelf15").joints
HEAD = 1.56  # where no ear was seen or implied: head_top = neck + HEAD · (middle of the ears − neck), standing
_SHOULDERS = (("left_shoulder", 0.25), ("right_shoulder", 0.25))
_NOSE = (("nose", 0.375),)


def _middle_of_ears(weight: float) -> tuple[tuple[str, float], ...]:
    """From ``head_top = neck + HEAD · (middle − neck)``."""
    return (("head_top", weight / HEAD), ("neck", weight * (1 - 1 / HEAD)))


IMPLIED = {
    "neck": (
        (*_SHOULDERS, *_NOSE, ("left_ear", 0.0625), ("right_ear", 0.0625)),
        (*_SHOULDERS, *_NOSE, *_middle_of_ears(0.125)),
        (*_SHOULDERS, *_middle_of_ears(0.5)),
    )
}
SCORED = (0, 1, 2)  # the fourth person of Shelf is hardly ever seen; the papers leave it out


def find(path: Path) -> Path | None:
    """The file with the truth: ``path`` itself or in that folder."""
    names = ("ground_truth.json", "actorsGT.mat")
    if path.is_file():
        return path if path.name in names or path.suffix == ".mat" else None
    return next((path / n for n in names if (path / n).is_file()), None)


def read(path: Path, min_confidence: float) -> Truth:
    """The truth; KinecastError where the file does not fit."""
    file = find(path)
    if file is None:
        raise KinecastError(f"{path}: there is neither ground_truth.json nor actorsGT.mat")
    frames = _mat(file) if file.suffix == ".mat" else _json(file, min_confidence)
    return Truth("shelf", JOINTS, frames, False, SCORED, implied=IMPLIED)


def _json(file: Path, min_confidence: float) -> dict[int, dict[int, Float]]:
    data = load_json(file)
    if not isinstance(data, list) or not all(isinstance(f, dict) for f in data):
        raise KinecastError(f"{file}: expected a list of frames, each a map of person to joints")
    out: dict[int, dict[int, Float]] = {}
    for number, frame in enumerate(data):
        out[number] = {}
        for person, joints in frame.items():
            if not str(person).isdigit():
                raise KinecastError(f"{file}: frame {number}: person {person!r} is not a number")
            where = f"{file}: frame {number}, person {person}"
            out[number][int(person)] = joints_of(joints, len(JOINTS), where, min_confidence)
    return out


def _cell(value: Any) -> Any:
    """What is inside cells that hold one thing."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]
    return value


def _mat(file: Path) -> dict[int, dict[int, Float]]:
    try:
        data = loadmat(file)
    except (OSError, ValueError, NotImplementedError, TypeError, MatReadError) as e:
        raise KinecastError(f"{file}: not a MATLAB file that can be read: {e}") from None
    if "actor3D" not in data:
        raise KinecastError(f"{file}: holds no actor3D, only {', '.join(k for k in data if k[0] != '_') or 'nothing'}")
    actors = _cell(data["actor3D"])
    out: dict[int, dict[int, Float]] = {}
    people = list(actors.reshape(-1)) if isinstance(actors, np.ndarray) and actors.dtype == object else []
    for person, cells in enumerate(people):
        inside = _cell(cells)
        sequence = inside.reshape(-1) if isinstance(inside, np.ndarray) and inside.dtype == object else [inside]
        for number, cell in enumerate(sequence):
            out.setdefault(number, {})
            points = _person(_cell(cell))
            if points is not None:
                out[number][person] = points
    if not out:
        raise KinecastError(f"{file}: actor3D is not a cell of people")
    return out


def _person(value: Any) -> NDArray[np.float64] | None:
    if not isinstance(value, np.ndarray) or value.dtype == object or value.ndim != 2 or value.shape[1] < 3:
        return None
    if value.shape[0] not in (14, 15):
        return None
    points = np.asarray(value[:, :3], np.float64)
    if not np.isfinite(points).any():
        return None
    if len(points) == 14:
        points = np.concatenate([points, (points[2:3] + points[3:4]) / 2])
    return points
