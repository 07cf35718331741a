"""Joints that a detector does not give but others imply, in one place, in 3D, after triangulation.

- neck: the middle of the shoulders. mid_hip: the middle of the hips.
- head_top: ``neck + HEAD · (head − neck)``, where head is the middle of the ears. Standing, the centres of
  the shoulder joints are at 0.790 of the stature and the ears (tragion) at 0.925, so the top is
  (1 − 0.790) / (0.925 − 0.790) = 1.56 times as far.
- Where an ear is hidden, it and the middle of both follow from the other ear and the nose: seen from above, the middle
  makes a right triangle with them, of sides NOSE (tragion to the tip of the nose) and EAR (half the breadth of the
  tragions).
  Otherwise it is what of the face is seen, moved towards the axis of the neck by its distance from that.

Sources: de Leva 1996 (joint centres; the acromion, at 0.82, is 5 cm above that of the shoulder); ANSUR II (Gordon et
al. 2014) for heights, bitragion breadth 14.3 cm, tragion to tip of nose 12.5 cm, to the eye 9.5 cm; neck to hips 50 cm.

A derived joint is no measurement: it is marked, its residual is NaN, its confidence is the least of its sources', and
its covariance follows from theirs as if they were independent.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

HEAD = 1.56
EAR_M, NOSE_M, EYE_M, TORSO_M = 0.0715, 0.125, 0.095, 0.50


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
def _dot(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def _cross_into(a, b, out):  # type: ignore[no-untyped-def]
    out[0], out[1], out[2] = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@kernel
def _across_into(a, b, up, out):  # type: ignore[no-untyped-def]
    """out ← a − b without its part along up."""
    for i in range(3):
        out[i] = a[i] - b[i]
    along = _dot(out, up)
    for i in range(3):
        out[i] = out[i] - along * up[i]


@kernel
def _head_from_one_ear(x, C, ear, side, nose, other, up, ear_m, nose_m, head, head_covariance):  # type: ignore[no-untyped-def]
    """The middle of the ears, and the other ear into x and C, by an ear and the nose; False where they coincide."""
    d, turned, lateral = np.empty(3), np.empty(3), np.empty(3)
    _across_into(x[nose], x[ear], up, d)
    # turning d by this angle about up (towards the ear's side) gives the direction of the face
    angle = side * math.atan2(ear_m, nose_m)
    _cross_into(up, d, turned)
    for i in range(3):
        turned[i] = math.cos(angle) * d[i] + math.sin(angle) * turned[i]
    length = math.sqrt(_dot(turned, turned))
    if length < 1e-3:
        return False
    for i in range(3):
        turned[i] = turned[i] / length
    _cross_into(up, turned, lateral)
    for i in range(3):
        head[i] = x[ear, i] - side * lateral[i] * length * ear_m / math.hypot(ear_m, nose_m)
        x[other, i] = 2 * head[i] - x[ear, i]
        for k in range(3):
            head_covariance[i, k] = C[ear, i, k]
            C[other, i, k] = 2 * C[ear, i, k]
    return True


@kernel
def _derive(points, covariance, confidence, index, head_factor, ear_m, nose_m, eye_m, torso_m, done):  # type: ignore[no-untyped-def]
    neck, mid_hip, top, nose = index[0], index[1], index[2], index[3]
    head, up, d, head_covariance = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros((3, 3))
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
        left, right = index[8], index[9]
        if _has(x, left) and _has(x, right):
            _mean_into(x[left], x[right], 2, head)
            _means_into(C[left], C[right], 4, head_covariance)
            sure = min(w[left], w[right])
        else:
            if not _has(x, mid_hip):
                continue
            for i in range(3):
                up[i] = x[neck, i] - x[mid_hip, i]
            torso = math.sqrt(_dot(up, up))
            if torso < 0.1:
                continue
            for i in range(3):
                up[i] = up[i] / torso
            if _has(x, nose) and (_has(x, left) or _has(x, right)):
                ear = left if _has(x, left) else right
                side = 1.0 if ear == left else -1.0
                other = right if ear == left else left
                if not _head_from_one_ear(x, C, ear, side, nose, other, up, ear_m, nose_m, head, head_covariance):
                    continue
                sure = min(w[ear], w[nose])
                w[other] = sure
                done[p, other] = True
            else:
                # a face lies before the axis of the neck wherever it is turned: back along its own offset from that
                head[:] = 0.0
                head_covariance[:] = 0.0
                n = 0
                sure = 1.0
                for k in range(5):  # nose, ears, eyes
                    j = nose if k == 0 else index[7 + k]
                    if _has(x, j):
                        _across_into(x[j], x[neck], up, d)
                        length = math.sqrt(_dot(d, d))
                        depth = (nose_m if k == 0 else ear_m if k < 3 else eye_m) * torso / torso_m
                        share = min(1.0, depth / max(length, 1e-6))
                        for i in range(3):
                            head[i] += x[j, i] - share * d[i]
                            for m in range(3):
                                head_covariance[i, m] += C[j, i, m]
                        sure = min(sure, w[j])
                        n += 1
                if n == 0:
                    continue
                for i in range(3):
                    head[i] /= n
                    for m in range(3):
                        head_covariance[i, m] = head_covariance[i, m] / (n * n)
        for i in range(3):
            x[top, i] = x[neck, i] + head_factor * (head[i] - x[neck, i])
            for m in range(3):
                C[top, i, m] = (head_factor - 1) ** 2 * C[neck, i, m] + head_factor**2 * head_covariance[i, m]
        w[top] = min(w[neck], sure)
        done[p, top] = True


def imply_joints(points: Float, covariance: Float, confidence: Float, r: JointRoles) -> NDArray[np.bool_]:
    """Fill the implied joints of (P, J, 3) points, (P, J, 3, 3) covariance and (P, J) confidence in place.

    Returns (P, J) bool: which were filled. A joint that was measured is left as it is.
    """
    done = np.zeros(points.shape[:2], np.bool_)
    _derive(points, covariance, confidence, r.index, HEAD, EAR_M, NOSE_M, EYE_M, TORSO_M, done)
    return done
