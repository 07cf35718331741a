"""MoveNet MultiPose: up to six people with COCO joints and a box each, in one pass over the whole picture.

Source: "Next-Generation Pose Detection with MoveNet and TensorFlow.js", Google, 2021; the model's own page.
"""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
JOINTS = 17


def decode_multipose(people: F32, size_px: tuple[int, int], min_score: float) -> tuple[F32, F32, F32, F32]:
    """xy (N, 17, 2), confidence (N, 17), boxes (N, 4) and scores (N,) of the people scored so or better, best first.

    people: (1, 6, 56) raw: 17 × (y, x, score), box y0 x0 y1 x1, score; parts of the input. Out: pixels over the
    edges of an input of ``size_px`` (width, height).
    """
    rows = people.reshape(-1, 3 * JOINTS + 5)
    rows = rows[rows[:, -1] >= min_score]
    rows = rows[np.argsort(-rows[:, -1], kind="stable")]
    joints = rows[:, : 3 * JOINTS].reshape(-1, JOINTS, 3)
    size = np.array(size_px, np.float32)
    xy = joints[:, :, 1::-1] * size
    boxes = rows[:, [52, 51, 54, 53]] * np.tile(size, 2)
    return xy, np.clip(joints[:, :, 2], 0, 1), boxes, np.clip(rows[:, -1], 0, 1)
