"""Keypoints of a view as the network wants them, and lifted points back in the camera: one way for training and life.

Every frame gets a virtual camera of its own that looks at the person, so that where in the picture somebody stands, and
how large, does not change what the network sees (Yu et al., PCLs: Perspective Crop Layers, CVPR 2021). It is a
function of the present frame alone; what cannot be told in a frame (nothing seen) is held over from the frame before.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import times

Floats = NDArray[Any]  # float32 for training, float64 at run time: what comes in decides

CONTEXT = 5  # numbers about a frame that features come with, beside the joints' own
BOX_CONFIDENCE = 0.1  # a joint below this does not stretch the box
BOX_M = 2.0  # RootNet's A_real is 2 m × 2 m
STRAY = 1.6  # joints beyond this many times the weighted radius lose their say: they are another's, or wrong
FEWEST = 3  # joints that place a virtual camera; fewer are as good as none
SMALLEST = 1e-3  # extent of somebody of 1.7 m at 500 m


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """Frames as the network wants them; the leading axes are those of the input.

    features: (…, J, 3): x, y in the virtual camera divided by the extent, and confidence; (0, 0, 0) where missing.
    context: (…, 5): log extent, width and height of the box over the extent, x and y of the virtual camera's ray.
    cam_from_virtual: (…, 3, 3) rotation. extent: (…,), radius of the person at unit depth.
    k_m: (…,) RootNet's k = sqrt(f_x f_y A_real / A_image), metres, with the box made square as there.
    seen: (…,) whether at least three joints were; where not, features and context are 0, the rotation is the identity,
    extent and k are 1.
    """

    features: Floats
    context: Floats
    cam_from_virtual: Floats
    extent: Floats
    k_m: Floats
    seen: NDArray[np.bool_]


def normalise(xy: Floats, confidence: Floats) -> Normalised:
    """Virtual cameras and features of frames.

    xy: (…, J, 2) undistorted normalised camera coordinates, x/z and y/z; anything where confidence is 0.
    confidence: (…, J) in [0, 1], 0 where missing.
    """
    finite = np.isfinite(xy).all(-1)
    weight: Floats = np.where(finite, confidence, 0).astype(xy.dtype)
    seen = np.asarray((weight > 0).sum(-1) >= FEWEST, np.bool_)
    weight = weight * np.expand_dims(seen, -1)
    xy = np.where(np.expand_dims(finite, -1), xy, 0)
    rays = np.concatenate([xy, np.ones_like(xy[..., :1])], -1)
    units = rays / np.sqrt((rays * rays).sum(-1, keepdims=True))
    # twice: the second time without the say of joints that lie far off
    say = weight
    for last in (False, True):
        total = np.maximum(say.sum(-1), 1e-12)
        rotation = _looking_along((units * say[..., None]).sum(-2), seen)
        flat = _into(rotation, rays)
        square = (flat * flat).sum(-1)
        extent = np.sqrt((square * say).sum(-1) / total)
        if not last:
            far = square / np.maximum((STRAY * extent) ** 2, SMALLEST**2)[..., None]
            say = (weight / (1 + far**4)).astype(xy.dtype)
    extent = np.where(seen, np.maximum(extent, SMALLEST), 1).astype(xy.dtype)
    flat = flat / extent[..., None, None]
    box = _box(flat, weight)
    context = np.empty((*seen.shape, CONTEXT), xy.dtype)
    context[..., 0] = np.log(extent)
    context[..., 1:3] = box
    context[..., 3:5] = rotation[..., :2, 2] / rotation[..., 2, 2, None]
    context *= seen[..., None]
    features = np.concatenate([flat * (weight > 0)[..., None], weight[..., None]], -1)
    side = np.maximum(box.max(-1) * extent, SMALLEST)
    k_m = np.where(seen, BOX_M / side, 1).astype(xy.dtype)
    return Normalised(features, context, rotation, extent, k_m, seen)


def fill_unseen(frames: Normalised) -> Normalised:
    """Frames (…, T) of tracks where an unseen frame keeps the virtual camera, extent, k and context of the last seen.

    Before the first seen frame nothing changes. What run time does from call to call.
    """
    time = np.arange(frames.seen.shape[-1])
    last = np.maximum.accumulate(np.where(frames.seen, time, -1), -1)
    last = np.where(last < 0, time, last)

    def take(values: Floats) -> Floats:
        index = last.reshape(last.shape + (1,) * (values.ndim - last.ndim))
        return np.take_along_axis(values, index, axis=last.ndim - 1)

    return Normalised(
        frames.features,
        take(frames.context),
        take(frames.cam_from_virtual),
        take(frames.extent),
        take(frames.k_m),
        frames.seen,
    )


def fill_unseen_from(before: Normalised, now: Normalised) -> Normalised:
    """:func:`fill_unseen` for one frame (N,): ``now``, where it saw nothing with camera and context of ``before``."""
    if now.seen.all():
        return now

    def pick(new: Floats, old: Floats) -> Floats:
        return np.where(now.seen.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return Normalised(
        now.features,
        pick(now.context, before.context),
        pick(now.cam_from_virtual, before.cam_from_virtual),
        pick(now.extent, before.extent),
        pick(now.k_m, before.k_m),
        now.seen,
    )


def into_virtual(cam_from_virtual: Floats, points_cam: Floats) -> Floats:
    """(…, J, 3) points or differences of points in camera axes → axes of the virtual camera; targets of training."""
    return times(points_cam, cam_from_virtual)


def out_of_virtual(cam_from_virtual: Floats, points_virtual: Floats) -> Floats:
    """The inverse of :func:`into_virtual`: lifted points back in camera axes."""
    return times(points_virtual, np.swapaxes(cam_from_virtual, -1, -2))


def root_code(root_virtual_m: Floats, extent: Floats) -> Floats:
    """Root (…, 3) in the virtual camera → what the trajectory model predicts: x/(z e), y/(z e), log(z e), e the extent.

    Free of scale in the picture: the last is the log of how many metres the extent is at the root's depth.
    """
    z = root_virtual_m[..., 2]
    return np.stack(
        [
            root_virtual_m[..., 0] / (z * extent),
            root_virtual_m[..., 1] / (z * extent),
            np.log(z * extent),
        ],
        -1,
    )


def root_from_code(code: Floats, extent: Floats) -> Floats:
    """The inverse of :func:`root_code`: (…, 3) metres in the virtual camera."""
    z = np.exp(code[..., 2]) / extent
    return np.stack([code[..., 0] * z * extent, code[..., 1] * z * extent, z], -1)


def _looking_along(direction: Floats, seen: NDArray[np.bool_]) -> Floats:
    """Smallest rotations (…, 3, 3), cam_from_virtual, that turn the optical axis into a direction with z > 0."""
    direction = np.where(seen[..., None], direction, np.array([0, 0, 1], direction.dtype))
    x, y, z = np.moveaxis(direction / np.sqrt((direction * direction).sum(-1, keepdims=True)), -1, 0)
    cross = -x * y / (1 + z)
    rows = [[1 - x * x / (1 + z), cross, x], [cross, 1 - y * y / (1 + z), y], [-x, -y, z]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _into(cam_from_virtual: Floats, rays: Floats) -> Floats:
    """Rays (…, J, 3) of the camera as (…, J, 2) normalised coordinates of the virtual one."""
    turned = into_virtual(cam_from_virtual, rays)
    # a ray at more than 84° to the person belongs to somebody else; it must not come out on the other side
    return turned[..., :2] / np.maximum(turned[..., 2:], 0.1)


def _box(flat: Floats, weight: Floats) -> Floats:
    """Width and height (…, 2) of the box around the joints that are told with some confidence."""
    counted = weight >= BOX_CONFIDENCE
    counted = np.where(counted.any(-1, keepdims=True), counted, weight > 0)[..., None]
    size = np.where(counted, flat, -np.inf).max(-2) - np.where(counted, flat, np.inf).min(-2)
    return np.where(np.isfinite(size), size, 0).astype(flat.dtype)
