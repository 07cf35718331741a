"""One calibrated camera, and the rig of all of them: projection and its inverse, with the lens used exactly."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinecast.calibration.fixed import applied, times

Float = NDArray[np.float64]
LensModel = Literal["brown", "fisheye"]
BLOCK_PX = 16  # what encoders work in


def frozen(value: ArrayLike) -> Float:
    """A read-only float64 copy of ``value``."""
    out = np.array(value, dtype=np.float64)
    out.flags.writeable = False
    return out


def _det2(m: Float) -> Float:
    """(n,) determinants of (n, 2, 2)."""
    return np.asarray(m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0])


@lru_cache(maxsize=256)
def _branch(model: LensModel, distortion: tuple[float, ...]) -> tuple[Float, Float]:
    """Where a lens model can be inverted: radii (n,) undistorted and the distorted radii that belong to them.

    A polynomial lens model is right up to the radius where its distorted radius stops growing; beyond that the plane
    folds back, and what stands far outside the view would land inside the picture. Tangential terms are left out:
    they shift, they do not fold. Up to 89° off axis where nothing folds.
    """
    angle = np.linspace(0.0, np.deg2rad(89.0), 1781)
    r = np.tan(angle)
    if model == "fisheye":
        a2 = angle * angle
        k = distortion
        distorted = angle * (1 + a2 * (k[0] + a2 * (k[1] + a2 * (k[2] + a2 * k[3]))))
    else:
        k1, k2, _, _, k3, k4, k5, k6 = (*distortion, *([0.0] * (8 - len(distortion))))
        r2 = r * r
        with np.errstate(all="ignore"):
            distorted = r * (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    growing = np.diff(distorted) > 0
    end = len(r) if growing.all() else int(np.argmin(growing)) + 1
    return frozen(r[:end]), frozen(distorted[:end])


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A pinhole camera with a lens.

    size_px: (width, height) of the pictures that the intrinsics belong to.
    K: (3, 3) intrinsic matrix in pixels; the centre of the top left pixel is (0, 0).
    distortion: (4,), (5,) or (8,) OpenCV coefficients k1 k2 p1 p2 [k3 [k4 k5 k6]] for ``brown``, (4,) for ``fisheye``.
    cam_from_world: (4, 4) rigid transform, metres; the camera looks along +z, x right, y down (OpenCV's axes).
    """

    name: str
    size_px: tuple[int, int]
    K: Float
    distortion: Float
    cam_from_world: Float
    model: LensModel = "brown"

    def __post_init__(self) -> None:
        object.__setattr__(self, "K", frozen(self.K))
        object.__setattr__(self, "distortion", frozen(np.ravel(self.distortion)))
        object.__setattr__(self, "cam_from_world", frozen(self.cam_from_world))
        where = f"camera {self.name!r}"
        if self.K.shape != (3, 3) or not np.all(np.isfinite(self.K)) or min(self.K[0, 0], self.K[1, 1]) <= 0:
            raise ValueError(f"{where}: K must be a finite (3, 3) matrix with positive focal lengths")
        lengths = (4,) if self.model == "fisheye" else (4, 5, 8)
        if self.distortion.shape not in [(n,) for n in lengths] or not np.all(np.isfinite(self.distortion)):
            raise ValueError(f"{where}: a {self.model} lens has {lengths} coefficients, not {self.distortion.shape}")
        R = self.cam_from_world[:3, :3] if self.cam_from_world.shape == (4, 4) else np.zeros((3, 3))
        if np.abs(times(R, R.T) - np.eye(3)).max() > 1e-4 or (np.cross(R[0], R[1]) * R[2]).sum() < 0:
            raise ValueError(f"{where}: cam_from_world must be a (4, 4) rigid transform")
        if not np.all(np.isfinite(self.cam_from_world)):
            raise ValueError(f"{where}: cam_from_world is not finite")
        if self.size_px[0] <= 0 or self.size_px[1] <= 0:
            raise ValueError(f"{where}: size_px must be positive, not {self.size_px}")

    def fits(self, size_px: tuple[int, int]) -> bool:
        """Whether pictures of ``size_px`` (width, height) are those that the intrinsics belong to.

        Less than BLOCK_PX apart they are: encoders that work in blocks cut or pad at the right and the bottom (1080 for
        1088), which moves no pixel. Every stage asks here, so that none refuses what another has accepted.
        """
        return max(abs(size_px[0] - self.size_px[0]), abs(size_px[1] - self.size_px[1])) < BLOCK_PX

    @property
    def R(self) -> Float:
        """(3, 3) rotation, camera from world."""
        return self.cam_from_world[:3, :3]

    @property
    def t(self) -> Float:
        """(3,) translation, camera from world, metres."""
        return self.cam_from_world[:3, 3]

    @property
    def centre_world(self) -> Float:
        """(3,) where the camera stands, metres."""
        return frozen(-applied(self.R.T, self.t))

    @property
    def P_normalised(self) -> Float:
        """(3, 4) projection to normalised, undistorted image coordinates: [R | t]."""
        return self.cam_from_world[:3]

    def project(self, points_world: ArrayLike) -> tuple[Float, Float]:
        """Project (..., 3) metres to (..., 2) pixels of the distorted picture, and (...) depth in metres.

        A point behind the camera, not finite, or so far off axis that the lens model folds back, gives NaN pixels; its
        depth is still returned.
        """
        points = np.asarray(points_world, dtype=np.float64)
        flat = points.reshape(-1, 3)
        cam = applied(self.R, flat) + self.t
        depth = cam[:, 2]
        seen = np.isfinite(cam).all(axis=1) & (depth > 1e-6)
        px = np.full((len(flat), 2), np.nan)
        if seen.any():
            xy = cam[seen, :2] / depth[seen, None]
            px[seen] = np.where(self._inside(xy)[:, None], self.distort(xy), np.nan)
        return px.reshape(*points.shape[:-1], 2), depth.reshape(points.shape[:-1])

    def distort(self, normalised: ArrayLike) -> Float:
        """Undistorted normalised (..., 2) → pixels (..., 2) of the distorted picture."""
        xy = np.asarray(normalised, dtype=np.float64)
        flat = np.ascontiguousarray(xy.reshape(-1, 1, 2))
        if len(flat) == 0:
            return xy.copy()
        if self.model == "fisheye":
            px = cv2.fisheye.distortPoints(flat, self.K, self.distortion)
        else:
            rays = np.concatenate([flat[:, 0], np.ones((len(flat), 1))], axis=1)
            zero = np.zeros(3)
            px, _ = cv2.projectPoints(rays, zero, zero, self.K, self.distortion)
        return np.asarray(px, dtype=np.float64).reshape(xy.shape)

    def _inside(self, normalised: Float) -> NDArray[np.bool_]:
        """(n,) whether undistorted normalised (n, 2) lie where the lens model can be inverted."""
        if not np.any(self.distortion) and self.model == "brown":
            return np.ones(len(normalised), bool)
        limit = _branch(self.model, tuple(self.distortion.tolist()))[0][-1]
        with np.errstate(all="ignore"):
            return np.asarray(np.hypot(normalised[:, 0], normalised[:, 1]) <= limit)

    def undistort(self, px: ArrayLike) -> Float:
        """Pixels (..., 2) of the distorted picture → undistorted normalised coordinates (..., 2).

        Exact: distorting the result gives the pixel back within 1e-6 px. NaN where the lens model has no inverse
        there, or the input is not finite.
        """
        given = np.asarray(px, dtype=np.float64)
        flat = given.reshape(-1, 2)
        out = np.full_like(flat, np.nan)
        ok = np.isfinite(flat).all(axis=1)
        if not ok.any():
            return out.reshape(given.shape)
        points = np.ascontiguousarray(flat[ok].reshape(-1, 1, 2))
        if self.model == "fisheye":
            xy = cv2.fisheye.undistortPoints(points, self.K, self.distortion)
        else:
            # the default of 5 iterations leaves up to a pixel at the border; 40 are enough for ordinary lenses
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-10)
            xy = cv2.undistortPoints(points, self.K, self.distortion, criteria=criteria)
        xy = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
        if np.any(self.distortion) or self.model == "fisheye":
            far = ~(self._miss(xy, flat[ok]) < 1e-7)
            if far.any():  # wide lenses: the fixed point of OpenCV is slow or wanders off, Newton is neither
                better = self._newton(flat[ok][far])
                better[~(self._miss(better, flat[ok][far]) < 1e-6)] = np.nan
                xy[far] = better
        out[ok] = xy
        return out.reshape(given.shape)

    def _miss(self, xy: Float, px: Float) -> Float:
        """(n,) how far from the pixels (n, 2) the distorted ``xy`` lands; inf beyond the fold."""
        with np.errstate(all="ignore"):
            miss = np.abs(self.distort(np.nan_to_num(xy)) - px).max(axis=1)
            return frozen(np.where(self._inside(xy) & np.isfinite(xy).all(axis=1), miss, np.inf))

    def _newton(self, px: Float) -> Float:
        """Invert the lens for pixels (n, 2), from the radial inverse as a start; wrong where there is no inverse."""
        r, distorted = _branch(self.model, tuple(self.distortion.tolist()))
        y = (px[:, 1] - self.K[1, 2]) / self.K[1, 1]
        bent = np.stack([(px[:, 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0], y], axis=1)
        radius = np.linalg.norm(bent, axis=1)
        xy = bent * (np.interp(radius, distorted, r) / np.maximum(radius, 1e-12))[:, None]
        step = 1e-6  # the error of a one-sided difference only slows Newton down
        for _ in range(12):
            here = self.distort(xy)
            jac = np.stack([(self.distort(xy + d) - here) / step for d in np.eye(2) * step], axis=-1)
            jac[~(np.abs(_det2(jac)) > 1e-9)] = np.eye(2) * self.K[0, 0]
            (a, b), (c, d) = np.moveaxis(jac, 0, -1)
            u, v = (here - px).T
            xy = xy - np.stack([d * u - b * v, a * v - c * u], axis=-1) / _det2(jac)[:, None]
        return np.asarray(xy, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """Calibrated cameras in one world, metres. Names are unique; order is the order of the camera axis C."""

    cameras: tuple[Camera, ...]
    name: str = "rig"
    up: Literal["x", "y", "z", "-x", "-y", "-z"] = "z"

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError(f"rig {self.name!r} has no camera")
        if len(set(self.names)) != len(self.cameras):
            raise ValueError(f"rig {self.name!r} names a camera twice: {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(c.name for c in self.cameras)

    @property
    def up_world(self) -> Float:
        """(3,) unit vector that points up."""
        v = np.zeros(3)
        v["xyz".index(self.up[-1])] = -1.0 if self.up[0] == "-" else 1.0
        return frozen(v)

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(f"rig {self.name!r} has no camera {name!r}; it has {', '.join(self.names)}")

    def subset(self, names: tuple[str, ...]) -> "Rig":
        """The rig of the named cameras, in the order given."""
        return replace(self, cameras=tuple(self[n] for n in names))
