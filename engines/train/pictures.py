"""Poses as pictures, for TensorBoard: what the view saw, and the lifted skeleton beside the true one from two sides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.lift.network import LifterNetwork
from engines.skeleton import skeleton
from engines.train.mixture import few
from engines.train.samples import Batch
from engines.train.validate import lift_batch

PEOPLE = 4
CELL = 160  # px
SPAN_M = 2.4
GREY, RED, BLUE = (170, 170, 170), (200, 40, 40), (30, 80, 200)


def picture(network: LifterNetwork, batch: Batch, device: str = "cpu") -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a row for each of the first people of a batch, at the last frame that counts.

    Left the keypoints that the view gave, then from the camera and from its right: grey the truth, red what was lifted.
    """
    import cv2

    batch = few(batch, PEOPLE)
    lifted = lift_batch(network, batch, device).corrected_m
    bones = skeleton(network.config.skeleton).bones
    out = np.full((CELL * len(lifted), CELL * 3, 3), 255, np.uint8)

    def draw(cell: Any, points: NDArray[np.floating], there: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
        px = np.rint(np.clip(np.nan_to_num(points / SPAN_M + 0.5), -1, 2) * CELL).astype(int).tolist()
        for a, b in bones:
            if there[a] and there[b]:
                cv2.line(cell, px[a], px[b], colour, 1, cv2.LINE_AA)

    for row in range(len(lifted)):
        counted = np.flatnonzero(batch.weight[row] > 0)
        t = int(counted[-1]) if len(counted) else 0
        cells = [out[row * CELL : (row + 1) * CELL, k * CELL : (k + 1) * CELL] for k in range(3)]
        every = np.ones(batch.features.shape[2], bool)
        seen = batch.features[row, t]
        draw(cells[0], seen[:, :2] * SPAN_M / 5, seen[:, 2] > 0, BLUE)
        for cell, axes in zip(cells[1:], ((0, 1), (2, 1)), strict=True):
            draw(cell, batch.relative_m[row, t][:, axes], every, GREY)
            draw(cell, lifted[row, t][:, axes], every, RED)
    return out
