"""The one table of export formats: what each holds, and the axes and units that its readers take for granted.

A row is all that a format needs to be known to ``kinecast export``, to its checks and to the reference page.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from kinecast.capture.errors import KinecastError
from kinecast.nodes.exchange.export.angles import write_angles_csv, write_mot
from kinecast.nodes.exchange.export.body_takes import BodyTakes, read_takes
from kinecast.nodes.exchange.export.bone_names import BONES
from kinecast.nodes.exchange.export.bvh import write_bvh
from kinecast.nodes.exchange.export.c3d import write_c3d
from kinecast.nodes.exchange.export.csv_npz import Layout, write_csv, write_npz
from kinecast.nodes.exchange.export.glb import write_glb
from kinecast.nodes.exchange.export.obj import write_obj
from kinecast.nodes.exchange.export.parquet import write_parquet
from kinecast.nodes.exchange.export.person_series import Axes, ExportedPeople, read_people, turn_to
from kinecast.nodes.exchange.export.smpl_npz import write_smpl
from kinecast.nodes.exchange.export.trc import write_trc
from kinecast.nodes.fusion.meshes import light_twin
from kinecast.nodes.recording.body_meshes import mesher_of
from kinecast.nodes.recording.file import Recording


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user asked of an export; None: the format's own. body: a file, where it is the user's own."""

    axes: Axes | None = None
    units: str | None = None
    layout: Layout = "long"
    bones: str = "smpl"
    mesh: str = "light"
    body: str = ""
    min_frames: int = 1
    persons: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The files, what is to be said of them beside their names, and what they are of."""

    files: list[Path]
    seen: str = ""
    notes: list[str] = field(default_factory=list)


Write = Callable[[Recording, Path, Choices], Written]


@dataclass(frozen=True, slots=True)
class Format:
    """suffix: of the file. a_person: one file each. axes: of the world, by default; ``axes_allowed`` what else.
    units: the same of lengths. rotations: how they are told. options: those of ``Choices`` that it heeds beside axes,
    units and persons. about: for people.
    """

    suffix: str
    write: Write
    holds: Literal["joints", "bodies"]
    about: str
    a_person: bool = True
    axes: Axes = "rig"
    axes_allowed: tuple[Axes, ...] = ("rig", "y-up", "z-up")
    units: str = "m"
    units_allowed: tuple[str, ...] = ("m",)
    rotations: str = "–"
    options: tuple[str, ...] = ("min_frames",)


def _joints(write: Callable[[ExportedPeople, Path, Choices], list[Path]]) -> Write:
    """A format of joints, from what writes them."""

    def whole(recording: Recording, path: Path, choices: Choices) -> Written:
        people = read_people(recording, choices.axes or "rig")
        if choices.persons:
            people = people.only(choices.persons, str(recording.path))
        seen = f"{len(people.sets_ns)} frame sets, {len(people.ids)} people, {len(people.person_id)} person-frames"
        return Written(write(people, path, choices), f"{seen}; {choices.units}, {people.up} up")

    return whole


def _bodies(write: Callable[[BodyTakes, Path, Choices], list[Path]]) -> Write:
    """A format of bodies, from what writes them."""

    def whole(recording: Recording, path: Path, choices: Choices) -> Written:
        takes = _takes(recording, choices)
        return Written(write(takes, path, choices), _seen(takes, choices))

    return whole


def _seen(takes: BodyTakes, choices: Choices) -> str:
    frames = sum(len(t.t_ns) for t in takes.people)
    up = {"rig": takes.up, "y-up": "y", "z-up": "z"}[choices.axes or "rig"]
    seen = f"{len(takes.sets_ns)} frame sets, {len(takes.people)} people, {frames} person-frames"
    return f"{seen}, one shape each; {choices.units}, {up} up"


def _takes(recording: Recording, choices: Choices) -> BodyTakes:
    axes = choices.axes or "rig"
    turn = turn_to(recording.rig, axes) if axes != "rig" else None
    return read_takes(recording, turn, choices.body, choices.min_frames, choices.persons)


def _bvh(recording: Recording, path: Path, c: Choices) -> Written:
    takes = _takes(recording, c)
    files, filled = write_bvh(takes, path, c.units or "cm", c.bones)
    return Written(
        files,
        _seen(takes, c),
        [f"{filled} frames in which somebody was not seen are filled in between"] if filled else [],
    )


def _glb(recording: Recording, path: Path, c: Choices) -> Written:
    takes = _takes(recording, c)
    if not takes.people:
        return Written([])
    mesh = light_twin(takes.body) if c.mesh == "light" else takes.body
    rig = recording.rig if recording.attachment("rig.toml") else None
    file = write_glb(takes, mesh, rig, turn_to(recording.rig, c.axes or "y-up"), path, c.bones)
    return Written([file], _seen(takes, c))


def _obj(recording: Recording, path: Path, c: Choices) -> Written:
    files = write_obj(recording, path, mesher_of(recording, c.body, c.mesh == "light"))
    return Written(files[:0], f"{len(files)} files, metres, in {path}")


FORMATS: dict[str, Format] = {
    "trc": Format(
        ".trc", _joints(lambda p, to, c: write_trc(p, to, c.units or "m", c.min_frames)), "joints",
        "joints as markers, for OpenSim, which takes y for up",
        axes="y-up", units_allowed=("m", "mm"),
    ),
    "c3d": Format(
        ".c3d", _joints(lambda p, to, c: write_c3d(p, to, c.units or "mm", c.min_frames)), "joints",
        "joints as points with residuals and camera masks, for biomechanics' programs",
        axes="z-up", units="mm", units_allowed=("m", "cm", "mm"),
    ),
    "csv": Format(
        ".csv", _joints(lambda p, to, c: write_csv(p, to, c.layout)), "joints", "a row a joint, or a person",
        a_person=False, options=("layout",),
    ),
    "npz": Format(
        ".npz", _joints(lambda p, to, _: write_npz(p, to)), "joints", "numpy's arrays, a row a person-frame",
        a_person=False, options=(),
    ),
    "parquet": Format(
        ".parquet", _joints(lambda p, to, _: write_parquet(p, to)), "joints",
        "a row a person-frame-joint, with covariance, views and flags", a_person=False, options=(),
    ),
    "smpl": Format(
        ".npz", _bodies(lambda t, to, _: write_smpl(t, to)), "bodies", "motion as AMASS lays it out",
        rotations="rotation vectors, in each parent's frame", options=("min_frames", "body"),
    ),
    "bvh": Format(
        ".bvh", _bvh, "bodies", "a skeleton and its motion, for animation programs",
        axes="y-up", axes_allowed=("y-up",),
        units="cm", units_allowed=("m", "cm", "mm"), rotations="Euler angles Z, X, Y, in each parent's frame, degrees",
        options=("min_frames", "body", "bones"),
    ),
    "glb": Format(
        ".glb", _glb, "bodies", "glTF: everybody as a moving, skinned mesh, and the cameras", a_person=False,
        axes="y-up", axes_allowed=("y-up",), rotations="quaternions x y z w, in each parent's frame",
        options=("min_frames", "body", "bones", "mesh"),
    ),
    "mot": Format(
        ".mot", _bodies(lambda t, to, _: write_mot(t, to)), "bodies", "joint angles, for OpenSim",
        axes="y-up", axes_allowed=("y-up",), rotations="joint angles after ISB, Z, X, Y, degrees",
        options=("min_frames", "body"),
    ),
    "angles": Format(
        ".csv", _bodies(lambda t, to, _: write_angles_csv(t, to)), "bodies",
        "joint angles and their standard deviations as CSV", a_person=False, axes="y-up", axes_allowed=("y-up",),
        rotations="joint angles after ISB, Z, X, Y, degrees", options=("min_frames", "body"),
    ),
    "obj": Format(
        "", _obj, "bodies", "a folder of meshes, one a frame set", a_person=False, axes_allowed=("rig",),
        options=("mesh", "body"),
    ),
}  # fmt: skip


def write(recording: Recording, kind: str, path: Path, choices: Choices) -> Written:
    """Write ``recording`` as the format ``kind``. KinecastError for axes, units or options that it does not have."""
    row = FORMATS[kind]
    axes, units = choices.axes or row.axes, choices.units or row.units
    if axes not in row.axes_allowed:
        raise KinecastError(f"--axes {axes}: {kind} is written {' or '.join(row.axes_allowed)}")
    if units not in row.units_allowed:
        raise KinecastError(f"--units {units}: {kind} is written in {' or '.join(row.units_allowed)}")
    plain = Choices()
    for name in ("layout", "bones", "mesh", "body", "min_frames"):
        if name not in row.options and getattr(choices, name) != getattr(plain, name):
            others = ", ".join(k for k, f in FORMATS.items() if name in f.options)
            raise KinecastError(f"--{name.replace('_', '-')} is not for {kind}; it is for {others}")
    if kind == "obj" and choices.persons:
        raise KinecastError("--person is not for obj, whose files hold everybody of a frame set")
    if choices.bones not in BONES:
        raise KinecastError(f"--bones {choices.bones}: known are {', '.join(BONES)}")
    if axes != "rig" and not recording.attachment("rig.toml"):
        raise KinecastError(f"{recording.path}: it has no rig, so nothing says where up is; --axes rig")
    return row.write(recording, path, replace(choices, axes=axes, units=units))
