"""Calibrations in JSON, read only: CMU Panoptic's, MVOR's, 4D Association's, VoxelPose's, and tables by camera name.

Panoptic: ``{"cameras": [{"name", "type", "resolution", "K", "distCoef", "R", "t"}, …]}``, centimetres, y down; only the
HD cameras are taken where there are any. Plain: ``{"cam0": {"K", "cam_from_world" 3×4 or 4×4, "size"}, …}``, metres,
4D Association's (and THuman's, HuMMan's after it) ``{"0": {"K" 9 or 3×3, "RT" 12 or 3×4, or "R" and "T", "distCoeff",
"imgSize"}, …}``, and their like: ``json_tables``.
MVOR: ``cameras_info.camParams`` of ``camma_mvor_2018.json``, millimetres, in the frame of its first camera (−y up);
``extrinsics`` take a camera's points to the first one. Its distortion is left out, as its own projection code does.
VoxelPose's ``calibration_shelf.json`` and ``calibration_campus.json``: ``{"0": {"R", "T", "fx", "fy", "cx", "cy",
"k" 3, "p" 2}, …}``; T is where the camera stands, millimetres. The pictures' size is not in it: that of the data set
which the file is named after.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera
from kinecast.calibration.formats import fields, json_tables
from kinecast.calibration.formats.fields import RigFile

MVOR_SIZE_PX = (640, 480)
VOXELPOSE_SIZE_PX = {"shelf": (1032, 776), "campus": (360, 288)}
VOXELPOSE_KEYS = ("R", "T", "fx", "fy", "cx", "cy")


def recognise(data: Any) -> bool:
    """Whether a parsed JSON file is one of these."""
    if isinstance(data, Mapping) and (_panoptic(data) or _mvor(data) or _voxelpose(data)):
        return True
    return bool(json_tables.tables_of(data))


def _mvor(data: Mapping[str, Any]) -> bool:
    info = data.get("cameras_info")
    return isinstance(info, Mapping) and isinstance(info.get("camParams"), Mapping)


def _panoptic(data: Mapping[str, Any]) -> bool:
    cameras = data.get("cameras")
    if not isinstance(cameras, list) or not cameras or not isinstance(cameras[0], Mapping):
        return False
    return not json_tables.tables_of(cameras) or bool({"resolution", "distCoef", "type"} & set(cameras[0]))


def _voxelpose(data: Mapping[str, Any]) -> bool:
    return bool(data) and all(isinstance(v, Mapping) and all(k in v for k in VOXELPOSE_KEYS) for v in data.values())


def read(data: Any, path: Path, size_px: tuple[int, int] | None = None) -> RigFile:
    """The cameras in metres; KinecastError names file, camera and field. size_px: where the file does not say it."""
    if not isinstance(data, Mapping) or not (_panoptic(data) or _mvor(data) or _voxelpose(data)):
        return json_tables.read(data, path, size_px)
    out = RigFile(path, path.stem)
    if _mvor(data):
        cameras = _read_mvor(data["cameras_info"]["camParams"], path)
    elif _panoptic(data):
        cameras = _read_panoptic(data["cameras"], path)
    else:
        size_px = size_px or _voxelpose_size(path)
        out.notes.append(f"size: {size_px[0]}×{size_px[1]}, which the file does not say")
        cameras = [_read_voxelpose(name, table, path, size_px) for name, table in data.items()]
    for camera in cameras:
        out.add(camera)
    if _panoptic(data):
        taken = {c.name for c in cameras}
        out.left_out([str(t.get("name")) for t in data["cameras"] if t.get("name") not in taken], "not an HD camera")
    out.settle_up(None, "-y" if _mvor(data) or _panoptic(data) else "")
    return out


def _voxelpose_size(path: Path) -> tuple[int, int]:
    sizes = [size for name, size in VOXELPOSE_SIZE_PX.items() if name in path.stem.lower()]
    if not sizes:
        raise fields.fail(path, "", "size", "VoxelPose's files do not say it: say --size WIDTHxHEIGHT")
    return sizes[0]


def _read_voxelpose(name: str, table: Mapping[str, Any], path: Path, size_px: tuple[int, int]) -> Camera:
    R = fields.rotation_of(fields.array(table, "R", ((3, 3), (9,)), path, name).reshape(3, 3))
    centre_mm = np.ravel(fields.array(table, "T", ((3,), (3, 1), (1, 3)), path, name))
    fx, fy, cx, cy = (float(fields.array(table, k, ((), (1,)), path, name).reshape(())) for k in VOXELPOSE_KEYS[2:])
    k, p = (
        np.ravel(fields.array(table, key, ((n,), (n, 1), (1, n)), path, name)) if key in table else np.zeros(n)
        for key, n in (("k", 3), ("p", 2))
    )
    d = fields.coefficients(np.array([k[0], k[1], p[0], p[1], k[2]]), "brown", path, name, "k")
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return fields.build(path, name, size_px, K, d, R, -R @ centre_mm / 1000.0)


def _read_panoptic(tables: list[Mapping[str, Any]], path: Path) -> list[Camera]:
    out = []
    for i, t in enumerate([t for t in tables if t.get("type") == "hd"] or tables):
        name = fields.text(t, "name", path, f"number {i}")
        R = fields.rotation_of(fields.array(t, "R", ((3, 3),), path, name))
        t_cm = np.ravel(fields.array(t, "t", ((3,), (3, 1)), path, name))
        K = fields.array(t, "K", ((3, 3),), path, name)
        d = fields.array(t, "distCoef", ((4,), (5,), (8,)), path, name)
        out.append(fields.build(path, name, fields.size(t, "resolution", path, name), K, d, R, t_cm / 100.0))
    return out


def _read_mvor(table: Mapping[str, Any], path: Path) -> list[Camera]:
    out = []
    intrinsics, extrinsics = table.get("intrinsics"), table.get("extrinsics")
    if not isinstance(intrinsics, list) or not isinstance(extrinsics, list) or len(intrinsics) != len(extrinsics):
        raise fields.fail(path, "", "cameras_info.camParams", "intrinsics and extrinsics must be lists of one length")
    for i, t in enumerate(intrinsics):
        name = f"cam{i + 1}"
        fx, fy = fields.array(t, "focallength", ((2,),), path, name)
        cx, cy = fields.array(t, "principalpoint", ((2,),), path, name)
        given = fields.array({"extrinsics": extrinsics[i]}, "extrinsics", ((16,), (4, 4)), path, name)
        cam1_from_cam = given.reshape(4, 4)
        R = fields.rotation_of(cam1_from_cam[:3, :3].T)
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        t_m = -R @ cam1_from_cam[:3, 3] / 1000.0
        out.append(fields.build(path, name, MVOR_SIZE_PX, K, np.zeros(5), R, t_m))
    return out
