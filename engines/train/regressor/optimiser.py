"""The SPIN loop: a regressor learns from an optimiser that begins where the regressor says, in rounds.

After Kolotouros et al., *Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop*, 2019, with the
optimiser over one view or over all of them. Every frame has its best fit so far; a round trains on these, and then fits
every frame once more from what the regressor now says. The cheaper of old and new stays. No truth is looked at, but for
the ways ``truth``, which tells what the same network learns from perfect fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.bones import bones_of
from kinecast.engines.body.fit.initialise import ring
from kinecast.engines.body.fit.multi_start import Fits, fit_from
from kinecast.engines.body.fit.regressor import BETAS, WINDOW, Regressor, fused, into_world, place
from kinecast.engines.body.fit.solver import LEAST_EXPLAINED
from kinecast.engines.body.model.body import pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.synthetic_batches import HALPE
from kinecast.engines.train.regressor.synthetic import Scenes

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Target = tuple[Tensor, Tensor, Tensor]

# how a regressor learns: from the first fits of one view for ever, from one view's or all views' in rounds, from truth
WAYS = ("fixed", "one-view", "all-views", "truth")
JOINTS_TO_LEARN_FROM_VIEW = 5  # that a view must show to be learnt from
ALONE = 0.4  # share of the windows that know the present frame only, as somebody's first has it


@dataclass(frozen=True, slots=True)
class SpinConfig:
    """scenes of frames before views; rounds of steps of size windows; rate: the highest; seed of everything.

    recorded: scenes of recordings that a round draws at most, where there are data sets; share: of a batch that is
    theirs, where there are synthetic people too.
    """

    scenes: int = 200
    frames: int = 8
    views: int = 3
    rounds: int = 4
    steps: int = 400
    size: int = 128
    rate: float = 1e-3
    seed: int = 1
    recorded: int = 200
    share: float = 0.5


class Optimiser:
    """The body's fits to scenes, frame by frame: each view on its own, or all views of a frame together."""

    def __init__(self, body: str = "neutral") -> None:
        self.body = load_body(body)
        if self.body.betas != BETAS:
            raise KinecastError(f"body {body} has {self.body.betas} betas; a regressor tells {BETAS}")
        self.terms = keypoint_terms(self.body, HALPE.name)
        self.bones = bones_of(self.body, self.terms)
        self.prior = retargeted(load_prior(), self.body).arrays

    def points(self, R: Float, betas: Float) -> Float:
        """(..., 26, 3) keypoints of rotations (..., 24, 3, 3) and betas (..., B), the root at its rest place."""
        flat, shapes = R.reshape(-1, 24, 3, 3), betas.reshape(-1, BETAS)
        turned, joints, _ = pose_joints(self.body, flat, shapes)
        return self.terms.place(turned, joints, shapes).reshape(*R.shape[:-3], 26, 3)

    def ring(self) -> Float:
        """(16, 24, 3, 3) starts that know nothing: the mean pose from eight sides, upright and upside down."""
        return np.stack(ring(self.prior.reference, np.array([0.0, 1.0, 0.0])))

    def each(self, s: Scenes, R: Float, betas: Float) -> Fits:
        """Fits of every view alone, (S · T · C) of them, from R (S, T, C, G, 24, 3, 3) and betas (S, T, C, G, B)."""
        S, T, C = s.w.shape[:3]
        found = [
            self._fit(s.P[i, c : c + 1], s.xy[i][:, c : c + 1], s.w[i][:, c : c + 1], R[i, :, c], betas[i, :, c])
            for i in range(S) for c in range(C)
        ]  # fmt: skip

        def joined(name: str) -> Float:
            rows = np.stack([getattr(f, name) for f in found])  # (S C, T, ...)
            rows = np.moveaxis(rows.reshape(S, C, *rows.shape[1:]), 1, 2)
            return np.ascontiguousarray(rows).reshape(S * T * C, *rows.shape[3:])

        return Fits(*(joined(n) for n in Fits.__slots__))

    def together(self, s: Scenes, R: Float, betas: Float) -> Fits:
        """Fits of all views of a frame, (S · T) of them, from R (S, T, G, 24, 3, 3) and betas (S, T, G, B)."""
        found = [self._fit(s.P[i], s.xy[i], s.w[i], R[i], betas[i]) for i in range(len(s.P))]
        return Fits(*(np.concatenate([getattr(f, n) for f in found]) for n in Fits.__slots__))

    def _fit(self, P: Float, xy: Float, w: Float, R: Float, betas: Float) -> Fits:
        N, G = R.shape[:2]
        points = self.points(R, betas).reshape(N * G, 26, 3)
        t = place(points, P, np.repeat(xy, G, axis=0), np.repeat(w, G, axis=0)).reshape(N, G, 3)
        return fit_from(self.bones, self.prior, P, xy, w, R, t, betas)


def predict(regressor: Regressor, s: Scenes, alone: bool = False) -> tuple[Float, Float]:
    """What the regressor says of every view: rotations (S, T, C, 24, 3, 3) in the world, betas (S, T, C, B).

    alone: of the present frame, as if each were somebody's first.
    """
    S, T, C = s.w.shape[:3]
    windows = s.windows
    if alone:
        windows = np.repeat(windows[:, :, :, -1:], windows.shape[3], axis=3)
    R, betas = regressor.predict(windows.reshape(S * T * C, *windows.shape[3:]), s.context.reshape(-1, 5))
    return into_world(R.reshape(S, T, C, 24, 3, 3), world_from_virtual(s)), betas.reshape(S, T, C, -1)


def predict_fused(regressor: Regressor, s: Scenes, alone: bool = False) -> tuple[Float, Float]:
    """The same, all views of a frame as one: (S, T, 24, 3, 3) and (S, T, B). A view's say is its confidence."""
    S, T, C = s.w.shape[:3]
    R, betas = predict(regressor, s, alone)
    weight = s.confidence.mean(-1).reshape(S * T, C)
    one = fused(R.reshape(S * T, C, 24, 3, 3), betas.reshape(S * T, C, -1), weight)
    return one[0].reshape(S, T, 24, 3, 3), one[1].reshape(S, T, -1)


def world_from_virtual(s: Scenes) -> Float:
    """(S, T, C, 3, 3)."""
    return np.swapaxes(s.P[..., :3], -1, -2)[:, None] @ s.cam_from_virtual


def first_fits(optimiser: Optimiser, s: Scenes, all_views: bool, known: tuple[Float, Float] | None = None) -> Fits:
    """The dictionary as it begins: every frame from the ring.

    known: rotations (S, T, 24, 3, 3) and betas (S, T, B) of fits to all views: one more start, where all views
    are fitted.
    """
    S, T, C = s.w.shape[:3]
    starts = optimiser.ring()
    shape = (S, T) if all_views else (S, T, C)
    R = np.broadcast_to(starts, (*shape, *starts.shape))
    betas = np.zeros((*shape, len(starts), BETAS))
    if all_views and known is not None:
        R = np.concatenate([R, known[0][:, :, None]], axis=2)
        betas = np.concatenate([betas, known[1][:, :, None]], axis=2)
    return optimiser.together(s, R, betas) if all_views else optimiser.each(s, R, betas)


def refit(optimiser: Optimiser, s: Scenes, regressor: Regressor, all_views: bool) -> Fits:
    """Every frame fitted from what the regressor says of it."""
    if all_views:
        R, betas = predict_fused(regressor, s)
        return optimiser.together(s, R[:, :, None], betas[:, :, None])
    R, betas = predict(regressor, s)
    return optimiser.each(s, R[:, :, :, None], betas[:, :, :, None])


class TrainingSet:
    """Windows with what the dictionary says of them, as tensors, mirrored ones drawn as they are needed.

    share: of a batch that is of recordings, where there are other scenes too.
    """

    def __init__(self, scenes: Sequence[Scenes], recorded: Sequence[bool] = (), share: float = 0.5) -> None:
        flat = [s.w.shape[0] * s.w.shape[1] * s.w.shape[2] for s in scenes]
        self._to_virtual = [
            np.swapaxes(world_from_virtual(s), -1, -2).reshape(n, 3, 3) for s, n in zip(scenes, flat, strict=True)
        ]
        self.windows = torch.tensor(np.concatenate([s.windows.reshape(-1, WINDOW, 26, 3) for s in scenes]))
        self.context = torch.tensor(np.concatenate([s.context.reshape(-1, 5) for s in scenes]))
        self.extent = torch.tensor(np.concatenate([s.extent.reshape(-1) for s in scenes]))
        shown = np.concatenate([((s.confidence > 0).sum(-1) >= JOINTS_TO_LEARN_FROM_VIEW).reshape(-1) for s in scenes])
        of = np.repeat(np.array(recorded or [False] * len(scenes)), flat)
        self._kinds = [rows for rows in (np.flatnonzero(shown & ~of), np.flatnonzero(shown & of)) if len(rows)]
        self._share = share
        self._flip = torch.tensor(HALPE.flip)

    def learn_from(self, fits: Sequence[Fits]) -> Target:
        """Targets of every window: rotations in its virtual camera, betas, and 1 where the fit explains enough."""
        parts = []
        for f, to_virtual in zip(fits, self._to_virtual, strict=True):
            times = len(to_virtual) // len(f.cost)
            R = into_world(np.repeat(f.R, times, axis=0), to_virtual)
            good = (f.explained >= LEAST_EXPLAINED) & np.isfinite(f.cost)
            parts.append((R, np.repeat(f.betas, times, axis=0), np.repeat(good, times)))
        a, b, c = (torch.tensor(np.concatenate(p), dtype=torch.float32) for p in zip(*parts, strict=True))
        return a, b, c

    def drawn(self, rng: np.random.Generator, size: int, target: Target) -> tuple[Tensor, Tensor, Tensor, Target]:
        """A batch: windows, context, extent, target. Half of it mirrored."""
        rows = torch.tensor(self._rows(rng, size))
        windows, context = self.windows[rows].clone(), self.context[rows]
        alone = torch.tensor(rng.random(size) < ALONE)
        windows[alone] = windows[alone][:, -1:].expand(-1, windows.shape[1], -1, -1)
        R, betas, good = (t[rows] for t in target)
        turn = torch.tensor(rng.random(size) < 0.5)
        windows[turn] = windows[turn][:, :, self._flip] * torch.tensor([-1.0, 1.0, 1.0])
        R = torch.where(turn[:, None, None, None], mirrored(R), R)
        return windows, context, self.extent[rows], (R, betas, good)

    def _rows(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        if len(self._kinds) == 1:
            return rng.choice(self._kinds[0], size)
        plain, recorded = self._kinds
        many = round(self._share * size)
        return np.concatenate([rng.choice(plain, size - many), rng.choice(recorded, many)])


def mirrored(R: Tensor) -> Tensor:
    """Rotations (N, 24, 3, 3) of the mirror image, left and right exchanged."""
    sign = torch.tensor([-1.0, 1.0, 1.0]).to(R)
    return R[:, list(skeleton("smpl24").flip)] * sign[:, None] * sign
