"""Landmarks of the published bodies: which vertices and joints the keypoints of detectors are.

SMPL, SMPL-H and SMPL-X each have one mesh for ever, so a landmark is a vertex number: those of the face, toes, heels
and finger tips as commonly published. Limb keypoints are the body's own joints; what has no number is left out.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.model.body import Landmark
from kinecast.engines.skeleton import skeleton

_SMPL = {
    "nose": 332, "right_eye": 6260, "left_eye": 2800, "right_ear": 4071, "left_ear": 583,
    "left_big_toe": 3216, "left_small_toe": 3226, "left_heel": 3387,
    "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
    "left_thumb": 2746, "left_index": 2319, "left_pinky": 2673,
    "right_thumb": 6191, "right_index": 5782, "right_pinky": 6133,
}  # fmt: skip
_SMPLX = {
    "nose": 9120, "right_eye": 9929, "left_eye": 9448, "right_ear": 616, "left_ear": 6,
    "left_big_toe": 5770, "left_small_toe": 5780, "left_heel": 8846,
    "right_big_toe": 8463, "right_small_toe": 8474, "right_heel": 8635,
    "left_thumb": 5361, "left_index": 4933, "left_pinky": 5286,
    "right_thumb": 8079, "right_index": 7669, "right_pinky": 8022,
}  # fmt: skip
_PUBLISHED = {6890: _SMPL, 10475: _SMPLX}
_FINGERS = ("thumb", "index", "pinky")
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def of_joints(parts: Iterable[tuple[str, float]]) -> Landmark:
    """A weighted mean of the body's joints, by name; the weights add to 1."""
    table = skeleton("smpl24")
    rows = [(table.index(name), weight) for name, weight in parts]
    return Landmark(
        np.zeros(0, np.int32),
        np.zeros(0, np.float32),
        np.array([i for i, _ in rows], np.int32),
        np.array([w for _, w in rows], np.float32),
    )


def of_vertex(vertex: int) -> Landmark:
    """One vertex."""
    return Landmark(np.array([vertex], np.int32), np.ones(1, np.float32))


def from_joints() -> dict[str, Landmark]:
    """The keypoints that are joints of the body, or between two of them, in every skeleton that has them.

    The ``neck`` of Halpe and OpenPose is the middle of the shoulders; that of Human3.6M is the root of the neck.
    """
    out = {f"{side}_{limb}": of_joints([(f"{side}_{limb}", 1.0)]) for side in ("left", "right") for limb in _LIMBS}
    out["mid_hip"] = of_joints([("left_hip", 0.5), ("right_hip", 0.5)])
    out["neck"] = of_joints([("left_shoulder", 0.5), ("right_shoulder", 0.5)])
    out["upper_neck"] = of_joints([("neck", 1.0)])
    out["h36m17/spine"] = of_joints([("spine2", 1.0)])
    out["h36m17/neck"] = of_joints([("neck", 0.75), ("spine3", 0.25)])
    return out


def published_landmarks(kind: str, v_template: NDArray[np.floating]) -> dict[str, Landmark]:
    """Landmarks of a user's body; only joints and the crown where the mesh is not one of the published ones."""
    marks = from_joints()
    vertices = len(v_template)
    marks["head_top"] = of_vertex(int(np.argmax(v_template[:, 1])))
    known = _PUBLISHED.get(vertices, {}) if kind in ("smpl", "smplh", "smplx") else {}
    marks.update({name: of_vertex(vertex) for name, vertex in known.items()})
    for name in (n for n in known if n.endswith(_FINGERS)):
        marks[name] = _knuckle(known[name], name.split("_")[0])
    return marks


def _knuckle(tip: int, side: str) -> Landmark:
    """BlazePose's finger points are knuckles, which are half way from the wrist to the tip of a flat hand."""
    wrist = of_joints([(f"{side}_wrist", 0.5)])
    return Landmark(np.array([tip], np.int32), np.full(1, 0.5, np.float32), wrist.joints, wrist.joint_weights)
