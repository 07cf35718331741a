"""One frame at a time: the network's step with cached taps, in numpy, batched over rows that come and go.

A causal convolution needs, for one new frame, that frame and the few earlier activations (taps) its filter reaches to;
each layer keeps its own in a ring. Batch norm is folded into the weights. The same numbers as the whole-window form to
float32 rounding, at 1/100 of its work. All rows step together, on one clock.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.lift.weights import Tensors
from kinecast.engines.products import Weights, halved, plain, product
from kinecast.engines.virtual_camera import CONTEXT

F32 = NDArray[np.float32]
Affine = tuple[F32, F32]  # (inputs, outputs) and (outputs,): x @ w + b

_EPS = 1e-5  # of torch's batch norm


@dataclass(frozen=True, slots=True, eq=False)
class FoldedTrunk:
    """A trunk with its batch norms folded.

    widths, dilations: of the tapped layers. layers: the first, then two for each block; the inputs of a tapped one are
    its taps, oldest first, one behind the other. head: shrink, and what reads along. weights: the layers, and the head
    after them, as the product takes them.
    """

    widths: tuple[int, ...]
    dilations: tuple[int, ...]
    causal: bool
    layers: tuple[Affine, ...]
    head: Affine
    weights: tuple[Weights, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width of what each tapped layer reads at one time."""
        return tuple(self.layers[max(0, 2 * i - 1)][0].shape[0] // w for i, w in enumerate(self.widths))


def fold_trunk(tensors: Tensors, name: str, config: LifterConfig, also: tuple[str, ...] = ()) -> FoldedTrunk:
    """The trunk ``name`` of a lifter; ``also`` names further 1×1 heads, appended to the outputs of shrink."""
    pairs = [("expand_conv", "expand_bn")]
    pairs += [(f"layers_conv.{i}", f"layers_bn.{i}") for i in range(2 * len(config.widths) - 2)]
    folded = [_fold(tensors, f"{name}.{conv}", f"{name}.{norm}") for conv, norm in pairs]
    heads = (f"{name}.shrink", *also)
    head = (
        np.concatenate([tensors[f"{h}.weight"][:, :, 0].T for h in heads], 1),
        np.concatenate([tensors[f"{h}.bias"] for h in heads]),
    )
    dilations = tuple(int(np.prod(config.widths[:i])) for i in range(len(config.widths)))
    weights = (*(f[1] for f in folded), plain(*head))
    return FoldedTrunk(config.widths, dilations, config.causal, tuple(f[0] for f in folded), head, weights)


def _fold(tensors: Tensors, conv: str, norm: str) -> tuple[Affine, Weights]:
    w = tensors[f"{conv}.weight"].transpose(2, 1, 0).reshape(-1, len(tensors[f"{conv}.weight"]))
    scale, bias, mean, var = (
        tensors[f"{norm}.{p}"].astype(np.float64) for p in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(var + _EPS)
    offset = (bias - mean * gain).astype(np.float32)
    folded = np.ascontiguousarray(w.astype(np.float64) * gain, np.float32)
    return (folded, offset), halved(w, gain.astype(np.float32), offset) or plain(folded, offset)


def relu(x: F32) -> F32:
    return np.maximum(x, 0, out=x)


class TrunkRows:
    """The rings of N rows of one trunk. Rows are columns 0 … N - 1; :meth:`leave` moves the last into the gap."""

    def __init__(self, trunk: FoldedTrunk) -> None:
        self.trunk, self.count, self._time = trunk, 0, 0
        for weights in trunk.weights:  # compiled now, not when the first person comes
            product(np.zeros((0, len(weights[0])), np.float32), weights)
        # one more than the taps reach, for the taps between frames
        self._rings = [
            np.zeros(((w - 1) * d + 1, 4, size), np.float32)
            for w, d, size in zip(trunk.widths, trunk.dilations, trunk.sizes, strict=True)
        ]

    def enter(self, x: F32) -> None:
        """Add rows (n, inputs) whose past is their first frame, repeated."""
        first, self.count = self.count, self.count + len(x)
        self._room()
        _, present = self._through(x, lambda layer, h: np.concatenate([h] * self.trunk.widths[layer], 1))
        for ring, h in zip(self._rings, present, strict=True):
            ring[:, first : self.count] = h

    def _room(self) -> None:
        """Rings for as many rows as there are now."""
        spare = self.count - self._rings[0].shape[1]
        if spare > 0:  # double, so that people who come one by one cost little
            self._rings = [np.pad(ring, ((0, 0), (0, spare + self.count), (0, 0))) for ring in self._rings]

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        self.count -= 1
        if row != self.count:
            for ring in self._rings:
                ring[:, row] = ring[:, self.count]

    def advance(self, x: F32) -> F32:
        """The next frame (N, inputs) of all rows → trunk outputs (N, channels)."""
        out, present = self._through(x, lambda layer, h: self._taps(layer, h, 1.0))
        for ring, h in zip(self._rings, present, strict=True):
            ring[self._time % len(ring), : self.count] = h
        self._time += 1
        return out

    def advance_block(self, x: F32, output: bool) -> F32 | None:
        """The next F frames (F, N, inputs) of all rows at once → outputs of the last (N, channels), where wanted.

        The numbers of F calls of :meth:`advance`, at less work: weights are read once for the block, and nothing reads
        the last layers of a frame but its own output. Causal trunks alone.
        """
        frames, n, blocks = len(x), x.shape[1], len(self.trunk.widths)
        h = relu(self._layer(0, self._block_taps(0, x))).reshape(frames, n, -1)
        present = [x]
        for block in range(1, blocks):
            present.append(h)
            if block == blocks - 1:
                if not output:
                    break
                tapped, kept = self._block_taps(block, h, frames - 1), h[-1]
            else:
                tapped, kept = self._block_taps(block, h), h.reshape(frames * n, -1)
            h = kept + relu(self._layer(2 * block, relu(self._layer(2 * block - 1, tapped))))
            h = h.reshape(-1, n, h.shape[-1])
        for ring, seen in zip(self._rings, present, strict=True):
            for f in range(max(0, frames - len(ring)), frames):
                ring[(self._time + f) % len(ring), :n] = seen[f]
        self._time += frames
        return h[-1] if output else None

    def _block_taps(self, layer: int, h: F32, first: int = 0) -> F32:
        """What a layer reads for the frames from ``first`` on of a block (F, N, size): (frames × N, width × size)."""
        ring, dilation, width = self._rings[layer], self.trunk.dilations[layer], self.trunk.widths[layer]
        frames, n, size = h.shape
        out = np.empty((frames - first, n, width, size), np.float32)
        for f in range(first, frames):
            for k in range(width):
                at = f - (width - 1 - k) * dilation
                out[f - first, :, k] = h[at] if at >= 0 else ring[(self._time + at) % len(ring), :n]
        return out.reshape(-1, width * size)

    def adopt(self, other: "TrunkRows") -> None:
        """Take over the rows of another, which has seen the same frame last, behind one's own."""
        first, self.count = self.count, self.count + other.count
        self._room()
        for ring, theirs in zip(self._rings, other._rings, strict=True):
            for k in range(1, len(ring) + 1):
                ring[(self._time - k) % len(ring), first : self.count] = theirs[
                    (other._time - k) % len(ring), : other.count
                ]

    def peek(self, x: F32, part: float) -> F32:
        """Outputs for a frame that comes ``part`` of a frame period after the last one; nothing is kept.

        The taps that a frame at this time should have lie between kept ones and are interpolated; part = 1 is
        :meth:`advance`, exactly.
        """
        return self._through(x, lambda layer, h: self._taps(layer, h, part))[0]

    def head(self, trunk: F32) -> F32:
        """(N, channels) → shrink's outputs and those of the heads that were folded in."""
        return product(trunk, self.trunk.weights[-1])

    def taps(self, part: float = 1.0) -> list[F32]:
        """What the exported step takes for the next frame: (N, size) each, layer by layer, oldest first."""
        return [tap for layer in range(len(self._rings)) for tap in self._before(layer, part)]

    def keep(self, present: list[F32]) -> None:
        """Take over what an exported step saw at each layer, instead of :meth:`advance`."""
        for ring, h in zip(self._rings, present, strict=True):
            ring[self._time % len(ring), : self.count] = h
        self._time += 1

    def _before(self, layer: int, part: float) -> list[F32]:
        ring, dilation = self._rings[layer], self.trunk.dilations[layer]
        taps = []
        for k in range(self.trunk.widths[layer] - 1, 0, -1):
            at = self._time - k * dilation
            tap = ring[at % len(ring), : self.count]
            if part != 1.0:
                tap = np.float32(part) * tap + np.float32(1 - part) * ring[(at - 1) % len(ring), : self.count]
            taps.append(tap)
        return taps

    def _taps(self, layer: int, h: F32, part: float) -> F32:
        return np.concatenate([*self._before(layer, part), h], 1)

    def _layer(self, layer: int, x: F32) -> F32:
        return product(x, self.trunk.weights[layer])

    def _through(self, x: F32, gather: Callable[[int, F32], F32]) -> tuple[F32, list[F32]]:
        """All layers over one frame; returns the trunk's output and what each tapped layer read."""
        trunk, present = self.trunk, [x]
        h = relu(self._layer(0, gather(0, x)))
        for block in range(1, len(trunk.widths)):
            present.append(h)
            tapped = gather(block, h)
            if trunk.causal:
                kept = h
            else:  # the middle of the filter
                size, middle = h.shape[1], trunk.widths[block] // 2
                kept = tapped[:, middle * size : (middle + 1) * size]
            h = kept + relu(self._layer(2 * block, relu(self._layer(2 * block - 1, tapped))))
        return h, present


def multiplications(config: LifterConfig) -> tuple[int, int]:
    """Multiplications of the trunks for one person-frame: by a step, and by a window of receptive_field frames."""
    step = window = 0
    features = config.joints * (3 if config.confidence else 2)
    trunks = [(features, config.channels, config.joints * 3 * (1 + config.variance))]
    if config.trajectory_channels:
        trunks.append((features + CONTEXT, config.trajectory_channels, 6))
    for inputs, channels, outputs in trunks:
        frames = config.receptive_field
        for i, width in enumerate(config.widths):
            frames -= (width - 1) * math.prod(config.widths[:i])
            work = width * inputs * channels if i == 0 else (width + 1) * channels * channels
            step, window = step + work, window + work * frames
        step, window = step + channels * outputs, window + channels * outputs
    return step, window
