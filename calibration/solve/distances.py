"""How long the board is in the world of a rig: corners triangulated one by one, their distances against the ruler."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinecast.calibration.board.board import Board
from kinecast.calibration.camera import Camera, Float
from kinecast.calibration.solve.pose_graph import Views


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """error_m: (n,) triangulated − true distance of every pair of corners. true_m: (n,). frame_set: (n,).

    reprojection_px: (k,) distances of the triangulated corners from where they were seen, seen_by (k,) camera.
    """

    error_m: Float
    true_m: Float
    frame_set: Float
    reprojection_px: Float
    seen_by: Float

    @property
    def bias_mm(self) -> float:
        """Mean error; NaN where nothing was measured."""
        return float(self.error_m.mean() * 1000) if len(self.error_m) else float("nan")

    @property
    def rmse_mm(self) -> float:
        """Root mean square error."""
        return float(np.sqrt((self.error_m**2).mean()) * 1000) if len(self.error_m) else float("nan")

    @property
    def scale(self) -> float:
        """Measured ÷ true length, the least-squares factor."""
        measured = self.true_m + self.error_m
        return float((measured @ self.true_m) / (self.true_m @ self.true_m)) if len(self.error_m) else float("nan")


def triangulate(cameras: Sequence[Camera], px: Float) -> Float:
    """(n, 3) world points of pixels (C, n, 2), NaN where a camera does not see one; NaN where fewer than two do.

    Linear, then three Gauss–Newton steps on the distances in undistorted pixels.
    """
    xy = np.stack([c.undistort(p) for c, p in zip(cameras, px, strict=True)])
    P = np.stack([c.P_normalised for c in cameras])
    f = np.array([c.K[0, 0] for c in cameras])
    seen = np.asarray(np.isfinite(xy).all(axis=2))
    out = np.full((px.shape[1], 3), np.nan)
    for n in np.flatnonzero(seen.sum(axis=0) >= 2):
        at = seen[:, n]
        rows = (xy[at, n, :, None] * P[at, None, 2] - P[at, :2]) * f[at, None, None]
        A = rows.reshape(-1, 4)
        X = np.linalg.svd(A)[2][-1]
        X = X[:3] / (X[3] if abs(X[3]) > 1e-12 else 1e-12)
        for _ in range(3):
            cam = P[at, :, :3] @ X + P[at, :, 3]
            r = (xy[at, n] - cam[:, :2] / cam[:, 2:]) * f[at, None]
            J = (P[at, :2, :3] - (cam[:, :2] / cam[:, 2:])[..., None] * P[at, 2:3, :3]) / cam[:, 2, None, None]
            J = (J * f[at, None, None]).reshape(-1, 3)
            X = X + np.linalg.lstsq(J, r.ravel(), rcond=None)[0]
        out[n] = X
    return out


def board_distances(cameras: Sequence[Camera], views: Views, board: Board) -> Distances:
    """Every pair of corners of every frame set in which two cameras or more see the board."""
    points = board.points_m
    error, true, which, px_error, by = [], [], [], [], []
    for s, row in enumerate(views):
        if sum(v is not None for v in row) < 2:
            continue
        px = np.full((len(cameras), len(points), 2), np.nan)
        for c, view in enumerate(row):
            if view is not None:
                px[c, view.ids] = view.px
        X = triangulate(cameras, px)
        ok = np.flatnonzero(np.isfinite(X).all(axis=1))
        for c, camera in enumerate(cameras):
            gap = np.linalg.norm(camera.project(X[ok])[0] - px[c, ok], axis=1)
            px_error.append(gap[np.isfinite(gap)])
            by.append(np.full(len(px_error[-1]), c))
        i, j = np.triu_indices(len(ok), 1)
        there = np.linalg.norm(points[ok[i]] - points[ok[j]], axis=1)
        error.append(np.linalg.norm(X[ok[i]] - X[ok[j]], axis=1) - there)
        true.append(there)
        which.append(np.full(len(i), s))
    none = [np.zeros(0)]
    return Distances(*(np.concatenate(v or none) for v in (error, true, which, px_error, by)))
