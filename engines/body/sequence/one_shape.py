"""A person's poses told anew with one shape, so that the bones of a whole take have one length.

While a live session learns a shape, every frame is posed with what was known then. A file for another program has one
shape: the joints are kept where they were as far as that shape allows, by Gauss–Newton steps over all rotations and the
place, held to the rotations as they were by a prior.
"""

import numpy as np

from kinecast.calibration.rigid import cross_matrix, rotation, rotation_vector
from kinecast.engines.body.model.body import PARENTS, BodyModel, Float, pose_joints

JOINT_SD_M = 0.003  # how far a joint may be from where it was
TURN_SD_RAD = 0.2  # how far a rotation may be from what it was, in its joint's own axes
STEPS = 6
CHUNK = 512  # frames solved at once: a (3·24, 75) Jacobian each

_BELOW = np.zeros((24, 24), bool)  # [j, k]: k hangs from j, and turns with it
for _k, _parent in enumerate(PARENTS):
    while _parent >= 0:
        _BELOW[_parent, _k] = True
        _parent = PARENTS[_parent]


def with_shape(body: BodyModel, betas: Float, pose: Float, joints_m: Float) -> tuple[Float, Float]:
    """Rotation vectors (T, 24, 3) and translations (T, 3) that put ``betas`` where the joints were.

    betas: (≤ B,). pose: (T, 24, 3) rotation vectors as they were, radians. joints_m: (T, 24, 3) joints as they were, in
    the world, metres. Frames are independent of each other.
    """
    turned, moved = np.empty_like(pose, np.float64), np.empty((len(pose), 3))
    for start in range(0, len(pose), CHUNK):
        part = slice(start, start + CHUNK)
        turned[part], moved[part] = _solve(body, betas, pose[part].astype(np.float64), joints_m[part])
    return turned, moved


def _solve(body: BodyModel, betas: Float, pose: Float, joints: Float) -> tuple[Float, Float]:
    first = rotation(pose)
    local = first.copy()
    rest = body.J_template + body.J_shape[:, :, : len(betas)] @ betas
    trans = joints[:, 0] - rest[0]
    weights = np.concatenate([np.full(72, 1 / JOINT_SD_M**2), np.full(72, 1 / TURN_SD_RAD**2)])
    for _ in range(STEPS):
        world, now, _ = pose_joints(body, local, betas, trans)
        rows = np.zeros((len(pose), 144, 75))
        # a turn δ of joint j in its own axes moves what hangs from it by (R_j δ) × arm
        arms = np.where(_BELOW[..., None], now[:, None] - now[:, :, None], 0.0)  # [t, j, k]
        turns = -np.einsum("tjkab,tjbc->tkajc", cross_matrix(arms), world)
        rows[:, :72, :72] = turns.reshape(len(pose), 72, 72)
        rows[:, :72, 72:] = np.tile(np.eye(3), (24, 1))
        rows[:, 72:, :72] = np.eye(72)
        away = rotation_vector(np.swapaxes(first, -1, -2) @ local)
        error = np.concatenate([(now - joints).reshape(-1, 72), away.reshape(-1, 72)], axis=1)
        normal = np.einsum("tri,r,trj->tij", rows, weights, rows, optimize=True)
        right = np.einsum("tri,r,tr->ti", rows, weights, error, optimize=True)
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        local = local @ rotation(-step[:, :72].reshape(-1, 24, 3))
        trans = trans - step[:, 72:]
    return rotation_vector(local), trans
