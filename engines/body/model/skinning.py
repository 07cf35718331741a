"""Linear blend skinning of a 24-joint body: the fast way (compiled, sparse weights) for rendering and for meshes.

Shapes: P people, V vertices, M joints that move one vertex at most. The plain twin of :func:`skin` is that of its
test.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import times
from kinecast.capture.compiled import kernel

Float = NDArray[np.float64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


def chain(local: Float, rest: Float, parents: NDArray[np.int64], trans: Float) -> tuple[Float, Float]:
    """Forward kinematics: (P, 24, 3, 3) rotations in the parent's frame, (P, 24, 3) rest joints, (P, 3) translation.

    Returns (P, 24, 3, 3) rotations world_from_joint and (P, 24, 3) joints in the world, metres. SMPL's rule: the root
    turns about its own rest joint and the translation is added to everything.
    """
    turned = np.empty_like(local)
    joints = np.empty_like(rest)
    for j, parent in enumerate(parents):
        if parent < 0:
            turned[:, j] = local[:, j]
            joints[:, j] = rest[:, j] + trans
        else:
            turned[:, j] = times(turned[:, parent], local[:, j])
            bone = rest[:, j] - rest[:, parent]
            joints[:, j] = joints[:, parent] + np.einsum("pij,pj->pi", turned[:, parent], bone)
    return turned, joints


def sparse_weights(weights: F32) -> tuple[I32, F32]:
    """(V, 24) skinning weights → (V, M) joints and (V, M) weights, M the most that one vertex has; 0-weights pad."""
    most = int((weights != 0).sum(axis=1).max())
    order = np.argsort(-weights, axis=1, kind="stable")[:, :most]
    return order.astype(np.int32), np.ascontiguousarray(np.take_along_axis(weights, order, axis=1))


def skin(shaped: F32, rotations: Float, shifts: Float, index: I32, weight: F32) -> F32:
    """(P or 1, V, 3) rest vertices → (P, V, 3) posed vertices, metres.

    rotations: (P, 24, 3, 3) world_from_joint. shifts: (P, 24, 3), posed joint minus the rotated rest joint.
    index, weight: (V, M), see :func:`sparse_weights`.
    """
    out = np.empty((len(rotations), shaped.shape[1], 3), np.float32)
    affine = np.concatenate([rotations, shifts[..., None]], axis=-1)
    for p in range(len(rotations)):
        _skin(shaped[p if len(shaped) > 1 else 0], affine[p].astype(np.float32), index, weight, out[p])
    return out


@kernel(fastmath=True, nogil=True)
def _skin(rest: F32, affine: F32, index: I32, weight: F32, out: F32) -> None:
    many = index.shape[1]
    for v in range(rest.shape[0]):
        x, y, z = rest[v, 0], rest[v, 1], rest[v, 2]
        ox = oy = oz = np.float32(0.0)
        for m in range(many):
            w = weight[v, m]
            if w == 0.0:
                break
            a = affine[index[v, m]]
            ox += w * (a[0, 0] * x + a[0, 1] * y + a[0, 2] * z + a[0, 3])
            oy += w * (a[1, 0] * x + a[1, 1] * y + a[1, 2] * z + a[1, 3])
            oz += w * (a[2, 0] * x + a[2, 1] * y + a[2, 2] * z + a[2, 3])
        out[v, 0], out[v, 1], out[v, 2] = ox, oy, oz


@kernel(fastmath=True, nogil=True)
def vertex_normals(vertices: F32, faces: I32) -> F32:
    """(V, 3) unit normals of a triangle mesh, area weighted; for shading."""
    out = np.zeros_like(vertices)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        wx, wy, wz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for i in (a, b, c):
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for v in range(out.shape[0]):
        length = math.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        if length > 0:
            out[v] /= length
    return out
