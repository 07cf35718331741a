"""The SPIN loop: a regressor learns from an optimiser that begins where the regressor says, in rounds.

After Kolotouros et al., *Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop*, 2019, with the
optimiser over one view or over all of them. Every frame has its best fit so far; a round trains on these, and then fits
every frame once more from what the regressor now says. The cheaper of old and new stays. No truth is looked at, but for
the ways ``truth``, which tells what the same network learns from perfect fits.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capture.errors import KinecastError
from engines.body.files import load_body
from engines.body.initial import ring
from engines.body.keypoints import keypoint_terms
from engines.body.model import pose_joints
from engines.body.prior import load_prior, retargeted
from engines.body.refit import Fits, better, refit
from engines.body.regressor import BETAS, Regressor, fused, into_world, place, write_regressor
from engines.body.solve import LEAST_EXPLAINED, bones_of
from engines.skeleton import skeleton
from engines.train.samples import HALPE
from engines.train.spin_network import WEIGHTS, Figure, Network, losses
from engines.train.spin_people import Scenes

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

# how a regressor learns: from the first fits of one view for ever, from one view's or all views' in rounds, from truth
WAYS = ("fixed", "one-view", "all-views", "truth")
ALONE = 0.4  # share of the windows that know the present frame only, as somebody's first has it
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SpinConfig:
    """scenes of frames before views; rounds of steps of size windows; rate: the highest; seed of everything."""

    scenes: int = 200
    frames: int = 8
    views: int = 3
    rounds: int = 4
    steps: int = 400
    size: int = 128
    rate: float = 1e-3
    seed: int = 1


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
        return refit(self.bones, self.prior, P, xy, w, R, t, betas)


def said(regressor: Regressor, s: Scenes, alone: bool = False) -> tuple[Float, Float]:
    """What the regressor says of every view: rotations (S, T, C, 24, 3, 3) in the world, betas (S, T, C, B).

    alone: of the present frame, as if each were somebody's first.
    """
    S, T, C = s.w.shape[:3]
    windows = s.windows
    if alone:
        windows = np.repeat(windows[:, :, :, -1:], windows.shape[3], axis=3)
    R, betas = regressor.predict(windows.reshape(S * T * C, *windows.shape[3:]), s.context.reshape(-1, 5))
    return into_world(R.reshape(S, T, C, 24, 3, 3), world_from_virtual(s)), betas.reshape(S, T, C, -1)


def said_together(regressor: Regressor, s: Scenes, alone: bool = False) -> tuple[Float, Float]:
    """The same, all views of a frame as one: (S, T, 24, 3, 3) and (S, T, B). A view's say is its confidence."""
    S, T, C = s.w.shape[:3]
    R, betas = said(regressor, s, alone)
    weight = s.confidence.mean(-1).reshape(S * T, C)
    one = fused(R.reshape(S * T, C, 24, 3, 3), betas.reshape(S * T, C, -1), weight)
    return one[0].reshape(S, T, 24, 3, 3), one[1].reshape(S, T, -1)


def world_from_virtual(s: Scenes) -> Float:
    """(S, T, C, 3, 3)."""
    return np.swapaxes(s.P[..., :3], -1, -2)[:, None] @ s.cam_from_virtual


def first_fits(optimiser: Optimiser, s: Scenes, all_views: bool) -> Fits:
    """The dictionary as it begins: every frame from the ring."""
    S, T, C = s.w.shape[:3]
    starts = optimiser.ring()
    shape = (S, T) if all_views else (S, T, C)
    R = np.broadcast_to(starts, (*shape, *starts.shape))
    betas = np.zeros((*shape, len(starts), BETAS))
    return optimiser.together(s, R, betas) if all_views else optimiser.each(s, R, betas)


def again(optimiser: Optimiser, s: Scenes, regressor: Regressor, all_views: bool) -> Fits:
    """Every frame fitted from what the regressor says of it."""
    if all_views:
        R, betas = said_together(regressor, s)
        return optimiser.together(s, R[:, :, None], betas[:, :, None])
    R, betas = said(regressor, s)
    return optimiser.each(s, R[:, :, :, None], betas[:, :, :, None])


class Lessons:
    """Windows with what the dictionary says of them, as tensors, mirrored ones drawn as they are needed."""

    def __init__(self, s: Scenes) -> None:
        flat = s.w.shape[0] * s.w.shape[1] * s.w.shape[2]
        self._to_virtual = np.swapaxes(world_from_virtual(s), -1, -2).reshape(flat, 3, 3)
        self._views = s.w.shape[2]
        self.windows = torch.tensor(s.windows.reshape(flat, *s.windows.shape[3:]))
        self.context = torch.tensor(s.context.reshape(flat, 5))
        self.extent = torch.tensor(s.extent.reshape(flat))
        self.rows = np.flatnonzero((s.confidence > 0).sum(-1).reshape(-1) >= 5)
        self._flip = torch.tensor(HALPE.flip)

    def learn_from(self, fits: Fits) -> tuple[Tensor, Tensor, Tensor]:
        """Targets of every window: rotations in its virtual camera, betas, and 1 where the fit explains enough."""
        times = len(self._to_virtual) // len(fits.cost)
        R = into_world(np.repeat(fits.R, times, axis=0), self._to_virtual)
        good = (fits.explained >= LEAST_EXPLAINED) & np.isfinite(fits.cost)
        parts = R, np.repeat(fits.betas, times, axis=0), np.repeat(good, times)
        a, b, c = (torch.tensor(p, dtype=torch.float32) for p in parts)
        return a, b, c

    def drawn(
        self, rng: np.random.Generator, size: int, target: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """A batch: windows, context, extent, target. Half of it mirrored."""
        rows = torch.tensor(rng.choice(self.rows, size))
        windows, context = self.windows[rows].clone(), self.context[rows]
        alone = torch.tensor(rng.random(size) < ALONE)
        windows[alone] = windows[alone][:, -1:].expand(-1, windows.shape[1], -1, -1)
        R, betas, good = (t[rows] for t in target)
        turn = torch.tensor(rng.random(size) < 0.5)
        windows[turn] = windows[turn][:, :, self._flip] * torch.tensor([-1.0, 1.0, 1.0])
        R = torch.where(turn[:, None, None, None], mirrored(R), R)
        return windows, context, self.extent[rows], (R, betas, good)


def mirrored(R: Tensor) -> Tensor:
    """Rotations (N, 24, 3, 3) of the mirror image, left and right exchanged."""
    sign = torch.tensor([-1.0, 1.0, 1.0]).to(R)
    return R[:, list(skeleton("smpl24").flip)] * sign[:, None] * sign


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """state: of the network. told: one line a round: kept, cost, good, loss."""

    way: str
    state: dict[str, NDArray[np.float32]]
    told: list[dict[str, float]]

    def regressor(self, body: str) -> Regressor:
        """As it runs."""
        return Regressor(self.state, body, {}, self.way)

    def write(self, path: Path, body: str, about: dict[str, Any]) -> Path:
        """To a file."""
        return write_regressor(path, self.state, body, about | {"way": self.way, "rounds": self.told})


def loop(way: str, optimiser: Optimiser, s: Scenes, first: Fits, config: SpinConfig, say: Say = print) -> Trained:
    """Train one regressor. first: the dictionary as it begins, of all views for the ways all-views and truth."""
    torch.manual_seed(config.seed)
    network, figure, lessons = Network(optimiser.prior.reference), Figure(optimiser.bones), Lessons(s)
    optim = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-4)
    total = config.rounds * config.steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optim, config.rate, total_steps=total + 1, pct_start=0.1)
    rng = np.random.default_rng((config.seed, 23))
    fits, told = first, list[dict[str, float]]()
    for number in range(config.rounds):
        kept = 0.0
        if number and way in ("one-view", "all-views"):
            new = again(optimiser, s, Trained(way, dict(network.state()), []).regressor(""), way == "all-views")
            fits, is_new = better(fits, new)
            kept = float(is_new.mean())
        target = lessons.learn_from(fits)
        mean: list[float] = []
        for _ in range(config.steps):
            windows, context, extent, wanted = lessons.drawn(rng, config.size, target)
            R, betas = network(windows, context)
            seen = windows[:, -1, :, :2], windows[:, -1, :, 2], extent
            terms = losses(figure, R, betas, wanted, seen)
            loss = sum((WEIGHTS[k] * v for k, v in terms.items()), start=torch.zeros(()))
            if not torch.isfinite(loss):
                raise KinecastError(f"train spin: the loss is no number in round {number + 1}: lower --rate")
            optim.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optim.step()
            schedule.step()
            mean.append(float(loss.detach()))
        told.append(
            {"round": number + 1, "replaced": kept, "cost": float(np.median(fits.cost)),
             "good": float((fits.explained >= LEAST_EXPLAINED).mean()), "loss": float(np.mean(mean[-100:]))}
        )  # fmt: skip
        line = told[-1]
        say(
            f"{way}: round {number + 1}: {line['replaced']:.0%} of the fits replaced, median cost {line['cost']:.1f}, "
            f"{line['good']:.0%} good, loss {line['loss']:.3f}"
        )
    return Trained(way, dict(network.state()), told)


def train_all(s: Scenes, config: SpinConfig, ways: tuple[str, ...] = WAYS, say: Say = print) -> dict[str, Trained]:
    """One regressor a way, all from the same start, scenes, steps and batches."""
    optimiser = Optimiser()
    out: dict[str, Trained] = {}
    begun: dict[bool, Fits] = {}
    for way in ways:
        all_views = way in ("all-views", "truth")
        if all_views not in begun:
            begun[all_views] = first_fits(optimiser, s, all_views)
        first = begun[all_views]
        if way == "truth":
            first = optimiser.together(s, s.R[:, :, None], first.betas.reshape(*s.R.shape[:2], 1, BETAS))
            true = s.R.reshape(-1, 24, 3, 3)
            first = Fits(true, first.t, first.betas, first.points, first.cost, np.ones(len(true)))
        out[way] = loop(way, optimiser, s, first, config, say)
    return out


def card(config: SpinConfig, data: str) -> dict[str, Any]:
    """What goes into a weights file besides."""
    return {"training": asdict(config), "data": data, "source": "Kolotouros et al. 2019, on synthetic views"}
