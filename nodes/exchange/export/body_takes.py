"""The bodies of a recording as takes: one a person, with one shape. What body files are written from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.rigid import rotation, rotation_vector
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.sequence.one_shape import with_shape
from kinecast.engines.records import BODY_FLAGS, Bodies
from kinecast.nodes.fusion.meshes import find_body
from kinecast.nodes.recording.body_meshes import body_file
from kinecast.nodes.recording.file import Recording

Float = NDArray[np.float64]
_OPEN = 1 << BODY_FLAGS.index("shape open")


@dataclass(frozen=True, slots=True, eq=False)
class BodyTake:
    """One person over T frames in which their body was there, with one shape.

    t_ns: (T,) int64. rotations_rad: (T, 24, 3) in each parent's frame, the root's in the world. trans_m: (T, 3).
    betas: (B,). joints_m: (T, 24, 3), where that shape and pose put them. joint_sd_m: (T, 24); rotation_sd_rad:
    (T, 24, 3), about each joint's own axes. contacts: (T, 2) bool, left and right foot.
    """

    person: int
    t_ns: NDArray[np.int64]
    rotations_rad: Float
    trans_m: Float
    betas: Float
    joints_m: Float
    joint_sd_m: Float
    rotation_sd_rad: Float
    contacts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class BodyTakes:
    """Everybody of a recording. up: the axis of the world that points up. sets_ns: (S,) the time of every frame set."""

    body: BodyModel
    gender: str
    up: str
    sets_ns: NDArray[np.int64]
    people: tuple[BodyTake, ...]

    @property
    def rate_hz(self) -> float:
        """Frame sets a second: the inverse of the median interval; 0 where there are fewer than two."""
        steps = np.diff(self.sets_ns)
        steps = steps[steps > 0]
        return float(1e9 / np.median(steps)) if len(steps) else 0.0


def settled_betas(betas: Float, flags: NDArray[np.uint32]) -> Float:
    """(B,) the shape of a person from those of T frames (T, B): the last that was not open, else the last."""
    settled = np.flatnonzero((flags & _OPEN) == 0)
    return np.asarray(betas[settled[-1] if len(settled) else -1], np.float64)


def read_takes(
    recording: Recording, turn: Float | None = None, body: str = "", min_frames: int = 1, persons: tuple[int, ...] = ()
) -> BodyTakes:
    """Everybody's body with one shape. turn: (3, 3) rotation of the world. body: a file, where it is the user's own.

    persons: who, () for all. KinecastError where there are no bodies, bodies of several models, or not that person.
    """
    sets: list[Bodies] = [record for _, _, record in recording.messages(("bodies",))]
    present = sorted({int(i) for s in sets for i in s.person_ids})
    if not present:
        raise KinecastError(f"{recording.path}: there are no bodies in it; make them with `kinecast fit`")
    missing = [p for p in persons if p not in present]
    if missing:
        known = ", ".join(map(str, present))
        raise KinecastError(f"{recording.path}: nobody has the identity {missing[0]}; there are {known}")
    models = sorted({s.body_id for s in sets if len(s.person_ids)})
    if len(models) > 1:
        raise KinecastError(f"{recording.path}: bodies of several models ({', '.join(models)}) in one file")
    model = find_body(models[0], str(recording.path), (body, body_file(recording)))
    turn = np.eye(3) if turn is None else turn
    takes = []
    for person in persons or present:
        rows = [(s, int(p)) for s in sets for p in np.flatnonzero(s.person_ids == person)]
        if len(rows) >= min_frames:
            takes.append(_take(model, person, rows, turn))
    up = str(recording.rig.up) if recording.attachment("rig.toml") else "unknown"
    gender = next(s.gender for s in sets if len(s.person_ids))
    return BodyTakes(model, gender, up, np.array([s.t_set_ns for s in sets], np.int64), tuple(takes))


def _take(model: BodyModel, person: int, rows: list[tuple[Bodies, int]], turn: Float) -> BodyTake:
    def column(name: str) -> Float:
        return np.stack([getattr(s, name)[p] for s, p in rows]).astype(np.float64)

    live = column("betas")
    betas = settled_betas(live, np.array([s.flags[p] for s, p in rows], np.uint32))
    pose, trans = column("rotations_rad"), column("trans_m")
    other = np.flatnonzero(np.abs(live - betas).max(axis=1) > 1e-6)  # posed with a shape of the moment
    if len(other):
        pose[other], trans[other] = with_shape(model, betas, pose[other], column("joints_world_m")[other])
    pose, trans = turned(model, betas, pose, trans, turn)
    joints = pose_joints(model, pose, betas, trans)[1]
    times = np.array([s.t_set_ns for s, _ in rows], np.int64)
    contacts = np.stack([s.contacts[p] for s, p in rows])
    sd, turn_sd = column("joint_sd_m"), column("rotation_sd_rad")
    return BodyTake(person, times, pose, trans, betas, joints, sd, turn_sd, contacts)


def turned(model: BodyModel, betas: Float, pose: Float, trans: Float, turn: Float) -> tuple[Float, Float]:
    """Poses (T, 24, 3) and translations (T, 3) in a world turned by (3, 3): the root's rotation and place change."""
    if np.array_equal(turn, np.eye(3)):
        return pose, trans
    pose = pose.copy()
    pose[:, 0] = rotation_vector(turn @ rotation(pose[:, 0]))
    root = model.J_template[0] + model.J_shape[0, :, : len(betas)] @ betas  # SMPL's root turns about itself
    return pose, (trans + root) @ turn.T - root
