"""Two cameras that see the same person: their relative pose up to scale, by the essential matrix of the joints.

Five joints give up to ten essential matrices (Nistér 2004, as OpenCV solves it); the best of many draws, weighted by
confidence, by the truncated sum of squared Sampson distances (Torr and Zisserman 2000), then a bundle of the two views.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people.bundle import adjust, data_of, triangulated
from kinecast.calibration.people.camera_poses import CameraPoses
from kinecast.calibration.people.walk import Roles, Walk

Float = NDArray[np.float64]

DRAWS = 300
SURE = 0.9999  # chance that one of the draws was of five good joints
CUT = 6.0  # σ: detectors are off by two or three times what their confidence says
MOST = 600  # correspondences that score a draw
ROWS = 120  # instants of the bundle of a pair
LEAST = 60  # joints that both see
LEAST_SHARE = 0.5  # of joints that agree with the pose
LEAST_PARALLAX_RAD = np.deg2rad(3.0)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Cameras a < b. b_from_a: R (3, 3), t (3,) in metres by the bones of a person of the given stature.

    shared: joints that both see; share: of them that agree; parallax_rad: median angle of the rays. why: why the
    pair is of no use, "" where it is.
    """

    a: int
    b: int
    shared: int
    share: float = 0.0
    parallax_rad: float = 0.0
    R: Float | None = None
    t: Float | None = None
    why: str = ""

    @property
    def worth(self) -> float:
        """How much a link of this pair is worth: agreeing joints, less where the rays are nearly parallel."""
        return self.shared * self.share * float(np.sin(min(self.parallax_rad, np.pi / 4))) if not self.why else 0.0


def sampson2(E: Float, a: Float, b: Float, sa: Float, sb: Float) -> Float:
    """(n,) squared Sampson distances in σ; a, b (n, 2) normalised, E with bᵀ E a = 0."""
    ha, hb = (np.concatenate([x, np.ones((len(x), 1))], axis=1) for x in (a, b))
    la, lb = ha @ E.T, hb @ E
    e = (hb * la).sum(axis=1)
    grad = sb**2 * (la[:, :2] ** 2).sum(axis=1) + sa**2 * (lb[:, :2] ** 2).sum(axis=1)
    return np.asarray(e**2 / np.maximum(grad, 1e-30))


def essential(a: Float, b: Float, sa: Float, sb: Float, rng: np.random.Generator) -> Float | None:
    """(3, 3) essential matrix that most joints agree with; None where no draw gave one."""
    weight = 1.0 / (sa**2 + sb**2)
    weight = np.minimum(weight, 4 * np.median(weight))
    weight /= weight.sum()
    some = rng.choice(len(a), min(MOST, len(a)), replace=False)
    best: Float | None = None
    lowest, needed = np.inf, DRAWS
    eye = np.eye(3)
    for n in range(DRAWS):
        if n >= needed:
            break
        five = rng.choice(len(a), 5, replace=False, p=weight)
        found, _ = cv2.findEssentialMat(a[five], b[five], eye, cv2.RANSAC, 0.999, 1e-3)
        for E in np.zeros((0, 3, 3)) if found is None else np.asarray(found, np.float64).reshape(-1, 3, 3):
            d = sampson2(E, a[some], b[some], sa[some], sb[some]) / CUT**2
            cost = float(np.minimum(d, 1.0).mean())
            if cost < lowest:
                best, lowest = E, cost
                good = float((d < 1).mean())
                needed = min(DRAWS, int(np.log(1 - SURE) / np.log(max(1e-12, 1 - min(good**5, 1 - 1e-9)))) + 30)
    return best


def pair_of(walk: Walk, a: int, b: int, stature_m: float, seed: int = 0) -> Pair:
    """The relative pose of cameras a and b of a walk, or why there is none."""
    both = walk.of_cameras(np.array([a, b]))
    both = both.rows(np.logical_or.reduce(np.logical_and.reduce(both.seen(), axis=1), axis=1))
    there = both.seen().all(axis=1)
    shared = int(there.sum())
    if shared < LEAST:
        return Pair(a, b, shared, why=f"they share {shared} joints" if shared else "they never see the person at once")
    row, joint = np.nonzero(there)
    xa, xb = both.xy[row, 0, joint], both.xy[row, 1, joint]
    sa, sb = both.sigma[row, 0, joint], both.sigma[row, 1, joint]
    E = essential(xa, xb, sa, sb, np.random.default_rng((seed, a, b)))
    if E is None:
        return Pair(a, b, shared, why="no relative pose fits their joints")
    good = sampson2(E, xa, xb, sa, sb) < CUT**2
    if good.sum() < 8:
        return Pair(a, b, shared, float(good.mean()), why="no relative pose fits their joints")
    _, R, t, _ = cv2.recoverPose(E, xa[good], xb[good], np.eye(3))
    places = CameraPoses(np.stack([np.eye(3), R]), np.stack([np.zeros(3), t.ravel()]), np.zeros(2))
    few = both.rows(np.isin(np.arange(len(both)), np.linspace(0, len(both) - 1, min(ROWS, len(both))).astype(int)))
    fitted = adjust(few, places, places=np.array([False, True]), sigma_factor=2.0)
    places = fitted.places
    share, parallax = _worth(few, places)
    size = bone_scale(fitted.points, both.roles, stature_m)
    if not np.isfinite(size):
        return Pair(a, b, shared, share, parallax, why="no limb is seen whole by both")
    out = Pair(a, b, shared, share, parallax, places.R[1], places.t[1] * size)
    if share < LEAST_SHARE:
        return replace(out, why=f"only {100 * share:.0f} % of their joints agree with one pose")
    if parallax < LEAST_PARALLAX_RAD:
        return replace(out, why=f"they look from nearly one place ({np.rad2deg(parallax):.1f}° apart)")
    return out


def _worth(walk: Walk, places: CameraPoses) -> tuple[float, float]:
    """Share of the joints whose rays meet in front of both, and the median angle of the rays."""
    done = triangulated(walk, places)
    data = data_of(walk)
    X = done.points[data.row, data.joint]
    depth = np.einsum("cj,mj->mc", places.R[:, 2], X) + places.t[:, 2]
    ratio = done.residual_px / data.focal_px / data.sigma
    with np.errstate(invalid="ignore"):
        agree = (ratio < CUT).all(axis=1) & (depth > 0.05).all(axis=1)
    rays = X[:, None] - places.centres
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    angle = np.arccos(np.clip((rays[:, 0] * rays[:, 1]).sum(axis=-1), -1, 1))[agree]
    return float(agree.mean()), float(np.median(angle)) if len(angle) else 0.0


def bone_scale(points: Float, roles: Roles, stature_m: float) -> float:
    """What points (N, J, 3) must be multiplied by for limbs of that stature; NaN where no limb is seen."""
    ratio = []
    for a, b, share in roles.bones:
        length = np.linalg.norm(points[:, a] - points[:, b], axis=1)
        length = length[np.isfinite(length)]
        if len(length) >= 5:
            ratio.append(share * stature_m / np.median(length))
    return float(np.median(ratio)) if ratio else np.nan
