"""BVH, one file a person: what Blender, Unity, MotionBuilder and Unreal's importers read."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from scipy.spatial.transform import Rotation

from kinecast.capture.atomic_write import atomic_path
from kinecast.engines.body.model.body import PARENTS, BodyModel
from kinecast.nodes.exchange.export.body_takes import BodyTake, BodyTakes, Float
from kinecast.nodes.exchange.export.bone_names import bone_names
from kinecast.nodes.exchange.export.person_series import person_path
from kinecast.nodes.exchange.export.timeline import even_times, points_at, rotations_at, unseen
from kinecast.nodes.exchange.export.units import SCALE

_CHILDREN = {j: [k for k in range(24) if PARENTS[k] == j] for j in range(24)}
_END_M = 0.08  # from the last joint of a chain on, along its bone: length of a hand, of a toe


def write_bvh(takes: BodyTakes, path: Path, units: str = "cm", bones: str = "smpl") -> tuple[list[Path], int]:
    """``<path>_person<id>.bvh`` each; returns the paths and how many frames were filled in between.

    The rest pose is the body's: a T-pose, upright, y up, looking along z; offsets are constant and of the person's one
    shape; the root alone has a place, in the world of the takes, whose y must point up. Rotations are Z, X, Y, each in
    the axes that the one before has turned, degrees. Frames come at an even rate.
    """
    names = bone_names(bones)
    written, filled = [], 0
    for take in takes.people:
        at = even_times(take.t_ns, takes.rate_hz)
        filled += unseen(take.t_ns, at)
        target = person_path(path, take.person)
        with atomic_path(target, overwrite=True) as file:
            _write(file, takes.body, take, at, takes.rate_hz, SCALE[units], names)
        written.append(target)
    return written, filled


def _write(
    file: BinaryIO,
    body: BodyModel,
    take: BodyTake,
    at: "np.typing.NDArray[np.int64]",
    rate_hz: float,
    scale: float,
    names: tuple[str, ...],
) -> None:
    rest = body.J_template + body.J_shape[:, :, : len(take.betas)] @ take.betas
    lines, order = ["HIERARCHY"], list[int]()
    _put(lines, order, 0, 0, rest * scale, names, scale)
    matrices = rotations_at(take.t_ns, take.rotations_rad, at)
    angles = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_euler("ZXY").reshape(-1, 24, 3)
    angles = np.degrees(np.unwrap(angles, axis=0))  # no jump by a whole turn, which an importer would sweep through
    roots = points_at(take.t_ns, take.joints_m[:, 0], at) * scale
    lines += ["MOTION", f"Frames: {len(at)}", f"Frame Time: {1 / rate_hz if rate_hz else 1 / 30:.9f}"]
    rows = np.concatenate([roots, angles[:, order].reshape(len(at), -1)], axis=1)
    file.write(("\n".join(lines) + "\n").encode())
    np.savetxt(file, rows, "%.5f")


def _put(
    lines: list[str], order: list[int], j: int, depth: int, rest: Float, names: tuple[str, ...], scale: float
) -> None:
    """The joint ``j`` and all below it; ``order`` gets the joints as they stand in the file."""
    order.append(j)
    tabs = "\t" * depth
    offset = rest[j] - rest[PARENTS[j]] if depth else np.zeros(3)  # the root's channels say where it is
    place = "6 Xposition Yposition Zposition" if not depth else "3"
    lines += [
        f"{tabs}{'JOINT' if depth else 'ROOT'} {names[j]}",
        f"{tabs}{{",
        f"{tabs}\tOFFSET {_numbers(offset)}",
        f"{tabs}\tCHANNELS {place} Zrotation Xrotation Yrotation",
    ]
    for child in _CHILDREN[j]:
        _put(lines, order, child, depth + 1, rest, names, scale)
    if not _CHILDREN[j]:
        end = offset / np.linalg.norm(offset) * _END_M * scale
        lines += [f"{tabs}\tEnd Site", f"{tabs}\t{{", f"{tabs}\t\tOFFSET {_numbers(end)}", f"{tabs}\t}}"]
    lines.append(f"{tabs}}}")


def _numbers(v: Float) -> str:
    return " ".join(f"{x:.6f}" for x in v)
