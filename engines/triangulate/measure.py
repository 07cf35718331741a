"""Between the stages of fusion: views moved to the time of the set, people measured, views that see somebody else."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.observations import CameraArrays
from kinecast.engines.records import pack_covariance
from kinecast.engines.triangulate.face_check import reject_implausible_face
from kinecast.engines.triangulate.left_right import correct_left_right
from kinecast.engines.triangulate.solve import NoiseScale, Solution, noise_sigma, triangulate

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SPEED_SD_MPS = 0.5  # how wrong the velocity may be by which a view is moved to the time of the set
DRIFT_MPS = 0.15  # how fast joints that optical flow follows leave those that a model would see
LEAST_FRESH = 0.05
UNKNOWN_SPEED_MPS = 1.5  # of somebody whose velocity is not known yet
LEAST_INLIER_RATIO = 0.34  # share of a view's joints that the rest confirms; with less it sees somebody else
JOINTS_TO_JUDGE_VIEW = 4  # joints by which a view is judged


@kernel
def _motion_compensate(P, X, V, dt, xy):  # type: ignore[no-untyped-def]
    for p in range(xy.shape[0]):
        for c in range(xy.shape[1]):
            if dt[c] == 0:
                continue
            M = P[c]
            for j in range(xy.shape[2]):
                x, v = X[p, j], V[p, j]
                if not (math.isfinite(xy[p, c, j, 0]) and math.isfinite(x[0]) and math.isfinite(v[0])):
                    continue
                z = M[2, 0] * x[0] + M[2, 1] * x[1] + M[2, 2] * x[2] + M[2, 3]
                if not z > 0.05:
                    continue
                u = (M[0, 0] * x[0] + M[0, 1] * x[1] + M[0, 2] * x[2] + M[0, 3]) / z
                w = (M[1, 0] * x[0] + M[1, 1] * x[1] + M[1, 2] * x[2] + M[1, 3]) / z
                dz = M[2, 0] * v[0] + M[2, 1] * v[1] + M[2, 2] * v[2]
                xy[p, c, j, 0] += dt[c] * (M[0, 0] * v[0] + M[0, 1] * v[1] + M[0, 2] * v[2] - u * dz) / z
                xy[p, c, j, 1] += dt[c] * (M[1, 0] * v[0] + M[1, 1] * v[1] + M[1, 2] * v[2] - w * dz) / z


def motion_compensate(
    cameras: CameraArrays, xy: Float, dt_to_set_s: Float, points_world_m: Float, velocity_mps: Float
) -> None:
    """Move observations xy (P, C, J, 2) in place by ``dt_to_set_s`` (C,), the time of the set minus that of each view.

    By the image motion of each joint's own 3D velocity (P, J, 3); a joint whose velocity is not known stays.
    """
    if np.any(dt_to_set_s):
        _motion_compensate(cameras.P, points_world_m, velocity_mps, dt_to_set_s, xy)


@kernel
def _depths(P, X, out):  # type: ignore[no-untyped-def]
    middle = np.zeros(3)
    for p in range(X.shape[0]):
        middle[:] = 0.0
        n = 0
        for j in range(X.shape[1]):
            if math.isfinite(X[p, j, 0]):
                middle += X[p, j]
                n += 1
        for c in range(P.shape[0]):
            out[p, c] = np.nan
            if n:
                d = P[c, 2, 0] * middle[0] + P[c, 2, 1] * middle[1] + P[c, 2, 2] * middle[2]
                out[p, c] = d / n + P[c, 2, 3]


def depths(cameras: CameraArrays, points_world_m: Float) -> Float:
    """(P, C) depth in metres of the middle of each person (P, J, 3) in each camera; NaN where no joint is known."""
    out = np.empty((len(points_world_m), len(cameras)))
    _depths(cameras.P, points_world_m, out)
    return out


def inflate_sigma(sigma: Float, depth_m: Float, dt_to_set_s: Float, speed_sd_mps: float) -> Float:
    """sigma (P, C), normalised, with what moving the views by ``dt_to_set_s`` adds at ``depth_m``."""
    if not np.any(dt_to_set_s):
        return sigma
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Float = np.where(sigma > 0, np.hypot(sigma, dt_to_set_s * speed_sd_mps / depth_m), 0.0)
    return out


def drifted_sigma(sigma: Float, depth_m: Float, look_age_s: Float | None) -> Float:
    """sigma (P, C), normalised, with how far optical flow may have led joints astray in ``look_age_s`` (P, C)."""
    if look_age_s is None:
        return sigma
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Float = np.where(sigma > 0, np.hypot(sigma, look_age_s * DRIFT_MPS / depth_m), 0.0)
    return out


def fresh_share(used: NDArray[np.bool_], confidence: Float, look_age_s: Float) -> Float:
    """(P, J) which share of what joints stand on is news: used (P, C, J), confidence (P, C, J), look_age_s (P, C).

    A joint that flow has moved repeats the error of the last look at it, so of all that a look and the pictures that
    follow it say, the look alone counts. Where nothing is new a little counts, for what the flow tells of the motion.
    """
    weight = np.where(used, confidence, 0.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (weight * (look_age_s == 0)[..., None]).sum(axis=1) / weight.sum(axis=1)
    return np.where(np.isfinite(share), np.maximum(share, LEAST_FRESH), 1.0)


@kernel
def _outlier_views(used, confidence, share, least, out):  # type: ignore[no-untyped-def]
    people, C, J = confidence.shape
    for p in range(people):
        fine = 0
        for c in range(C):
            n = kept = 0
            for j in range(J):
                kept += used[p, c, j]
                if confidence[p, c, j] > 0:
                    for k in range(C):
                        if used[p, k, j]:
                            n += 1
                            break
            out[p, c] = n >= least and kept < share * n
            fine += n > 0 and not out[p, c]
        if fine < 2:
            out[p] = False


def outlier_views(used: NDArray[np.bool_], confidence: Float) -> NDArray[np.bool_]:
    """(P, C) views whose joints the others mostly contradict: used (P, C, J) against confidence (P, C, J) > 0.

    Joints that nobody could triangulate judge no view; the last two views of a person stay.
    """
    out = np.zeros(used.shape[:2], np.bool_)
    _outlier_views(used, confidence, LEAST_INLIER_RATIO, JOINTS_TO_JUDGE_VIEW, out)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """n people measured in one set. rows: (n,) in the estimate; assigned: (n, C) detection, −1 where none. fresh: (n,
    J) of :func:`fresh_share`, None where all is."""

    rows: Int
    solution: Solution
    assigned: Int
    fresh: Float | None = None

    def concat(self, other: "Measured") -> "Measured":
        """These, then the others."""
        return Measured(
            np.concatenate([self.rows, other.rows]),
            self.solution.concat(other.solution),
            np.concatenate([self.assigned, other.assigned]),
            None if self.fresh is None and other.fresh is None else np.concatenate([self._share, other._share]),
        )

    @property
    def _share(self) -> Float:
        return np.ones(self.solution.confidence.shape) if self.fresh is None else self.fresh


class Measurer:
    """Triangulation of whole people that puts right what single views got wrong. ``noise`` is learnt from results."""

    def __init__(self, cameras: CameraArrays, joints: int, groups: Int, face: Int) -> None:
        self.noise = NoiseScale(len(cameras), joints)
        self._cameras, self._groups, self._face = cameras, groups, face

    def measure(
        self,
        xy: Float,
        confidence: Float,
        known_world_m: Float,
        sd_m: Float,
        assigned: Int,
        dt_to_set_s: Float,
        speed_sd_mps: float,
        look_age_s: Float | None = None,
    ) -> tuple[Solution, NDArray[np.bool_], Int]:
        """Triangulate people expected at ``known_world_m`` (P, J, 3) ± ``sd_m`` (P, J).

        xy (P, C, J, 2) and confidence (P, C, J) are put right in place: left and right that a view exchanged, views
        that see somebody else (confidence 0). assigned: (P, C) detections. dt_to_set_s, speed_sd_mps:
        ``inflate_sigma``. look_age_s: (P, C) of the detections, None where models looked at all. Returns the solution,
        which groups were exchanged (P, C, G), and ``assigned`` with −1 for the views left out.
        """
        cameras = self._cameras
        depth = depths(cameras, known_world_m)
        sigma = inflate_sigma(noise_sigma(cameras, depth), depth, dt_to_set_s, speed_sd_mps)
        sigma = drifted_sigma(sigma, depth, look_age_s)
        factor = self.noise.factor
        flips = np.zeros((*assigned.shape, len(self._groups)), np.bool_)
        correct_left_right(cameras, xy, confidence, known_world_m, self._groups, flips)
        solution = triangulate(cameras, xy, confidence, sigma, known_world_m, sd_m, factor)
        points = solution.points_world_m
        again = correct_left_right(
            cameras, xy, confidence, np.where(np.isfinite(points), points, known_world_m), self._groups, flips
        )
        other = outlier_views(solution.used(len(cameras)), confidence)
        if other.any():
            confidence[other] = 0.0
            assigned = np.where(other, -1, assigned)
        if again or other.any():
            solution = triangulate(cameras, xy, confidence, sigma, known_world_m, sd_m, factor)
        reject_implausible_face(solution, self._face)
        return solution, flips, assigned


@dataclass(frozen=True, slots=True)
class Packed:
    """What a message carries of P people, in its dtypes."""

    points_world_m: NDArray[np.float32]
    covariance_m2: NDArray[np.float32]
    confidence: NDArray[np.float32]


def pack(points: Float, covariance: Float, confidence: Float) -> Packed:
    """(P, J, 3), (P, J, 3, 3) and (P, J) as float32, the covariance as its upper triangle (P, J, 6)."""
    return Packed(
        points.astype(np.float32),
        pack_covariance(covariance),
        confidence.astype(np.float32),
    )
