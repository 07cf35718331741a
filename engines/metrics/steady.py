"""How steady a motion is, how well it reprojects and how honest its covariances are: needs no truth, but the last.

T frames, J joints, metres; NaN is "not given". Definitions and their sources: docs/reference/measures.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.metrics.joints import Float, Score, mean_score
from kinecast.engines.skeleton import skeleton

# the eight limbs between the twelve limb joints: what is rigid in a person and seen by every detector
LIMBS = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
)
LIMB_JOINTS = tuple(sorted({j for limb in LIMBS for j in limb}))


def limb_bones(skeleton_name: str = "halpe26") -> tuple[tuple[int, int], ...]:
    """The eight limbs as index pairs of a skeleton."""
    s = skeleton(skeleton_name)
    return tuple((s.index(a), s.index(b)) for a, b in LIMBS)


def limb_joints(skeleton_name: str = "halpe26") -> tuple[int, ...]:
    """Indices of the twelve limb joints in a skeleton."""
    s = skeleton(skeleton_name)
    return tuple(s.index(j) for j in LIMB_JOINTS)


@dataclass(frozen=True, slots=True)
class BoneStability:
    """std_over_mean: mean over the bones of (standard deviation / mean length). n: bone-frames used, of ``of``.

    by_bone: for each bone (std / mean, mean length in m), NaN where it was seen in fewer than two frames.
    """

    std_over_mean: float
    n: int
    of: int
    by_bone: tuple[tuple[float, float], ...]


def bone_stability(points_world_m: ArrayLike, bones: Sequence[tuple[int, int]] | None = None) -> BoneStability:
    """Bone-length stability of one person over time: (T, J, 3). bones: index pairs, None: the limbs of HALPE-26.

    Of several people, call it for each and take the mean weighted with n: lengths of two people do not mix.
    """
    x = np.asarray(points_world_m, np.float64)
    pairs = np.array(limb_bones() if bones is None else bones)
    length = np.linalg.norm(x[:, pairs[:, 0]] - x[:, pairs[:, 1]], axis=-1)
    by_bone = []
    for column in length.T:
        good = column[np.isfinite(column)]
        mean = float(good.mean()) if good.size > 1 else float("nan")
        by_bone.append((float(good.std()) / mean if good.size > 1 else float("nan"), mean))
    ratios = np.array([r for r, _ in by_bone])
    finite = np.isfinite(ratios)
    value = float(ratios[finite].mean()) if finite.any() else float("nan")
    return BoneStability(value, int(np.isfinite(length).sum()), int(length.size), tuple(by_bone))


@dataclass(frozen=True, slots=True)
class Reprojection:
    """Reprojection errors in px of the original pictures: over ``n`` of the ``of`` keypoints that could be compared."""

    median: float
    mean: float
    p90: float
    n: int
    of: int

    @property
    def kept(self) -> float:
        """n / of."""
        return self.n / self.of if self.of else 0.0


def reprojection_errors(points_world_m: ArrayLike, keypoints_px: ArrayLike, rig: Rig) -> Float:
    """(N, C, J) px between projected (N, J, 3) points and (N, C, J, 2) keypoints, cameras in the rig's order."""
    x, uv = np.asarray(points_world_m, np.float64), np.asarray(keypoints_px, np.float64)
    if uv.shape != (len(x), len(rig), x.shape[1], 2):
        raise ValueError(f"keypoints_px is {uv.shape}, expected {(len(x), len(rig), x.shape[1], 2)}")
    projected = np.stack([camera.project(x)[0] for camera in rig], axis=1)
    return np.asarray(np.linalg.norm(projected - uv, axis=-1))


def reprojection(errors_px: ArrayLike, of: int | None = None) -> Reprojection:
    """Median, mean and 90th percentile of what is finite. of: how many keypoints there were, None: all of the array."""
    e = np.ravel(np.asarray(errors_px, np.float64))
    good = e[np.isfinite(e)]
    total = e.size if of is None else of
    if not good.size:
        return Reprojection(float("nan"), float("nan"), float("nan"), 0, total)
    median, p90 = np.percentile(good, [50, 90])
    return Reprojection(float(median), float(good.mean()), float(p90), int(good.size), total)


def _third_differences(points_world_m: ArrayLike, t_ns: ArrayLike) -> tuple[Float, float]:
    """(N, J, 3) third differences over runs of four evenly spaced frames, and the period in s."""
    x, t = np.asarray(points_world_m, np.float64), np.asarray(t_ns, np.int64)
    if len(x) < 4:
        return np.zeros((0, *x.shape[1:])), float("nan")
    step = np.diff(t)
    period_ns = float(np.median(step))
    even = np.abs(step - period_ns) < 0.25 * period_ns
    runs = even[:-2] & even[1:-1] & even[2:]
    return np.diff(x, 3, axis=0)[runs], period_ns / 1e9


def jitter(points_world_m: ArrayLike, t_ns: ArrayLike) -> Score:
    """Mean size of the third derivative of the joints, m/s³ (as TransPose, Yi et al. 2021): (T, J, 3), (T,).

    Only over four frames in a row that are evenly spaced (a gap is not a jerk).
    """
    d3, period_s = _third_differences(points_world_m, t_ns)
    size = np.linalg.norm(d3, axis=-1)
    return mean_score(size / period_s**3 if size.size else size, size.size)


def jitter_m(points_world_m: ArrayLike, t_ns: ArrayLike) -> Score:
    """The white noise, m (RMS of the 3D distance), that would explain the third differences: their RMS / √20.

    Unlike the jerk it does not depend on the frame rate, but for the true jerk of the motion that is in both.
    """
    d3, _ = _third_differences(points_world_m, t_ns)
    square = (d3**2).sum(axis=-1)
    mean = mean_score(square, square.size)
    return Score(float(np.sqrt(mean.value / 20.0)), mean.n, mean.of)


def coverage(errors_m: ArrayLike, covariance_m2: ArrayLike) -> tuple[NDArray[np.float64], int]:
    """Share of errors (N, D) inside 1, 2, 3 σ of their covariances (N, D, D), and n.

    Inside k σ: the Mahalanobis distance is at most k. Honest is 0.199, 0.739, 0.971 in three dimensions, and 0.393,
    0.865, 0.989 in two.
    """
    e, cov = np.asarray(errors_m, np.float64), np.asarray(covariance_m2, np.float64)
    ok = np.isfinite(e).all(axis=-1) & np.isfinite(cov).all(axis=(-2, -1))
    if not ok.any():
        return np.full(3, np.nan), 0
    d2 = np.einsum("ni,ni->n", e[ok], np.linalg.solve(cov[ok], e[ok][..., None])[..., 0])
    return np.array([(d2 <= k * k).mean() for k in (1, 2, 3)]), int(ok.sum())
