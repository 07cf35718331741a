"""Which joints stand behind a body, another's or the own: bodies as spheres that hide what is farther away."""

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

_HALPE = skeleton("halpe26")
_LEG = ("hip", "knee", "ankle", "big_toe", "small_toe", "heel")
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


_OWN_MARGIN_M = 0.06  # so much nearer to the camera than the joint lies the middle of what hides it
_OWN_SPHERES = tuple(
    (_HALPE.index(a), _HALPE.index(b), u, r, spared)
    for a, b, us, r, spared in (
        ("neck", "mid_hip", (0.12, 0.36, 0.6, 0.85), 0.12, ("neck", "mid_hip")),
        ("left_ear", "right_ear", (0.5,), 0.08, ("neck", "head_top")),
        *(
            (f"{s}_{a}", f"{s}_{b}", (0.3, 0.65), r, tuple(f"{s}_{j}" for j in _LEG))
            for s in ("left", "right")
            for a, b, r in (("hip", "knee", 0.075), ("knee", "ankle", 0.055))
        ),
    )
    for u in us
)


def own_body_hides(points_world: Float, centre_world: Float) -> NDArray[np.bool_]:
    """(…, 26) whether a joint of points (…, 26, 3) stands behind the own trunk, head or legs, seen from there."""
    a, b, u, radius, _ = zip(*_OWN_SPHERES, strict=True)
    spared = np.zeros((len(_HALPE), len(_OWN_SPHERES)), bool)
    for k, sphere in enumerate(_OWN_SPHERES):
        spared[[_HALPE.index(j) for j in sphere[4]], k] = True
    share = np.array(u)[:, None]
    spheres = points_world[..., list(a), :] * (1 - share) + points_world[..., list(b), :] * share - centre_world
    rays = points_world - centre_world
    length = np.linalg.norm(rays, axis=-1)
    along = np.einsum("...jd,...sd->...js", rays / length[..., None], spheres)
    gap2 = (spheres**2).sum(axis=-1)[..., None, :] - along**2
    with np.errstate(invalid="ignore"):
        hit = (gap2 < np.array(radius) ** 2) & (along < length[..., None] - _OWN_MARGIN_M) & ~spared
    return np.asarray(hit.any(axis=-1))
