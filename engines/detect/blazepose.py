"""BlazePose: the person detector's anchors and boxes, the landmark model's region, landmarks and heatmaps.

Sources: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020; the graphs pose_detection,
pose_landmark and refine_landmarks_from_heatmap of MediaPipe, whose numbers these are.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.detect.boxes import weighted_nms
from kinecast.engines.detect.picture import Region

F32 = NDArray[np.float32]

GRIDS = ((8, 2), (16, 2), (32, 6))  # stride of a grid, anchors a cell
LANDMARKS = 39  # 33 joints, the two points of the next region, and four that nobody uses
HIP, CIRCLE = 33, 34  # middle of the hips, and a point on the circle around the whole body
REGION_MARGIN = 1.25  # side of the region over the diameter of that circle
WINDOW = 7  # side of the part of a heatmap that a joint is refined in
MIN_PEAK = 0.5  # under this, a heatmap says nothing


def sigmoid(x: NDArray[np.floating]) -> F32:
    """1 / (1 + e^−x), safe at both ends."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -88, 88))), np.float32)


@functools.cache
def anchors(size: int = 224) -> F32:
    """(2254, 2) centres of the detector's anchors, x y as parts of the input."""
    out = []
    for stride, per_cell in GRIDS:
        n = size // stride
        y, x = np.mgrid[0:n, 0:n]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / n
        out.append(np.repeat(centres, per_cell, axis=0))
    table = np.concatenate(out).astype(np.float32)
    table.flags.writeable = False
    return table


def decode_people(boxes: F32, scores: F32, min_score: float, size: int = 224, max_iou: float = 0.3) -> tuple[F32, F32]:
    """The people in a picture: (N, 12) and scores (N,), best first.

    boxes: (1, 2254, 12) and scores: (1, 2254, 1), raw. A row is a box x0 y0 x1 y1, then x y of the middle of
    the hips, of a point on the circle around the body, of the middle of the shoulders and of one on the circle around
    the upper body; in pixels over the input's edges, 0 … size.
    """
    score = sigmoid(scores.reshape(-1))
    some = np.flatnonzero(score >= min_score)
    raw, centres = boxes.reshape(-1, 12)[some], anchors(size)[some] * size
    middle, half = raw[:, :2] + centres, raw[:, 2:4] / 2
    points = (raw[:, 4:].reshape(-1, 4, 2) + centres[:, None]).reshape(-1, 8)
    return weighted_nms(np.concatenate([middle - half, middle + half, points], 1), score[some], max_iou)


def region(hip_px: NDArray[np.floating], circle_px: NDArray[np.floating]) -> Region:
    """The square that the landmark model looks at: around the hips, upright along the line to the circle's point."""
    dx, dy = float(circle_px[0] - hip_px[0]), float(circle_px[1] - hip_px[1])
    side = 2 * REGION_MARGIN * math.hypot(dx, dy)
    return Region(float(hip_px[0]), float(hip_px[1]), side, side, math.atan2(dx, -dy))


def decode_landmarks(landmarks: F32, heatmap: F32 | None = None, size: int = 256) -> tuple[F32, F32]:
    """Landmarks of one person: xy (39, 2), pixels over the input's edges 0 … size, and confidence (39,) in [0, 1].

    landmarks: (1, 195) raw, 39 × (x, y, z, visibility, presence). Confidence is visibility × presence. heatmap:
    (1, 64, 64, 39) raw, moves each joint to the centroid of its neighbourhood there.
    """
    table = landmarks.reshape(LANDMARKS, 5)
    xy = table[:, :2].astype(np.float32)
    likely = sigmoid(table[:, 3:5])
    return (xy if heatmap is None else refine(xy, heatmap[0], size)), likely[:, 0] * likely[:, 1]


def refine(xy: F32, heatmap: F32, size: int = 256) -> F32:
    """Each landmark moved to the centroid of the 7×7 heatmap cells around it, where they peak at 0.5 or more.

    xy: (K, 2), 0 … size; heatmap: (H, W, K) raw. Cells outside the map count nothing, landmarks outside it stay.
    A cell stands for its left upper corner: on mirrored pictures that is what agrees with itself.
    """
    h, w, k = heatmap.shape
    cell = np.floor(xy * (np.array([w, h], np.float32) / size)).astype(np.int64)
    reach = np.arange(WINDOW) - WINDOW // 2
    cols, rows = cell[:, 0, None] + reach, cell[:, 1, None] + reach  # (K, 7) each
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((cols >= 0) & (cols < w))[:, None, :]
    at = (np.clip(rows, 0, h - 1)[:, :, None], np.clip(cols, 0, w - 1)[:, None, :], np.arange(k)[:, None, None])
    mass = np.where(inside, sigmoid(heatmap[at]), np.float32(0))
    total = mass.sum((1, 2))
    on_map = (cell >= 0).all(1) & (cell[:, 0] < w) & (cell[:, 1] < h)
    good = on_map & (mass.max((1, 2)) >= MIN_PEAK)
    safe = np.where(good, total, 1)
    x = (mass.sum(1) * cols).sum(1) / safe * (size / w)
    y = (mass.sum(2) * rows).sum(1) / safe * (size / h)
    return np.where(good[:, None], np.stack([x, y], 1), xy).astype(np.float32)
