"""A lighter mesh of the same surface: each of its vertices is a place on the source, so what is linear carries over."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kinecast.capture.errors import KinecastError

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SurfacePoints:
    """N places on a triangle mesh: corners (N, 3) vertex numbers, shares (N, 3) that add to 1, distance_m (N,)."""

    corners: Int
    shares: Float
    distance_m: Float

    def carry(self, values: Float) -> Float:
        """(V, …) values of the vertices → (N, …) values of the places."""
        return np.asarray(np.einsum("nc,nc...->n...", self.shares, values[self.corners]), np.float64)


def lighter(vertices: Float, faces: Int, target_faces: int) -> tuple[SurfacePoints, Int]:
    """About ``target_faces`` triangles of the same shape (quadric error): places on the source, and (F, 3) faces."""
    try:
        import fast_simplification
    except ImportError as e:
        raise KinecastError(f"{e.name} is not installed: pip install '.[body-tools]'") from None
    points, simplified = fast_simplification.simplify(
        vertices.astype(np.float32), faces.astype(np.int32), target_count=target_faces, agg=3
    )
    used, simplified = np.unique(simplified, return_inverse=True)
    return nearest(points[used].astype(np.float64), vertices, faces), simplified.reshape(-1, 3).astype(np.int64)


def nearest(points: Float, vertices: Float, faces: Int, candidates: int = 32) -> SurfacePoints:
    """The nearest place on the mesh to each point (N, 3), among the faces whose middles are nearest."""
    triangles = vertices[faces]
    _, tried = cKDTree(triangles.mean(axis=1)).query(points, k=min(candidates, len(faces)))
    shares = _nearest_in_triangle(points[:, None], triangles[tried])
    found = np.einsum("nkc,nkcd->nkd", shares, triangles[tried])
    distance = np.linalg.norm(found - points[:, None], axis=-1)
    best = distance.argmin(axis=1)
    rows = np.arange(len(points))
    return SurfacePoints(faces[tried[rows, best]], shares[rows, best], distance[rows, best])


def _nearest_in_triangle(point: Float, triangle: Float) -> Float:
    """Shares of the corners (…, 3) at the nearest place in each triangle (…, 3, 3) to a point (…, 3)."""
    a, ab, ac = (
        triangle[..., 0, :],
        triangle[..., 1, :] - triangle[..., 0, :],
        triangle[..., 2, :] - triangle[..., 0, :],
    )
    ap = point - a
    d = {(i, j): np.sum(x * y, axis=-1) for i, x in enumerate((ab, ac)) for j, y in enumerate((ab, ac, ap))}
    det = d[0, 0] * d[1, 1] - d[0, 1] ** 2
    det = np.where(det > 1e-18, det, 1.0)
    v = (d[1, 1] * d[0, 2] - d[0, 1] * d[1, 2]) / det
    w = (d[0, 0] * d[1, 2] - d[0, 1] * d[0, 2]) / det
    inside = np.stack([1 - v - w, v, w], axis=-1)
    options = [np.where((inside >= 0).all(axis=-1, keepdims=True), inside, np.nan)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        edge = triangle[..., j, :] - triangle[..., i, :]
        t = np.sum((point - triangle[..., i, :]) * edge, axis=-1) / np.maximum(np.sum(edge * edge, axis=-1), 1e-18)
        t = np.clip(t, 0.0, 1.0)
        share = np.zeros_like(inside)
        share[..., i], share[..., j] = 1 - t, t
        options.append(share)
    stack = np.stack(options)  # (4, …, 3)
    gap = np.linalg.norm(np.einsum("o...c,...cd->o...d", stack, triangle) - point, axis=-1)
    best = np.nanargmin(gap, axis=0)
    return np.asarray(np.take_along_axis(stack, best[None, ..., None], axis=0)[0], np.float64)
