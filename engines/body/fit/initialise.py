"""Where a fit begins: analytic inverse kinematics from points, or a ring of guesses where there are none.

Nothing assumes that people stand: with points, the trunk alone says how a body is turned; without, upright and upside
down are both tried. The solver runs a few steps from every guess and keeps the cheapest.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied, times
from kinecast.engines.body.fit.kernels import Bones, keypoints_into, pose_into, shape_into
from kinecast.engines.fixed import nearest_rotations, solve
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck", "mid_hip")
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top", "neck")
LEAST_TRUNK = 3
YAWS = 8
UNITS = 2.5  # limbs so many times as long, or short, as a body's: the rig is not in metres
# joint that turns, and the keypoints whose direction tells how: whole chains, from the trunk outwards
SWINGS = tuple(
    (f"{side}_{joint}", f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for joint, a, b in (
        ("shoulder", "shoulder", "elbow"),
        ("elbow", "elbow", "wrist"),
        ("hip", "hip", "knee"),
        ("knee", "knee", "ankle"),
        ("ankle", "ankle", "big_toe"),
    )
)


def swing(a: Float, b: Float) -> Float:
    """(3, 3) shortest rotation that brings the direction a to b."""
    a, b = a / max(_length(a), 1e-9), b / max(_length(b), 1e-9)
    c = float((a * b).sum())
    if c < -0.9999:  # any axis at a right angle does
        axis = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        axis /= _length(axis)
        return np.asarray(2 * np.outer(axis, axis) - np.eye(3))
    x, y, z = np.cross(a, b)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + K + times(K, K) / (1 + c))


def _length(v: Float) -> float:
    return float(np.sqrt((v * v).sum()))


class PosableBody:
    """A body of one shape that can be posed from Python: rest joints, and keypoints of any pose."""

    def __init__(self, bones: Bones, beta: Float) -> None:
        self.bones = bones
        self.rest, self.offset = np.empty(bones.rest.shape), np.empty(bones.offset.shape)
        shape_into(bones, beta, self.rest, self.offset)

    def place(self, R: Float, t: Float) -> tuple[Float, Float, Float]:
        """World rotations (J, 3, 3), joints (J, 3) and keypoints (K, 3)."""
        G, p = np.empty((len(self.rest), 3, 3)), np.empty((len(self.rest), 3))
        x = np.empty((len(self.offset), 3))
        pose_into(self.bones.parents, self.rest, R, t, G, p)
        keypoints_into(self.bones, self.offset, G, p, x)
        return G, p, x


def from_points(body: PosableBody, reference: Float, names: Sequence[str], points: Float) -> list[tuple[Float, Float]]:
    """Guesses (R (J, 3, 3), t (3,)) from keypoints (K, 3) in the world, NaN where missing; none where the trunk is.

    The second guess is the first turned back to front, for people whose left and right were exchanged.
    reference: (J, 3, 3) the pose of joints that no keypoint tells.
    """
    index = {n: i for i, n in enumerate(names)}
    there = {n for n, i in index.items() if np.isfinite(points[i]).all()}
    trunk = [index[n] for n in TRUNK if n in there]
    if len(trunk) < LEAST_TRUNK:
        return []
    first, second = reference.copy(), reference.copy()
    first[0] = second[0] = np.eye(3)
    _, _, x = body.place(first, np.zeros(3))
    a, b = x[trunk] - x[trunk].mean(axis=0), points[trunk] - points[trunk].mean(axis=0)
    first[0] = nearest_rotations(times(b.T, a))
    second[0] = first[0] * np.array([-1.0, 1.0, -1.0])
    return [(R, _follow(body, R, index, there, points, trunk, limbs)) for R, limbs in ((first, True), (second, False))]


def _follow(
    body: PosableBody, R: Float, index: dict[str, int], there: set[str], points: Float, trunk: list[int], limbs: bool
) -> Float:
    """Turn head and limbs of R in place after the points; returns the translation."""
    joints = skeleton("smpl24")
    t = points[trunk].mean(axis=0) - body.place(R, np.zeros(3))[2][trunk].mean(axis=0)
    if not limbs:
        return np.asarray(t)
    head = [index[n] for n in HEAD if n in there]
    if len(head) >= 3:
        G, _, x = body.place(R, t)
        a, b = x[head] - x[head].mean(axis=0), points[head] - points[head].mean(axis=0)
        turn = nearest_rotations(times(b.T, a))
        j = joints.index("neck")
        R[j] = times(times(G[joints.parents[j]].T, turn), G[j])
    for name, a, b in SWINGS:
        if a not in there or b not in there or a not in index:
            continue
        G, _, x = body.place(R, t)
        turn = swing(x[index[b]] - x[index[a]], points[index[b]] - points[index[a]])
        j = joints.index(name)
        R[j] = times(times(G[joints.parents[j]].T, turn), G[j])
    return np.asarray(t)


def from_views(
    body: PosableBody, reference: Float, up_world: Float, P: Float, xy: Float, w: Float, others: Sequence[Float] = ()
) -> list[tuple[Float, Float]]:
    """Guesses where there are no points: the mean pose turned to 8 sides, upright and upside down.

    others: further poses (24, 3, 3), as a regressor tells them. Each is moved to where the views (P (C, 3, 4),
    xy (C, K, 2), w (C, K), 0 where missing) see it, which is linear.
    """
    out = []
    for R in (*ring(reference, up_world), *others):
        t = _place_in_views(body.place(R, np.zeros(3))[2], P, xy, w)
        if t is not None:
            out.append((R, t))
    return out


def ring(reference: Float, up_world: Float) -> list[Float]:
    """The mean pose (24, 3, 3) turned to 8 sides, upright and upside down."""
    ahead = np.cross(up_world, np.eye(3)[np.argmin(np.abs(up_world))])
    ahead /= _length(ahead)
    out = []
    for up in (up_world, -up_world):
        side = np.cross(up, ahead)
        for yaw in 2 * np.pi * np.arange(YAWS) / YAWS:
            z = np.cos(yaw) * ahead + np.sin(yaw) * side
            R = reference.copy()
            R[0] = np.stack([np.cross(up, z), up, z], axis=1)
            out.append(R)
    return out


def _place_in_views(x: Float, P: Float, xy: Float, w: Float) -> Float | None:
    """Translation (3,) that brings keypoints x (K, 3) onto the views best, in the linear sense; None where too few."""
    c, k = np.nonzero(w > 0)
    if len(c) < 4:
        return None
    rows = P[c, :2] - xy[c, k][..., None] * P[c, 2:3]  # (n, 2, 4): rows · (x + t, 1) = 0
    A = rows[..., :3].reshape(-1, 3)
    b = -(np.einsum("nij,nj->ni", rows[..., :3], x[k]) + rows[..., 3]).reshape(-1)
    N = times(A.T, A)
    # what no view tells, as where all see one and the same joint, stays at 0
    t = solve(N + 1e-12 * np.trace(N) * np.eye(3), applied(A.T, b))
    depth = (P[c, 2, :3] * (x[k] + t)).sum(axis=1) + P[c, 2, 3]
    return np.asarray(t) if np.median(depth) > 0.2 else None


def other_units(body: PosableBody, reference: Float, names: Sequence[str], points: Float) -> bool:
    """Whether keypoints (K, 3) are of limbs that nobody has: a rig in millimetres, or a board of another size."""
    _, _, rest = body.place(reference, np.zeros(3))
    there = [(a, b) for _, a, b in SWINGS if a in names and b in names]
    pairs = np.array([(names.index(a), names.index(b)) for a, b in there], np.int64).reshape(-1, 2)
    have, want = (np.sqrt(((x[pairs[:, 0]] - x[pairs[:, 1]]) ** 2).sum(axis=-1)) for x in (points, rest))
    ratio = (have / want)[np.isfinite(have) & (want > 0.1)]
    return len(ratio) > 2 and not 1 / UNITS < float(np.median(ratio)) < UNITS
