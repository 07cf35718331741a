"""Random virtual cameras around a motion: focal length, height, distance, tilt, roll. Vectorised over a batch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CameraRanges:
    """What cameras there are. distance_m and focal (of the picture's longer side) are drawn evenly in their logarithm.

    distance_m: from the person. height_m: of the camera above the middle of the person's hips; a camera closer than
    that stands lower. aim: standard deviation of how far off the picture's centre the person stands, as a share of the
    half picture. roll_rad: standard deviation. portrait: share of pictures that are taller than wide.
    """

    distance_m: tuple[float, float] = (1.8, 9.0)
    height_m: tuple[float, float] = (-0.9, 2.4)
    focal: tuple[float, float] = (0.55, 1.6)
    aim: float = 0.3
    roll_rad: float = 0.05
    portrait: float = 0.3
    size_px: tuple[int, int] = (1920, 1080)


@dataclass(frozen=True, slots=True, eq=False)
class VirtualCameras:
    """B pinhole cameras without distortion, principal point in the middle. R: (B, 3, 3) and t: (B, 3), cam_from_world.

    focal_px: (B,), of both axes. size_px: (B, 2), width and height.
    """

    R: Float
    t: Float
    focal_px: Float
    size_px: Float


def random_cameras(rng: np.random.Generator, target: Float, ranges: CameraRanges) -> VirtualCameras:
    """One camera for each target (B, 3), in a world with y up."""
    B = len(target)
    distance = _logarithmic(rng, ranges.distance_m, B)
    azimuth = rng.uniform(0, 2 * np.pi, B)
    rise = np.clip(rng.uniform(*ranges.height_m, B), -0.8 * distance, 0.8 * distance)
    flat = np.sqrt(distance**2 - rise**2)
    centre = target + np.stack([flat * np.cos(azimuth), rise, flat * np.sin(azimuth)], axis=-1)
    forward = (target - centre) / distance[:, None]
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    R = np.stack([right, np.cross(forward, right), forward], axis=1)  # x right, y down, z forward
    size = np.where((rng.random(B) < ranges.portrait)[:, None], ranges.size_px[::-1], ranges.size_px).astype(np.float64)
    focal = _logarithmic(rng, ranges.focal, B) * size.max(axis=1)
    # the person off the picture's centre, the camera rolled about its axis
    aim = rng.normal(0, ranges.aim, (B, 2)) * size / 2 / focal[:, None]
    R = _about(0, -aim[:, 1]) @ _about(1, aim[:, 0]) @ R
    R = _about(2, rng.normal(0, ranges.roll_rad, B)) @ R
    return VirtualCameras(R, -np.einsum("bij,bj->bi", R, centre), focal, size)


def _logarithmic(rng: np.random.Generator, ends: tuple[float, float], count: int) -> Float:
    low, high = np.log(ends)
    return np.exp(rng.uniform(float(low), float(high), count))


def _about(axis: int, angle: Float) -> Float:
    out = np.zeros((len(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[:, axis, axis] = 1.0
    out[:, i, i] = out[:, j, j] = np.cos(angle)
    out[:, i, j], out[:, j, i] = -np.sin(angle), np.sin(angle)
    return out
