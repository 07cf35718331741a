"""``rig.toml``, our own file: readable, units in the names of the keys, exact both ways (every float64 comes back)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import tomli_w

from kinecast.calibration.camera import Camera, Float, LensModel, Rig
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import UPS

VERSION = 1
CAMERA_KEYS = (
    "name",
    "size_px",
    "lens",
    "K_px",
    "distortion",
    "rotation_cam_from_world",
    "translation_cam_from_world_m",
)
HEAD = """\
# Calibrated cameras of one world. The world is in metres; `up` is its upward axis.
# A camera looks along its +z, x right, y down; the centre of the top left pixel is (0, 0).
# point_cam = rotation_cam_from_world · point_world + translation_cam_from_world_m
# lens "brown": k1 k2 p1 p2 [k3 [k4 k5 k6]]; lens "fisheye": k1 k2 k3 k4 (OpenCV's models)
"""


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether a parsed TOML file is ours."""
    return "kinecast_rig" in data


def read(data: Mapping[str, Any], path: Path) -> Rig:
    """The rig of a parsed file; KinecastError names file, camera and field."""
    if data["kinecast_rig"] != VERSION:
        raise fields.fail(path, "", "kinecast_rig", f"version {data['kinecast_rig']!r} is not known, only {VERSION}")
    unknown = sorted(set(data) - {"kinecast_rig", "name", "up", "camera"})
    if unknown:
        raise fields.fail(path, "", unknown[0], "is not a key of a rig file; known are name, up, camera")
    up = fields.text(data, "up", path, default="z")
    if up not in UPS:
        raise fields.fail(path, "", "up", f"{up!r} is none of {', '.join(UPS)}")
    tables = data.get("camera")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise fields.fail(path, "", "", "has no [[camera]] table")
    cameras = tuple(_camera(t, i, path) for i, t in enumerate(tables))
    try:
        return Rig(cameras, fields.text(data, "name", path, default=path.stem), cast(Any, up))
    except ValueError as e:
        raise fields.fail(path, "", "", str(e)) from None


def _camera(table: Mapping[str, Any], number: int, path: Path) -> Camera:
    name = fields.text(table, "name", path, f"number {number}")
    unknown = sorted(set(table) - set(CAMERA_KEYS))
    if unknown:
        raise fields.fail(path, name, unknown[0], f"is not a key of a camera; known are {', '.join(CAMERA_KEYS)}")
    lens = fields.text(table, "lens", path, name, default="brown")
    if lens not in get_args(LensModel):
        raise fields.fail(path, name, "lens", f"{lens!r} is none of {', '.join(get_args(LensModel))}")
    return fields.build(
        path,
        name,
        fields.size(table, "size_px", path, name),
        fields.array(table, "K_px", ((3, 3),), path, name),
        fields.array(table, "distortion", ((4,),) if lens == "fisheye" else ((4,), (5,), (8,)), path, name),
        fields.array(table, "rotation_cam_from_world", ((3, 3),), path, name),
        fields.array(table, "translation_cam_from_world_m", ((3,),), path, name),
        cast(LensModel, lens),
    )


def dumps(rig: Rig) -> str:
    """The text of the file. ``repr`` of a float is the shortest text that reads back as the same float64."""

    def row(values: Float) -> str:
        return "[" + ", ".join(repr(float(v)) for v in values) + "]"

    def matrix(values: Float) -> str:
        return "[\n" + "".join(f"  {row(r)},\n" for r in values) + "]"

    parts = [HEAD + tomli_w.dumps({"kinecast_rig": VERSION, "name": rig.name, "up": rig.up})]
    for c in rig:
        parts.append(
            "[[camera]]\n"
            + tomli_w.dumps({"name": c.name})
            + f"size_px = [{c.size_px[0]}, {c.size_px[1]}]\n"
            + f'lens = "{c.model}"\n'
            + f"K_px = {matrix(c.K)}\n"
            + f"distortion = {row(c.distortion)}\n"
            + f"rotation_cam_from_world = {matrix(c.R)}\n"
            + f"translation_cam_from_world_m = {row(c.t)}\n"
        )
    return "\n".join(parts)
