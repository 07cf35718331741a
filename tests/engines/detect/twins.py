"""The slow, obvious twins of the decoders: one number at a time, as a person would do it by hand."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def sigmoid(x: float) -> float:
    """1 / (1 + e^−x)."""
    return 1 / (1 + math.exp(-x))


def iou(a: Array, b: Array) -> float:
    """Overlap of two boxes."""
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return float(w * h / union) if union > 0 else 0.0


def nms(boxes: Array, scores: Array, max_iou: float) -> list[int]:
    """Take the best, strike out what overlaps it, and again."""
    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if iou(boxes[best], boxes[i]) <= max_iou]
    return kept


def people(boxes: Array, scores: Array, min_score: float, max_iou: float) -> list[tuple[float, Array]]:
    """BlazePose's detector on an input of 224: anchor by anchor, then weighted suppression."""
    candidates, a = [], 0
    for stride, per_cell in ((8, 2), (16, 2), (32, 6)):
        for row in range(224 // stride):
            for col in range(224 // stride):
                for _ in range(per_cell):
                    score = sigmoid(float(scores[0, a, 0]))
                    if score >= min_score:
                        x, y = (col + 0.5) * stride, (row + 0.5) * stride
                        r = boxes[0, a].astype(float)
                        cx, cy = r[0] + x, r[1] + y
                        out = [cx - r[2] / 2, cy - r[3] / 2, cx + r[2] / 2, cy + r[3] / 2]
                        for k in range(4):
                            out += [r[4 + 2 * k] + x, r[5 + 2 * k] + y]
                        candidates.append((score, np.array(out)))
                    a += 1
    candidates.sort(key=lambda c: -c[0])
    result = []
    while candidates:
        best = candidates[0]
        group = [c for c in candidates if c is best or iou(best[1], c[1]) > max_iou]
        candidates = [c for c in candidates if not any(c is g for g in group)]
        total = sum(c[0] for c in group)
        result.append((best[0], sum(c[0] * c[1] for c in group) / total))
    return result


def refine(xy: Array, heatmap: Array, size: int) -> Array:
    """Joint by joint, cell by cell."""
    h, w, k = heatmap.shape
    out = np.array(xy, float)
    for j in range(k):
        col, row = math.floor(xy[j, 0] * w / size), math.floor(xy[j, 1] * h / size)
        if not (0 <= col < w and 0 <= row < h):
            continue
        total = sx = sy = peak = 0.0
        for r in range(max(0, row - 3), min(h, row + 4)):
            for c in range(max(0, col - 3), min(w, col + 4)):
                p = sigmoid(float(heatmap[r, c, j]))
                total, sx, sy, peak = total + p, sx + p * c, sy + p * r, max(peak, p)
        if peak >= 0.5:
            out[j] = sx / total / w * size, sy / total / h * size
    return out


def multipose(people: Array, size_px: tuple[int, int], min_score: float) -> list[dict[str, Array]]:
    """Row by row."""
    found = []
    for row in people[0]:
        if row[55] >= min_score:
            joints = [(row[3 * j + 1] * size_px[0], row[3 * j] * size_px[1], row[3 * j + 2]) for j in range(17)]
            box = (row[52] * size_px[0], row[51] * size_px[1], row[54] * size_px[0], row[53] * size_px[1])
            found.append({"joints": np.array(joints), "box": np.array(box), "score": row[55]})
    return sorted(found, key=lambda f: -f["score"])


def simcc(x: Array, y: Array, split: float) -> Array:
    """(N, J, 3) x, y and score, joint by joint."""
    out = np.full((*x.shape[:2], 3), np.nan)
    for n in range(x.shape[0]):
        for j in range(x.shape[1]):
            i, k = int(np.argmax(x[n, j])), int(np.argmax(y[n, j]))
            score = min(x[n, j, i], y[n, j, k])
            out[n, j] = (i / split, k / split, min(score, 1)) if score > 0 else (np.nan, np.nan, 0)
    return out


def yolox(raw: Array, size_px: tuple[int, int], min_score: float, person: int) -> list[tuple[float, Array]]:
    """Cell by cell, then suppression at 0.45."""
    boxes, scores, a = [], [], 0
    for stride in (8, 16, 32):
        for row in range(size_px[1] // stride):
            for col in range(size_px[0] // stride):
                r = raw[0, a].astype(float)
                a += 1
                score = r[4] * r[5 + person]
                if score >= min_score:
                    cx, cy = (r[0] + col) * stride, (r[1] + row) * stride
                    w, h = math.exp(r[2]) * stride, math.exp(r[3]) * stride
                    boxes.append(np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]))
                    scores.append(score)
    return [(scores[i], boxes[i]) for i in nms(np.array(boxes), np.array(scores), 0.45)]


def soft_argmax(heatmap: Array, joints: int, size_px: tuple[int, int]) -> Array:
    """(N, J, 3) x, y in pixels and z in cells: every voxel weighed by itself."""
    n, channels, h, w = heatmap.shape
    depth = channels // joints
    out = np.zeros((n, joints, 3))
    for b in range(n):
        for j in range(joints):
            volume = heatmap[b, j * depth : (j + 1) * depth].astype(float)
            weights = np.exp(volume - volume.max())
            for z in range(depth):
                for y in range(h):
                    for x in range(w):
                        out[b, j] += weights[z, y, x] * np.array([x * size_px[0] / w, y * size_px[1] / h, z])
            out[b, j] /= weights.sum()
    return out
