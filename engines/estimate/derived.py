"""Joints that a detector does not give but others imply, in one place, in 3D, after triangulation.

- neck: the middle of the shoulders. mid_hip: the middle of the hips.
- head_top: ``neck + HEAD · (head − neck)``, where head is the middle of the ears, else of the eyes or the nose moved back
  by the depth of the face. Standing, the shoulders are at 0.818 of the stature and the ears (tragion) at 0.925
  (Winter; NASA-STD-3000, anthropometry), so the top is (1 − 0.818) / (0.925 − 0.818) = 1.70 times as far.

A derived joint is no measurement: it is marked, its residual is NaN, its confidence is the least of its sources', and its
covariance follows from theirs as if they were independent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.skeleton import skeleton

Float = NDArray[np.float64]

HEAD = 1.70
FACE_DEPTH = 0.16  # nose or eyes to the ears, in lengths of the torso (neck to mid-hip, 0.29 of the stature): 8 cm


@dataclass(frozen=True, slots=True)
class Roles:
    """Indices of the joints that the rules speak of."""

    neck: int
    mid_hip: int
    head_top: int
    nose: int
    shoulders: tuple[int, int]
    hips: tuple[int, int]
    ears: tuple[int, int]
    eyes: tuple[int, int]


def roles(name: str) -> Roles:
    """The roles in a skeleton that has them all (halpe26)."""
    s = skeleton(name)

    def pair(part: str) -> tuple[int, int]:
        return s.index(f"left_{part}"), s.index(f"right_{part}")

    return Roles(
        s.index("neck"), s.index("mid_hip"), s.index("head_top"), s.index("nose"),
        pair("shoulder"), pair("hip"), pair("ear"), pair("eye"),
    )  # fmt: skip


def derive(points: Float, covariance: Float, confidence: Float, r: Roles) -> NDArray[np.bool_]:
    """Fill the implied joints of (P, J, 3) points, (P, J, 3, 3) covariance and (P, J) confidence in place.

    Returns (P, J) bool: which were filled. A joint that was measured is left as it is.
    """
    done = np.zeros(points.shape[:2], np.bool_)
    for j, pair in ((r.neck, r.shoulders), (r.mid_hip, r.hips)):
        a, b = pair
        todo = np.isnan(points[:, j, 0]) & ~np.isnan(points[:, a, 0]) & ~np.isnan(points[:, b, 0])
        if todo.any():
            points[todo, j] = (points[todo, a] + points[todo, b]) / 2
            covariance[todo, j] = (covariance[todo, a] + covariance[todo, b]) / 4
            confidence[todo, j] = np.minimum(confidence[todo, a], confidence[todo, b])
            done[todo, j] = True
    for p in np.flatnonzero(np.isnan(points[:, r.head_top, 0]) & ~np.isnan(points[:, r.neck, 0])):
        _head(points[p], covariance[p], confidence[p], r, done[p])
    return done


def _head(x: Float, C: Float, conf: Float, r: Roles, done: NDArray[np.bool_]) -> None:
    if np.isfinite(x[list(r.ears), 0]).all():
        use = list(r.ears)
        head = x[use].mean(axis=0)
    else:
        use = [j for j in (*r.eyes, r.nose) if np.isfinite(x[j, 0])]
        sides = [*r.shoulders, r.mid_hip]
        if not use or not np.isfinite(x[sides, 0]).all():
            return
        up = x[r.neck] - x[r.mid_hip]
        forward = np.cross(
            x[r.shoulders[0]] - x[r.shoulders[1]], up
        )  # right to left, then up: a right hand points forward
        length = float(np.linalg.norm(forward))
        if length < 1e-6:
            return
        head = x[use].mean(axis=0) - FACE_DEPTH * float(np.linalg.norm(up)) * forward / length
    x[r.head_top] = x[r.neck] + HEAD * (head - x[r.neck])
    C[r.head_top] = (HEAD - 1) ** 2 * C[r.neck] + HEAD**2 * C[use].sum(axis=0) / len(use) ** 2
    conf[r.head_top] = min(conf[r.neck], conf[use].min())
    done[r.head_top] = True
