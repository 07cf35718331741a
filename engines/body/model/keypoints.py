"""Keypoints of a skeleton as a few (joint, weight, offset) terms: what a fit needs instead of a mesh.

A keypoint that is a weighted mean of skinned vertices is, by linearity of skinning,
``x = Σ_m weight_m · p_m + R_m · offset_m(β)`` with p_m and R_m the posed position and rotation of joint m, and
``offset_m(β) = offset_template_m + offset_shape_m · β``. Terms that move it by less than ``TERM_TOLERANCE_M`` are
given to the heaviest, exactly so in the rest pose, which costs less than 0.05 mm in any other.
Pose-dependent corrections (posedirs) are left out: they move keypoints by millimetres and the free body has none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import BodyModel, Landmark
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

# A term is given to the heaviest when it moves its keypoint by less than this: its offset, and its weight × the reach
# of the joints that it shares a keypoint with.
TERM_TOLERANCE_M = 3e-5
_REACH_M = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class KeypointTerms:
    """K keypoints of a skeleton as up to M terms each, read-only, for compiled loops.

    skeleton: its name; K is its number of joints. count: (K,) int64 terms of each, 0 for one that the body lacks.
    joint: (K, M) int64, 0 where padded. weight: (K, M) float64, adds to 1 over a keypoint's terms. offset: (K, M, 3)
    and offset_shape: (K, M, 3, B) float64 metres in the joint's rest frame, already multiplied by the weight.
    """

    skeleton: str
    count: NDArray[np.int64]
    joint: NDArray[np.int64]
    weight: Float
    offset: Float
    offset_shape: Float

    def __post_init__(self) -> None:
        for array in (self.count, self.joint, self.weight, self.offset, self.offset_shape):
            array.flags.writeable = False

    def place(self, rotations: Float, joints: Float, betas: Float | None = None) -> Float:
        """(P, K, 3) keypoints of posed people, NaN for one that the body lacks; the slow twin of a fit's own loop.

        rotations (P, 24, 3, 3) world_from_joint, joints (P, 24, 3) world metres, betas (P, ≤ B) or (≤ B,).
        """
        offset = np.broadcast_to(self.offset, (len(joints), *self.offset.shape))
        if betas is not None:
            b = np.atleast_2d(np.asarray(betas, np.float64))
            offset = offset + np.einsum("kmdb,pb->pkmd", self.offset_shape[..., : b.shape[1]], b)
        out = np.einsum("km,pkmd->pkd", self.weight, joints[:, self.joint])
        out += np.einsum("pkmde,pkme->pkd", rotations[:, self.joint], offset)
        out[:, self.count == 0] = np.nan
        return np.asarray(out, np.float64)


def keypoint_terms(body: BodyModel, name: str) -> KeypointTerms:
    """The keypoints of the skeleton ``name`` on this body. A joint that the body has no landmark for gets 0 terms.

    KinecastError where the body has none of the skeleton's joints.
    """
    joints = skeleton(name).joints
    found = [_find(body, name, joint) for joint in joints]
    if not any(found):
        raise KinecastError(f"body {body.name} has no landmarks for skeleton {name}")
    terms = [_terms(body, mark) if mark is not None else [] for mark in found]
    k, m, b = len(joints), max(len(t) for t in terms), body.betas
    out = KeypointTerms(
        name,
        np.array([len(t) for t in terms], np.int64),
        np.zeros((k, m), np.int64),
        np.zeros((k, m)),
        np.zeros((k, m, 3)),
        np.zeros((k, m, 3, b)),
    )
    for array in (out.joint, out.weight, out.offset, out.offset_shape):
        array.flags.writeable = True
    for i, rows in enumerate(terms):
        for n, (joint, weight, offset, offset_shape) in enumerate(rows):
            out.joint[i, n], out.weight[i, n], out.offset[i, n], out.offset_shape[i, n] = (
                joint, weight, offset, offset_shape,
            )  # fmt: skip
    out.__post_init__()
    return out


def _find(body: BodyModel, skeleton_name: str, joint: str) -> Landmark | None:
    if skeleton_name == "smpl24":
        index = skeleton("smpl24").index(joint)
        none_v, none_w = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return Landmark(none_v, none_w, np.array([index], np.int32), np.ones(1, np.float32))
    return body.landmarks.get(f"{skeleton_name}/{joint}") or body.landmarks.get(joint)


def _terms(body: BodyModel, mark: Landmark) -> list[tuple[int, float, Float, Float]]:
    """Terms of one landmark, heaviest first."""
    v, w = mark.vertices, mark.weights.astype(np.float64)
    share = w[:, None] * body.weights[v].astype(np.float64)  # (n, 24)
    weight = share.sum(axis=0)
    np.add.at(weight, mark.joints, mark.joint_weights)
    # einsum, not BLAS: the same sums whatever the number of threads, see BodyModel
    offset = np.einsum("nj,nd->jd", share, body.v_template[v]) - share.sum(axis=0)[:, None] * body.J_template
    offset_shape = np.einsum("nj,ndb->jdb", share, body.shapedirs[v])
    offset_shape -= share.sum(axis=0)[:, None, None] * body.J_shape
    # regressors may have negative weights, so a joint's terms can cancel: measure what it really moves
    moved = np.linalg.norm(offset, axis=1) + np.abs(weight) * _REACH_M
    order = np.argsort(-moved)
    keep = [int(j) for j in order if moved[j] > TERM_TOLERANCE_M]
    first = keep[0]
    for j in (int(j) for j in order if moved[j] <= TERM_TOLERANCE_M):
        offset[first] += offset[j] + weight[j] * (body.J_template[j] - body.J_template[first])
        offset_shape[first] += offset_shape[j] + weight[j] * (body.J_shape[j] - body.J_shape[first])
        weight[first] += weight[j]
    return [(j, float(weight[j]), offset[j], offset_shape[j]) for j in keep]
