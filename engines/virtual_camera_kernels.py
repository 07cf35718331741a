"""Normalising compiled: the frames of all rows of one call, as :func:`engines.virtual_camera.normalise` has them."""

import math

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.virtual_camera import BOX_CONFIDENCE, BOX_M, CONTEXT, FEWEST, SMALLEST, STRAY, Normalised

F64 = NDArray[np.float64]


def normalise_rows(xy: F64, confidence: F64) -> Normalised:
    """xy (N, J, 2), confidence (N, J): see :func:`engines.virtual_camera.normalise`, the slow twin."""
    n, joints = confidence.shape
    out = Normalised(
        np.zeros((n, joints, 3)), np.zeros((n, CONTEXT)), np.zeros((n, 3, 3)), np.ones(n), np.ones(n),
        np.zeros(n, np.bool_),
    )  # fmt: skip
    _normalise(
        np.ascontiguousarray(xy), np.ascontiguousarray(confidence), out.features, out.context, out.cam_from_virtual,
        out.extent, out.k_m, out.seen,
    )  # fmt: skip
    return out


@kernel
def _normalise(xy, confidence, features, context, rotation, extents, k_m, seen):  # type: ignore[no-untyped-def]
    joints = confidence.shape[1]
    weight, say = np.zeros(joints), np.zeros(joints)
    flat, square = np.zeros((joints, 2)), np.zeros(joints)
    for r in range(len(seen)):
        shown = 0
        for j in range(joints):
            fine = math.isfinite(xy[r, j, 0]) and math.isfinite(xy[r, j, 1])
            weight[j] = confidence[r, j] if fine else 0.0
            shown += weight[j] > 0
        R = rotation[r]
        if shown < FEWEST:
            for i in range(3):
                R[i, i] = 1.0
            continue
        seen[r] = True
        say[:] = weight
        extent = 0.0
        for turn in range(2):  # the second time without the say of joints that lie far off
            x, y, z, total = 0.0, 0.0, 0.0, 0.0
            for j in range(joints):
                if weight[j] > 0:
                    u, v = xy[r, j, 0], xy[r, j, 1]
                    s = say[j] / math.sqrt(u * u + v * v + 1.0)
                    x, y, z, total = x + s * u, y + s * v, z + s, total + say[j]
            length = math.sqrt(x * x + y * y + z * z)
            x, y, z = x / length, y / length, z / length
            cross = -x * y / (1 + z)
            R[0, 0], R[0, 1], R[0, 2] = 1 - x * x / (1 + z), cross, x
            R[1, 0], R[1, 1], R[1, 2] = cross, 1 - y * y / (1 + z), y
            R[2, 0], R[2, 1], R[2, 2] = -x, -y, z
            moment = 0.0
            for j in range(joints):
                if weight[j] > 0:
                    u, v = xy[r, j, 0], xy[r, j, 1]
                    ahead = max(R[0, 2] * u + R[1, 2] * v + R[2, 2], 0.1)
                    flat[j, 0] = (R[0, 0] * u + R[1, 0] * v + R[2, 0]) / ahead
                    flat[j, 1] = (R[0, 1] * u + R[1, 1] * v + R[2, 1]) / ahead
                    square[j] = flat[j, 0] ** 2 + flat[j, 1] ** 2
                    moment += square[j] * say[j]
            extent = math.sqrt(moment / max(total, 1e-12))
            if turn == 0:
                for j in range(joints):
                    if weight[j] > 0:
                        far = square[j] / max((STRAY * extent) ** 2, SMALLEST**2)
                        say[j] = weight[j] / (1 + far**4)
        extent = max(extent, SMALLEST)
        sure = False
        for j in range(joints):
            sure |= weight[j] >= BOX_CONFIDENCE
        low0, low1, high0, high1 = np.inf, np.inf, -np.inf, -np.inf
        for j in range(joints):
            if weight[j] > 0:
                u, v = flat[j, 0] / extent, flat[j, 1] / extent
                features[r, j, 0], features[r, j, 1], features[r, j, 2] = u, v, weight[j]
                if weight[j] >= BOX_CONFIDENCE or not sure:
                    low0, high0, low1, high1 = min(low0, u), max(high0, u), min(low1, v), max(high1, v)
        context[r, 0] = math.log(extent)
        context[r, 1], context[r, 2] = high0 - low0, high1 - low1
        context[r, 3], context[r, 4] = R[0, 2] / R[2, 2], R[1, 2] / R[2, 2]
        extents[r] = extent
        k_m[r] = BOX_M / max(max(high0 - low0, high1 - low1) * extent, SMALLEST)
