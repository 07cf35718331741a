"""Calibrations in JSON, read only: CMU Panoptic's, and plain tables of K and cam_from_world by camera name.

Panoptic: ``{"cameras": [{"name", "type", "resolution", "K", "distCoef", "R", "t"}, …]}``, centimetres, y down; only the
HD cameras are taken where there are any. Plain: ``{"cam0": {"K", "cam_from_world" 3×4 or 4×4, "size"}, …}``, metres.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibration.camera import Rig
from calibration.formats import fields


def recognise(data: Any) -> bool:
    """Whether a parsed JSON file is one of the two."""
    return isinstance(data, Mapping) and (_panoptic(data) or _plain(data))


def _panoptic(data: Mapping[str, Any]) -> bool:
    cameras = data.get("cameras")
    return isinstance(cameras, list) and bool(cameras) and isinstance(cameras[0], Mapping)


def _plain(data: Mapping[str, Any]) -> bool:
    return bool(data) and all(isinstance(v, Mapping) and "K" in v for v in data.values())


def read(data: Mapping[str, Any], path: Path) -> Rig:
    """The rig in metres; KinecastError names file, camera and field."""
    cameras = []
    if _panoptic(data):
        tables = [t for t in data["cameras"] if t.get("type") == "hd"] or data["cameras"]
        for i, t in enumerate(tables):
            name = fields.text(t, "name", path, f"number {i}")
            R = fields.nearest_rotation(fields.array(t, "R", ((3, 3),), path, name))
            t_cm = np.ravel(fields.array(t, "t", ((3,), (3, 1)), path, name))
            K = fields.array(t, "K", ((3, 3),), path, name)
            d = fields.array(t, "distCoef", ((4,), (5,), (8,)), path, name)
            cameras.append(fields.build(path, name, fields.size(t, "resolution", path, name), K, d, R, t_cm / 100.0))
    else:
        for name, t in data.items():
            T = fields.array(t, "cam_from_world", ((3, 4), (4, 4)), path, name)
            R = fields.nearest_rotation(T[:3, :3])
            K = fields.array(t, "K", ((3, 3),), path, name)
            d = fields.array(t, "distortion", ((4,), (5,), (8,)), path, name) if "distortion" in t else np.zeros(5)
            cameras.append(fields.build(path, name, fields.size(t, "size", path, name), K, d, R, T[:3, 3]))
    try:
        return Rig(tuple(cameras), path.stem, "-y" if _panoptic(data) else "z")
    except ValueError as e:
        raise fields.fail(path, "", "", str(e)) from None
