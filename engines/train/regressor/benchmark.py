"""What a regressor and the optimiser are worth where the truth is known: the rows of the SPIN loop.

Every frame counts from each view alone, and from all its views. Errors are of 15 joints relative to the middle of the
hips (MPJPE), and after the best similarity (P-MPJPE). Whose front was taken for the back is counted apart: the sides of
hips and shoulders point the wrong way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.multi_start import Fits
from kinecast.engines.body.fit.regressor import BETAS, Regressor
from kinecast.engines.metrics.joints import all_finite, joint_errors, p_mpjpe
from kinecast.engines.train.regressor.optimiser import Optimiser, first_fits, predict, predict_fused, refit
from kinecast.engines.train.regressor.synthetic import JOINTS, Scenes

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

ROOT = JOINTS.index("mid_hip")
MIN_JOINTS = 8  # of the 26 keypoints that a view must show, or it does not count
RESAMPLES = 1000
_SIDES = [(JOINTS.index(f"left_{j}"), JOINTS.index(f"right_{j}")) for j in ("hip", "shoulder")]


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Of N frames: mpjpe_m and p_mpjpe_m, (N,); turned: (N,) front taken for back; scene: (N,) whose they are."""

    mpjpe_m: Float
    p_mpjpe_m: Float
    turned: Bool
    scene: NDArray[np.int64]

    @property
    def row(self) -> dict[str, float]:
        """Means."""
        return {
            "mpjpe_m": float(self.mpjpe_m.mean()), "p_mpjpe_m": float(self.p_mpjpe_m.mean()),
            "turned": float(self.turned.mean()), "n": float(len(self.turned)),
        }  # fmt: skip


class Benchmark:
    """One set of people, and what each way from pixels to a body makes of them."""

    def __init__(self, people: Sequence[Scenes], optimiser: Optimiser) -> None:
        self.people, self.optimiser = people, optimiser

    def optimiser_alone(self) -> dict[str, Errors]:
        """The optimiser alone, from 16 orientations."""
        return self.evaluate(lambda s, every: first_fits(self.optimiser, s, every))

    def regressor_alone(self, regressor: Regressor) -> dict[str, Errors]:
        """The regressor's own prediction."""

        def answer(s: Scenes, every: bool) -> Fits:
            R, betas = predict_fused(regressor, s) if every else predict(regressor, s)
            flat, shapes = R.reshape(-1, 24, 3, 3), betas.reshape(-1, BETAS)
            none = np.zeros(len(flat))
            return Fits(flat, np.zeros((len(flat), 3)), shapes, self.optimiser.points(flat, shapes), none, none)

        return self.evaluate(answer)

    def regressor_then_optimiser(self, regressor: Regressor) -> dict[str, Errors]:
        """The optimiser begun there."""
        return self.evaluate(lambda s, every: refit(self.optimiser, s, regressor, every))

    def live_start(self, regressor: Regressor, ring: bool) -> dict[str, Errors]:
        """Every frame as a live fit's first: begun at what it alone predicts, and at the ring besides if ``ring``."""

        def both(s: Scenes, every: bool) -> Fits:
            R, _ = (predict_fused if every else predict)(regressor, s, alone=True)
            starts = R[..., None, :, :, :]
            if ring:
                around = np.broadcast_to(self.optimiser.ring(), (*R.shape[:-3], 16, 24, 3, 3))
                starts = np.concatenate([around, starts], axis=-4)
            shapes = np.zeros((*starts.shape[:-3], BETAS))
            fit = self.optimiser.together if every else self.optimiser.each
            return fit(s, starts, shapes)

        return self.evaluate(both)

    def evaluate(self, answer: Callable[[Scenes, bool], Fits]) -> dict[str, Errors]:
        """Errors of what ``answer`` makes of every scene, from one view and from all of them (its second argument)."""
        out: dict[str, Errors] = {}
        for name, every in (("one view", False), ("all views", True)):
            # figures of one person in several scenes are not independent
            whose = [next(i for i, o in enumerate(self.people) if o.action == s.action) for s in self.people]
            found = [_errors(s, answer(s, every).points, every, i) for i, s in zip(whose, self.people, strict=True)]
            out[name] = Errors(*(np.concatenate([getattr(e, f) for e in found]) for f in Errors.__slots__))
        return out


def _errors(s: Scenes, points: Float, every: bool, number: int) -> Errors:
    S, T, C = s.w.shape[:3]
    shown = (s.confidence > 0).sum(-1) >= MIN_JOINTS
    counted = shown.sum(-1) >= min(2, C) if every else shown  # (S, T) or (S, T, C)
    known = all_finite(s.points)[..., ROOT] & (all_finite(s.points).sum(-1) >= 8)
    counted = counted & (known if every else known[..., None])
    found = np.einsum("jk,...kd->...jd", s.from_halpe, points.reshape(*counted.shape, 26, 3))[counted]
    truth = s.points if every else np.broadcast_to(s.points[:, :, None], (S, T, C, 15, 3))
    truth = truth[counted]
    whose = (np.arange(S) + 100000 * number).reshape(S, *[1] * (counted.ndim - 1))
    scene = np.broadcast_to(whose, counted.shape)[counted]
    sides = np.zeros(len(found))
    for left, right in _SIDES:
        a, b = found[:, left] - found[:, right], truth[:, left] - truth[:, right]
        sides += np.nan_to_num((a * b).sum(-1))
    off = joint_errors(found, truth, ROOT)
    return Errors(np.nanmean(off, axis=1), np.array([p_mpjpe(p, g).value for p, g in zip(found, truth, strict=True)]),
                  sides < 0, scene)  # fmt: skip


def paired_gain(before: Errors, after: Errors, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """How much less the error is after than before: mean and 95 % interval, over people drawn with replacement.

    Both must be of the same frames.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(before.scene, return_inverse=True)
    out = {}
    for key in ("mpjpe_m", "p_mpjpe_m"):
        less = getattr(before, key) - getattr(after, key)
        total, count = np.bincount(index, less), np.bincount(index)
        draws = rng.integers(len(names), size=(RESAMPLES, len(names)))
        means = total[draws].sum(1) / count[draws].sum(1)
        low, high = np.percentile(means, [2.5, 97.5])
        out[key] = float(less.mean()), float(low), float(high)
    return out


def benchmark_rows(benchmark: Benchmark, regressors: Mapping[str, Regressor]) -> dict[str, dict[str, Errors]]:
    """Every row: the optimiser alone, and of each regressor its own answer, the optimiser from there, and beside."""
    out = {"optimiser alone, 16 starts": benchmark.optimiser_alone()}
    for name, regressor in regressors.items():
        out[f"{name}: regressor alone"] = benchmark.regressor_alone(regressor)
        out[f"{name}: + optimiser"] = benchmark.regressor_then_optimiser(regressor)
    return out
