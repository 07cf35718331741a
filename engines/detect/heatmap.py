"""Heatmaps by integral soft-argmax: the joint is the mean place under the softmax of its map.

Sources: Sun et al., "Integral Human Pose Regression", ECCV 2018; Moon et al., "Camera Distance-aware Top-down
Approach for 3D Multi-person Pose Estimation from a Single RGB Image", ICCV 2019 (PoseNet of 3DMPPE).
"""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
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


def _mean(mass: F32) -> tuple[F32, F32]:
    """Mean index and the share of the mass near it, over the last axis."""
    cells = np.arange(mass.shape[-1], dtype=np.float32)
    mean = mass @ cells
    near = np.abs(cells - mean[..., None]) <= REACH
    return mean, np.clip((mass * near).sum(-1), 0, 1)
