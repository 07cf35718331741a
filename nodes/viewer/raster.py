"""Body meshes drawn into a picture: a z-buffer over all people at twice the resolution, shaded, and laid over half seen.

Every vertex goes through the camera's own lens, so the mesh bends as the picture does. A triangle stays straight between
its corners: they are 2–3 cm apart, where a lens bends by less than a hundredth of a pixel.
"""

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from calibration.camera import Camera
from nodes.meshes import PeopleMesh
from nodes.viewer.overlay import Image, colour_of, project_scaled

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

FINER = 2  # samples a pixel and axis
OPACITY, DOUBTFUL = 0.62, 0.22
AMBIENT = 0.38
NEAR_M = 0.1


@njit(cache=True, nogil=True)
def fill(
    px: F32, near: F32, shade: F32, faces: I32, who: int, depth: F32, light: F32, owner: NDArray[np.uint8]
) -> None:
    """Draw one person's triangles, the nearest first seen; in place.

    px: (V, 2) samples, NaN for a vertex that is not seen, such triangles are left out. near: (V,) 1 / depth, shade:
    (V,), both linear over a triangle. depth, light, owner: (H, W) buffers of the greatest 1 / depth, its shade, and
    ``who``, which must not be 0.
    """
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        xa, ya, xb, yb, xc, yc = px[a, 0], px[a, 1], px[b, 0], px[b, 1], px[c, 0], px[c, 1]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if not abs(area) > 1e-12:  # also NaN
            continue
        x0, x1 = max(0, int(np.ceil(min(xa, xb, xc)))), min(width - 1, int(np.floor(max(xa, xb, xc))))
        y0, y1 = max(0, int(np.ceil(min(ya, yb, yc)))), min(height - 1, int(np.floor(max(ya, yb, yc))))
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((xb - x) * (yc - y) - (xc - x) * (yb - y)) / area
                v = ((xc - x) * (ya - y) - (xa - x) * (yc - y)) / area
                w = 1 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                z = u * near[a] + v * near[b] + w * near[c]
                if z > depth[y, x]:
                    depth[y, x] = z
                    light[y, x] = u * shade[a] + v * shade[b] + w * shade[c]
                    owner[y, x] = who


def shades(mesh: PeopleMesh, camera: Camera) -> F32:
    """(P, V) brightness in [0, 1.15]: a lamp beside the camera, some light from everywhere."""
    eye = camera.centre_world.astype(np.float32)
    lamp = eye - 0.5 * camera.R[1].astype(np.float32)  # above the camera, by its own upwards
    towards = lamp - mesh.vertices_world_m
    towards /= np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-6)
    facing = np.maximum((towards * mesh.normals_world).sum(axis=-1), 0.0)
    return np.asarray(AMBIENT + (1.15 - AMBIENT) * facing, np.float32)


def draw_mesh(image: Image, camera: Camera, mesh: PeopleMesh, opacity: float = OPACITY) -> None:
    """Draw the people of ``mesh`` into the camera's picture, in place; nearer people hide those behind.

    image: (H, W, 3) uint8, the picture of ``camera`` at any scale. People whose fit is doubtful are drawn faint.
    """
    size = np.array(image.shape[1::-1])
    px = project_scaled(camera, mesh.vertices_world_m, image)
    depth = (mesh.vertices_world_m - camera.centre_world.astype(np.float32)) @ camera.R[2].astype(np.float32)
    px[depth < NEAR_M] = np.nan
    if not np.isfinite(px).any():
        return
    low = np.clip(np.floor(np.nanmin(px, axis=(0, 1))) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(np.nanmax(px, axis=(0, 1))) + 2, 0, size).astype(int)
    if (high <= low).any():
        return
    (x0, y0), (x1, y1) = low, high
    shape = ((y1 - y0) * FINER, (x1 - x0) * FINER)
    nearest, light = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    owner = np.zeros(shape, np.uint8)
    # sample s of a finer axis lies at (s + 0.5) / FINER - 0.5 of the picture's
    fine = ((px - low + 0.5) * FINER - 0.5).astype(np.float32)
    bright = shades(mesh, camera)
    for p in range(min(len(px), 255)):
        fill(fine[p], (1 / np.maximum(depth[p], NEAR_M)).astype(np.float32), bright[p], mesh.faces, p + 1,
             nearest, light, owner)  # fmt: skip
    table = np.zeros((256, 4), np.float32)
    for p, person in enumerate(mesh.person_ids.tolist()[:255]):
        cover = opacity * (DOUBTFUL / OPACITY) if mesh.doubtful[p] else opacity
        table[p + 1] = (*(0.75 * c + 50 for c in colour_of(person)), cover)
    painted = table[owner]
    painted[..., :3] *= (light * painted[..., 3])[..., None]  # premultiplied, so that edges do not darken
    painted = cv2.resize(painted, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    part = image[y0:y1, x0:x1]
    part[:] = np.clip(part * (1 - painted[..., 3:]) + painted[..., :3], 0, 255)
