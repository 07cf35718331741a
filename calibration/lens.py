"""Lens models with their analytic derivatives, many points at once: what solvers need and OpenCV gives in part.

A lens is a vector: fx fy cx cy (px), then OpenCV's coefficients, k1 k2 p1 p2 k3 k4 k5 k6 for ``brown`` (one of 5 has
k4 = k5 = k6 = 0) and k1 k2 k3 k4 for ``fisheye``. Which of them are free, and which move together, is a matrix.
"""

from dataclasses import dataclass

import numpy as np

from kinecast.calibration.camera import Camera, Float, LensModel

NAMES: dict[LensModel, tuple[str, ...]] = {
    "brown": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "fisheye": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
}
MIN_DEPTH_M = 1e-6


@dataclass(frozen=True, slots=True)
class LensKind:
    """Which parameters of a lens are estimated.

    free: names of the free ones; the others keep their start values. square: fx / fy keeps its start value, so that
    ``fx`` moves both.
    """

    name: str
    model: LensModel
    free: tuple[str, ...]
    square: bool = False

    def basis(self, start: Float) -> Float:
        """(n, f): how the n numbers of the lens vector move with the f free ones."""
        names = NAMES[self.model]
        out = np.zeros((len(names), len(self.free)))
        for column, free in enumerate(self.free):
            out[names.index(free), column] = 1.0
            if free == "fx" and self.square:
                out[1, column] = start[1] / start[0]
        return out


# from the least that a picture can tell to the most; "plain" is for a board that stayed in the middle of the picture
KINDS: dict[str, LensKind] = {
    "focal": LensKind("focal", "brown", ("fx",), square=True),
    "radial1": LensKind("radial1", "brown", ("fx", "k1"), square=True),
    "centre": LensKind("centre", "brown", ("fx", "cx", "cy", "k1"), square=True),
    "radial2": LensKind("radial2", "brown", ("fx", "cx", "cy", "k1", "k2"), square=True),
    # r / (1 + k4 r²) (Fitzgibbon 2001): as free as one radial term, and does not fold back where a picture ends
    "division": LensKind("division", "brown", ("fx", "cx", "cy", "k4"), square=True),
    "division2": LensKind("division2", "brown", ("fx", "cx", "cy", "k1", "k4"), square=True),
    "brown4": LensKind("brown4", "brown", ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
    "brown5": LensKind("brown5", "brown", NAMES["brown"][:9]),
    "brown8": LensKind("brown8", "brown", NAMES["brown"]),
    "fisheye": LensKind("fisheye", "fisheye", NAMES["fisheye"]),
}


def lens_vector(camera: Camera) -> Float:
    """(12,) or (8,) lens vector of a camera."""
    K = camera.K
    head = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
    d = np.zeros(len(NAMES[camera.model]) - 4)
    d[: len(camera.distortion)] = camera.distortion
    return np.concatenate([head, d])


def camera_of(name: str, size_px: tuple[int, int], model: LensModel, lens: Float, cam_from_world: Float) -> Camera:
    """The camera of a lens vector; five coefficients where the last three of ``brown`` are 0."""
    K = np.array([[lens[0], 0, lens[2]], [0, lens[1], lens[3]], [0, 0, 1.0]])
    d = lens[4:]
    if model == "brown" and not np.any(d[5:]):
        d = d[:5]
    return Camera(name, size_px, K, d, cam_from_world, model)


def project(model: LensModel, lens: Float, points_cam: Float) -> tuple[Float, Float, Float]:
    """Project (N, 3) camera points (m): pixels (N, 2), derivatives by the point (N, 2, 3) and by the lens (N, 2, n).

    Points at or behind the camera are projected from a depth of 1 µm: far outside of any picture, and finite.
    """
    return _fisheye(lens, points_cam) if model == "fisheye" else _brown(lens, points_cam)


def _normalised(points_cam: Float) -> tuple[Float, Float, Float]:
    z = np.maximum(points_cam[:, 2], MIN_DEPTH_M)
    xy = points_cam[:, :2] / z[:, None]
    by_point = np.zeros((len(z), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = 1 / z
    by_point[:, :, 2] = -xy / z[:, None]
    return xy[:, 0], xy[:, 1], by_point


def _finish(
    lens: Float, bent: Float, by_xy: Float, by_point: Float, by_coefficient: Float
) -> tuple[Float, Float, Float]:
    """Pixels and derivatives from the bent plane: bent (N, 2), its derivatives by x y (N, 2, 2) and coefficients."""
    f = lens[:2]
    px = bent * f + lens[2:4]
    by_lens = np.zeros((len(bent), 2, len(lens)))
    by_lens[:, 0, 0], by_lens[:, 1, 1] = bent[:, 0], bent[:, 1]
    by_lens[:, 0, 2] = by_lens[:, 1, 3] = 1.0
    by_lens[:, :, 4:] = by_coefficient * f[:, None]
    return px, (by_xy * f[:, None]) @ by_point, by_lens


def _brown(lens: Float, points_cam: Float) -> tuple[Float, Float, Float]:
    k1, k2, p1, p2, k3, k4, k5, k6 = lens[4:]
    x, y, by_point = _normalised(points_cam)
    r2 = x * x + y * y
    r4, r6 = r2 * r2, r2 * r2 * r2
    top, under = 1 + k1 * r2 + k2 * r4 + k3 * r6, 1 + k4 * r2 + k5 * r4 + k6 * r6
    under = np.where(np.abs(under) < 1e-9, 1e-9, under)
    g = top / under
    slope = (k1 + 2 * k2 * r2 + 3 * k3 * r4 - g * (k4 + 2 * k5 * r2 + 3 * k6 * r4)) / under  # dg / d(r²)
    bent = np.stack([x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], 1)
    by_xy = np.empty((len(x), 2, 2))
    by_xy[:, 0, 0] = g + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    by_xy[:, 1, 1] = g + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    by_xy[:, 0, 1] = by_xy[:, 1, 0] = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    xy = np.stack([x, y], 1)
    radial = xy / under[:, None]
    d = np.empty((len(x), 2, 8))
    for column, power in ((0, r2), (1, r4), (4, r6)):
        d[:, :, column] = radial * power[:, None]
    for column, power in ((5, r2), (6, r4), (7, r6)):
        d[:, :, column] = -radial * (g * power)[:, None]
    d[:, 0, 2], d[:, 1, 2] = 2 * x * y, r2 + 2 * y * y
    d[:, 0, 3], d[:, 1, 3] = r2 + 2 * x * x, 2 * x * y
    return _finish(lens, bent, by_xy, by_point, d)


def _fisheye(lens: Float, points_cam: Float) -> tuple[Float, Float, Float]:
    k = lens[4:]
    x, y, by_point = _normalised(points_cam)
    r = np.maximum(np.hypot(x, y), 1e-9)
    a = np.arctan(r)
    a2 = a * a
    bent_a = a * (1 + a2 * (k[0] + a2 * (k[1] + a2 * (k[2] + a2 * k[3]))))
    slope_a = 1 + a2 * (3 * k[0] + a2 * (5 * k[1] + a2 * (7 * k[2] + a2 * 9 * k[3])))
    g = bent_a / r
    slope = (slope_a / (1 + r * r) - g) / (r * r)  # dg / dr, divided by r
    by_xy = np.empty((len(x), 2, 2))
    by_xy[:, 0, 0], by_xy[:, 1, 1] = g + x * x * slope, g + y * y * slope
    by_xy[:, 0, 1] = by_xy[:, 1, 0] = x * y * slope
    xy = np.stack([x, y], 1)
    d = np.stack([xy * (a ** (2 * n + 3) / r)[:, None] for n in range(4)], axis=-1)
    return _finish(lens, xy * g[:, None], by_xy, by_point, d)
