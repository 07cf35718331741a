"""A body of 60 vertices whose numbers are drawn, as the table of a published file."""

from typing import Any

import numpy as np

from kinecast.engines.body.model.body import PARENTS

VERTICES = 60
# SMPL-H and SMPL-X: after the 22 joints of the body (and jaw and eyes on the head) five fingers of three joints a hand
_FINGERS = [p for wrist in (20, 21) for _ in range(5) for p in (wrist, None, None)]


def parents_of(joints: int) -> np.ndarray:
    """Parents as the published kinematic trees have them, −1 for the root."""
    out = [int(p) for p in PARENTS[: min(joints, 24)]]
    if joints in (52, 55):
        out = out[:22] + [15] * (joints - 52)
        for p in _FINGERS:
            out.append(len(out) - 1 if p is None else p)
    return np.array(out)


def table(joints: int = 24, betas: int = 10, posedirs: bool = False, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    regressor = rng.random((joints, VERTICES)) ** 8
    weights = rng.random((VERTICES, joints)) ** 8
    tree = np.stack([parents_of(joints), np.arange(joints)]).astype(np.int64)
    tree[0, 0] = 2**32 - 1  # as published
    return {
        "v_template": rng.normal(0, 0.4, (VERTICES, 3)),
        "shapedirs": rng.normal(0, 0.01, (VERTICES, 3, betas)),
        "posedirs": rng.normal(0, 0.01, (VERTICES, 3, 9 * (joints - 1))) * posedirs,
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "kintree_table": tree.astype(np.uint32),
        "f": rng.integers(0, VERTICES, (90, 3)).astype(np.uint32),
    }
