"""The nouns, in the order of the data: Keypoints2D → FrameSet → Poses → Bodies.

Every record is a frozen dataclass whose arrays are read-only. Shapes and ranges are checked once, where a record is
built from outside data (``check`` is called by the codec); missing is NaN with confidence 0, never (0, 0).
A field with ``metadata={"volatile": True}`` depends on when a machine did something, not on what was seen: replay and
``kinecast diff`` leave it out. One with ``metadata={"causes": True}`` counts by cause (:mod:`capture.refusals`); the
codec brings keys of earlier versions up to date. One with ``metadata={"later": True}`` is empty in recordings made
before there was one, and is then not compared with. One with ``metadata={"key": …}`` has that key in messages and
files.
"""

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton.tables import SKELETONS

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]

VOLATILE = {"volatile": True}
CAUSES = {"causes": True}
RUN = {"key": "epoch"}
LATER = {"later": True}


@cache
def _arrays(cls: Any) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Name → axes and dtype of every array of a record: ``SHAPES`` has the axes, the field's type the dtype."""
    hints = {f.name: get_type_hints(cls)[f.name] for f in fields(cls)}
    dtypes = {n: np.dtype(get_args(get_args(h)[1])[0]) for n, h in hints.items() if get_origin(h) is np.ndarray}
    assert set(dtypes) == set(cls.SHAPES), cls
    return {name: (tuple(cls.SHAPES[name].split()), dtypes[name]) for name in cls.SHAPES}


class Arrays:
    """A record whose arrays are read-only and have the shapes that ``SHAPES`` says, by the names of their axes.

    C cameras, P people, N detections, J joints, B betas, V vertices; a number is that number. The first array that has
    an axis says how long it is. ``…`` at the end: or nothing at all, (0, …).
    """

    __slots__ = ()
    SHAPES: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        for name in self.SHAPES:
            value = getattr(self, name)
            if value.flags.writeable:
                value.flags.writeable = False

    def expect(self, where: str, **axes: int) -> None:
        """Raise ValueError naming the first array whose shape or dtype is not as it should be. axes: known before."""
        record: Any = type(self)
        for name, (letters, dtype) in _arrays(record).items():
            value = getattr(self, name)
            if letters[-1] == "…":
                letters = letters[:-1]
                if not value.size and value.dtype == dtype:
                    continue
            if value.ndim == len(letters):
                for axis, length in zip(letters, value.shape, strict=True):
                    axes.setdefault(axis, int(axis) if axis.isdigit() else length)
            expected = tuple(axes.get(axis, axis) for axis in letters)
            if value.shape != expected or value.dtype != dtype:
                shape = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
                raise ValueError(f"{where}: {name} is {value.shape} {value.dtype}, expected ({shape}) {dtype.name}")


_ROW, _COLUMN = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 1, 2, 2])
_WHOLE = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])


def pack_covariance(whole: NDArray[np.floating]) -> F32:
    """Covariances (…, 3, 3) as a message carries them: (…, 6) float32, the upper triangle xx xy xz yy yz zz."""
    return whole[..., _ROW, _COLUMN].astype(np.float32)


def unpack_covariance(packed: NDArray[np.floating]) -> NDArray[np.float64]:
    """Covariances (…, 3, 3) float64 from upper triangles (…, 6)."""
    return packed[..., _WHOLE].reshape(*packed.shape[:-1], 3, 3).astype(np.float64)


def _no_ages() -> F32:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class People2D(Arrays):
    """What a detector saw in one picture: N people of J joints, in the detector's own skeleton.

    keypoints_px: pixels of the original (distorted) picture; NaN where missing. confidence: in [0, 1]; 0 where missing.
    boxes_px: x0 y0 x1 y1 of each person. scores: in [0, 1], how sure it is that this is a person. local_ids: identity
    within this view while it lasts; -1 where the detector does not track. look_age_s: how long ago a model looked at
    each; since then optical flow has followed the joints, which repeat the errors of that look. 0: in this picture;
    empty: all of them.
    """

    SHAPES: ClassVar = {
        "keypoints_px": "N J 2",
        "confidence": "N J",
        "boxes_px": "N 4",
        "scores": "N",
        "local_ids": "N",
        "look_age_s": "N …",
    }

    keypoints_px: F32
    confidence: F32
    boxes_px: F32
    scores: F32
    local_ids: I32
    look_age_s: F32 = field(default_factory=_no_ages)


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints2D(Arrays):
    """One camera's people at one time: the message ``keypoints/<camera>``. The arrays are those of :class:`People2D`.

    camera: its name in the rig. frame_seq: the frame's number in its source, skipped frames counted.
    t_capture_ns: stamp of the frame; never restamped. skipped: frames lost at the source since it opened, because the
    node was slow. size_px: width, height of the picture. skeleton: name of the skeleton that the J joints belong to.
    t_grab_ns: when the frame was in memory. t_detect_ns: when detection was done; both on the monotonic clock of the
    camera's host.
    """

    SHAPES: ClassVar = People2D.SHAPES

    camera: str
    frame_seq: int
    t_capture_ns: int
    size_px: tuple[int, int]
    skeleton: str
    keypoints_px: F32
    confidence: F32
    boxes_px: F32
    scores: F32
    local_ids: I32
    skipped: int = 0
    t_grab_ns: int = field(default=0, metadata=VOLATILE)
    t_detect_ns: int = field(default=0, metadata=VOLATILE)
    look_age_s: F32 = field(default_factory=_no_ages)

    def check(self) -> None:
        """Raise ValueError where shapes or skeleton disagree or a confidence is outside [0, 1]."""
        where = f"keypoints of {self.camera}"
        self.expect(where)
        j = self.keypoints_px.shape[1]
        joints = SKELETONS[self.skeleton].joints if self.skeleton in SKELETONS else ()
        if j != len(joints):  # an index of joints beyond the array would be followed without a question
            known = f"has {len(joints)}" if joints else "is not known"
            raise ValueError(f"{where}: {j} joints of a skeleton {self.skeleton!r} that {known}")
        # not (…) so that NaN is refused too
        if self.confidence.size and not (self.confidence.min() >= 0 and self.confidence.max() <= 1):
            raise ValueError(f"{where}: a confidence is outside [0, 1] or not a number")
        if len(self.size_px) != 2 or min(self.size_px) <= 0:
            raise ValueError(f"{where}: size_px is {self.size_px}")


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet(Arrays):
    """The journal: what fusion fused, when and why. Replay feeds from these alone.

    seq: number of the set within this run of fusion, from 0. run_index: which life of the fusion process made it (0,
    then 1 after a restart, …): identities and state do not reach across runs. t_set_ns: the time that the set
    stands for. cameras: names, C of them, in the rig's order. frame_seqs: the frame of each camera, -1 where none.
    reason: why the set was closed: ``complete``, ``deadline``, ``watermark`` or ``end``. offsets_ns: clock correction
    in force, subtracted from the stamps. dropped: frames that were received and not used, since the start, by cause.
    arrivals_ns: monotonic arrival of each view, 0 where none. decided_ns: when the set was closed.
    lifter: name of the lifter in force, with the hash of its weights, "" where there is none.
    body_prior: the same of the pose prior of the bodies; "" where there are none, or the shipped one was the only one.
    """

    SHAPES: ClassVar = {"frame_seqs": "C", "offsets_ns": "C", "arrivals_ns": "C …"}

    seq: int
    run_index: int = field(metadata=RUN)
    t_set_ns: int
    cameras: tuple[str, ...]
    frame_seqs: I64
    reason: str
    offsets_ns: I64
    dropped: dict[str, int] = field(default_factory=dict, metadata=CAUSES)
    arrivals_ns: I64 = field(default_factory=lambda: np.zeros(0, np.int64), metadata=VOLATILE)
    decided_ns: int = field(default=0, metadata=VOLATILE)
    lifter: str = ""
    body_prior: str = ""

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        self.expect(f"frame set {self.seq}", C=len(self.cameras))


@dataclass(frozen=True, slots=True, eq=False)
class Poses(Arrays):
    """The people of one frame set: the message ``poses``. P people, J joints, C cameras.

    frameset_seq, run_index, t_set_ns: of the frame set. skeleton: name of the skeleton of the J joints (``halpe26``).
    cameras: of the frame set, in its order. person_ids: an identity that lasts, unique in the recording.
    points_world_m: metres in the world of the rig; NaN where not seen and not implied. covariance_m2: upper triangle
    xx xy xz yy yz zz. confidence: in [0, 1], 0 where missing. residual_px: RMS reprojection error over the views used,
    NaN where not triangulated. views: bit c set where camera c of the frame set was used. derived: where a joint was
    implied by others and not measured. detections: row of the person in each camera's message, -1 where none.
    refused: births and detections refused since the start, by cause. filtered: "" where the points are as measured,
    ``causal``, or ``smoothed``, which knows the future. lifted: where a joint stands on a lifted pose and not on two
    views: one view's ray at a lifted depth (``views`` has one bit) or the network alone (none); empty where nothing was
    lifted. fresh: share of what a joint stands on that is news and not optical flow, which repeats the errors of sets
    before; empty: all of it. bias_sd_m: per axis, the systematic part of a joint's deviation, beside
    ``covariance_m2``, which is new from look to look: what the detectors' habits may be, the same in every frame and
    view; empty where nothing is known of it (recordings of before). filled: joints put into a gap by ``kinecast
    clean``; empty where none was. t_last_arrival_ns: when the last view used arrived. t_solved_ns: when the poses were
    done; both on the monotonic clock. step_ns: duration of each step.
    """

    SHAPES: ClassVar = {
        "points_world_m": "P J 3",
        "person_ids": "P",
        "covariance_m2": "P J 6",
        "confidence": "P J",
        "residual_px": "P J",
        "views": "P J",
        "derived": "P J",
        "lifted": "P J …",
        "fresh": "P J …",
        "bias_sd_m": "P J …",
        "filled": "P J …",
        "detections": "P C",
    }

    frameset_seq: int
    run_index: int = field(metadata=RUN)
    t_set_ns: int
    skeleton: str
    cameras: tuple[str, ...]
    person_ids: I32
    points_world_m: F32
    covariance_m2: F32
    confidence: F32
    residual_px: F32
    views: U32
    derived: NDArray[np.bool_]
    detections: I32
    refused: dict[str, int] = field(default_factory=dict, metadata=CAUSES)
    t_last_arrival_ns: int = field(default=0, metadata=VOLATILE)
    t_solved_ns: int = field(default=0, metadata=VOLATILE)
    step_ns: dict[str, int] = field(default_factory=dict, metadata=VOLATILE)
    filtered: str = ""
    lifted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    fresh: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    bias_sd_m: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32), metadata=LATER)
    filled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        self.expect(f"poses {self.frameset_seq}", C=len(self.cameras))


BODY_FLAGS = (
    "residual", "shape open", "shape beyond the body", "sides exchanged", "unseen", "a child", "a giant", "wrong units",
    "shape questioned",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Bodies(Arrays):
    """The bodies of one frame set: the message ``bodies``. P people, B betas, 24 joints in SMPL's order.

    frameset_seq, run_index, t_set_ns: of the frame set. body_id: of the body model; θ and β of one id are never read as
    another's. gender: of that model. person_ids: those of ``poses``. betas: the shape, β. rotations_rad: rotation
    vectors in each parent's frame, the root's in the world: the pose, θ. trans_m: where the body stands.
    joints_world_m: its joints, metres in the world of the rig. joint_sd_m: how sure the fit is, per axis.
    rotation_sd_rad: the same about each joint's own axes; what keypoints cannot see (twist, hidden limbs) has a large
    one.
    residual_px: RMS of the keypoints that the fit explains, NaN where none was given. explained: their share of all
    keypoints given. flags: bit i is ``BODY_FLAGS[i]``. contacts: whether the left and the right foot stand still on
    something. t_solved_ns: when the bodies were done, on the monotonic clock. step_ns: duration of each step.
    habits_m: by how much the detector's keypoints are off the body's on each person, in the order and the axes of
    ``engines.body.fit.habits.places``; empty where none were taken into account.
    """

    SHAPES: ClassVar = {
        "person_ids": "P",
        "habits_m": "P H …",
        "betas": "P B",
        "rotations_rad": "P 24 3",
        "trans_m": "P 3",
        "joints_world_m": "P 24 3",
        "joint_sd_m": "P 24",
        "rotation_sd_rad": "P 24 3",
        "residual_px": "P",
        "explained": "P",
        "flags": "P",
        "contacts": "P 2",
    }

    frameset_seq: int
    run_index: int = field(metadata=RUN)
    t_set_ns: int
    body_id: str
    gender: str
    person_ids: I32
    betas: F32
    rotations_rad: F32
    trans_m: F32
    joints_world_m: F32
    joint_sd_m: F32
    rotation_sd_rad: F32
    residual_px: F32
    explained: F32
    flags: U32
    contacts: NDArray[np.bool_]
    t_solved_ns: int = field(default=0, metadata=VOLATILE)
    step_ns: dict[str, int] = field(default_factory=dict, metadata=VOLATILE)
    habits_m: F32 = field(default_factory=lambda: np.zeros((0, 0), np.float32), metadata=LATER)

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        self.expect(f"bodies {self.frameset_seq}")


@dataclass(frozen=True, slots=True, eq=False)
class Meshes(Arrays):
    """The surfaces of the bodies of one frame set: the message ``meshes``, only where a launch file asks for it.

    frameset_seq, run_index, t_set_ns: of the frame set. body_id: of the body whose mesh it is, which has the triangles.
    person_ids: those of ``bodies``. vertices_world_m: metres in the world of the rig.
    """

    SHAPES: ClassVar = {"person_ids": "P", "vertices_world_m": "P V 3"}

    frameset_seq: int
    run_index: int = field(metadata=RUN)
    t_set_ns: int
    body_id: str
    person_ids: I32
    vertices_world_m: F32

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        self.expect(f"meshes {self.frameset_seq}")
