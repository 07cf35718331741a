"""glTF in one file (GLB): every person of a take a skinned, moving body, and the cameras where they stood.

Khronos, *glTF 2.0 Specification* (2021): y up, metres, quaternions x y z w, matrices by columns; a camera looks along
its −z. Lens distortion has no place in it, and is left out.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kinecast.calibration.camera import Rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.version import kinecast_version
from kinecast.engines.body.model.body import PARENTS, BodyModel, shape_vertices
from kinecast.engines.body.model.skinning import vertex_normals
from kinecast.nodes.exchange.export.body_takes import BodyTake, BodyTakes, Float
from kinecast.nodes.exchange.export.bone_names import bone_names

FLOAT, BYTE, UINT = 5126, 5121, 5125
VERTICES, INDICES = 34962, 34963
INFLUENCES = 4  # joints that a vertex follows in glTF's first set
_COLOURS = ((0.80, 0.68, 0.58), (0.45, 0.62, 0.78), (0.60, 0.75, 0.50), (0.78, 0.55, 0.72), (0.80, 0.74, 0.45))


class _Buffer:
    """The binary part, and the accessors that say what is where in it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: NDArray[Any], kind: str, component: int, target: int = 0, bounds: bool = False) -> int:
        array = np.ascontiguousarray(array)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += array.tobytes() + bytes(-array.nbytes % 4)
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": component,
            "count": array.size if kind == "SCALAR" else len(array),
            "type": kind,
        }
        if bounds:
            rows = array.reshape(accessor["count"], -1)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def write_glb(takes: BodyTakes, mesh: BodyModel, rig: Rig | None, turn: Float, path: Path, bones: str = "smpl") -> Path:
    """Write ``path``. mesh: the body whose vertices are shown, of the same rotations and shapes as that of the takes.
    rig: cameras to show, with the rotation ``turn`` (3, 3) that the takes were read with.

    Times count from the first frame set. Before and after somebody was seen, they stand as they were nearest to it.
    """
    buffer = _Buffer()
    names = bone_names(bones)
    scene: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"Kinecast {kinecast_version()}"},
        "scene": 0,
        "scenes": [{"name": path.stem, "nodes": []}],
        "nodes": [],
        "meshes": [],
        "skins": [],
        "materials": [],
        "animations": [{"name": "take", "channels": [], "samplers": []}],
    }
    for n, take in enumerate(takes.people):
        _add_person(scene, buffer, mesh, take, int(takes.sets_ns[0]), names, _COLOURS[n % len(_COLOURS)])
    if rig is not None:
        _add_cameras(scene, rig, turn)
    scene |= {"bufferViews": buffer.views, "accessors": buffer.accessors, "buffers": [{"byteLength": len(buffer.data)}]}
    head = json.dumps(scene, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    with atomic_path(path, overwrite=True) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(head) + len(buffer.data)))
        file.write(struct.pack("<I4s", len(head), b"JSON") + head)
        file.write(struct.pack("<I4s", len(buffer.data), b"BIN\0") + buffer.data)
    return path


def four_influences(weights: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(V, 24) skinning weights → the four greatest of each vertex: joints (V, 4), weights (V, 4) that add to 1."""
    index = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    kept = np.take_along_axis(weights, index, axis=1)
    kept = kept / kept.sum(axis=1, keepdims=True)
    return np.where(kept > 0, index, 0).astype(np.uint8), kept.astype(np.float32)


def _add_person(
    scene: dict[str, Any],
    buffer: _Buffer,
    mesh: BodyModel,
    take: BodyTake,
    start_ns: int,
    names: tuple[str, ...],
    colour: tuple[float, float, float],
) -> None:
    rest = mesh.J_template + mesh.J_shape[:, :, : len(take.betas)] @ take.betas
    vertices = shape_vertices(mesh, take.betas)
    index, weight = four_influences(mesh.weights)
    attributes = {
        "POSITION": buffer.add(vertices[0], "VEC3", FLOAT, VERTICES, bounds=True),
        "NORMAL": buffer.add(vertex_normals(vertices[0], mesh.faces), "VEC3", FLOAT, VERTICES),
        "JOINTS_0": buffer.add(index, "VEC4", BYTE, VERTICES),
        "WEIGHTS_0": buffer.add(weight, "VEC4", FLOAT, VERTICES),
    }
    faces = buffer.add(mesh.faces.astype(np.uint32).ravel(), "SCALAR", UINT, INDICES)
    back = np.tile(np.eye(4, dtype=np.float32), (24, 1, 1))
    back[:, 3, :3] = -rest  # a matrix by columns: its last row here is its last column there
    first = len(scene["nodes"])
    who = f"person{take.person}"
    for j, parent in enumerate(PARENTS.tolist()):
        place = rest[j] - rest[parent] if parent >= 0 else take.joints_m[0, 0]
        node: dict[str, Any] = {"name": names[j] if len(scene["skins"]) == 0 else f"{who}:{names[j]}"}
        node["translation"] = place.tolist()
        children = [first + k for k in range(24) if PARENTS[k] == j]
        scene["nodes"].append(node | ({"children": children} if children else {}))
    skin = {"name": who, "joints": list(range(first, first + 24)), "skeleton": first}
    scene["skins"].append(skin | {"inverseBindMatrices": buffer.add(back.reshape(24, 16), "MAT4", FLOAT)})
    scene["materials"].append(
        {"name": who, "pbrMetallicRoughness": {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0}}
    )
    primitive = {"attributes": attributes, "indices": faces, "material": len(scene["materials"]) - 1}
    scene["meshes"].append({"name": who, "primitives": [primitive]})
    body = {"name": who, "mesh": len(scene["meshes"]) - 1, "skin": len(scene["skins"]) - 1}
    scene["nodes"].append(body)
    scene["scenes"][0]["nodes"] += [first, first + 24]
    _animate(scene["animations"][0], buffer, take, start_ns, first)


def _animate(animation: dict[str, Any], buffer: _Buffer, take: BodyTake, start_ns: int, first: int) -> None:
    seconds = ((take.t_ns - start_ns) * 1e-9).astype(np.float32)
    times = buffer.add(seconds, "SCALAR", FLOAT, bounds=True)
    turns = Rotation.from_rotvec(take.rotations_rad.reshape(-1, 3)).as_quat().reshape(-1, 24, 4)
    # q and −q are one rotation, but between them an importer would turn the long way round
    flips = np.cumprod(np.where((turns[1:] * turns[:-1]).sum(axis=-1, keepdims=True) < 0, -1.0, 1.0), axis=0)
    turns[1:] *= flips
    tracks = [(first + j, "rotation", turns[:, j], "VEC4") for j in range(24)]
    tracks.append((first, "translation", take.joints_m[:, 0], "VEC3"))
    for node, path, values, kind in tracks:
        output = buffer.add(values.astype(np.float32), kind, FLOAT)
        animation["samplers"].append({"input": times, "output": output, "interpolation": "LINEAR"})
        target = {"node": node, "path": path}
        animation["channels"].append({"sampler": len(animation["samplers"]) - 1, "target": target})


def _add_cameras(scene: dict[str, Any], rig: Rig, turn: Float) -> None:
    scene["cameras"] = []
    for camera in rig.cameras:
        width, height = camera.size_px
        fov = 2.0 * np.arctan(0.5 * height / camera.K[1, 1])
        lens = {"yfov": float(fov), "aspectRatio": width / height, "znear": 0.05, "zfar": 100.0}
        scene["cameras"].append({"name": camera.name, "type": "perspective", "perspective": lens})
        world_from_camera = turn @ camera.R.T @ np.diag([1.0, -1.0, -1.0])  # glTF looks along −z, with y up
        scene["scenes"][0]["nodes"].append(len(scene["nodes"]))
        scene["nodes"].append(
            {
                "name": camera.name,
                "camera": len(scene["cameras"]) - 1,
                "translation": (turn @ -(camera.R.T @ camera.t)).tolist(),
                "rotation": Rotation.from_matrix(world_from_camera).as_quat().tolist(),
            }
        )
