"""Calibrations in JSON, read only: CMU Panoptic's, MVOR's, and plain tables of K and cam_from_world by camera name.

Panoptic: ``{"cameras": [{"name", "type", "resolution", "K", "distCoef", "R", "t"}, …]}``, centimetres, y down; only the
HD cameras are taken where there are any. Plain: ``{"cam0": {"K", "cam_from_world" 3×4 or 4×4, "size"}, …}``, metres.
MVOR: ``cameras_info.camParams`` of ``camma_mvor_2018.json``, millimetres, in the frame of its first camera (−y up);
``extrinsics`` take a camera's points to the first one. Its distortion is left out, as its own projection code does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import fields

MVOR_SIZE_PX = (640, 480)


def recognise(data: Any) -> bool:
    """Whether a parsed JSON file is one of the two."""
    return isinstance(data, Mapping) and (_panoptic(data) or _plain(data) or _mvor(data))


def _mvor(data: Mapping[str, Any]) -> bool:
    info = data.get("cameras_info")
    return isinstance(info, Mapping) and isinstance(info.get("camParams"), Mapping)


def _panoptic(data: Mapping[str, Any]) -> bool:
    cameras = data.get("cameras")
    return isinstance(cameras, list) and bool(cameras) and isinstance(cameras[0], Mapping)


def _plain(data: Mapping[str, Any]) -> bool:
    return bool(data) and all(isinstance(v, Mapping) and "K" in v for v in data.values())


def read(data: Mapping[str, Any], path: Path) -> Rig:
    """The rig in metres; KinecastError names file, camera and field."""
    if _mvor(data):
        cameras = _read_mvor(data["cameras_info"]["camParams"], path)
    elif _panoptic(data):
        cameras = _read_panoptic(data["cameras"], path)
    else:
        cameras = [_read_plain(name, table, path) for name, table in data.items()]
    try:
        return Rig(tuple(cameras), path.stem, "-y" if _mvor(data) or _panoptic(data) else "z")
    except ValueError as e:
        raise fields.fail(path, "", "", str(e)) from None


def _read_plain(name: str, table: Mapping[str, Any], path: Path) -> Camera:
    T = fields.array(table, "cam_from_world", ((3, 4), (4, 4)), path, name)
    R = fields.nearest_rotation(T[:3, :3])
    K = fields.array(table, "K", ((3, 3),), path, name)
    d = fields.array(table, "distortion", ((4,), (5,), (8,)), path, name) if "distortion" in table else np.zeros(5)
    return fields.build(path, name, fields.size(table, "size", path, name), K, d, R, T[:3, 3])


def _read_panoptic(tables: list[Mapping[str, Any]], path: Path) -> list[Camera]:
    out = []
    for i, t in enumerate([t for t in tables if t.get("type") == "hd"] or tables):
        name = fields.text(t, "name", path, f"number {i}")
        R = fields.nearest_rotation(fields.array(t, "R", ((3, 3),), path, name))
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
        R = fields.nearest_rotation(cam1_from_cam[:3, :3].T)
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        t_m = -R @ cam1_from_cam[:3, 3] / 1000.0
        out.append(fields.build(path, name, MVOR_SIZE_PX, K, np.zeros(5), R, t_m))
    return out
