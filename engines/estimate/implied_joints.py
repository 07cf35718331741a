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

import numba as nb
import numpy as np
from numpy.typing import NDArray

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


@nb.njit(cache=True, inline="always")
def _has(x, j):  # type: ignore[no-untyped-def]
    return math.isfinite(x[j, 0])


@nb.njit(cache=True)
def _derive(points, covariance, confidence, index, head_factor, ear_m, nose_m, eye_m, torso_m, done):  # type: ignore[no-untyped-def]
    neck, mid_hip, top, nose = index[0], index[1], index[2], index[3]
    head = np.zeros(3)
    for p in range(points.shape[0]):
        x, C, w = points[p], covariance[p], confidence[p]
        for k in range(2):
            j, a, b = index[k], index[4 + 2 * k], index[5 + 2 * k]
            if not _has(x, j) and _has(x, a) and _has(x, b):
                x[j] = (x[a] + x[b]) / 2
                C[j] = (C[a] + C[b]) / 4
                w[j] = min(w[a], w[b])
                done[p, j] = True
        if _has(x, top) or not _has(x, neck):
            continue
        left, right = index[8], index[9]
        if _has(x, left) and _has(x, right):
            head[:] = (x[left] + x[right]) / 2
            head_covariance = (C[left] + C[right]) / 4
            sure = min(w[left], w[right])
        else:
            if not _has(x, mid_hip):
                continue
            up = x[neck] - x[mid_hip]
            torso = math.sqrt((up * up).sum())
            if torso < 0.1:
                continue
            up = up / torso
            if _has(x, nose) and (_has(x, left) or _has(x, right)):
                ear = left if _has(x, left) else right
                side = 1.0 if ear == left else -1.0
                d = x[nose] - x[ear]
                d = d - (d * up).sum() * up
                # turning d by this angle about up (towards the ear's side) gives the direction of the face
                angle = side * math.atan2(ear_m, nose_m)
                forward = math.cos(angle) * d + math.sin(angle) * np.cross(up, d)
                length = math.sqrt((forward * forward).sum())
                if length < 1e-3:
                    continue
                lateral = np.cross(up, forward / length)
                head[:] = x[ear] - side * lateral * length * ear_m / math.hypot(ear_m, nose_m)
                head_covariance = C[ear]
                sure = min(w[ear], w[nose])
                other = right if ear == left else left
                x[other] = 2 * head - x[ear]
                C[other] = 2 * C[ear]
                w[other] = sure
                done[p, other] = True
            else:
                # a face lies before the axis of the neck wherever it is turned: back along its own offset from that
                head[:] = 0.0
                head_covariance = np.zeros((3, 3))
                n = 0
                sure = 1.0
                for k in range(5):  # nose, ears, eyes
                    j = nose if k == 0 else index[7 + k]
                    if _has(x, j):
                        d = x[j] - x[neck]
                        d = d - (d * up).sum() * up
                        length = math.sqrt((d * d).sum())
                        depth = (nose_m if k == 0 else ear_m if k < 3 else eye_m) * torso / torso_m
                        head += x[j] - min(1.0, depth / max(length, 1e-6)) * d
                        head_covariance += C[j]
                        sure = min(sure, w[j])
                        n += 1
                if n == 0:
                    continue
                head /= n
                head_covariance = head_covariance / (n * n)
        x[top] = x[neck] + head_factor * (head - x[neck])
        C[top] = (head_factor - 1) ** 2 * C[neck] + head_factor**2 * head_covariance
        w[top] = min(w[neck], sure)
        done[p, top] = True


def imply_joints(points: Float, covariance: Float, confidence: Float, r: JointRoles) -> NDArray[np.bool_]:
    """Fill the implied joints of (P, J, 3) points, (P, J, 3, 3) covariance and (P, J) confidence in place.

    Returns (P, J) bool: which were filled. A joint that was measured is left as it is.
    """
    done = np.zeros(points.shape[:2], np.bool_)
    _derive(points, covariance, confidence, r.index, HEAD, EAR_M, NOSE_M, EYE_M, TORSO_M, done)
    return done
