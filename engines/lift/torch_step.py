"""The step with cached taps in torch, for GPUs: a fixed number of rows, all on the device, fit for CUDA graphs."""

import numpy as np
import torch
from torch import nn

from kinecast.engines.lift.network import Lift
from kinecast.engines.lift.rows import perceptron_of
from kinecast.engines.lift.stream import FoldedTrunk, fold_trunk
from kinecast.engines.lift.weights import LifterFile


class _TrunkStep(nn.Module):  # type: ignore[misc]
    """stream.TrunkRows for a fixed number of rows. The time is a tensor, so that a captured graph moves on."""

    def __init__(self, trunk: FoldedTrunk, rows: int) -> None:
        super().__init__()
        self.trunk = trunk
        for i, (w, b) in enumerate((*trunk.layers, trunk.head)):
            self.register_buffer(f"w{i}", torch.from_numpy(w))
            self.register_buffer(f"b{i}", torch.from_numpy(b))
        for i, (width, dilation, size) in enumerate(zip(trunk.widths, trunk.dilations, trunk.sizes, strict=True)):
            length = max((width - 1) * dilation, 1)
            self.register_buffer(f"ring{i}", torch.zeros(length, rows, size), persistent=False)
            back = torch.arange(width - 1, 0, -1) * dilation
            self.register_buffer(f"back{i}", back, persistent=False)
        self.register_buffer("time", torch.zeros(1, dtype=torch.int64), persistent=False)

    def _layer(self, i: int, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(getattr(self, f"b{i}"), x, getattr(self, f"w{i}"))

    def forward(self, x: torch.Tensor, first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, inputs); first: (N,) bool, rows that are born with this frame → trunk (N, C) and head."""
        h = x
        for block, width in enumerate(self.trunk.widths):
            ring, back = getattr(self, f"ring{block}"), getattr(self, f"back{block}")
            born = torch.where(first[None, :, None], h[None], ring)
            ring.copy_(born)  # a row's past is its first frame
            taps = ring.index_select(0, (self.time - back) % len(ring))
            tapped = torch.cat([*taps.unbind(0), h], 1)
            ring.index_copy_(0, self.time % len(ring), h[None])
            if block == 0:
                h = torch.relu(self._layer(0, tapped))
                continue
            kept = h if self.trunk.causal else tapped.unflatten(1, (width, -1))[:, width // 2]
            h = kept + torch.relu(self._layer(2 * block, torch.relu(self._layer(2 * block - 1, tapped))))
        self.time += 1
        return h, self._layer(len(self.trunk.layers), h)


class TorchStep(nn.Module):  # type: ignore[misc]
    """The whole lifter one frame at a time, without the correction, for ``rows`` rows on one device.

    Call it under ``torch.inference_mode()``. Everything moves with ``.to(device)``. Nothing depends on values, so that
    ``torch.cuda.graph`` can capture a call on fixed tensors and replay it frame after frame.
    """

    def __init__(self, file: LifterFile, rows: int) -> None:
        super().__init__()
        self.config = c = file.config
        self.pose = _TrunkStep(fold_trunk(file.tensors, "pose", c, ("log_variance",) if c.variance else ()), rows)
        self.way: _TrunkStep | None = None
        if c.trajectory_channels:
            self.way = _TrunkStep(fold_trunk(file.tensors, "trajectory", c, ("trajectory_log_variance",)), rows)
        self.gamma = c.gamma_hidden > 0
        for i, (w, b) in enumerate(perceptron_of(file.tensors, "gamma") if self.gamma else []):
            self.register_buffer(f"gw{i}", torch.from_numpy(w))
            self.register_buffer(f"gb{i}", torch.from_numpy(np.asarray(b)))

    def forward(self, features: torch.Tensor, context: torch.Tensor, first: torch.Tensor) -> Lift:
        """(N, J, 3), (N, 5), and (N,) bool: rows that are born with this frame → as network.Lift, without T."""
        c = self.config
        x = (features if c.confidence else features[..., :2]).flatten(1)
        trunk, pose = self.pose(x, first)
        log_variance = root_code = root_log_variance = log_gamma = None
        if c.variance:
            pose, log_variance = pose.unflatten(1, (2, c.joints, 3)).unbind(1)
        else:
            pose = pose.unflatten(1, (c.joints, 3))
        if self.way is not None:
            _, code = self.way(torch.cat([x, context], 1), first)
            root_code, root_log_variance = code[:, :3], code[:, 3:]
        if self.gamma:
            h = torch.cat([trunk, x, context], 1)
            h = torch.relu(torch.addmm(self.gb0, h, self.gw0))
            h = torch.relu(torch.addmm(self.gb1, h, self.gw1))
            log_gamma = torch.addmm(self.gb2, h, self.gw2)
        return Lift(pose, log_variance, root_code, root_log_variance, log_gamma)
