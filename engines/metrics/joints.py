"""Errors of one person's joints against the truth. T frames, J joints, metres; NaN is "not given" on either side.

Every result says over how much of the truth it is: leaving out the hard joints is not accuracy. Definitions and their
sources: docs/reference/measures.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinecast.calibration.rigid import similarity

Float = NDArray[np.float64]
PCK_M = 0.150
AUC_STEPS_M = np.arange(0, 31) * 0.005


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over ``n`` of the ``of`` things that the truth has; NaN where n is 0."""

    value: float
    n: int
    of: int

    @property
    def share(self) -> float:
        """n / of, 0 where there is nothing."""
        return self.n / self.of if self.of else 0.0


def mean_score(values: Float, of: int) -> Score:
    """The mean of what is finite."""
    good = values[np.isfinite(values)]
    return Score(float(good.mean()) if good.size else float("nan"), int(good.size), int(of))


def _pair(predicted: ArrayLike, truth: ArrayLike) -> tuple[Float, Float]:
    p, g = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if p.shape != g.shape or p.ndim < 2 or p.shape[-1] != 3:
        raise ValueError(f"expected two arrays (..., J, 3) of one shape, not {p.shape} and {g.shape}")
    return p.reshape(-1, *p.shape[-2:]), g.reshape(-1, *g.shape[-2:])


def joint_errors(predicted: ArrayLike, truth: ArrayLike, root: int | None = None) -> Float:
    """(T, J) distances in metres, NaN where either is missing. root: index of the joint that both are moved to."""
    p, g = _pair(predicted, truth)
    if root is not None:
        p, g = p - p[:, [root]], g - g[:, [root]]
    return np.asarray(np.linalg.norm(p - g, axis=-1))


def all_finite(points: Float) -> NDArray[np.bool_]:
    """(...) whether all coordinates of (..., 3) or (..., 2) are finite."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def count_given(truth: ArrayLike) -> int:
    """How many joints the truth has."""
    return int(np.isfinite(np.asarray(truth, np.float64)).all(axis=-1).sum())


def mpjpe(predicted: ArrayLike, truth: ArrayLike, root: int | None = None) -> Score:
    """Mean per joint position error, m: absolute, or with both moved to the joint ``root`` (Human3.6M protocol 1)."""
    return mean_score(joint_errors(predicted, truth, root), count_given(truth))


def p_mpjpe(predicted: ArrayLike, truth: ArrayLike) -> Score:
    """MPJPE, m, after the best similarity transform of every frame on its own (protocol 2)."""
    p, g = _pair(predicted, truth)
    out = np.full(p.shape[:2], np.nan)
    for t in range(len(p)):
        ok = all_finite(p[t]) & all_finite(g[t])
        T, s = similarity(g[t, ok], p[t, ok])
        out[t, ok] = np.linalg.norm(s * p[t, ok] @ T[:3, :3].T + T[:3, 3] - g[t, ok], axis=-1)
    return mean_score(out, count_given(truth))


def n_mpjpe(predicted: ArrayLike, truth: ArrayLike, root: int) -> Score:
    """MPJPE, m, relative to ``root`` after the best scale of every frame (Rhodin et al. 2018)."""
    p, g = _pair(predicted, truth)
    p, g = p - p[:, [root]], g - g[:, [root]]
    both = all_finite(p) & all_finite(g)
    pp = np.where(both[..., None], p, 0.0)
    gg = np.where(both[..., None], g, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        s = (pp * gg).sum(axis=(1, 2)) / (pp * pp).sum(axis=(1, 2))
    return mean_score(np.asarray(np.linalg.norm(s[:, None, None] * p - g, axis=-1)), count_given(truth))


def velocity_error(predicted: ArrayLike, truth: ArrayLike, period_s: float) -> Score:
    """Mean error of the velocity between neighbouring frames, m/s (Pavllo et al. 2019 give it per frame).

    T must be one run of frames ``period_s`` apart, a missing one being NaN.
    """
    p, g = _pair(predicted, truth)
    errors = np.linalg.norm(np.diff(p, axis=0) - np.diff(g, axis=0), axis=-1) / period_s
    return mean_score(errors, count_given(np.diff(g, axis=0)))


def pck(predicted: ArrayLike, truth: ArrayLike, threshold_m: float = PCK_M, root: int | None = None) -> Score:
    """Share of the joints of the truth that are within ``threshold_m``; a joint not given is wrong (Mehta et al. 2017).

    Relative to ``root``, or absolute (3DPCK_abs of Moon et al. 2019) where root is None.
    """
    _, g = _pair(predicted, truth)
    errors = joint_errors(predicted, truth, root)
    wanted = all_finite(g)
    if root is not None:
        wanted &= all_finite(g[:, [root]])
        wanted[:, root] = False  # it is right by construction
    with np.errstate(invalid="ignore"):
        right = (errors <= threshold_m) & wanted
    n = int(wanted.sum())
    return Score(float(right.sum() / n) if n else float("nan"), n, n)


def auc(predicted: ArrayLike, truth: ArrayLike, root: int | None = None) -> Score:
    """Mean of PCK over the thresholds 0, 5, …, 150 mm (Mehta et al. 2017)."""
    scores = [pck(predicted, truth, float(t), root) for t in AUC_STEPS_M]
    return Score(float(np.mean([s.value for s in scores])), scores[0].n, scores[0].of)


def mrpe(predicted: ArrayLike, truth: ArrayLike, root: int) -> Score:
    """Mean root position error, m (Moon et al. 2019)."""
    _, g = _pair(predicted, truth)
    return mean_score(joint_errors(predicted, truth)[:, root], count_given(g[:, root]))
