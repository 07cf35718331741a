"""Motion files as they are exchanged: BVH, and Acclaim's ASF (skeleton) with AMC (motion), as CMU's database has them.

Formats: Meredith and Maddock, *Motion Capture File Formats Explained* (2001); the ASF/AMC notes of the University of
Wisconsin. Both give angles in degrees; rest poses are T-poses where the rotations are zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded

Float = NDArray[np.float64]
AMC_HZ = 120.0  # an AMC does not say its rate; CMU's are captured at 120 Hz
_AXIS = {"X": 0, "Y": 1, "Z": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A motion with its own skeleton. T frames, N joints, parents before children, y up, any unit of length.

    parents: (N,) int64, -1 for the root. offsets: (N, 3) from each joint's parent, at rest. local: (T, N, 3, 3)
    rotations from the rest pose in the parent's axes. root: (T, 3) place of the root. good: (T,) frames to use.
    """

    name: str
    names: tuple[str, ...]
    parents: NDArray[np.int64]
    offsets: Float
    rate_hz: float
    local: Float
    root: Float
    good: NDArray[np.bool_]


def turn(axis: int, degrees: Float) -> Float:
    """(..., 3, 3) rotations about the axis 0, 1 or 2 by angles (...)."""
    a = np.deg2rad(np.asarray(degrees, np.float64))
    c, s = np.cos(a), np.sin(a)
    out = np.zeros((*a.shape, 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1.0
    out[..., i, i] = out[..., j, j] = c
    out[..., i, j], out[..., j, i] = -s, s
    return out


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror}") from None


@guarded("a BVH file")
def read_bvh(path: Path, name: str | None = None) -> Source:
    """A BVH file; KinecastError where it is damaged or cut short."""
    words = iter(_text(path).split())
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[int, str]] = []  # (joint, Xposition … Zrotation) in the order of the columns
    stack: list[int] = []
    try:
        for word in words:
            if word in ("ROOT", "JOINT", "End"):
                parents.append(stack[-1] if stack else -1)
                label = next(words)
                names.append(label if word != "End" else f"{names[stack[-1]]}_end")
                offsets.append([0.0, 0.0, 0.0])
            elif word == "{":
                stack.append(len(names) - 1)
            elif word == "}":
                stack.pop()
            elif word == "OFFSET":
                offsets[stack[-1]] = [float(next(words)) for _ in range(3)]
            elif word == "CHANNELS":
                channels += [(stack[-1], next(words)) for _ in range(int(next(words)))]
            elif word == "MOTION":
                break
        if next(words) != "Frames:":
            raise ValueError("no line Frames: after MOTION")
        frames = int(next(words))
        if (next(words), next(words)) != ("Frame", "Time:"):
            raise ValueError("no line Frame Time:")
        period_s = float(next(words))
        table = np.array([float(next(words)) for _ in range(frames * len(channels))]).reshape(frames, -1)
    except (StopIteration, ValueError, IndexError) as e:
        raise KinecastError(f"{path}: no BVH file that can be read ({e or 'it ends too early'})") from None
    if not names or not frames or period_s <= 0 or not np.isfinite(table).all():
        raise KinecastError(f"{path}: no motion in it: {len(names)} joints, {frames} frames of {period_s} s")
    local = np.tile(np.eye(3), (frames, len(names), 1, 1))
    root = np.tile(np.array(offsets[0]), (frames, 1))
    for column, (joint, what) in enumerate(channels):
        axis = _AXIS.get(what[:1].upper())
        if axis is None or what[1:].lower() not in ("position", "rotation"):
            raise KinecastError(f"{path}: unknown channel {what} of {names[joint]}")
        if what[1:].lower() == "rotation":
            local[:, joint] = local[:, joint] @ turn(axis, table[:, column])
        elif joint == 0:
            root[:, axis] = table[:, column]
    good = np.ones(frames, bool)
    return Source(
        name or path.stem, tuple(names), np.array(parents), np.array(offsets), 1 / period_s, local, root, good
    )


@dataclass(slots=True)
class _Bone:
    """One bone of an ASF: from its parent's end, along ``direction`` for ``length``; ``axis`` turns its own frame."""

    name: str
    direction: Float
    length: float
    axis: Float
    dof: tuple[str, ...]


def _sections(path: Path) -> dict[str, list[list[str]]]:
    out: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for raw in _text(path).splitlines():
        line = raw.partition("#")[0].split()
        if line and line[0].startswith(":"):
            current = out.setdefault(line[0], [])
            line = line[1:]
        if line:
            current.append(line)
    return out


def _axis(values: list[str], order: str) -> Float:
    """Rotation from angles in an order such as XYZ, applied first to last: R = Rz Ry Rx."""
    R = np.eye(3)
    for letter, value in zip(order.upper(), values, strict=False):
        R = turn(_AXIS[letter], np.array(float(value))) @ R
    return R


def _bones(path: Path, lines: list[list[str]]) -> Iterator[_Bone]:
    table: dict[str, list[str]] = {}
    for line in lines:
        if line[0] == "begin":
            table = {}
        elif line[0] == "end" and table:
            axis = table["axis"]
            yield _Bone(
                table["name"][0],
                np.array(table["direction"][:3], np.float64),
                float(table["length"][0]),
                _axis(axis[:3], axis[3] if len(axis) > 3 else "XYZ"),
                tuple(table.get("dof", [])),
            )
        else:
            table[line[0]] = line[1:]


def _skeleton_beside(path: Path) -> Path:
    beside = [p for p in sorted(path.parent.iterdir()) if p.suffix.lower() == ".asf"]
    fitting = [p for p in beside if path.stem.startswith(p.stem)]
    if fitting:
        return max(fitting, key=lambda p: len(p.stem))
    if len(beside) == 1:
        return beside[0]
    raise KinecastError(f"{path}: no .asf beside it whose name it begins with: the skeleton is missing")


@guarded("an AMC file")
def read_amc(path: Path, name: str | None = None, asf: Path | None = None) -> Source:
    """An AMC with its ASF; KinecastError where either is damaged or they do not belong together."""
    asf = asf or _skeleton_beside(path)
    sections = _sections(asf)
    try:
        bones = list(_bones(asf, sections[":bonedata"]))
        order = [line for line in sections[":hierarchy"] if line[0] not in ("begin", "end")]
        root_section = {line[0]: line[1:] for line in sections[":root"]}
        root_axis = _axis(root_section.get("orientation", ["0"] * 3), root_section.get("axis", ["XYZ"])[0])
        parent_of = {child: line[0] for line in order for child in line[1:]}
        by_name = {b.name: b for b in bones}
        names = ["root", *(child for line in order for child in line[1:])]
        parents = [-1, *(names.index(parent_of[n]) for n in names[1:])]
        ends = {n: by_name[n].direction * by_name[n].length for n in names[1:]} | {"root": np.zeros(3)}
        offsets = [np.zeros(3), *(ends[parent_of[n]] for n in names[1:])]
        root_order = tuple(w.lower() for w in root_section["order"])
    except (KeyError, ValueError, IndexError) as e:
        raise KinecastError(f"{asf}: no ASF skeleton that can be read ({e})") from None
    frames = _amc_frames(path)
    dofs = {"root": root_order, **{b.name: b.dof for b in bones}}
    axes = {"root": root_axis, **{b.name: b.axis for b in bones}}
    local = np.tile(np.eye(3), (len(frames), len(names), 1, 1))
    root = np.zeros((len(frames), 3))
    for j, bone in enumerate(names):
        values = _values(path, frames, bone, len(dofs[bone]))
        R = np.tile(np.eye(3), (len(frames), 1, 1))
        for column, dof in enumerate(dofs[bone]):
            axis = _AXIS[dof[1].upper()] if dof[:1] in "rt" and dof[1:2] in "xyz" else -1
            if dof.startswith("r"):
                R = turn(axis, values[:, column]) @ R
            elif dof.startswith("t") and j == 0:
                root[:, axis] = values[:, column]
        local[:, j] = axes[bone] @ R @ axes[bone].T
    return Source(
        name or path.stem, tuple(names), np.array(parents), np.array(offsets), AMC_HZ, local, root,
        np.ones(len(frames), bool),
    )  # fmt: skip


def _amc_frames(path: Path) -> list[dict[str, list[str]]]:
    frames: list[dict[str, list[str]]] = []
    for raw in _text(path).splitlines():
        line = raw.partition("#")[0].split()
        if not line or line[0].startswith(":"):
            if line and line[0].upper() == ":RADIANS":
                raise KinecastError(f"{path}: angles in radians are not read; export it in degrees")
            continue
        if len(line) == 1 and line[0].isdigit():
            frames.append({})
        elif frames:
            frames[-1][line[0]] = line[1:]
    if not frames:
        raise KinecastError(f"{path}: no frames in it")
    return frames


def _values(path: Path, frames: list[dict[str, list[str]]], bone: str, count: int) -> Float:
    """(T, count) numbers of a bone, 0 where the file never gives it."""
    if not any(bone in f for f in frames):
        return np.zeros((len(frames), count))
    try:
        out = np.array([f[bone] for f in frames], np.float64)
    except (KeyError, ValueError) as e:
        raise KinecastError(f"{path}: {bone} is not given in every frame alike ({e}); is the file cut short?") from None
    if out.shape != (len(frames), count):
        raise KinecastError(f"{path}: {bone} has {out.shape[1]} numbers a frame, its skeleton {count}")
    return out
