"""What a lifter is trained on: the losses of a labelled batch, and those of unlabelled 2D.

Pose: MPJPE and, between neighbouring frames, the velocity of its error (Pavllo et al. 2019). Variances: the likelihood
of a Laplace distribution of that standard deviation, of errors that it cannot change, so that the pose itself is not
bent toward easy joints. Trajectory: WMPJPE, weighted with 1/depth (Pavllo et al.). γ: the error of the log of the
depth (Moon et al. 2019 learn γ itself). Projector and correction: 3D Human Pose Machines (Wang et al. 2019).
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from kinecast.engines.lift.network import Lift, LifterNetwork
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.lifter.dense_forward import lift_sequence

PARTS = ("pose", "velocity", "variance", "trajectory", "gamma", "projector", "correction", "back_projection", "bones")


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part counts; errors are in metres, or shares of the depth, before they are weighed.

    The gradient of a distance does not shrink with it, so a velocity that counted as much as the pose would drown it.
    """

    pose: float = 1.0
    velocity: float = 0.1
    variance: float = 0.01
    trajectory: float = 0.5
    gamma: float = 0.2
    projector: float = 0.2
    correction: float = 0.2
    back_projection: float = 0.1
    bones: float = 1.0


class Objective(nn.Module):  # type: ignore[misc]
    """A network and its losses: one module, so that several machines can share its gradients."""

    def __init__(self, network: LifterNetwork, weights: LossWeights, correct_every: int = 8) -> None:
        """correct_every: the correction, which costs as much as the network, is trained on every n-th frame."""
        super().__init__()
        self.network, self.weights, self.correct_every = network, weights, correct_every
        bones = skeleton(network.config.skeleton).bones
        self.register_buffer("bone", torch.tensor(bones).T.contiguous(), persistent=False)

    def forward(self, batch: dict[str, torch.Tensor], more: dict[str, torch.Tensor] | None, bf16: bool) -> torch.Tensor:
        """(len(PARTS),) weighed losses of a labelled batch and, where given, of an unlabelled one (``more``)."""
        features, context = batch["features"], batch["context"]
        labelled = len(features)
        if more is not None:  # one pass for both, so that they share the statistics of batch norm
            features, context = torch.cat([features, more["features"]]), torch.cat([context, more["context"]])
        with torch.autocast(features.device.type, torch.bfloat16, enabled=bf16):
            lift, _ = lift_sequence(self.network, features, context)
        lift = Lift(*(None if v is None else v.float() for v in lift))
        ours = Lift(*(None if v is None else v[:labelled] for v in lift))
        parts = self._labelled(ours, batch)
        if more is not None:
            theirs = Lift(*(None if v is None else v[labelled:] for v in lift))
            parts |= self._unlabelled(theirs, more, ours, batch)
        zero = features.new_zeros(())
        return torch.stack([parts.get(name, zero) * getattr(self.weights, name) for name in PARTS])

    def _labelled(self, lift: Lift, b: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weight, extent = b["weight"], b["extent"]
        error = lift.relative_m - b["relative_m"]
        parts = {"pose": _mean(_length(error).mean(-1), weight)}
        both = weight[:, 1:] * weight[:, :-1]
        parts["velocity"] = _mean(_length(error[:, 1:] - error[:, :-1]).mean(-1), both)
        if lift.log_variance is not None:
            parts["variance"] = _mean(_laplace(error, lift.log_variance).mean((-1, -2)), weight)
        root = b["root_m"]
        depth = root[..., 2].clamp_min(0.1)
        if lift.root_code is not None and lift.root_log_variance is not None:
            placed = root_of(lift.root_code, extent)
            parts["trajectory"] = _mean(_length(placed - root) / depth, weight)
            true = torch.stack([root[..., 0] / (depth * extent), root[..., 1] / (depth * extent),
                                (depth * extent).log()], -1)  # fmt: skip
            likely = _laplace(lift.root_code - true, lift.root_log_variance).mean(-1)
            parts["variance"] = parts.get("variance", 0.0) + _mean(likely, weight)
        if lift.log_gamma is not None:
            off = lift.log_gamma[..., 0] - (depth / b["k_m"]).log()
            parts["gamma"] = _mean(off.abs(), weight)
            likely = _laplace(off, lift.log_gamma[..., 1])
            parts["variance"] = parts.get("variance", 0.0) + _mean(likely, weight)
        if self.network.projector is not None:
            parts |= self._projected(lift, b)
        return parts

    def _projected(self, lift: Lift, b: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        assert self.network.projector is not None
        some = slice(self.correct_every - 1, None, self.correct_every)
        features, context, weight = b["features"][:, some], b["context"][:, some], b["weight"][:, some]
        truth, confidence = b["relative_m"][:, some], features[..., 2]
        inside = weight * (b["clean"][:, some].abs().amax((-1, -2)) < 8)  # nobody half behind the camera
        shown = self.network.projector(truth, confidence, context)
        corrected = self.network.projector.correct(lift.relative_m[:, some].detach(), features, context)
        return {
            "projector": _mean(_length(shown - b["clean"][:, some].clamp(-8, 8)).mean(-1), inside),
            "correction": _mean(_length(corrected - truth).mean(-1), weight),
        }

    def _unlabelled(
        self, lift: Lift, b: dict[str, torch.Tensor], labelled: Lift, lb: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Back-projection through the trajectory model, and bones as long as those of the labelled batch."""
        assert lift.root_code is not None
        root = root_of(lift.root_code, b["extent"])
        points = lift.relative_m + root.unsqueeze(-2)
        seen = points[..., :2] / points[..., 2:].clamp_min(0.2) / b["extent"][..., None, None]
        given = b["features"][..., 2]
        off = (_length(seen - b["features"][..., :2]) * given).sum(-1) / given.sum(-1).clamp_min(1e-3)
        theirs = _mean(self._bones(lift.relative_m), b["weight"].unsqueeze(-1))
        ours = _mean(self._bones(labelled.relative_m), lb["weight"].unsqueeze(-1))
        return {"back_projection": _mean(off, b["weight"]), "bones": (theirs - ours).square().mean()}

    def _bones(self, points: torch.Tensor) -> torch.Tensor:
        return _length(points[..., self.bone[0], :] - points[..., self.bone[1], :])


def root_of(code: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    """:func:`engines.virtual_camera.root_from_code`, for gradients: (…, 3) metres in the virtual camera."""
    scaled = code[..., 2].clamp(-5, 5).exp()  # z · extent
    return torch.stack([code[..., 0] * scaled, code[..., 1] * scaled, scaled / extent], -1)


def _length(v: torch.Tensor) -> torch.Tensor:
    return v.square().sum(-1).clamp_min(1e-12).sqrt()


def _mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighed mean over the batch and time; over the last axis too unless weight has it as 1."""
    over = (0, 1)
    return (values * weight).sum(over) / weight.sum(over).clamp_min(1e-6)


def _laplace(error: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of errors, which take no gradient, under a Laplace distribution of that variance."""
    half = log_variance.clamp(-16, 6) / 2
    return math.sqrt(2.0) * error.detach().abs() * (-half).exp() + half
