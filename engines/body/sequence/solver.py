"""A person's poses over a whole stretch of time in one cost, solved as one batch in torch, on a GPU where there is one.

The cost is the solver's own (:mod:`engines.body.fit.levenberg_marquardt`): every view's keypoints, robust, the pose
prior, the joint limits, and places where feet rest. What is different is time: no pose expects the one before; turns
and the path of the root are smooth on either side, as white noise in the acceleration would have them (Bar-Shalom et
al., *Estimation with Applications to Tracking and Navigation*, 2001, section 6.2), so that the same weights hold at any
frame rate.

Gauss–Newton with Levenberg's damping: the frames' own normal equations are blocks of 75 and time joins neighbours. On a
GPU the whole is solved by conjugate gradients with those blocks as preconditioner; on a CPU it is factored as one band
(:mod:`engines.body.sequence.banded_cholesky`). Torch is imported when something is fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.expectation import PriorArrays
from kinecast.engines.body.fit.kernels import Bones
from kinecast.engines.body.sequence import banded_cholesky
from kinecast.engines.body.sequence.torch_rotations import exp, log, right_inverse
from kinecast.engines.body.sequence.torch_terms import KeypointTensors, Skeleton

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any

Float = NDArray[np.float64]

# Spectral densities of the acceleration: CMU's free motion has 2 to 13 rad/s^1.5 about the axes of the joints that
# keypoints see (median 1 to 5), and 0.4 to 0.9 m/s^1.5 of the root.
TURN_DENSITY = 4.0
MOVE_DENSITY = 0.8
LIMIT_RAD = 0.05
GRADIENTS = 40  # steps of conjugate gradients at most, and the share of the residual that is left
LEFT = 0.1
GAIN = 3e-4  # of the cost: a step that gains less is the last
EVERY, FREQUENCIES = 4, 10  # how sure a fit is changes slowly: frames between, and terms of the mean over frequencies
ANY_SD = 1e-3  # rad, m: how weakly everything is tied to where it is, so that nothing is singular


class SequenceSettings(NamedTuple):
    """c2: robust scale in σ². prior: weight of the pose prior in each frame (N,). steps: at most.

    turn, move: spectral densities of the acceleration, rad²/s³ and m²/s³; infinite where frames know nothing of time.
    """

    c2: float
    prior: Float
    steps: int
    turn: float = TURN_DENSITY**2
    move: float = MOVE_DENSITY**2


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """N frames of one person. t_s: (N,) ascending. P: (C, 3, 4) normalised cameras; xy: (N, C, K, 2), w: (N, C, K)
    inverse variance, 0 where missing. X: (N, K, 3), info: (N, K, 3, 3): places where keypoints are held, 0 for none.
    gap_s: neighbours further apart than this know nothing of each other.
    """

    t_s: Float
    P: Float
    xy: Float
    w: Float
    X: Float
    info: Float
    gap_s: float


@dataclass(frozen=True, slots=True, eq=False)
class SequenceSolution:
    """R: (N, 24, 3, 3), t: (N, 3), betas: (B,). joints: (N, 24, 3), points: (N, K, 3) m.

    joint_sd_m: (N, 24) per axis and turn_sd_rad: (N, 24, 3): posterior, NaN if not asked for. cost: of all, in σ².
    views_m: (N, K, 3) where the views alone, linearised, put each keypoint, and views_info (N, K, 3, 3) how surely.
    """

    R: Float
    t: Float
    betas: Float
    joints: Float
    points: Float
    joint_sd_m: Float
    turn_sd_rad: Float
    cost: float
    steps: int
    views_m: Float
    views_info: Float


def device_of(name: str) -> Any:
    """The torch device that ``auto``, ``cpu`` or ``cuda`` stands for; KinecastError where it is not there."""
    try:
        import torch
    except ImportError:
        raise KinecastError("fitting whole sequences needs torch: pip install 'kinecast[torch]'") from None
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise KinecastError("--device cuda: torch sees no GPU here; use --device auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and there) else "cpu")


class _Time:
    """Second differences over neighbours: turns of the joints, and the path of the root."""

    def __init__(self, t_s: Float, gap_s: float, rules: SequenceSettings, device: Any) -> None:
        import torch

        dt = np.diff(t_s)
        first, second = dt[:-1], dt[1:]
        joined = (first <= gap_s) & (second <= gap_s) & np.isfinite(rules.turn)
        with np.errstate(divide="ignore"):
            # the difference of two mean velocities has a variance of density × (dt₁ + dt₂) / 3
            weight = np.where(joined, 3.0 / np.maximum(first + second, 1e-6), 0.0)
        self.any = bool(joined.any())
        self.rate = torch.as_tensor(1.0 / np.maximum(dt, 1e-6), device=device)
        self.turn = torch.as_tensor(weight / rules.turn, device=device)
        self.move = torch.as_tensor(weight / rules.move, device=device)

    def at(self, R: Tensor, t: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The cost, and (residuals of turns (N−2, J, 3), of the path (N−2, 3), Jacobians of the turns)."""
        turned = log(R[:-1].transpose(-1, -2) @ R[1:])
        spin, pace = turned * self.rate[:, None, None], (t[1:] - t[:-1]) * self.rate[:, None]
        a, b = spin[1:] - spin[:-1], pace[1:] - pace[:-1]
        cost = (self.turn * (a * a).sum((-1, -2))).sum() + (self.move * (b * b).sum(-1)).sum()
        return cost, (a, b, right_inverse(turned))

    def apply(self, A: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Steps (N, 3 J + 3) → change of the residuals."""
        turn, move = step[:, :-3].reshape(len(step), -1, 3), step[:, -3:]
        # log((R₁ exp δ₁)ᵀ R₂ exp δ₂) changes by A δ₂ − Aᵀ δ₁
        change = (A @ turn[1:, ..., None])[..., 0] - (A.transpose(-1, -2) @ turn[:-1, ..., None])[..., 0]
        spin, pace = change * self.rate[:, None, None], (move[1:] - move[:-1]) * self.rate[:, None]
        return spin[1:] - spin[:-1], pace[1:] - pace[:-1]

    def gather(self, A: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """The transpose of :meth:`apply`, weighted: residuals (a, b) → (N, 3 J + 3)."""
        import torch

        a, b = self.turn[:, None, None] * a, self.move[:, None] * b
        spin = torch.nn.functional.pad(a, (0, 0, 0, 0, 1, 0)) - torch.nn.functional.pad(a, (0, 0, 0, 0, 0, 1))
        pace = torch.nn.functional.pad(b, (0, 0, 1, 0)) - torch.nn.functional.pad(b, (0, 0, 0, 1))
        spin, pace = spin * self.rate[:, None, None], pace * self.rate[:, None]
        out = torch.zeros((len(self.rate) + 1, 3 * a.shape[1] + 3), dtype=a.dtype, device=a.device)
        out[1:, :-3] += (A.transpose(-1, -2) @ spin[..., None])[..., 0].flatten(1)
        out[:-1, :-3] -= (A @ spin[..., None])[..., 0].flatten(1)
        out[1:, -3:] += pace
        out[:-1, -3:] -= pace
        return out

    def diagonal(self, width: int) -> Tensor:
        """(N, width) diagonal of what :meth:`gather` ∘ :meth:`apply` is, A taken as identity."""
        import torch

        out = torch.zeros((len(self.rate) + 1, width), dtype=self.rate.dtype, device=self.rate.device)
        for weight, part in ((self.turn, slice(0, width - 3)), (self.move, slice(width - 3, width))):
            r1, r2 = self.rate[:-1], self.rate[1:]
            out[:-2, part] += (weight * r1 * r1)[:, None]
            out[1:-1, part] += (weight * (r1 + r2) ** 2)[:, None]
            out[2:, part] += (weight * r2 * r2)[:, None]
        return out


class SequenceSolver:
    """Fits whole stretches of one body. bones, prior: as the live solver has them. device: auto, cpu or cuda."""

    def __init__(self, bones: Bones, prior: PriorArrays, device: str = "auto") -> None:
        import torch

        self.device = device_of(device)
        self._bones = Skeleton(bones, self.device)
        self._kernels = bones, prior
        self._prior = PriorArrays(*(torch.as_tensor(a, device=self.device) for a in prior))

    def fit(
        self, seen: Stretch, R: Float, t: Float, betas: Float, rules: SequenceSettings, sure: bool = True
    ) -> SequenceSolution:
        """From R (N, 24, 3, 3) and t (N, 3); the betas (B,) are held. sure: say how sure it is too, else NaN."""

        time = _Time(seen.t_s, seen.gap_s, rules, self.device)
        views, prior = self._views(seen), self._put(rules.prior)
        state = self._at(views, time, rules, self._put(R), self._put(t), self._put(betas), prior)
        damping, taken = 1e-4, 0
        for _ in range(rules.steps):
            step = (self._exact if self.device.type == "cpu" else self._step)(state, time, prior, damping)
            new = None
            if step is not None:
                turn = step[:, :-3].reshape(len(step), -1, 3)
                moved = state.R @ exp(-turn), state.t - step[:, -3:]
                new = self._at(views, time, rules, *moved, state.betas, prior)
            if new is not None and new.cost < state.cost:
                gained = state.cost - new.cost
                state, damping, taken = new, max(damping * 0.2, 1e-7), taken + 1
                if gained < GAIN * new.cost:
                    break
            else:
                damping = damping * 10.0 + 1e-6
                if damping > 1e4:
                    break
        return self._solution(state, time, prior, taken, sure)

    def state(self, seen: Stretch, R: Float, t: Float, betas: Float, rules: SequenceSettings) -> "State":
        """What is known at one point of the search, for tests: the cost, and the normal equations of the keypoints."""
        time = _Time(seen.t_s, seen.gap_s, rules, self.device)
        put = self._put
        return self._at(self._views(seen), time, rules, put(R), put(t), put(betas), put(rules.prior))

    def gradient(self, s: "State", seen: Stretch, rules: SequenceSettings) -> Tensor:
        """(N, 3 J + 3) half the gradient of the whole cost there."""
        h = self._normal(s, self._put(rules.prior))[1]
        time = _Time(seen.t_s, seen.gap_s, rules, self.device)
        return h if s.smoothness is None else h + time.gather(s.smoothness[2], s.smoothness[0], s.smoothness[1])

    def _put(self, a: Float) -> Tensor:
        import torch

        return torch.tensor(np.asarray(a, np.float64), device=self.device)

    def _views(self, seen: Stretch) -> KeypointTensors:
        return KeypointTensors(*(self._put(a) for a in (seen.P, seen.xy, seen.w, seen.X, seen.info)))

    def _at(
        self,
        views: KeypointTensors,
        time: _Time,
        rules: SequenceSettings,
        R: Tensor,
        t: Tensor,
        betas: Tensor,
        prior: Tensor,
    ) -> "State":
        G, p, v, x = self._bones.place(R, t, betas)
        cost, M, g, views_M, views_g = views.at(x, rules.c2)
        xi = log(self._prior.reference[1:].transpose(-1, -2) @ R[:, 1:]).flatten(1)
        off = xi - self._prior.mean[:, None]  # (G, N, D)
        least, component = (((off @ self._prior.precision) * off).sum(-1) - 2.0 * self._prior.log_weight[:, None]).min(
            0
        )
        cost = cost + (prior * (least - 2.0 * self._prior.log_weight.min())).sum()
        over = (xi - self._prior.high).clamp_min(0.0) + (xi - self._prior.low).clamp_max(0.0)
        cost = cost + (over * over).sum() / LIMIT_RAD**2
        smooth, smoothness = time.at(R, t) if time.any else (0.0, None)
        cost = cost + smooth
        return State(R, t, betas, G, p, v, x, M, g, views_M, views_g, xi, over, component, smoothness, float(cost))

    def _normal(self, s: "State", prior: Tensor) -> tuple[Tensor, Tensor]:
        """H (N, D, D) and half the gradient h (N, D) of every frame on its own."""
        motion = self._bones.motion(s.G, s.p, s.v)
        N, K, _, D = motion.shape
        flat = motion.reshape(N, 3 * K, D)
        weighted = (s.M @ motion).reshape(N, 3 * K, D)
        H = flat.transpose(1, 2) @ weighted
        h = (flat.transpose(1, 2) @ s.g.reshape(N, 3 * K, 1))[..., 0]
        A = right_inverse(s.xi.reshape(N, -1, 3))  # (N, J − 1, 3, 3)
        Q = self._prior.precision[s.component] * prior[:, None, None]
        off = s.xi - self._prior.mean[s.component]
        grad = (Q @ off[..., None])[..., 0] + s.over / LIMIT_RAD**2
        n = A.shape[1]
        QA = Q.reshape(N, n, 3, n, 3).permute(0, 1, 3, 2, 4) @ A[:, None]
        AQA = (A.transpose(-1, -2)[:, :, None] @ QA).permute(0, 1, 3, 2, 4).reshape(N, 3 * n, 3 * n)
        H[:, 3 : 3 + 3 * n, 3 : 3 + 3 * n] += AQA
        beyond = (s.over != 0.0).to(H).reshape(N, n, 3, 1) / LIMIT_RAD**2
        held = A.transpose(-1, -2) @ (beyond * A)
        for j in range(n):
            H[:, 3 + 3 * j : 6 + 3 * j, 3 + 3 * j : 6 + 3 * j] += held[:, j]
        h[:, 3 : 3 + 3 * n] += (A.transpose(-1, -2) @ grad.reshape(N, n, 3, 1)).reshape(N, 3 * n)
        return H, h

    def _step(self, s: "State", time: _Time, prior: Tensor, damping: float) -> Tensor:
        """What to take off, (N, 3 J + 3)."""
        import torch

        H, h = self._normal(s, prior)
        own = H.diagonal(dim1=1, dim2=2)
        own += damping * own + damping + ANY_SD**2
        if s.smoothness is None:
            return torch.cholesky_solve(h[..., None], torch.linalg.cholesky(H))[..., 0]
        a, b, A = s.smoothness
        h = h + time.gather(A, a, b)
        block = H + torch.diag_embed(time.diagonal(H.shape[1]))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(block))

        def times(x: Tensor) -> Tensor:
            return (H @ x[..., None])[..., 0] + time.gather(A, *time.apply(A, x))

        return gradients(times, inverse, h)

    def _exact(self, s: "State", time: _Time, prior: Tensor, damping: float) -> Tensor | None:
        """The same by factoring; None where rounding leaves no positive definite matrix."""
        import torch

        bones, arrays = self._kernels
        A = right_inverse(s.xi.reshape(len(s.t), -1, 3))
        point_of = (v.numpy() for v in (s.G, s.p, s.x, s.M, s.g, s.xi, s.over, A, s.component, prior))
        point = banded_cholesky.Point(LIMIT_RAD, damping, ANY_SD**2, *point_of)
        none = np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 0, 3)), np.zeros((0, 3)), np.zeros((0, 0, 3, 3))
        ties_of = () if s.smoothness is None else (time.rate, time.turn, time.move, *s.smoothness)
        ties = banded_cholesky.Ties(*(v.numpy() for v in ties_of)) if ties_of else banded_cholesky.Ties(*none)
        offset = bones.offset + bones.offset_shape @ s.betas.numpy()
        step = banded_cholesky.step(bones, offset, arrays.mean, arrays.precision, point, ties)
        return None if step is None else torch.from_numpy(step)

    def _solution(self, s: "State", time: _Time, prior: Tensor, taken: int, sure: bool) -> SequenceSolution:
        import torch

        nothing = torch.full_like(s.p[..., 0], torch.nan), torch.full_like(s.p, torch.nan)
        joint, turn = self._spread(s, time, prior) if sure else nothing
        tied = s.views_M + 1e-3 * torch.eye(3).to(s.x)  # where nothing is seen it stays
        views = s.x - torch.linalg.solve(tied, s.views_g[..., None])[..., 0]
        arrays = (s.R, s.t, s.betas, s.p, s.x, joint, turn)
        R, t, betas, p, x, joint_sd, turn_sd = (a.cpu().numpy() for a in arrays)
        seen = views.cpu().numpy(), s.views_M.cpu().numpy()
        return SequenceSolution(R, t, betas, p, x, joint_sd, turn_sd, s.cost, taken, *seen)

    def _spread(self, s: "State", time: _Time, prior: Tensor) -> tuple[Tensor, Tensor]:
        """joint_sd_m (N, J) and turn_sd_rad (N, J, 3), as if all neighbours were seen as this frame is: the mean over
        the frequencies ω of (H + κ (2 − 2 cos ω)²)⁻¹, of which κ is the weight of a second difference.
        """
        import torch

        few = s.every(EVERY)
        H, _ = self._normal(few, prior[::EVERY])
        stiff = time.diagonal(H.shape[1])[::EVERY] / 6.0  # a second difference has 1 + 4 + 1
        edges = np.concatenate([[0.0], np.geomspace(0.02, np.pi, FREQUENCIES)])
        covariance = torch.zeros_like(H)
        for low, high in pairwise(edges.tolist()):
            middle = (2.0 - 2.0 * np.cos(0.5 * (low + high))) ** 2
            block = H + torch.diag_embed(stiff * middle + 1e-6)
            covariance += (high - low) / np.pi * torch.cholesky_inverse(torch.linalg.cholesky(block))
        D = self._bones.joint_motion(few.G, few.p)
        joint = torch.sqrt(((D @ covariance[:, None]) * D).sum(-1).mean(-1))
        turn = torch.sqrt(covariance.diagonal(dim1=1, dim2=2)[:, :-3].reshape(len(H), -1, 3))
        return joint.repeat_interleave(EVERY, 0)[: len(s.t)], turn.repeat_interleave(EVERY, 0)[: len(s.t)]


def gradients(times: Callable[[Tensor], Tensor], inverse: Tensor, b: Tensor) -> Tensor:
    """x (N, D) with times(x) = b by conjugate gradients (Hestenes and Stiefel 1952). inverse: (N, D, D), of the blocks:
    the preconditioner.
    """
    import torch

    x, r = torch.zeros_like(b), b
    z = (inverse @ r[..., None])[..., 0]
    d, rz = z, float((r * z).sum())
    first = rz
    for _ in range(GRADIENTS):
        Ad = times(d)
        alpha = rz / max(float((d * Ad).sum()), 1e-300)
        x, r = x + alpha * d, r - alpha * Ad
        z = (inverse @ r[..., None])[..., 0]
        new = float((r * z).sum())
        if new <= LEFT**2 * first:
            break
        d, rz = z + (new / rz) * d, new
    return x


class State(NamedTuple):
    """A point of the search, and what is known there; see :meth:`SequenceSolver._at`."""

    R: Tensor
    t: Tensor
    betas: Tensor
    G: Tensor
    p: Tensor
    v: Tensor
    x: Tensor
    M: Tensor
    g: Tensor
    views_M: Tensor
    views_g: Tensor
    xi: Tensor
    over: Tensor
    component: Tensor
    smoothness: tuple[Tensor, Tensor, Tensor] | None
    cost: float

    def every(self, n: int) -> "State":
        """Each nth frame, without what time tells."""
        frames = {f: getattr(self, f)[::n] for f in self._fields if f not in ("betas", "smoothness", "cost")}
        return self._replace(**frames, smoothness=None)
