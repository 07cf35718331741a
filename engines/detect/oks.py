"""How like two sets of joints are: object keypoint similarity, as COCO defines it."""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton import direct_index, skeleton

F32 = NDArray[np.float32]

# COCO's constants κ: twice the spread of human annotators, in coco17's order
_KAPPA = 2 * np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float32) / 1000
_FALL = -2 * _KAPPA**2
_FLIP = list(skeleton("coco17").flip)
SURE = 0.3  # a joint of less confidence is not compared
FEWEST = 4  # fewer common joints say nothing


def as_coco(name: str, keypoints: F32, confidence: F32) -> tuple[F32, F32]:
    """(N, 17, 2) and (N, 17): the joints of coco17 taken out of another skeleton, confidence 0 where it has none."""
    index = direct_index(name, "coco17")
    have = index >= 0
    return keypoints[:, index], np.where(have, confidence[:, index], 0).astype(np.float32)


def oks(a_xy: F32, a_conf: F32, b_xy: F32, b_conf: F32) -> F32:
    """(N, M) similarity in [0, 1] of N and M people in coco17, over the joints that both see; 0 where under four.

    A body whose left and right were taken for each other is still that body: the better of both readings counts.
    The scale is that of the larger of the two: s² is a quarter of the square on the longer side of the joints' box,
    which for a standing person is near to COCO's area of the segment.
    """
    m = len(b_xy)
    b_xy = np.concatenate([b_xy, b_xy[:, _FLIP]])
    b_conf = np.concatenate([b_conf, b_conf[:, _FLIP]])
    s2 = np.maximum(np.maximum(_area(a_xy, a_conf)[:, None], _area(b_xy, b_conf)[None]), 1.0)
    both = (a_conf >= SURE)[:, None] & (b_conf >= SURE)[None]
    apart = a_xy[:, None] - b_xy[None]
    like = np.where(both, np.exp((apart * apart).sum(3) / (s2[:, :, None] * _FALL)), 0)
    n = both.sum(2)
    mean = np.where(n >= FEWEST, like.sum(2) / np.maximum(n, 1), 0).astype(np.float32)
    return np.maximum(mean[:, :m], mean[:, m:])


def _area(xy: F32, conf: F32) -> F32:
    seen = (conf >= SURE)[:, :, None]
    low, high = np.where(seen, xy, np.inf).min(1), np.where(seen, xy, -np.inf).max(1)
    side = np.where(np.isfinite(high - low), high - low, 0).max(1, initial=0.0)
    return np.asarray(0.25 * side**2, np.float32)
