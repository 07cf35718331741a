"""YOLOX-style person boxes, and the boxes with joints of RTMO and of Ultralytics' YOLOv8/11-pose.

Sources: Ge et al., "YOLOX: Exceeding YOLO Series in 2021"; Lu et al., "RTMO: Towards High-Performance One-Stage
Real-Time Multi-Person Pose Estimation", CVPR 2024. Coordinates are pixels over the edges of the input.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.detect.boxes import nms

F32 = NDArray[np.float32]
STRIDES = (8, 16, 32)
MAX_IOU = 0.45


def decode_yolox(
    boxes: F32, labels: NDArray[np.generic] | None, size_px: tuple[int, int], min_score: float, person_class: int
) -> tuple[F32, F32]:
    """Boxes (N, 4) and scores (N,) of the people, best first, one a person.

    boxes: (1, N, 5), box and score, exported with suppression inside, with labels (1, N) where there are several
    classes; or (1, N, 5 + classes), the raw head: offsets in its grid cell, log sizes, objectness, class scores.
    """
    rows = boxes.reshape(-1, boxes.shape[-1])
    if rows.shape[1] == 5:
        person = np.ones(len(rows), bool) if labels is None else labels.reshape(-1) == person_class
        score, xyxy = np.where(person, rows[:, 4], 0), rows[:, :4]
    else:
        score = rows[:, 4] * rows[:, 5 + person_class]
        cells, stride = grid(size_px)
        middle, half = (rows[:, :2] + cells) * stride, np.exp(np.minimum(rows[:, 2:4], 20)) * stride / 2
        xyxy = np.concatenate([middle - half, middle + half], 1)
    some = np.flatnonzero(score >= max(min_score, 1e-9))
    kept = some[nms(xyxy[some], score[some], MAX_IOU)]
    return xyxy[kept].astype(np.float32), np.clip(score[kept], 0, 1).astype(np.float32)


def decode_rtmo(boxes: F32, keypoints: F32, min_score: float) -> tuple[F32, F32, F32, F32]:
    """xy (N, J, 2), confidence (N, J), boxes (N, 4) and scores (N,), best first, one a person.

    boxes: (1, N, 5), box and score; keypoints: (1, N, J, 3), x y and score, as MMDeploy exports them.
    """
    rows, joints = boxes.reshape(-1, 5), keypoints.reshape(-1, *keypoints.shape[-2:])
    some = np.flatnonzero(rows[:, 4] >= min_score)
    kept = some[nms(rows[some, :4], rows[some, 4], 0.65)]
    rows, joints = rows[kept], joints[kept]
    return joints[:, :, :2], np.clip(joints[:, :, 2], 0, 1), rows[:, :4], np.clip(rows[:, 4], 0, 1)


def decode_yolo_pose(output: F32, joints: int, min_score: float) -> tuple[F32, F32, F32, F32]:
    """xy (N, J, 2), confidence (N, J), boxes (N, 4) and scores (N,), best first, one a person.

    output: the raw head (1, 5 + 3 J, N), or (1, N, 5 + 3 J): middle, width, height and score, then x y and confidence
    of each joint; or (1, N, 6 + 3 J), exported with suppression inside: corners, score, class, joints.
    """
    rows: F32 = output[0]
    if rows.shape[1] not in (5 + 3 * joints, 6 + 3 * joints):
        rows = rows.T
    some = rows[rows[:, 4] >= max(min_score, 1e-9)]
    if rows.shape[1] == 5 + 3 * joints:
        xyxy = np.concatenate([some[:, :2] - some[:, 2:4] / 2, some[:, :2] + some[:, 2:4] / 2], 1)
    else:
        xyxy = some[:, :4]
    kept = nms(xyxy, some[:, 4], 0.65)
    some, xyxy = some[kept], xyxy[kept]
    points = some[:, some.shape[1] - 3 * joints :].reshape(-1, joints, 3)
    boxes, scores = xyxy.astype(np.float32), np.clip(some[:, 4], 0, 1).astype(np.float32)
    return points[:, :, :2].astype(np.float32), np.clip(points[:, :, 2], 0, 1).astype(np.float32), boxes, scores


@functools.cache
def grid(size_px: tuple[int, int]) -> tuple[F32, F32]:
    """(N, 2) cell indices x y and (N, 1) strides of the head's rows, row by row, finest grid first."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[0 : size_px[1] // stride, 0 : size_px[0] // stride]
        cells.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((cells[-1].shape[0], 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
