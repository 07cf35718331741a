"""How good a result is: errors against a truth, and what can be said without one.

Definitions: docs/reference/measures.md.
"""

from kinecast.engines.metrics.joints import Score, auc, joint_errors, mpjpe, mrpe, n_mpjpe, p_mpjpe, pck, velocity_error
from kinecast.engines.metrics.multi_person import ap_root, assign, average_precision, distances, identities, pcp
from kinecast.engines.metrics.steady import (
    BoneStability,
    Reprojection,
    bone_stability,
    coverage,
    jitter,
    jitter_m,
    limb_bones,
    limb_joints,
    reprojection,
    reprojection_errors,
)

__all__ = [
    "BoneStability",
    "Reprojection",
    "Score",
    "ap_root",
    "assign",
    "auc",
    "average_precision",
    "bone_stability",
    "coverage",
    "distances",
    "identities",
    "jitter",
    "jitter_m",
    "joint_errors",
    "limb_bones",
    "limb_joints",
    "mpjpe",
    "mrpe",
    "n_mpjpe",
    "p_mpjpe",
    "pck",
    "pcp",
    "reprojection",
    "reprojection_errors",
    "velocity_error",
]
