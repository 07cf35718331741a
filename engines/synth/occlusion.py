"""Which joints stand behind somebody else: bodies as spheres that hide what is farther away."""

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

_HALPE = skeleton("halpe26")
# spheres that hide what stands behind them: (joint, joint, share of the way, radius in m)
_BODY_SPHERES = tuple(
    (_HALPE.index(a), _HALPE.index(b), u, r)
    for a, b, us, r in (
        ("neck", "mid_hip", (0.1, 0.35, 0.6, 0.85), 0.16),
        ("neck", "head_top", (0.6,), 0.11),
        ("left_hip", "left_knee", (0.25, 0.6), 0.08),
        ("right_hip", "right_knee", (0.25, 0.6), 0.08),
        ("left_knee", "left_ankle", (0.3, 0.7), 0.06),
        ("right_knee", "right_ankle", (0.3, 0.7), 0.06),
    )
    for u in us
)


def hidden(points_world: Float, camera: Camera) -> NDArray[np.bool_]:
    """(P, J) whether a joint stands behind somebody else's body, as seen by the camera."""
    people = len(points_world)
    out = np.zeros(points_world.shape[:2], bool)
    a, b, u, radius = (np.array(column) for column in zip(*_BODY_SPHERES, strict=True))
    rays = points_world - camera.centre_world
    length = np.linalg.norm(rays, axis=-1)
    unit = rays / length[..., None]
    with np.errstate(invalid="ignore"):
        for q in range(people):
            spheres = points_world[q, a] * (1 - u)[:, None] + points_world[q, b] * u[:, None] - camera.centre_world
            along = unit @ spheres.T
            gap2 = (spheres**2).sum(axis=-1) - along**2
            hit = ((gap2 < radius**2) & (along > 0) & (along < length[..., None] - 0.2)).any(axis=-1)
            hit[q] = False
            out |= hit
    return out
