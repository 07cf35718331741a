"""Two rigs of the same cameras beside each other: laid over one another rigidly, or with a scale."""

import re
from dataclasses import dataclass, replace

import numpy as np

from kinecast.calibration.camera import Float, Rig
from kinecast.calibration.rigid import angle_rad, inverse, similarity
from kinecast.capture.errors import KinecastError


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """``other`` laid over ``rig``: camera by camera how far apart (mm, °), by their names in ``rig``.

    focal_percent: how much longer other's focal lengths are. scale: by how much other had to be enlarged, 1 where it
    was not. rig_from_other: (4, 4), after the scaling.
    """

    names: tuple[str, ...]
    position_mm: Float
    angle_deg: Float
    focal_percent: Float
    scale: float
    rig_from_other: Float


def match(rig: Rig, other: Rig) -> list[tuple[str, str]]:
    """Pairs of camera names (rig's, other's): equal names, else equal numbers at their ends.

    KinecastError where fewer than two cameras are in both.
    """
    number: dict[int, str] = {}
    for name in other.names:
        digits = re.search(r"(\d+)$", name)
        if digits:
            number.setdefault(int(digits[1]), name)
    pairs = []
    for name in rig.names:
        digits = re.search(r"(\d+)$", name)
        if name in other.names:
            pairs.append((name, name))
        elif digits and int(digits[1]) in number:
            pairs.append((name, number[int(digits[1])]))
    if len(pairs) < 2:
        raise KinecastError(
            f"the rigs have no two cameras in common: {', '.join(rig.names)} and {', '.join(other.names)}: "
            "rename them with `kinecast rig convert --rename`"
        )
    return pairs


def compare(rig: Rig, other: Rig, scaled: bool = False) -> Comparison:
    """Lay ``other`` over ``rig`` by places and attitudes of the cameras that both have, and measure what is left."""
    pairs = match(rig, other)
    ours, theirs = [rig[a] for a, _ in pairs], [other[b] for _, b in pairs]
    at, there = np.stack([c.centre_world for c in ours]), np.stack([c.centre_world for c in theirs])
    turns = np.stack([c.R.T for c in ours]), np.stack([c.R.T for c in theirs])
    T, scale = similarity(at, there, scaled, turns)
    moved = scale * there @ T[:3, :3].T + T[:3, 3]
    turn = angle_rad(np.stack([c.R @ T[:3, :3] @ d.R.T for c, d in zip(ours, theirs, strict=True)]))
    focal = [100 * (d.K[0, 0] / c.K[0, 0] - 1) for c, d in zip(ours, theirs, strict=True)]
    return Comparison(
        tuple(a for a, _ in pairs),
        1000 * np.linalg.norm(moved - at, axis=1),
        np.rad2deg(turn),
        np.array(focal),
        scale,
        T,
    )


def moved(rig: Rig, new_from_old: Float, scale: float = 1.0) -> Rig:
    """The rig in another world: points of the new world are new_from_old · (scale · old)."""
    old_from_new = inverse(new_from_old)
    cameras = []
    for c in rig:
        T = c.cam_from_world.copy()
        T[:3, 3] *= scale
        cameras.append(replace(c, cam_from_world=T @ old_from_new))
    return replace(rig, cameras=tuple(cameras))
