"""Left and right mixed up by one view, put right by where the body is known to be: whole limbs, then their ends."""

import math

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.observations import CameraArrays
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

_FEET = ("ankle", "heel", "big_toe", "small_toe")
GROUPS: tuple[tuple[str, ...], ...] = (
    ("hip", "knee", *_FEET),
    ("shoulder", "elbow", "wrist"),
    ("eye", "ear"),
    ("knee", *_FEET),
    _FEET,
    ("elbow", "wrist"),
    ("wrist",),
)
LEAST_ERROR_M = 0.08  # what straight labels must miss by before a swap is thought of: several σ of a keypoint
BETTER = 0.5  # and the swapped labels must halve it
CAP_M = 0.4


def group_table(name: str) -> NDArray[np.int64]:
    """(G, K, 2) left and right joint of each pair of each group, −1 where the skeleton lacks it or padding."""
    s = skeleton(name)
    table = np.full((len(GROUPS), max(map(len, GROUPS)), 2), -1, np.int64)
    for g, group in enumerate(GROUPS):
        for k, part in enumerate(group):
            if f"left_{part}" in s.joints and f"right_{part}" in s.joints:
                table[g, k] = s.index(f"left_{part}"), s.index(f"right_{part}")
    return table


@kernel
def _miss(P, x, u, v):  # type: ignore[no-untyped-def]
    """Metres at x between where x is seen and (u, v); NaN where x is unknown or behind."""
    z = P[2, 0] * x[0] + P[2, 1] * x[1] + P[2, 2] * x[2] + P[2, 3]
    if not z > 0.05:
        return np.nan
    a = P[0, 0] * x[0] + P[0, 1] * x[1] + P[0, 2] * x[2] + P[0, 3] - u * z
    b = P[1, 0] * x[0] + P[1, 1] * x[1] + P[1, 2] * x[2] + P[1, 3] - v * z
    return math.sqrt(a * a + b * b)


@kernel
def _correct(P, xy, confidence, known, table, least, better, cap, flips):  # type: ignore[no-untyped-def]
    people, C, _ = confidence.shape
    changed = 0
    for p in range(people):
        for c in range(C):
            for g in range(table.shape[0]):
                straight = swapped = 0.0
                n = 0
                for k in range(table.shape[1]):
                    for side in range(2):
                        j, other = table[g, k, side], table[g, k, 1 - side]
                        if j < 0 or not confidence[p, c, j] > 0:
                            continue
                        a = _miss(P[c], known[p, j], xy[p, c, j, 0], xy[p, c, j, 1])
                        b = _miss(P[c], known[p, other], xy[p, c, j, 0], xy[p, c, j, 1])
                        if math.isfinite(a) and math.isfinite(b):
                            straight += min(a, cap)
                            swapped += min(b, cap)
                            n += 1
                # one joint alone is a weaker witness than several that agree
                margin = least if n > 2 else 2 * least
                if n == 0 or straight < n * margin or swapped > better * straight:
                    continue
                for k in range(table.shape[1]):
                    j, o = table[g, k, 0], table[g, k, 1]
                    if j < 0:
                        continue
                    for i in range(2):
                        xy[p, c, j, i], xy[p, c, o, i] = xy[p, c, o, i], xy[p, c, j, i]
                    confidence[p, c, j], confidence[p, c, o] = confidence[p, c, o], confidence[p, c, j]
                flips[p, c, g] = not flips[p, c, g]
                changed += 1
    return changed


def correct_left_right(
    cameras: CameraArrays, xy: Float, confidence: Float, known_world_m: Float, table: NDArray[np.int64],
    flips: NDArray[np.bool_],
) -> int:  # fmt: skip
    """Exchange left and right in place where a view's labels contradict ``known_world_m`` and exchanged ones agree.

    xy (P, C, J, 2), confidence (P, C, J), known_world_m (P, J, 3); flips (P, C, G) is toggled. Returns how often.
    """
    return int(_correct(cameras.P, xy, confidence, known_world_m, table, LEAST_ERROR_M, BETTER, CAP_M, flips))
