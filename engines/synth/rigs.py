"""Rigs of the synthetic world: cameras in a ring that look at the middle of a floor, z up."""

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.fixed import applied
from kinecast.capture.errors import KinecastError

# a mild lens of either sign, as machine-vision and action cameras have; the fold is far outside every picture
LENSES = (
    (-0.046, 0.135, 0.0006, 0.0007, 0.0),
    (0.098, -0.120, 0.0004, -0.0012, 0.03),
    (-0.12, 0.05, -0.0005, 0.0003, -0.004),
)


def look_at(position_m: NDArray[np.float64], target_m: NDArray[np.float64], up: NDArray[np.float64]) -> Float:
    """(4, 4) cam_from_world of a camera at ``position_m`` that looks at ``target_m``, its picture upright."""
    z = (target_m - position_m) / np.linalg.norm(target_m - position_m, axis=-1)
    x = np.cross(z, up)
    x /= np.linalg.norm(x, axis=-1)
    R = np.stack([x, np.cross(z, x), z])
    out = np.eye(4)
    out[:3, :3] = R
    out[:3, 3] = -applied(R, position_m)
    return out


def ring_rig(
    cameras: int = 4,
    size_px: tuple[int, int] = (1280, 720),
    *,
    radius_m: float = 5.0,
    seed: int = 0,
    lens: bool = True,
    focal_of_width: float = 0.75,
) -> Rig:
    """``cameras`` (2–16) named cam01, cam02, … around the origin, 1.6–2.6 m high, looking at (0, 0, 0.9).

    focal_of_width: focal length in picture widths of the longer side. lens: mild distortion that differs from camera
    to camera. The seed moves angles, heights and lenses a little, so that no camera stands exactly opposite another.
    """
    if not 2 <= cameras <= 16:
        raise KinecastError(f"a synthetic rig has 2 to 16 cameras, not {cameras}")
    rng = np.random.default_rng((seed, cameras))
    w, h = size_px
    f = focal_of_width * max(w, h)
    out = []
    for i in range(cameras):
        angle = 2 * np.pi * (i + rng.uniform(-0.12, 0.12)) / cameras + 0.3
        place = np.array([radius_m * np.cos(angle), radius_m * np.sin(angle), rng.uniform(1.6, 2.6)])
        target = np.array([*rng.uniform(-0.2, 0.2, 2), 0.9])
        centre = np.array([w, h]) * (0.5 + rng.uniform(-0.02, 0.02, 2))
        K = np.array([[f, 0, centre[0]], [0, f, centre[1]], [0, 0, 1]])
        distortion = LENSES[i % len(LENSES)] if lens else np.zeros(5)
        out.append(
            Camera(f"cam{i + 1:02d}", size_px, K, np.array(distortion), look_at(place, target, np.array([0, 0, 1.0])))
        )
    return Rig(tuple(out), f"synthetic {cameras}", "z")
