"""Whole sequences through a lifter, every frame an output of its own age, without the work of padding.

The past of a newborn track is its first frame, repeated: behind it every layer is constant. One frame of that constant
past before the sequence, repeated at each layer as far as its filter reaches, is therefore the same as repeating the
first frame ``receptive_field - 1`` times at the input, at a cost of one frame instead of 242. The slow twin is
``network(pad_frames(features), pad_frames(context))``; they are equal in evaluation. In training batch norm does not
count the padding, and dropout takes whole channels of a sequence (Tompson et al. 2015), so that a constant past is one.
"""

import torch
from torch import nn

from kinecast.engines.lift.network import Lift, LifterNetwork, TemporalModel, pad_frames


def lift_sequence(network: LifterNetwork, features: torch.Tensor, context: torch.Tensor) -> tuple[Lift, torch.Tensor]:
    """(B, T, J, 3) and (B, T, 5) → outputs for all T frames, and the pose trunk's (B, T, C).

    Around the ends of a sequence a symmetric network's layers are not constant: in evaluation it goes the slow way, in
    training each layer repeats its own ends, which is the same but for the frames near them.
    """
    c = network.config
    if not c.causal and not network.training:
        return network(pad_frames(c, features), pad_frames(c, context)), torch.empty(0)
    x = features if c.confidence else features[..., :2]
    trunk = _trunk(network.pose, x.flatten(2))
    relative = _linear(network.pose.shrink, trunk).unflatten(-1, (c.joints, 3))
    log_variance = root_code = root_log_variance = log_gamma = None
    if network.log_variance is not None:
        log_variance = _linear(network.log_variance, trunk).unflatten(-1, (c.joints, 3))
    if network.trajectory is not None and network.trajectory_log_variance is not None:
        way = _trunk(network.trajectory, torch.cat([x.flatten(2), context], -1))
        root_code = _linear(network.trajectory.shrink, way)
        root_log_variance = _linear(network.trajectory_log_variance, way)
    if network.gamma is not None:
        log_gamma = network.gamma(trunk, x, context)
    return Lift(relative, log_variance, root_code, root_log_variance, log_gamma), trunk


def _trunk(model: TemporalModel, x: torch.Tensor) -> torch.Tensor:
    """(B, T, F) → (B, T, C)."""
    norm, p = _norm, model.drop.p if model.training else 0.0

    def drop(y: torch.Tensor) -> torch.Tensor:
        return y if not p else y * (torch.rand(len(y), 1, y.shape[2], device=y.device) >= p).to(y.dtype) / (1 - p)

    x = torch.cat([x[:, :1], x], 1)
    x = drop(torch.relu(norm(model.expand_bn, _convolved(model, model.expand_conv, x))))
    for block in range(len(model.dilations)):
        wide, narrow = model.layers_conv[2 * block : 2 * block + 2]
        y = drop(torch.relu(norm(model.layers_bn[2 * block], _convolved(model, wide, x))))
        x = x + drop(torch.relu(norm(model.layers_bn[2 * block + 1], _linear(narrow, y))))
    return x[:, 1:]


def _convolved(model: TemporalModel, conv: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """A dilated convolution over (B, T, C) beyond whose ends the end frames go on, as one product of matrices."""
    width, dilation = conv.kernel_size[0], conv.dilation[0]
    if width > 1:
        frames, reach = x.shape[1], (width - 1) * dilation
        before = reach if model.causal else reach // 2
        past, future = x[:, :1].expand(-1, before, -1), x[:, -1:].expand(-1, reach - before, -1)
        x = torch.cat([past, x, future], 1)
        x = torch.cat([x[:, k * dilation : k * dilation + frames] for k in range(width)], -1)
    return _linear(conv, x)


def _linear(conv: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(x, conv.weight.permute(0, 2, 1).flatten(1), conv.bias)


def _norm(norm: nn.BatchNorm1d, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = norm(x.flatten(0, 1)).view_as(x)
    return y
