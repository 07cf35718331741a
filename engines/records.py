"""The nouns, in the order of the data: Keypoints2D → FrameSet → Poses → Bodies.

Every record is a frozen dataclass whose arrays are read-only. Shapes and ranges are checked once, where a record is
built from outside data (``check`` is called by the codec); missing is NaN with confidence 0, never (0, 0).
A field with ``metadata={"volatile": True}`` depends on when a machine did something, not on what was seen: replay and
``kinecast diff`` leave it out. One with ``metadata={"causes": True}`` counts by cause (:mod:`capture.refusals`); the
codec brings keys of earlier versions up to date.
"""

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton.tables import SKELETONS

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]

VOLATILE = {"volatile": True}
CAUSES = {"causes": True}


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


def _freeze(record: Any) -> None:
    for name in _names(record.__class__):
        value = getattr(record, name)
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value.flags.writeable = False


_ROW, _COLUMN = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 1, 2, 2])
_WHOLE = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])


def pack_covariance(whole: NDArray[np.floating]) -> F32:
    """Covariances (…, 3, 3) as a message carries them: (…, 6) float32, the upper triangle xx xy xz yy yz zz."""
    return whole[..., _ROW, _COLUMN].astype(np.float32)


def unpack_covariance(packed: NDArray[np.floating]) -> NDArray[np.float64]:
    """Covariances (…, 3, 3) float64 from upper triangles (…, 6)."""
    return packed[..., _WHOLE].reshape(*packed.shape[:-1], 3, 3).astype(np.float64)


def _expect(where: str, **arrays: tuple[NDArray[Any], tuple[int, ...], type]) -> None:
    """Raise ValueError naming the first array whose shape or dtype is not as told."""
    for name, (value, shape, dtype) in arrays.items():
        if value.shape != shape or value.dtype != dtype:
            raise ValueError(f"{where}: {name} is {value.shape} {value.dtype}, expected {shape} {np.dtype(dtype).name}")


@dataclass(frozen=True, slots=True, eq=False)
class People2D:
    """What a detector saw in one picture: N people of J joints, in the detector's own skeleton.

    keypoints_px: (N, J, 2) float32, pixels of the original (distorted) picture; NaN where missing.
    confidence: (N, J) float32 in [0, 1]; 0 where missing.
    boxes_px: (N, 4) float32, x0 y0 x1 y1.
    scores: (N,) float32 in [0, 1], how sure it is that this is a person.
    local_ids: (N,) int32, identity within this view while it lasts; -1 where the detector does not track.
    """

    keypoints_px: F32
    confidence: F32
    boxes_px: F32
    scores: F32
    local_ids: I32

    def __post_init__(self) -> None:
        _freeze(self)


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints2D:
    """One camera's people at one time: the message ``keypoints/<camera>``.

    frame_seq: the frame's number in its source, skipped frames counted.
    t_capture_ns: stamp of the frame; never restamped.
    skipped: frames lost at the source since it opened, because the node was slow.
    size_px: (width, height) of the picture.
    skeleton: name of the skeleton that the J joints belong to.
    The arrays are those of :class:`People2D`. ``t_grab_ns`` and ``t_detect_ns`` are on the monotonic clock of the
    camera's host: frame in memory, detection done.
    """

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

    def __post_init__(self) -> None:
        _freeze(self)

    def check(self) -> None:
        """Raise ValueError where shapes or skeleton disagree or a confidence is outside [0, 1]."""
        if self.keypoints_px.ndim != 3:
            raise ValueError(
                f"keypoints of {self.camera}: keypoints_px is {self.keypoints_px.shape}, expected (N, J, 2)"
            )
        n, j = self.keypoints_px.shape[:2]
        joints = SKELETONS[self.skeleton].joints if self.skeleton in SKELETONS else ()
        if j != len(joints):  # an index of joints beyond the array would be followed without a question
            told = f"has {len(joints)}" if joints else "is not known"
            raise ValueError(f"keypoints of {self.camera}: {j} joints of a skeleton {self.skeleton!r} that {told}")
        _expect(
            f"keypoints of {self.camera}",
            keypoints_px=(self.keypoints_px, (n, j, 2), np.float32),
            confidence=(self.confidence, (n, j), np.float32),
            boxes_px=(self.boxes_px, (n, 4), np.float32),
            scores=(self.scores, (n,), np.float32),
            local_ids=(self.local_ids, (n,), np.int32),
        )
        # not (…) so that NaN is refused too
        if self.confidence.size and not (self.confidence.min() >= 0 and self.confidence.max() <= 1):
            raise ValueError(f"keypoints of {self.camera}: a confidence is outside [0, 1] or not a number")
        if len(self.size_px) != 2 or min(self.size_px) <= 0:
            raise ValueError(f"keypoints of {self.camera}: size_px is {self.size_px}")


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """The journal: what fusion fused, when and why. Replay feeds from these alone.

    seq: number of the set within this epoch, from 0. epoch: which incarnation of the fusion process made it (0, then
    1 after a restart, …): identities and state do not reach across epochs.
    t_set_ns: the time that the set stands for.
    cameras: names, C of them, in the rig's order. frame_seqs: (C,) int64, the frame of each camera, -1 where none.
    reason: why the set was closed: ``complete``, ``deadline``, ``watermark`` or ``end``.
    offsets_ns: (C,) int64 clock correction in force, subtracted from the stamps.
    dropped: frames that were received and not used, since the start, by cause.
    lifter: name of the lifter in force, with the hash of its weights, "" where there is none.
    body_prior: the same of the pose prior of the bodies; "" where there are none, or the shipped one was the only one.
    arrivals_ns: (C,) int64 monotonic arrival of each, 0 where none; decided_ns: when the set was closed.
    """

    seq: int
    epoch: int
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

    def __post_init__(self) -> None:
        _freeze(self)

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        c = (len(self.cameras),)
        _expect(
            f"frame set {self.seq}",
            frame_seqs=(self.frame_seqs, c, np.int64),
            offsets_ns=(self.offsets_ns, c, np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Points3D:
    """Triangulated joints of one person: a measurement.

    points_world_m: (J, 3) float64, NaN where not seen. covariance_m2: (J, 3, 3) float64. confidence: (J,) float64 in
    [0, 1]. residual_px: (J,) float64, RMS reprojection error over the views used, in pixels of the original pictures.
    views: (J,) uint32, bit c set where camera c was used.
    """

    points_world_m: NDArray[np.float64]
    covariance_m2: NDArray[np.float64]
    confidence: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    views: U32

    def __post_init__(self) -> None:
        _freeze(self)


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """The people of one frame set: the message ``poses``. P people, J joints, C cameras.

    frameset_seq, epoch, t_set_ns: of the frame set. skeleton: name of the skeleton of the J joints (``halpe26``).
    person_ids: (P,) int32, an identity that lasts, unique in the recording.
    points_world_m: (P, J, 3) float32 metres in the world of the rig; NaN where not seen and not implied.
    covariance_m2: (P, J, 6) float32, upper triangle xx xy xz yy yz zz.
    confidence: (P, J) float32 in [0, 1], 0 where missing. residual_px: (P, J) float32, NaN where not triangulated.
    views: (P, J) uint32, bit c set where camera c of the frame set was used.
    derived: (P, J) bool, where a joint was implied by others and not measured.
    detections: (P, C) int32, row of the person in each camera's message, -1 where none.
    refused: births and detections refused since the start, by cause.
    filtered: "" where the points are as measured, ``causal``, or ``smoothed``, which knows the future.
    lifted: (P, J) bool, where a joint stands on a lifted pose and not on two views: one view's ray at a lifted depth
    (``views`` has one bit) or the network alone (none); (0, 0) where nothing was lifted.
    t_last_arrival_ns, t_solved_ns and step_ns (duration of each step) are the latencies, on the monotonic clock.
    """

    frameset_seq: int
    epoch: int
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

    def __post_init__(self) -> None:
        _freeze(self)

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        if self.points_world_m.ndim != 3:
            raise ValueError(f"poses {self.frameset_seq}: points_world_m is {self.points_world_m.shape}")
        p, j = self.points_world_m.shape[:2]
        _expect(
            f"poses {self.frameset_seq}",
            person_ids=(self.person_ids, (p,), np.int32),
            points_world_m=(self.points_world_m, (p, j, 3), np.float32),
            covariance_m2=(self.covariance_m2, (p, j, 6), np.float32),
            confidence=(self.confidence, (p, j), np.float32),
            residual_px=(self.residual_px, (p, j), np.float32),
            views=(self.views, (p, j), np.uint32),
            derived=(self.derived, (p, j), np.bool_),
            lifted=(self.lifted, (p, j) if self.lifted.size else self.lifted.shape, np.bool_),
            detections=(self.detections, (p, len(self.cameras)), np.int32),
        )


BODY_FLAGS = ("residual", "shape open", "shape beyond the body", "sides exchanged", "unseen")


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """The bodies of one frame set: the message ``bodies``. P people, B betas, 24 joints in SMPL's order.

    frameset_seq, epoch, t_set_ns: of the frame set. body_id: of the body model; θ and β of one id are never read as
    another's. gender: of that model. person_ids: (P,) int32, those of ``poses``.
    betas: (P, B) float32. rotations_rad: (P, 24, 3) float32 rotation vectors in each parent's frame, the root's in the
    world; trans_m: (P, 3) float32. joints_world_m: (P, 24, 3) float32.
    joint_sd_m: (P, 24) float32 per axis, and rotation_sd_rad: (P, 24, 3) float32 about each joint's own axes: how sure
    the fit is; what keypoints cannot see (twist, hidden limbs) has a large one.
    residual_px: (P,) float32, RMS of the keypoints that the fit explains, NaN where none was given; explained: (P,)
    float32, their share of all keypoints given. flags: (P,) uint32, bit i is ``BODY_FLAGS[i]``.
    contacts: (P, 2) bool, whether the left and the right foot stand still on something.
    """

    frameset_seq: int
    epoch: int
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

    def __post_init__(self) -> None:
        _freeze(self)

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        p = len(self.person_ids)
        f32 = np.float32
        _expect(
            f"bodies {self.frameset_seq}",
            person_ids=(self.person_ids, (p,), np.int32),
            betas=(self.betas, (p, *self.betas.shape[1:2]), f32),
            rotations_rad=(self.rotations_rad, (p, 24, 3), f32),
            trans_m=(self.trans_m, (p, 3), f32),
            joints_world_m=(self.joints_world_m, (p, 24, 3), f32),
            joint_sd_m=(self.joint_sd_m, (p, 24), f32),
            rotation_sd_rad=(self.rotation_sd_rad, (p, 24, 3), f32),
            residual_px=(self.residual_px, (p,), f32),
            explained=(self.explained, (p,), f32),
            flags=(self.flags, (p,), np.uint32),
            contacts=(self.contacts, (p, 2), np.bool_),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Meshes:
    """The surfaces of the bodies of one frame set: the message ``meshes``, only where a launch file asks for it.

    frameset_seq, epoch, t_set_ns: of the frame set. body_id: of the body whose mesh it is, which has the triangles.
    person_ids: (P,) int32, those of ``bodies``. vertices_world_m: (P, V, 3) float32 metres in the world of the rig.
    """

    frameset_seq: int
    epoch: int
    t_set_ns: int
    body_id: str
    person_ids: I32
    vertices_world_m: F32

    def __post_init__(self) -> None:
        _freeze(self)

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        p, v = len(self.person_ids), self.vertices_world_m.shape[1] if self.vertices_world_m.ndim == 3 else 0
        _expect(
            f"meshes {self.frameset_seq}",
            person_ids=(self.person_ids, (p,), np.int32),
            vertices_world_m=(self.vertices_world_m, (p, v, 3), np.float32),
        )
