"""Kalibr's ``camchain.yaml``: ``cam0``, ``cam1`` …, each placed from the one before, metres.

``intrinsics`` are fu fv pu pv of a pinhole; ``distortion_model`` radtan (k1 k2 p1 p2), equidistant (fisheye, k1…k4) or
none; ``resolution``; ``T_cn_cnm1`` (4×4) takes points of the camera before to this one; where it is not there for
all, each camera's ``T_cam_imu`` or ``T_imu_cam`` (OpenVINS) does. The world is the first
camera's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.camera import Float, LensModel
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import RigFile
from kinecast.calibration.rigid import inverse

LENSES: dict[str, LensModel] = {"radtan": "brown", "equidistant": "fisheye", "none": "brown"}


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether a parsed YAML file is a chain of Kalibr's."""
    return any(isinstance(t, Mapping) and {"camera_model", "intrinsics"} <= set(t) for t in data.values())


def read(data: Mapping[str, Any], path: Path) -> RigFile:
    """The cameras in metres; KinecastError names file, camera and field."""
    out = RigFile(path, path.stem)
    cam_from_world, chained = np.eye(4), True
    tables = {k: t for k, t in data.items() if isinstance(t, Mapping) and "intrinsics" in t}
    by_imu = _by_imu(tables, path) if not all("T_cn_cnm1" in t for t in list(tables.values())[1:]) else {}
    if by_imu:
        out.notes.append("places: from each camera's transform to the IMU, as T_cn_cnm1 is not there for all")
    for i, (name, table) in enumerate(tables.items()):
        if (kind := fields.text(table, "camera_model", path, name)) != "pinhole":
            raise fields.fail(path, name, "camera_model", f"{kind} is no pinhole, and only pinholes are read")
        lens = fields.text(table, "distortion_model", path, name, default="none")
        if lens not in LENSES:
            raise fields.fail(path, name, "distortion_model", f"{lens} is none of {', '.join(LENSES)}")
        fu, fv, pu, pv = fields.array(table, "intrinsics", ((4,),), path, name)
        d = np.zeros(4) if lens == "none" else fields.array(table, "distortion_coeffs", ((4,), (5,)), path, name)
        chained = bool(by_imu) or (chained and (i == 0 or "T_cn_cnm1" in table))
        if by_imu:
            cam_from_world = by_imu[name]
        elif i and chained:
            step = fields.array(table, "T_cn_cnm1", ((4, 4),), path, name)
            step[:3, :3] = fields.rotation_of(step[:3, :3])
            cam_from_world = step @ cam_from_world
        K = np.array([[fu, 0, pu], [0, fv, pv], [0, 0, 1]])
        R, t = (cam_from_world[:3, :3], cam_from_world[:3, 3]) if chained else (np.eye(3), np.zeros(3))
        size_px = fields.size(table, "resolution", path, name)
        out.add(fields.build(path, name, size_px, K, d, R, t, LENSES[lens]), chained)
    out.left_out([n for n in tables if n not in {c.name for c in out.cameras}], "T_cn_cnm1 is missing in the chain")
    out.settle_up(None)
    return out


def _by_imu(tables: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, Float]:
    """(4, 4) of every camera from the first, by ``T_cam_imu`` or ``T_imu_cam``; empty where one has neither."""
    cam_from_imu = {}
    for name, table in tables.items():
        key = next((k for k in ("T_cam_imu", "T_imu_cam") if k in table), "")
        if not key:
            return {}
        T = fields.array(table, key, ((4, 4),), path, name)
        T[:3, :3] = fields.rotation_of(T[:3, :3])
        cam_from_imu[name] = T if key == "T_cam_imu" else inverse(T)
    first = inverse(next(iter(cam_from_imu.values()))) if cam_from_imu else np.eye(4)
    return {name: T @ first for name, T in cam_from_imu.items()}
