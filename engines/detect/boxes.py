"""Boxes (x0 y0 x1 y1): overlap and the two ways of keeping one box a person."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def iou(a: F32, b: F32) -> F32:
    """(N, M) intersection over union of (N, 4) and (M, 4) boxes; 0 where a box is empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(np.maximum(x[:, 2:] - x[:, :2], 0), axis=1) for x in (a, b)]
    return np.asarray(inside / np.maximum(areas[0][:, None] + areas[1] - inside, 1e-9), np.float32)


def nms(boxes: F32, scores: F32, max_iou: float) -> NDArray[np.int64]:
    """Indices of the boxes that stay, best first: one that overlaps a better one by more than ``max_iou`` goes."""
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes[order], boxes[order]) > max_iou
    gone = np.zeros(len(order), bool)
    for i in range(len(order)):
        if not gone[i]:
            gone[i + 1 :] |= overlaps[i, i + 1 :]
    return order[~gone]


def weighted_nms(rows: F32, scores: F32, max_iou: float) -> tuple[F32, F32]:
    """Groups of overlapping boxes become one: the mean of their rows, weighted by score, with the best score.

    rows: (N, 4 + K), the box and whatever else is to be averaged with it. Returns (M, 4 + K) and (M,), best first.
    Source: the "weighted" mode of MediaPipe's non-max suppression.
    """
    order = np.argsort(-scores, kind="stable")
    rows, scores = rows[order], scores[order]
    kept, best = [], []
    while len(rows):
        group = iou(rows[:1, :4], rows[:, :4])[0] > max_iou
        group[0] = True
        weight = scores[group, None]
        kept.append((rows[group] * weight).sum(0) / weight.sum())
        best.append(scores[0])
        rows, scores = rows[~group], scores[~group]
    return np.array(kept, np.float32).reshape(-1, rows.shape[1]), np.array(best, np.float32)
