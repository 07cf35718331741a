"""Joints that a detector does not give but others imply, in one place, in 3D, after triangulation.

- neck: the middle of the shoulders. mid_hip: the middle of the hips.
- head_top, and an ear that is hidden: from the head as one rigid thing (:mod:`.head`), so that a bowed or turned head
  has its top where it is.

A derived joint is no measurement: it is marked, its residual is NaN, its confidence is the least of its sources', and
its covariance follows from theirs as if they were independent; that of the head holds how heads and necks differ, too.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.estimate.head import (
    BENT_SD,
    EARS,
    MAX_SD_M,
    OWN_SD_M,
    TEMPLATE_M,
    TOP_M,
    TOP_SD_M,
    TURNED_SD,
    head_rows,
    lay_head,
    place_on_head,
)
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class JointRoles:
    """Indices of the joints that the rules speak of.

    neck, mid_hip, head_top, nose, then left and right shoulder, hip, ear and eye.
    """

    index: NDArray[np.int64]


def joint_roles(name: str) -> JointRoles:
    """The roles in a skeleton that has them all (halpe26)."""
    s = skeleton(name)
    one = ["neck", "mid_hip", "head_top", "nose"]
    two = [f"{side}_{part}" for part in ("shoulder", "hip", "ear", "eye") for side in ("left", "right")]
    return JointRoles(np.array([s.index(j) for j in one + two], np.int64))


@kernel(inline="always")
def _has(x, j):  # type: ignore[no-untyped-def]
    return math.isfinite(x[j, 0])


# In loops throughout: what numba makes of sums of arrays took 14 seconds to compile.


@kernel
def _mean_into(a, b, by, out):  # type: ignore[no-untyped-def]
    """out ← (a + b) / by of arrays (3,)."""
    for i in range(3):
        out[i] = (a[i] + b[i]) / by


@kernel
def _means_into(a, b, by, out):  # type: ignore[no-untyped-def]
    """out ← (a + b) / by of matrices (3, 3)."""
    for i in range(3):
        for k in range(3):
            out[i, k] = (a[i, k] + b[i, k]) / by


@kernel
def _derive(  # type: ignore[no-untyped-def]
    points, covariance, confidence, index, head, template, top_m, own_sd, top_sd, max_sd, bent_sd, turned_sd, done
):
    neck, top = index[0], index[2]
    rotation, origin, turn = np.zeros((3, 3)), np.zeros((2, 3)), np.zeros((3, 3))
    at, spread = np.zeros(3), np.zeros((3, 3))
    for p in range(points.shape[0]):
        x, C, w = points[p], covariance[p], confidence[p]
        for k in range(2):
            j, a, b = index[k], index[4 + 2 * k], index[5 + 2 * k]
            if not _has(x, j) and _has(x, a) and _has(x, b):
                _mean_into(x[a], x[b], 2, x[j])
                _means_into(C[a], C[b], 4, C[j])
                w[j] = min(w[a], w[b])
                done[p, j] = True
        if _has(x, top) or not _has(x, neck):
            continue
        sure, seen = w[neck], 0
        for k in range(5):  # nose, ears, eyes
            j = index[3] if k == 0 else index[7 + k]
            if _has(x, j):
                sure = min(sure, w[j])
                seen += 1
        if seen == 0:
            continue
        total = lay_head(x, C, index, head, template, own_sd, bent_sd, turned_sd, rotation, origin, turn)
        if total == 0.0 or not place_on_head(top_m, top_sd, rotation, origin, turn, total, at, spread) < max_sd:
            continue
        x[top] = at
        C[top] = spread
        w[top] = sure
        done[p, top] = True
        for k in range(2):
            ear = index[8 + k]
            if seen > 1 and not _has(x, ear):
                sd = place_on_head(template[EARS + k], own_sd[EARS + k], rotation, origin, turn, total, at, spread)
                if sd < max_sd:
                    x[ear] = at
                    C[ear] = spread
                    w[ear] = sure
                    done[p, ear] = True


def imply_joints(points: Float, covariance: Float, confidence: Float, r: JointRoles) -> NDArray[np.bool_]:
    """Fill the implied joints of (P, J, 3) points, (P, J, 3, 3) covariance and (P, J) confidence in place.

    Returns (P, J) bool: which were filled. A joint that was measured is left as it is.
    """
    done = np.zeros(points.shape[:2], np.bool_)
    _derive(
        points, covariance, confidence, r.index, head_rows(r.index), TEMPLATE_M, TOP_M, OWN_SD_M, TOP_SD_M, MAX_SD_M,
        BENT_SD, TURNED_SD, done,
    )  # fmt: skip
    return done
