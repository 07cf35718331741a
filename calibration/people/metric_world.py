"""What no picture shows, from what is known of people: metres from a stature or a distance, up and floor from feet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people.camera_poses import CameraPoses
from kinecast.calibration.people.walk import Roles, Walk

Float = NDArray[np.float64]

BODY_SHARE = 0.03  # standard deviation of a limb's share of the stature between people, about
# of where detectors put joints: in one metric rig legs came out 0.75 m by one detector, 0.83 m by another; all limbs
# of one detector share it, so no number of limbs makes it smaller
DETECTOR_SHARE = 0.07
REST_MPS = 0.3  # a foot slower than this stands
LEAST_FLOOR_M = 0.25  # standard deviation of the standing feet across their line: less spans no floor
LEAST_FEET = 30
LEAN_RAD = np.deg2rad(12.0)  # a floor steeper than this against standing bodies is no floor
LEGS_STRAIGHT = 0.9  # hip to ankle, as a share of the longest seen: the legs of somebody who stands or walks


@dataclass(frozen=True, slots=True)
class Metres:
    """factor: from the units of the points to metres; sigma: its uncertainty as a share; source: from what, in
    words."""

    factor: float
    sigma: float
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """up: (3,) unit vector. height: of the floor along it. middle: (3,) of the walk. floor: whether feet gave both,
    else the direction is that of standing bodies. source: from what, in words. scatter: of the feet about the floor.
    """

    up: Float
    height: float
    middle: Float
    floor: bool
    source: str
    scatter: float


def from_stature(points: Float, roles: Roles, stature_m: float) -> Metres:
    """Metres from a person's height: limbs are shares of it (Drillis and Contini 1966). points: (N, J, 3)."""
    ratios = []
    for a, b, share in roles.bones:
        length = np.linalg.norm(points[:, a] - points[:, b], axis=1)
        length = length[np.isfinite(length)]
        if len(length) >= 5:
            ratios.append(share * stature_m / float(np.median(length)))
    if not ratios:
        return Metres(np.nan, np.nan, "no limb of the person is seen whole")
    scatter = float(np.std(ratios)) / float(np.median(ratios)) / np.sqrt(len(ratios) / 2)  # left and right are one
    sigma = float(np.sqrt(BODY_SHARE**2 + DETECTOR_SHARE**2 + scatter**2))
    return Metres(
        float(np.median(ratios)),
        sigma,
        f"a stature of {stature_m:.2f} m, by {len(ratios)} limbs, good to {100 * sigma:.0f} %",
    )


def from_distance(points: Float, a: int, b: int, roles: Roles, metres: float) -> Metres:
    """Metres from a measured distance between two joints."""
    length = np.linalg.norm(points[:, a] - points[:, b], axis=1)
    length = length[np.isfinite(length)]
    source = f"{roles.names[a]} to {roles.names[b]}, {metres:.3f} m"
    if len(length) < 5:
        return Metres(np.nan, np.nan, f"{source}: seen together {len(length)} times")
    middle = float(np.median(length))
    scatter = float(np.median(np.abs(length - middle))) * 1.48 / middle
    return Metres(metres / middle, max(0.01, scatter / np.sqrt(len(length) / 5)), source)


def from_cameras(places: CameraPoses, a: int, b: int, names: tuple[str, ...], metres: float) -> Metres:
    """Metres from the measured distance of two cameras."""
    length = float(np.linalg.norm(places.centres[a] - places.centres[b]))
    return Metres(metres / length, 0.005, f"{names[a]} to {names[b]}, {metres:.3f} m")


def ground(walk: Walk, points: Float, stature_m: float) -> Ground:
    """Up and the floor of a walk; points: (N, J, 3) in metres, in any world.

    Standing feet span the floor where somebody went along and across; else up is the mean direction of the legs.
    """
    hips, ankles = ([leg[k] for leg in walk.roles.legs] for k in (0, 1))
    along = np.nanmean(points[:, hips] - points[:, ankles], axis=1) if len(points) else np.zeros((0, 3))
    length = np.linalg.norm(along, axis=1)
    along = along[np.isfinite(length) & (length > LEGS_STRAIGHT * np.nanpercentile(length, 95))]
    body = along.mean(axis=0) / np.linalg.norm(along.mean(axis=0)) if len(along) else np.array([0.0, 0.0, 1.0])
    for _ in range(5):  # robust: a bow or a stumble counts less
        lean = np.arccos(np.clip(along @ body / np.linalg.norm(along, axis=1), -1, 1))
        weight = 1 / (1 + (lean / max(0.02, float(np.median(lean)))) ** 2)
        total = (weight[:, None] * along).sum(axis=0)
        body = total / np.linalg.norm(total)
    middle = np.nanmedian(points[:, hips].reshape(-1, 3), axis=0)
    feet = _standing(walk, points, body, stature_m)
    if len(feet) < LEAST_FEET:
        low = _height(walk, points, body, stature_m)
        return Ground(body, low, middle, False, "up from standing bodies, floor from the lowest feet", np.nan)
    centre, normal, second, scatter = _plane(feet)
    normal = normal * np.sign(normal @ body)
    if second > LEAST_FLOOR_M and np.arccos(np.clip(normal @ body, -1, 1)) < LEAN_RAD:
        return Ground(
            normal, float(centre @ normal), middle, True, f"up and floor from {len(feet)} standing feet", scatter
        )
    return Ground(
        body, float(np.median(feet @ body)), middle, False,
        "up from standing bodies (the feet span no floor), floor from standing feet", scatter,
    )  # fmt: skip


def _standing(walk: Walk, points: Float, up: Float, stature_m: float) -> Float:
    """(n, 3) where joints of feet stand, brought down to the sole; only the lower foot of each instant."""
    out = []
    dt = np.diff(walk.t_s)
    near = (dt > 0) & (dt < 0.25) & (np.diff(walk.person) == 0)
    for joint, share in walk.roles.feet:
        p = points[:, joint]
        step = np.linalg.norm(np.diff(p, axis=0), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            slow = near & (step / np.maximum(dt, 1e-9) < REST_MPS)
        rest = np.zeros(len(p), bool)
        rest[1:] |= slow
        rest[:-1] &= slow if len(slow) else False
        rest &= np.isfinite(p).all(axis=1)
        out.append(p[rest] - share * stature_m * up)
    feet = np.concatenate(out) if out else np.zeros((0, 3))
    if len(feet):
        high = feet @ up
        feet = feet[high < np.median(high) + 0.1]
    return feet


def _height(walk: Walk, points: Float, up: Float, stature_m: float) -> float:
    low = [(points[:, j] @ up) - share * stature_m for j, share in walk.roles.feet]
    lowest = np.fmin.reduce(low)
    return float(np.nanmedian(lowest)) if np.isfinite(lowest).any() else 0.0


def _plane(points: Float) -> tuple[Float, Float, float, float]:
    """Robust plane: a point, its normal, the second largest standard deviation within it, the scatter about it."""
    weight = np.ones(len(points))
    for _ in range(10):
        centre = (weight[:, None] * points).sum(axis=0) / weight.sum()
        _, s, Vt = np.linalg.svd((points - centre) * np.sqrt(weight / weight.sum())[:, None], full_matrices=False)
        off = np.abs((points - centre) @ Vt[2])
        scatter = 1.48 * float(np.median(off))
        weight = 1 / (1 + (off / max(2 * scatter, 0.005)) ** 2) ** 2
    return centre, Vt[2], float(s[1]), scatter


def into_world(places: CameraPoses, points: Float, factor: float, ground_of: Ground) -> tuple[CameraPoses, Float]:
    """Places and points (N, J, 3) in a world of metres, z up, floor at 0, origin under the middle of the walk.

    x is level and points towards the first camera. ``ground_of`` is in metres already, in the world of the
    points times ``factor``.
    """
    Q, d = axes_of(factor * places.centres[0], ground_of)
    return places.in_world(factor, Q, d), factor * points @ Q.T + d


def axes_of(towards_m: Float, ground_of: Ground) -> tuple[Float, Float]:
    """(3, 3) and (3,) that take points into the world of a ground: z up, x level and towards ``towards_m``."""
    up = ground_of.up
    origin = ground_of.middle - (ground_of.middle @ up - ground_of.height) * up
    towards = towards_m - origin
    x = towards - (towards @ up) * up
    if np.linalg.norm(x) < 1e-6:
        x = np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])
    x /= np.linalg.norm(x)
    Q = np.stack([x, np.cross(up, x), up])
    return Q, -Q @ origin
