"""MVOR (Srivastav et al. 2018): ``camma_mvor_2018.json``, the upper bodies of an operating room, 4 days, 3 cameras.

``annotations3D`` holds for each person ``keypoints3D``: joints of (x, y, z, visibility), millimetres in the frame of
the first camera; visibility 1 is guessed from other views, 2 seen. Of twelve joints the first ten are published.
Frames are numbered in the order of ``multiview_images``. People on the edge of the picture are not annotated in 3D.
"""

from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.nodes.evaluate.ground_truth.truth import Float, Truth, load_json, put_person

JOINTS = (
    "head",
    "neck",
    "left_shoulder",
    "right_shoulder",
    "left_hip",
    "right_hip",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
)


def find(path: Path) -> Path | None:
    """The file: ``path`` itself or in that folder or its ``annotations``."""
    if path.is_file():
        return path if path.name.startswith("camma_mvor") else None
    for folder in (path, path / "annotations"):
        found = sorted(folder.glob("camma_mvor*.json"))
        if found:
            return found[0]
    return None


def read(path: Path, min_confidence: float) -> Truth:
    """The truth in metres, of every multi-view frame; KinecastError names file and annotation.

    min_confidence: visibility, 0.1 takes the guessed joints too.
    """
    file = find(path) or path
    data = load_json(file)
    try:
        numbers = {str(f["id"]): n for n, f in enumerate(data["multiview_images"])}
        annotations = list(data["annotations3D"])
    except (TypeError, KeyError) as e:
        raise KinecastError(f"{file}: {e} is missing: expected MVOR's annotations") from None
    frames: dict[int, dict[int, Float]] = {n: {} for n in numbers.values()}
    notes: list[str] = []
    for a in annotations:
        number, person, points = _person(a, numbers, file, min_confidence)
        put_person(frames[number], person, points, f"frame {number}", notes)
    return Truth("mvor", JOINTS, frames, False, notes=tuple(notes))


def _person(a: Any, numbers: dict[str, int], file: Path, min_visibility: float) -> tuple[int, int, Float]:
    where = f"{file}: annotation {a.get('id') if isinstance(a, dict) else a!r}"
    try:
        number, person = numbers[str(a["image_ids"])], int(a["person_id"])
        rows = np.array(a["keypoints3D"], np.float64).reshape(-1, 4)
    except (TypeError, KeyError, ValueError):
        raise KinecastError(f"{where}: expected image_ids of a frame, person_id and keypoints3D of 4 numbers") from None
    if len(rows) < len(JOINTS):
        raise KinecastError(f"{where}: {len(rows)} joints, expected at least {len(JOINTS)}")
    rows = rows[: len(JOINTS)]
    points = rows[:, :3] / 1000.0
    points[~(rows[:, 3] >= min_visibility)] = np.nan
    return number, person, points
