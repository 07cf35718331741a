"""Poses as pictures, for TensorBoard: what the view saw, and the lifted skeleton beside the true one from two sides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.mixture import first_sequences
from kinecast.engines.train.data.synthetic_batches import Batch
from kinecast.engines.train.lifter.validate import lift_batch

Points = NDArray[np.floating]

PEOPLE = 4
CELL = 160  # px
SPAN_M = 2.4
GREY, RED, BLUE = (170, 170, 170), (200, 40, 40), (30, 80, 200)


def pose_images(network: LifterNetwork, batch: Batch, device: str = "cpu") -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a row for each of the first people of a batch, at the last frame that counts.

    Left the keypoints that the view gave, then from the camera and from its right: grey the truth, red what was lifted.
    """
    batch = first_sequences(batch, PEOPLE)
    lifted = lift_batch(network, batch, device).corrected_m
    at = []
    for row in range(len(lifted)):
        counted = np.flatnonzero(batch.weight[row] > 0)
        at.append(int(counted[-1]) if len(counted) else 0)
    of = np.arange(len(lifted))
    return draw_rows(batch.features[of, at], batch.relative_m[of, at], lifted[of, at], network.config.skeleton)


def draw_rows(seen: Points, wanted: Points, found: Points, name: str) -> NDArray[np.uint8]:
    """(160 N, 480, 3) RGB: of each of N people the keypoints ``seen`` (N, J, 3), blue, x, y in extents and confidence;
    then ``wanted``, grey, and ``found``, red, both (N, J, 3) metres about the root in the camera's axes, from the
    camera and from its right. name: of the skeleton.
    """
    import cv2

    bones = skeleton(name).bones
    out = np.full((CELL * len(seen), CELL * 3, 3), 255, np.uint8)

    def draw(cell: Any, points: Points, there: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
        px = np.rint(np.clip(np.nan_to_num(points / SPAN_M + 0.5), -1, 2) * CELL).astype(int).tolist()
        for a, b in bones:
            if there[a] and there[b]:
                cv2.line(cell, px[a], px[b], colour, 1, cv2.LINE_AA)

    every = np.ones(seen.shape[1], bool)
    for row in range(len(seen)):
        cells = [out[row * CELL : (row + 1) * CELL, k * CELL : (k + 1) * CELL] for k in range(3)]
        draw(cells[0], seen[row, :, :2] * SPAN_M / 5, seen[row, :, 2] > 0, BLUE)
        for cell, axes in zip(cells[1:], ((0, 1), (2, 1)), strict=True):
            draw(cell, wanted[row][:, axes], every, GREY)
            draw(cell, found[row][:, axes], every, RED)
    return out
