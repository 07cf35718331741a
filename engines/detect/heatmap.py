"""Heatmaps: logits by integral soft-argmax, the mean place under the softmax of a map; Gaussians by their peak.

Sources: Sun et al., "Integral Human Pose Regression", ECCV 2018; Moon et al., "Camera Distance-aware Top-down
Approach for 3D Multi-person Pose Estimation from a Single RGB Image", ICCV 2019 (PoseNet of 3DMPPE). Maps of Gaussians
(HRNet, ViTPose, Sapiens): Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation"
(DARK), CVPR 2020, here axis by axis; Huang et al., "The Devil Is in the Details" (UDP), CVPR 2020, for where cells lie.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
LOGITS_FROM = 1.5  # no Gaussian of height 1 rises above this, nor falls below −LOGITS_FROM / 3
REACH = 2.0  # cells: how near to the joint the mass must lie to count as sure


def decode_heatmap(
    heatmap: F32, joints: int, size_px: tuple[int, int], temperature: float = 1.0
) -> tuple[F32, F32, F32 | None]:
    """xy (N, J, 2), pixels of an input of ``size_px``; confidence (N, J) in [0, 1]; depth (N, J) or None.

    heatmap: (N, J, H, W), or (N, J × D, H, W) for volumes, as PoseNet gives them; depth is in cells 0 … D − 1.
    Confidence is the share of the mass within two cells of the joint, the least of the axes: a soft-argmax between
    two hills is not to be trusted, and this says so.
    """
    n, channels, h, w = heatmap.shape
    if channels % joints:
        raise ValueError(f"a heatmap of {channels} channels does not divide among {joints} joints")
    volume = heatmap.reshape(n, joints, channels // joints, h, w).astype(np.float32) * np.float32(temperature)
    mass = np.exp(volume - volume.max((2, 3, 4), keepdims=True))
    mass /= mass.sum((2, 3, 4), keepdims=True)
    x, sure_x = _mean(mass.sum((2, 3)))
    y, sure_y = _mean(mass.sum((2, 4)))
    z, _ = _mean(mass.sum((3, 4)))
    xy = np.stack([x * (size_px[0] / w), y * (size_px[1] / h)], 2).astype(np.float32)
    return xy, np.minimum(sure_x, sure_y), z if channels > joints else None


def kind_of_heatmap(heatmap: F32) -> Literal["probability", "gaussian", "logits"]:
    """``probability``, ``gaussian`` or ``logits``: what the numbers of maps (…, H, W) are, by their range and sums."""
    if heatmap.min() >= -1e-6 and np.allclose(heatmap.sum((-2, -1)), 1, atol=1e-2):
        return "probability"
    return "gaussian" if heatmap.min() >= -LOGITS_FROM / 3 and heatmap.max() <= LOGITS_FROM else "logits"


def decode_peaks(heatmap: F32, size_px: tuple[int, int], udp: bool) -> tuple[F32, F32]:
    """xy (N, J, 2), pixels of an input of ``size_px``, and confidence (N, J), the height of the peak in [0, 1].

    heatmap: (N, J, H, W), a Gaussian of height 1 around each joint, or its probability (then the height says little).
    Between cells the logarithm of a Gaussian is a parabola: its top follows from the peak and its neighbours. udp: cell
    0 and the last cell lie on the first and last pixel; else a cell is so many pixels as the map is smaller.
    """
    n, joints, h, w = heatmap.shape
    flat = heatmap.reshape(n, joints, h * w)
    at = flat.argmax(2)
    rows, columns = at // w, at % w
    logs = np.log(np.maximum(heatmap, 1e-6))
    i, j = np.ogrid[:n, :joints]
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, w - 1)
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, h - 1)

    def top(before: F32, here: F32, after: F32) -> F32:
        bend = 2 * here - before - after
        return np.where(bend > 1e-6, np.clip((after - before) / (2 * np.maximum(bend, 1e-6)), -0.5, 0.5), 0)

    here = logs[i, j, rows, columns]
    x = columns + top(logs[i, j, rows, left], here, logs[i, j, rows, right])
    y = rows + top(logs[i, j, above, columns], here, logs[i, j, below, columns])
    scale = [(s - 1) / (c - 1) if udp else s / c for s, c in zip(size_px, (w, h), strict=True)]
    xy = np.stack([x * scale[0], y * scale[1]], 2).astype(np.float32)
    return xy, np.clip(flat.max(2), 0, 1).astype(np.float32)


def decode_probability(heatmap: F32, size_px: tuple[int, int]) -> tuple[F32, F32]:
    """As :func:`decode_heatmap`, of maps (N, J, H, W) that are probabilities already."""
    h, w = heatmap.shape[2:]
    mass = np.maximum(heatmap.astype(np.float32), 0)
    mass /= np.maximum(mass.sum((2, 3), keepdims=True), np.float32(1e-9))
    (x, sure_x), (y, sure_y) = _mean(mass.sum(2)), _mean(mass.sum(3))
    xy = np.stack([x * (size_px[0] / w), y * (size_px[1] / h)], 2).astype(np.float32)
    return xy, np.minimum(sure_x, sure_y)


def _mean(mass: F32) -> tuple[F32, F32]:
    """Mean index and the share of the mass near it, over the last axis."""
    cells = np.arange(mass.shape[-1], dtype=np.float32)
    mean = mass @ cells
    near = np.abs(cells - mean[..., None]) <= REACH
    return mean, np.clip((mass * near).sum(-1), 0, 1)
