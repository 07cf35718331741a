"""A body in SMPL's terms: 24 joints, a shape space, skinning weights; posed by 24 rotations.

The maths is SMPL's (Loper et al., *SMPL: A Skinned Multi-Person Linear Model*, 2015, equations 2–10), written here from
the paper. Rest pose: a T-pose, y up, x to the body's left, looking along z, metres. θ of one body is close to another's
θ but not the same: rest directions differ, so every recording carries :attr:`BodyModel.id`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied
from kinecast.calibration.rigid import rotation
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.skinning import chain, skin, sparse_weights
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

PARENTS = np.array(skeleton("smpl24").parents, np.int64)
GENDERS = ("neutral", "male", "female")


@dataclass(frozen=True, slots=True, eq=False)
class Landmark:
    """A named point of the body: a weighted mean of vertices and of joints; the weights add to 1.

    vertices: (n,) int32 with weights (n,); joints: (m,) int32 with joint_weights (m,).
    """

    vertices: I32
    weights: F32
    joints: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    joint_weights: F32 = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class BodyModel:
    """A body. V vertices, F faces, B shape coefficients; all arrays are read-only.

    id: a hash of what rotations and shapes mean (all arrays below, not the landmarks): same id, same θ and β.
    name: for people to read. gender: neutral, male or female. kind: where the file came from: ``free``, ``smpl``,
    ``smplh`` or ``smplx``; bigger skeletons are reduced to the 24 joints.
    v_template: (V, 3) float32 metres. shapedirs: (V, 3, B) float32, metres a unit of β. posedirs: (V, 3, 207) float32
    or None. J_regressor: (24, V) float32. weights: (V, 24) float32. parents: (24,) int64, -1 for the root.
    faces: (F, 3) int32. landmarks: by name, or by ``skeleton/name`` where one skeleton means something else by it.
    Derived: J_template (24, 3) and J_shape (24, 3, B) float64: rest joints are ``J_template + J_shape @ betas``.
    """

    name: str
    gender: str
    kind: str
    v_template: F32
    shapedirs: F32
    posedirs: F32 | None
    J_regressor: F32
    weights: F32
    parents: NDArray[np.int64]
    faces: I32
    landmarks: Mapping[str, Landmark] = field(default_factory=dict)
    id: str = field(init=False)
    J_template: Float = field(init=False)
    J_shape: Float = field(init=False)
    skin_index: I32 = field(init=False, repr=False)
    skin_weight: F32 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check(self)
        regressor = self.J_regressor.astype(np.float64)
        # einsum adds in one order, BLAS in another for other numbers of threads: a replay would not be its session
        shape = np.einsum("jv,vdb->jdb", regressor, self.shapedirs.astype(np.float64))
        index, weight = sparse_weights(self.weights)
        derived = {
            "id": _identity(self),
            "J_template": np.einsum("jv,vd->jd", regressor, self.v_template.astype(np.float64)),
            "J_shape": shape,
            "skin_index": index,
            "skin_weight": weight,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        for array in (getattr(self, f.name) for f in fields(self)):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    @property
    def betas(self) -> int:
        """Number of shape coefficients, B."""
        return int(self.shapedirs.shape[2])

    def stature_m(self, betas: Float) -> float:
        """Height of the shaped body in its rest pose, sole to crown. betas: (≤ B,)."""
        b = np.asarray(betas, np.float64)
        y = self.v_template[:, 1] + applied(self.shapedirs[:, 1, : len(b)], b)
        return float(y.max() - y.min())


def forward(body: BodyModel, pose: Float, betas: Float | None = None, trans: Float | None = None) -> tuple[Float, F32]:
    """Pose P people: joints (P, 24, 3) float64 and vertices (P, V, 3) float32, metres.

    pose: (P, 24, 3) rotation vectors in radians or (P, 24, 3, 3) matrices, each in its parent's frame. betas: (P, ≤ B)
    or (≤ B,) for all, 0 where absent. trans: (P, 3) metres.
    """
    turned, joints, rest = pose_joints(body, pose, betas, trans)
    shaped = shape_vertices(body, betas)
    if body.posedirs is not None:
        local = _matrices(pose)
        feature = (local[:, 1:] - np.eye(3)).reshape(len(local), -1)
        bent = (body.posedirs.reshape(-1, body.posedirs.shape[2]) @ feature.T.astype(np.float32)).T
        shaped = shaped + bent.reshape(len(local), -1, 3)
    shifts = joints - np.einsum("pjab,pjb->pja", turned, rest)
    return joints, skin(shaped, turned, shifts, body.skin_index, body.skin_weight)


def pose_joints(
    body: BodyModel, pose: Float, betas: Float | None = None, trans: Float | None = None
) -> tuple[Float, Float, Float]:
    """The skeleton alone: rotations world_from_joint (P, 24, 3, 3), joints (P, 24, 3) and rest joints (P, 24, 3)."""
    local = _matrices(pose)
    rest = np.broadcast_to(body.J_template, (len(local), 24, 3))
    if betas is not None:
        b = np.atleast_2d(np.asarray(betas, np.float64))
        rest = rest + np.einsum("jdb,pb->pjd", body.J_shape[:, :, : b.shape[1]], b)
    shift = np.zeros((len(local), 3)) if trans is None else np.asarray(trans, np.float64).reshape(-1, 3)
    turned, joints = chain(local, np.ascontiguousarray(rest), body.parents, shift)
    return turned, joints, rest


def shape_vertices(body: BodyModel, betas: Float | None) -> F32:
    """(P, V, 3) rest vertices of the shapes (P, ≤ B), or (1, V, 3) of one shape; float32 metres."""
    if betas is None:
        return body.v_template[None]
    b = np.atleast_2d(np.asarray(betas, np.float32))
    dirs = body.shapedirs[:, :, : b.shape[1]].reshape(-1, b.shape[1])
    return np.asarray(body.v_template + (b @ dirs.T).reshape(len(b), -1, 3), np.float32)


def same_rotations(a: BodyModel, b: BodyModel) -> bool:
    """Whether θ and β of one may be read as the other's: equal rest joints, to 0.1 mm and 0.1 mm a unit of β.

    True for a body and its light variant, which differ in the mesh alone.
    """
    return (
        a.betas == b.betas
        and bool(np.abs(a.J_template - b.J_template).max() < 1e-4)
        and bool(np.abs(a.J_shape - b.J_shape).max() < 1e-4)
    )


def _matrices(pose: Float) -> Float:
    p = np.asarray(pose, np.float64)
    if p.shape[1:] == (24, 3):
        return rotation(p)
    if p.shape[1:] == (24, 3, 3):
        return p
    raise ValueError(f"pose is {p.shape}, expected (P, 24, 3) rotation vectors or (P, 24, 3, 3) matrices")


def _identity(body: BodyModel) -> str:
    digest = hashlib.sha256()
    arrays = (body.v_template, body.shapedirs, body.posedirs, body.J_regressor, body.weights)
    for array in arrays:
        if array is not None:
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array, "<f4").tobytes())
    digest.update(np.ascontiguousarray(body.parents, "<i8").tobytes())
    digest.update(np.ascontiguousarray(body.faces, "<i4").tobytes())
    return f"{body.kind}-{body.gender}-{digest.hexdigest()[:16]}"


def _check(body: BodyModel) -> None:
    """Raise KinecastError for a body that cannot be posed; shapes first, then what the numbers must be."""
    v = len(body.v_template)
    if v == 0 or len(body.faces) == 0:
        raise KinecastError(f"body {body.name}: it has {v} vertices and {len(body.faces)} faces; the file is damaged")
    expected: dict[str, tuple[int, ...]] = {
        "v_template": (v, 3),
        "shapedirs": (v, 3, body.shapedirs.shape[-1]),
        "J_regressor": (24, v),
        "weights": (v, 24),
        "parents": (24,),
        "faces": (len(body.faces), 3),
    }
    for name, shape in expected.items():
        have = getattr(body, name).shape
        if have != shape:
            raise KinecastError(f"body {body.name}: {name} is {have}, expected {shape}; use a body file of 24 joints")
    if body.posedirs is not None and body.posedirs.shape != (v, 3, 207):
        raise KinecastError(f"body {body.name}: posedirs is {body.posedirs.shape}, expected {(v, 3, 207)}")
    if not np.array_equal(body.parents, PARENTS):
        raise KinecastError(f"body {body.name}: its joints are not SMPL's 24: parents are {body.parents.tolist()}")
    if body.gender not in GENDERS:
        raise KinecastError(f"body {body.name}: gender is {body.gender!r}, expected one of {', '.join(GENDERS)}")
    for name in ("v_template", "shapedirs", "J_regressor", "weights"):
        if not np.isfinite(getattr(body, name)).all():
            raise KinecastError(f"body {body.name}: {name} holds a number that is not finite; the file is damaged")
    for name, sums in (("weights", body.weights.sum(axis=1)), ("J_regressor", body.J_regressor.sum(axis=1))):
        if np.abs(sums - 1).max() > 1e-2:
            raise KinecastError(f"body {body.name}: rows of {name} do not add to 1; the file is damaged")
    if body.faces.min() < 0 or body.faces.max() >= v:
        raise KinecastError(f"body {body.name}: a face names vertex {body.faces.max()} of {v}; the file is damaged")
