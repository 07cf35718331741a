"""What the stages of fusion share: cameras as arrays, and every view's detections in one skeleton, without the lens.

Undistorting a keypoint once, here, makes every later step a pinhole: coordinates are normalised (z = 1) and a distance
in them times the depth is metres at the person. The lens comes back only where a residual is told in pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.compiled import kernel
from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.skeleton import direct_index, skeleton

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MIN_CONFIDENCE = 0.1  # below this every detector met so far is guessing
BORDER = 0.02  # a keypoint further outside the picture than this share of its size is an extrapolation


@dataclass(frozen=True, slots=True, eq=False)
class CameraArrays:
    """C cameras as arrays that compiled code takes.

    P: (C, 3, 4) [R | t], normalised. centre: (C, 3) metres, world. K: (C, 3, 3). lens: (C, 8) coefficients, zero
    filled. fisheye: (C,) bool. focal_px: (C,) mean focal length. size_px: (C, 2).
    """

    names: tuple[str, ...]
    P: Float
    centre: Float
    K: Float
    lens: Float
    fisheye: NDArray[np.bool_]
    focal_px: Float
    size_px: Float

    def __len__(self) -> int:
        return len(self.names)


def camera_arrays(rig: Rig) -> CameraArrays:
    """The cameras of a rig, in its order."""
    lens = np.zeros((len(rig), 8))
    for c, camera in enumerate(rig):
        lens[c, : len(camera.distortion)] = camera.distortion
    K = np.stack([c.K for c in rig])
    return CameraArrays(
        rig.names,
        np.ascontiguousarray(np.stack([c.P_normalised for c in rig])),
        np.stack([c.centre_world for c in rig]),
        K,
        lens,
        np.array([c.model == "fisheye" for c in rig]),
        (K[:, 0, 0] + K[:, 1, 1]) / 2,
        np.array([c.size_px for c in rig], np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The N people that all views of one set saw, in the common skeleton of J joints.

    xy: (N, J, 2) undistorted normalised coordinates, NaN where missing. confidence: (N, J), 0 where missing.
    camera: (N,) index of the camera; row: (N,) row in that camera's message; ordered by camera, then row.
    start: (C + 1,) first detection of each camera. bad: keypoints that were not finite, by camera. look_age_s: (N,)
    since when optical flow has followed each, see ``Keypoints2D``; empty: none.
    """

    xy: Float
    confidence: Float
    camera: Int
    row: Int
    start: Int
    bad: Int
    look_age_s: Float = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.camera)

    def ages_s(self, assigned: Int) -> Float | None:
        """(P, C) since when flow has followed the detections ``assigned`` (P, C), −1: none; None where it has none."""
        if not self.look_age_s.any():
            return None
        return np.where(assigned >= 0, self.look_age_s[assigned], 0.0)

    def of_rows(self, rows: Int) -> Int:
        """(P, C) detections by their rows (P, C) in the messages, −1 where none."""
        known = (rows >= 0) & (rows < np.diff(self.start))
        return np.where(known, self.start[:-1] + rows, -1)

    def of_people(self, rows: Int) -> tuple[Float, Float]:
        """xy (P, C, J, 2) and confidence (P, C, J) of people by their rows (P, C) in the messages, −1 where none."""
        P, C = rows.shape
        xy, confidence = np.full((P, C, *self.xy.shape[1:]), np.nan), np.zeros((P, C, self.xy.shape[1]))
        chosen = self.of_rows(rows)
        known = chosen >= 0
        xy[known], confidence[known] = self.xy[chosen[known]], self.confidence[chosen[known]]
        return xy, confidence


@kernel
def distort(x: float, y: float, lens: Float, fisheye: bool) -> tuple[float, float]:
    """Undistorted → distorted normalised coordinates (OpenCV's Brown–Conrady or fisheye model)."""
    r2 = x * x + y * y
    if fisheye:
        r = math.sqrt(r2)
        if r < 1e-12:
            return x, y
        a = math.atan(r)
        a2 = a * a
        s = a * (1 + a2 * (lens[0] + a2 * (lens[1] + a2 * (lens[2] + a2 * lens[3])))) / r
        return x * s, y * s
    s = (1 + r2 * (lens[0] + r2 * (lens[1] + r2 * lens[4]))) / (1 + r2 * (lens[5] + r2 * (lens[6] + r2 * lens[7])))
    return (
        x * s + 2 * lens[2] * x * y + lens[3] * (r2 + 2 * x * x),
        y * s + lens[2] * (r2 + 2 * y * y) + 2 * lens[3] * x * y,
    )


@kernel
def undistort(u: float, v: float, lens: Float, fisheye: bool, tolerance: float) -> tuple[float, float]:
    """Distorted → undistorted normalised coordinates by Newton's method; NaN where it does not come back to (u, v).

    tolerance: how near it must come back, in normalised units.
    """
    x, y = u, v
    for _ in range(30):
        bx, by = distort(x, y, lens, fisheye)
        ex, ey = bx - u, by - v
        if abs(ex) + abs(ey) < 1e-13:
            break
        h = 1e-6
        x1, y1 = distort(x + h, y, lens, fisheye)
        x2, y2 = distort(x, y + h, lens, fisheye)
        a, c, b, d = (x1 - bx) / h, (y1 - by) / h, (x2 - bx) / h, (y2 - by) / h
        det = a * d - b * c
        if not det > 1e-6:  # the picture is folded here: no inverse
            return np.nan, np.nan
        x -= (d * ex - b * ey) / det
        y -= (a * ey - c * ex) / det
    bx, by = distort(x, y, lens, fisheye)
    if abs(bx - u) < tolerance and abs(by - v) < tolerance:
        return x, y
    return np.nan, np.nan


@kernel
def _take(px, given, index, K, lens, fisheye, size, low, border, xy, confidence):  # type: ignore[no-untyped-def]
    """Fill xy (n, J, 2) and confidence (n, J) of one view; returns how many keypoints were given and not finite."""
    bad = 0
    plain = True
    for i in range(8):
        plain = plain and lens[i] == 0
    for n in range(px.shape[0]):
        for j in range(index.shape[0]):
            xy[n, j, 0] = np.nan
            xy[n, j, 1] = np.nan
            confidence[n, j] = 0.0
            i = index[j]
            if i < 0:
                continue
            w, x, y = np.float64(given[n, i]), np.float64(px[n, i, 0]), np.float64(px[n, i, 1])
            if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(w)):
                if not w <= 0:
                    bad += 1
                continue
            if w < low or abs(x / size[0] - 0.5) > 0.5 + border or abs(y / size[1] - 0.5) > 0.5 + border:
                continue
            v = (y - K[1, 2]) / K[1, 1]
            u = (x - K[0, 2]) / K[0, 0]  # no skew: OpenCV, and so Camera, has none
            if fisheye or not plain:
                u, v = undistort(u, v, lens, fisheye, 0.1 / K[0, 0])
            if math.isfinite(u) and math.isfinite(v):
                xy[n, j, 0] = u
                xy[n, j, 1] = v
                confidence[n, j] = min(w, 1.0)
    return bad


def undistort_detections(
    cameras: CameraArrays, views: Sequence[Keypoints2D | None], target: str = "halpe26"
) -> Detections:
    """Every view's people in the ``target`` skeleton, undistorted. views: C messages in the cameras' order, or None."""
    counts = [0 if v is None else len(v.keypoints_px) for v in views]
    start = np.zeros(len(views) + 1, np.int64)
    np.cumsum(counts, out=start[1:])
    n, j = int(start[-1]), len(skeleton(target))
    xy, confidence = np.empty((n, j, 2)), np.empty((n, j))
    bad = np.zeros(len(views), np.int64)
    age_s = np.zeros(n)
    for c, view in enumerate(views):
        if view is None or not counts[c]:
            continue
        a, b = start[c], start[c + 1]
        if view.look_age_s.size:
            age_s[a:b] = view.look_age_s
        bad[c] = _take(
            view.keypoints_px, view.confidence, direct_index(view.skeleton, target), cameras.K[c], cameras.lens[c],
            cameras.fisheye[c], cameras.size_px[c], MIN_CONFIDENCE, BORDER, xy[a:b], confidence[a:b],
        )  # fmt: skip
    camera = np.repeat(np.arange(len(views)), counts)
    return Detections(xy, confidence, camera, np.arange(n) - start[camera], start, bad, age_s)


def detection_rows(poses: Poses, cameras: Sequence[str]) -> Int:
    """(P, C) row of each person in the message of each of the ``cameras``, −1 where the view was not used for them."""
    column = {name: c for c, name in enumerate(poses.cameras)}
    out = np.full((len(poses.person_ids), len(cameras)), -1, np.int64)
    for c, name in enumerate(cameras):
        if name in column:
            out[:, c] = poses.detections[:, column[name]]
    return out


def keypoints_of(
    poses: Poses, views: Mapping[str, Keypoints2D], cameras: Sequence[str] | None = None, target: str = ""
) -> tuple[Float, Float, NDArray[np.bool_]]:
    """The keypoints that each of the P people of ``poses`` was made from, as the detectors gave them.

    views: camera → the message of the frame set. cameras: C names, by default those of ``poses``. target: name of the
    skeleton of the J joints, by default that of ``poses``.
    Returns px (P, C, J, 2), pixels of the original (distorted) pictures, NaN where the detector has no such joint;
    confidence (P, C, J), 0 there; and (P, C) whether the view has a detection of the person at all.
    """
    names, target = poses.cameras if cameras is None else cameras, target or poses.skeleton
    rows = detection_rows(poses, names)
    P, C, J = *rows.shape, len(skeleton(target))
    px, confidence, known = np.full((P, C, J, 2), np.nan), np.zeros((P, C, J)), np.zeros((P, C), np.bool_)
    for c, name in enumerate(names):
        view = views.get(name)
        if view is None:
            continue
        known[:, c] = (rows[:, c] >= 0) & (rows[:, c] < len(view.keypoints_px))
        index = direct_index(view.skeleton, target)
        people, joints = np.flatnonzero(known[:, c]), np.flatnonzero(index >= 0)
        source, place = np.ix_(rows[people, c], index[joints]), np.ix_(people, joints)
        px[:, c][place], confidence[:, c][place] = view.keypoints_px[source], view.confidence[source]
    return px, confidence, known
