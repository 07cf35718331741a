"""How like two sets of joints are: object keypoint similarity, as COCO defines it."""

import numpy as np
from numpy.typing import NDArray

from engines.skeleton import direct_index, skeleton

F32 = NDArray[np.float32]

# COCO's constants, twice the spread of human annotators, in coco17's order; other joints count as a wrist
_KAPPA = dict(
    zip(
        skeleton("coco17").joints,
        2 * np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000,
        strict=True,
    )
)
_FLIP = list(skeleton("coco17").flip)
SURE = 0.3  # a joint of less confidence is not compared
FEWEST = 4  # fewer common joints say nothing


def common(name: str) -> tuple[NDArray[np.int64], F32]:
    """Indices of coco17's joints in the skeleton (-1: it has none), and their constants κ."""
    return direct_index(name, "coco17"), np.array([_KAPPA[j] for j in skeleton("coco17").joints], np.float32)


def as_coco(name: str, keypoints: F32, confidence: F32) -> tuple[F32, F32]:
    """(N, 17, 2) and (N, 17): the joints of coco17 taken out of another skeleton, confidence 0 where it has none."""
    index, _ = common(name)
    have = index >= 0
    return keypoints[:, index], np.where(have, confidence[:, index], 0).astype(np.float32)


def oks(a_xy: F32, a_conf: F32, b_xy: F32, b_conf: F32) -> F32:
    """(N, M) similarity in [0, 1] of N and M people in coco17, over the joints that both see; 0 where under four.

    A body whose left and right were taken for each other is still that body: the better of both readings counts.
    The scale is that of the larger of the two: s² is a quarter of the square on the longer side of the joints' box,
    which for a standing person is near to COCO's area of the segment.
    """
    s2 = np.maximum(np.maximum(_area(a_xy, a_conf)[:, None], _area(b_xy, b_conf)[None]), 1.0)
    return np.maximum(_oks(a_xy, a_conf, b_xy, b_conf, s2), _oks(a_xy, a_conf, b_xy[:, _FLIP], b_conf[:, _FLIP], s2))


def _oks(a_xy: F32, a_conf: F32, b_xy: F32, b_conf: F32, s2: F32) -> F32:
    _, kappa = common("coco17")
    both = (a_conf >= SURE)[:, None] & (b_conf >= SURE)[None]
    d2 = np.sum(np.nan_to_num(a_xy[:, None] - b_xy[None]) ** 2, axis=3)
    like = np.where(both, np.exp(-d2 / (2 * s2[:, :, None] * kappa**2)), 0)
    n = both.sum(2)
    return np.where(n >= FEWEST, like.sum(2) / np.maximum(n, 1), 0).astype(np.float32)


def _area(xy: F32, conf: F32) -> F32:
    seen = (conf >= SURE)[:, :, None]
    low, high = np.where(seen, xy, np.inf).min(1), np.where(seen, xy, -np.inf).max(1)
    side = np.where(np.isfinite(high - low), high - low, 0).max(1, initial=0.0)
    return np.asarray(0.25 * side**2, np.float32)
