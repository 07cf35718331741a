"""Body meshes drawn into a picture: a z-buffer over all people at twice the resolution, shaded, and laid over it.

Every vertex goes through the camera's own lens, so the mesh bends as the picture does. A triangle stays straight
between its corners: they are 2–3 cm apart, where a lens bends by a small part of a pixel.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.nodes.fusion.meshes import PeopleMesh
from kinecast.nodes.viewer.overlay import Image, colour_of, project_scaled
from kinecast.nodes.viewer.raster_kernels import fill, lay

F32 = NDArray[np.float32]

FINER = 2  # samples a pixel and axis
OPACITY, DOUBTFUL = 0.62, 0.35  # of a mesh over a picture; the share of it that is left of one not to be trusted
AMBIENT, BRIGHTEST = 0.38, 1.15
NEAR_M = 0.1


def shades(mesh: PeopleMesh, camera: Camera) -> F32:
    """(P, V) brightness from AMBIENT to BRIGHTEST: a lamp half a metre above the camera, and light from everywhere."""
    lamp = (camera.centre_world - 0.5 * camera.R[1]).astype(np.float32)
    towards = lamp - mesh.vertices_world_m
    towards /= np.maximum(np.sqrt((towards * towards).sum(axis=-1, keepdims=True)), 1e-6)
    facing = np.maximum((towards * mesh.normals_world).sum(axis=-1), 0.0)
    return np.asarray(AMBIENT + (BRIGHTEST - AMBIENT) * facing, np.float32)


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
    near = (1 / np.maximum(depth, NEAR_M)).astype(np.float32)
    bright = shades(mesh, camera)
    colours = np.zeros((256, 4), np.float32)
    for p, person in enumerate(mesh.person_ids.tolist()[:255]):
        fill(fine[p], near[p], bright[p], mesh.faces, p + 1, nearest, light, owner)
        cover = opacity * (DOUBTFUL if mesh.doubtful[p] else 1.0)
        colours[p + 1] = (*(0.75 * c + 50 for c in colour_of(person)), cover)
    lay(image[y0:y1, x0:x1], light, owner, colours, FINER)
