"""What a detector does all the time, as parameters beside the shape: offsets of keypoints in the frames of the limbs.

A detector has hips too low, ears too far inside, wrists on the palm: in every frame, so that no number of frames
averages it away, and a shape that is free to explain it would. Each kind of keypoint therefore has an offset in the
frame of the limb that carries it, mirrored from left to right, with a mean and a standard deviation of the detector
(:class:`HabitPrior`). It stands in the last columns of ``offset_shape`` of wider :class:`~.kernels.Bones`, where the
betas stand in the first, so that one set of equations tells both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.bones import movers_of
from kinecast.engines.body.fit.kernels import Bones
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

# kind of keypoint → the joint whose frame its offset is told in, of its own side; twists that only the keypoint itself
# tells are left out by taking the limb above
CARRIER = {
    "nose": "head", "eye": "head", "ear": "head", "head_top": "head", "neck": "spine3", "shoulder": "spine3",
    "elbow": "{side}shoulder", "wrist": "{side}elbow", "mid_hip": "pelvis", "hip": "pelvis", "knee": "{side}hip",
    "ankle": "{side}knee", "heel": "{side}ankle", "big_toe": "{side}ankle", "small_toe": "{side}ankle",
}  # fmt: skip
# Without a table a detector is taken to be off by so much, in no direction known before; of BlazePose 23 offsets of 31
# are within it, the ears and hips beyond.
UNKNOWN_SD_M = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class HabitPrior:
    """What is known of a detector's habits before anybody is seen. mean_m, sd_m: (D,) in the order of :func:`places`.

    name: of the detector.
    """

    name: str
    mean_m: Float
    sd_m: Float


@dataclass(frozen=True, slots=True)
class Place:
    """One number of the habits: the axis (0 to the left of a left limb, 1 up, 2 ahead, in the rest pose) of a kind."""

    kind: str
    axis: int


def kind_of(joint: str) -> str:
    """The kind of a keypoint: its name without its side."""
    return joint.removeprefix("left_").removeprefix("right_")


@cache
def places(names: tuple[str, ...]) -> tuple[Place, ...]:
    """The D numbers that habits of these keypoints are; a keypoint of the middle has none to a side."""
    out = []
    for kind in dict.fromkeys(kind_of(n) for n in names if kind_of(n) in CARRIER):
        out += [Place(kind, axis) for axis in ((1, 2) if kind in names else (0, 1, 2))]
    return tuple(out)


def unknown_habits(names: Sequence[str]) -> HabitPrior:
    """Of a detector that nobody has measured."""
    D = len(places(tuple(names)))
    return HabitPrior("", np.zeros(D), np.full(D, UNKNOWN_SD_M))


def habit_shifts(names: Sequence[str], habits_m: Float, rotations: Float) -> Float:
    """(P, K, 3) m by which habits (P, D) shift the keypoints of people whose joints are turned by (P, 24, 3, 3) in the
    world; 0 where a keypoint has none."""
    where, out = places(tuple(names)), np.zeros((len(habits_m), len(names), 3))
    for k, name in enumerate(names):
        carrier = _carrier(name)
        for d, place in enumerate(where if carrier >= 0 else ()):
            if place.kind == kind_of(name):
                out[:, k] += _sign(name, place) * habits_m[:, d, None] * rotations[:, carrier, :, place.axis]
    return out


def _carrier(name: str) -> int:
    """The joint in whose frame the habit of a keypoint is told; −1 where it has none."""
    carrier = CARRIER.get(kind_of(name), "")
    return skeleton("smpl24").index(carrier.format(side=name.removesuffix(kind_of(name)))) if carrier else -1


def _sign(name: str, place: Place) -> float:
    """−1 where a habit is mirrored."""
    return -1.0 if name.startswith("right_") and place.axis == 0 else 1.0


def with_habits(bones: Bones, names: Sequence[str]) -> Bones:
    """The same bones with D more columns of shape: the habits. Each keypoint has one more term, its carrier, of weight
    0."""
    K, M = bones.joint.shape
    B, where = bones.rest_shape.shape[2], places(tuple(names))
    N = B + len(where)
    joint, weight = np.zeros((K, M + 1), np.int64), np.zeros((K, M + 1))
    offset, offset_shape = np.zeros((K, M + 1, 3)), np.zeros((K, M + 1, 3, N))
    joint[:, :M], weight[:, :M] = bones.joint, bones.weight
    offset[:, :M], offset_shape[:, :M, :, :B] = bones.offset, bones.offset_shape
    terms = bones.terms.copy()
    for k in np.flatnonzero(bones.terms > 0).tolist():
        carrier = _carrier(names[k])
        if carrier < 0:
            continue
        joint[k, terms[k]] = carrier
        for d, place in enumerate(where):
            if place.kind == kind_of(names[k]):
                offset_shape[k, terms[k], place.axis, B + d] = _sign(names[k], place)
        terms[k] += 1
    rest_shape = np.zeros((*bones.rest_shape.shape[:2], N))
    rest_shape[..., :B] = bones.rest_shape
    movers, n_movers, under = movers_of(bones.parents, joint, terms)
    return Bones(
        bones.parents, bones.rest, rest_shape, joint, weight, offset, offset_shape, terms, movers, n_movers, under
    )
