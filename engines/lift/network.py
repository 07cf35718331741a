"""The networks in torch: for training, for export and as the slow twin of the streaming step.

:class:`TemporalModel` and :class:`TemporalModelOptimized1f` are VideoPose3D's (Pavllo et al., CVPR 2019), with its
names of layers, so that a published checkpoint loads strictly; what is ours stands in small modules beside them.
"""

from typing import Any, NamedTuple

import torch
from torch import nn

from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.virtual_camera import CONTEXT


class _Temporal(nn.Module):  # type: ignore[misc]
    """What both forms share. in: (B, T, joints_in, features), out: (B, T', joints_out, 3)."""

    def __init__(
        self,
        num_joints_in: int,
        in_features: int,
        num_joints_out: int,
        filter_widths: tuple[int, ...],
        causal: bool = False,
        dropout: float = 0.25,
        channels: int = 1024,
        *,
        strided: bool,
    ) -> None:
        super().__init__()
        self.num_joints_in, self.in_features, self.num_joints_out = num_joints_in, in_features, num_joints_out
        self.filter_widths, self.causal, self.channels = tuple(filter_widths), causal, channels
        self.drop = nn.Dropout(dropout)
        self.expand_bn = nn.BatchNorm1d(channels, momentum=0.1)
        self.shrink = nn.Conv1d(channels, num_joints_out * 3, 1)
        first = self.filter_widths[0]
        self.expand_conv = nn.Conv1d(
            num_joints_in * in_features, channels, first, stride=first if strided else 1, bias=False
        )
        convs: list[nn.Module] = []
        norms: list[nn.Module] = []
        self.dilations = []
        dilation = first
        for width in self.filter_widths[1:]:
            self.dilations.append(dilation)
            step = {"stride": width} if strided else {"dilation": dilation}
            convs.append(nn.Conv1d(channels, channels, width, bias=False, **step))
            convs.append(nn.Conv1d(channels, channels, 1, bias=False))
            norms.extend(nn.BatchNorm1d(channels, momentum=0.1) for _ in range(2))
            dilation *= width
        self.receptive_field = dilation
        # frames between the middle of the window and the frame that an output stands for
        self.causal_shift = (dilation - 1) // 2 if causal else 0
        self.layers_conv = nn.ModuleList(convs)
        self.layers_bn = nn.ModuleList(norms)

    def set_bn_momentum(self, momentum: float) -> None:
        """Momentum of every batch norm (VideoPose3D lets it decay from 0.1 to 0.001)."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = momentum

    def residual(self, x: torch.Tensor, block: int) -> torch.Tensor:
        raise NotImplementedError

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, joints_in, features) → (B, channels, T'): what ``shrink`` and the heads of ours read."""
        x = x.flatten(2).transpose(1, 2)
        x = self.drop(torch.relu(self.expand_bn(self.expand_conv(x))))
        for block in range(len(self.dilations)):
            kept = self.residual(x, block)
            x = self.drop(torch.relu(self.layers_bn[2 * block](self.layers_conv[2 * block](x))))
            x = kept + self.drop(torch.relu(self.layers_bn[2 * block + 1](self.layers_conv[2 * block + 1](x))))
        return x

    def joints(self, trunk: torch.Tensor) -> torch.Tensor:
        """(B, channels, T') → (B, T', joints_out, 3)."""
        return self.shrink(trunk).transpose(1, 2).unflatten(-1, (self.num_joints_out, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.joints(self.trunk(x))


class TemporalModel(_Temporal):
    """The dilated form: every frame of a sequence is an output; T' = T - receptive_field + 1.

    Output i stands for frame i + (receptive_field - 1) / 2 + causal_shift of the input: the middle of its window in the
    symmetric form, the last frame of it in the causal one.
    """

    def __init__(
        self,
        num_joints_in: int,
        in_features: int,
        num_joints_out: int,
        filter_widths: tuple[int, ...],
        causal: bool = False,
        dropout: float = 0.25,
        channels: int = 1024,
    ) -> None:
        super().__init__(
            num_joints_in, in_features, num_joints_out, filter_widths, causal, dropout, channels, strided=False
        )

    def residual(self, x: torch.Tensor, block: int) -> torch.Tensor:
        """The frames of a block's input that its outputs stand for."""
        reach = (self.filter_widths[block + 1] - 1) * self.dilations[block]
        start = reach if self.causal else reach // 2
        return x[:, :, start : x.shape[2] - reach + start]

    def present(self, x: torch.Tensor) -> torch.Tensor:
        """The frames (axis 1) that the outputs stand for."""
        start = (self.receptive_field - 1) // 2 + self.causal_shift
        return x[:, start : x.shape[1] - self.receptive_field + 1 + start]


class TemporalModelOptimized1f(_Temporal):
    """The strided form: windows of receptive_field frames, one output each; the same weights, less work."""

    def __init__(
        self,
        num_joints_in: int,
        in_features: int,
        num_joints_out: int,
        filter_widths: tuple[int, ...],
        causal: bool = False,
        dropout: float = 0.25,
        channels: int = 1024,
    ) -> None:
        super().__init__(
            num_joints_in, in_features, num_joints_out, filter_widths, causal, dropout, channels, strided=True
        )

    def residual(self, x: torch.Tensor, block: int) -> torch.Tensor:
        """The last (causal) or the middle of each group that one output is made of."""
        width = self.filter_widths[block + 1]
        return x[:, :, (width - 1 if self.causal else width // 2) :: width]


class Gamma(nn.Module):  # type: ignore[misc]
    """RootNet's correction (Moon et al., ICCV 2019): depth = γ k. Here from trunk, keypoints and box, not pixels."""

    def __init__(self, trunk: int, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(trunk + features + CONTEXT, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 2)]
        )

    def forward(self, trunk: torch.Tensor, features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """(B, T, C), (B, T, J, F), (B, T, E) of the same frames → (B, T, 2): log γ and the log of its variance."""
        return _perceptron(self.layers, torch.cat([trunk, features.flatten(2), context], -1))


class Projector(nn.Module):  # type: ignore[misc]
    """A learned 3D-to-2D projector and its use at run time (Wang et al., 3D Human Pose Machines, TPAMI 2019).

    It tells how a root-relative pose looks in the normalised view. At run time a fixed number of gradient steps pulls
    the pose toward what the view saw, weighed by confidence, each step with learned lengths for each joint and axis.
    """

    def __init__(self, joints: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.joints = joints
        self.layers = nn.ModuleList(
            [nn.Linear(joints * 4 + CONTEXT, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, joints * 2)]
        )
        # exp(-4): with a gradient of order 1 m of depth per unit of the view, the first steps are of centimetres
        self.log_step = nn.Parameter(torch.full((steps, joints, 3), -4.0))

    def forward(self, relative_m: torch.Tensor, confidence: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """(…, J, 3) metres in the virtual camera, (…, J), (…, E) → (…, J, 2) normalised keypoints."""
        x = torch.cat([relative_m.flatten(-2), confidence, context], -1)
        return _perceptron(self.layers, x).unflatten(-1, (self.joints, 2))

    def correct(
        self, relative_m: torch.Tensor, features: torch.Tensor, context: torch.Tensor, steps: int | None = None
    ) -> torch.Tensor:
        """Poses (…, J, 3) after the correction steps; differentiable. features: (…, J, 3) of the same frames.

        The gradient through the projector is written out, so that the steps can be exported and trained through.
        """
        seen, confidence = features[..., :2], features[..., 2]
        first, middle, last = self.layers
        for log_step in self.log_step[:steps]:
            x = torch.cat([relative_m.flatten(-2), confidence, context], -1)
            h1 = torch.relu(first(x))
            h2 = torch.relu(middle(h1))
            error = (last(h2).unflatten(-1, (self.joints, 2)) - seen) * confidence.unsqueeze(-1)
            back = (error.flatten(-2) @ last.weight) * (h2 > 0)
            back = (back @ middle.weight) * (h1 > 0)
            gradient = (back @ first.weight[:, : self.joints * 3]).unflatten(-1, (self.joints, 3))
            relative_m = relative_m - log_step.exp() * gradient
        return relative_m


class Lift(NamedTuple):
    """Outputs of :class:`LifterNetwork` for T' frames; None where a head is not there.

    relative_m: (B, T', J, 3) metres in each frame's virtual camera, relative to the root, before any correction.
    log_variance: (B, T', J, 3), of its errors. root_code: (B, T', 3) as normalise.root_code; root_log_variance: the
    same shape. log_gamma: (B, T', 2), log γ and the log of its variance.
    """

    relative_m: torch.Tensor
    log_variance: torch.Tensor | None
    root_code: torch.Tensor | None
    root_log_variance: torch.Tensor | None
    log_gamma: torch.Tensor | None


class LifterNetwork(nn.Module):  # type: ignore[misc]
    """The whole lifter: VideoPose3D's trunk for the pose, a second one for the trajectory, and the small heads."""

    def __init__(self, config: LifterConfig) -> None:
        super().__init__()
        self.config = c = config
        features = 3 if c.confidence else 2
        shared: dict[str, Any] = {"filter_widths": c.widths, "causal": c.causal, "dropout": c.dropout}
        self.pose = TemporalModel(c.joints, features, c.joints, channels=c.channels, **shared)
        self.log_variance = nn.Conv1d(c.channels, c.joints * 3, 1) if c.variance else None
        self.trajectory: TemporalModel | None = None
        self.trajectory_log_variance: nn.Conv1d | None = None
        if c.trajectory_channels:
            self.trajectory = TemporalModel(
                1, c.joints * features + CONTEXT, 1, channels=c.trajectory_channels, **shared
            )
            self.trajectory_log_variance = nn.Conv1d(c.trajectory_channels, 3, 1)
        self.gamma = Gamma(c.channels, c.joints * features, c.gamma_hidden) if c.gamma_hidden else None
        self.projector = Projector(c.joints, c.projector_hidden, c.correction_steps) if c.projector_hidden else None

    def forward(self, features: torch.Tensor, context: torch.Tensor) -> Lift:
        """(B, T, J, 3) and (B, T, 5) as from normalise → T' = T - receptive_field + 1 outputs.

        Truncated histories are made by the caller: the first frame repeated receptive_field - 1 times before (causal),
        or half of that on both ends (symmetric); see :func:`pad_frames`.
        """
        x = features if self.config.confidence else features[..., :2]
        trunk = self.pose.trunk(x)
        log_variance = root_code = root_log_variance = log_gamma = None
        if self.log_variance is not None:
            log_variance = self.log_variance(trunk).transpose(1, 2).unflatten(-1, (-1, 3))
        if self.trajectory is not None and self.trajectory_log_variance is not None:
            way = self.trajectory.trunk(torch.cat([x.flatten(2), context], -1).unsqueeze(2))
            root_code = self.trajectory.joints(way).squeeze(2)
            root_log_variance = self.trajectory_log_variance(way).transpose(1, 2)
        if self.gamma is not None:
            log_gamma = self.gamma(trunk.transpose(1, 2), self.pose.present(x), self.pose.present(context))
        return Lift(self.pose.joints(trunk), log_variance, root_code, root_log_variance, log_gamma)


def pad_frames(config: LifterConfig, x: torch.Tensor) -> torch.Tensor:
    """(B, T, …) with its first (and, in the symmetric form, last) frame repeated, so that every frame gets an output.

    Causal: output t has seen frames 0 … t and is what run time gives to a track born at frame 0, at age t.
    """
    reach = config.receptive_field - 1
    before, after = (reach, 0) if config.causal else (reach // 2, reach // 2)
    ends = [x[:, :1].expand(-1, before, *x.shape[2:]), x, x[:, -1:].expand(-1, after, *x.shape[2:])]
    return torch.cat(ends, 1)


def _perceptron(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for layer in layers[:-1]:
        x = torch.relu(layer(x))
    return layers[-1](x)
