"""Qualisys' ``.qca.txt``: XML, lengths in mm, pixels in 1/64, and a camera that looks along its −z with y up.

``transform`` holds where the camera stands in the world (x y z, mm) and in r11…r33, row by row, the camera's axes in
world axes: x right, y up, z backwards. OpenCV's axes are that turned by 180° about x. Principal points count from the
sensor's corner, so the corner of ``fov_video`` is taken off. The coefficients belong to normalised coordinates and have
no unit: they are used as they stand. Where a file has video cameras (model "… video") the others are left out.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import fields
from kinecast.capture.errors import KinecastError

SUBPIXELS = 64.0
TURN = np.diag([1.0, -1.0, -1.0])  # OpenCV's camera axes from Qualisys'


def recognise(head: str) -> bool:
    """Whether the beginning of a text file is a Qualisys calibration."""
    return "<calibration" in head and "<camera" in head


def _number(element: ElementTree.Element, key: str, path: Path, camera: str) -> float:
    value = element.get(key)
    if value is None:
        raise fields.fail(path, camera, f"{element.tag} {key}", "is missing")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise fields.fail(path, camera, f"{element.tag} {key}", f"is not a number: {value[:40]!r}")
    return number


def read(content: str, path: Path) -> Rig:
    """The rig, in the file's order, z up (Qualisys' default); KinecastError names file, camera and field."""
    root = fields.xml_root(content, path)
    elements = root.findall("cameras/camera")
    video = [e for e in elements if "video" in e.get("model", "").lower()]
    cameras = tuple(_camera(e, i, path) for i, e in enumerate(video or elements))
    try:
        return Rig(cameras, path.name.split(".")[0], "z")
    except ValueError as e:
        raise KinecastError(f"{path}: {e}") from None


def _camera(element: ElementTree.Element, number: int, path: Path) -> Camera:
    name = element.get("serial") or f"cam_{number}"

    def child(tag: str) -> ElementTree.Element:
        found = element.find(tag)
        if found is None:
            raise fields.fail(path, name, tag, "is missing")
        return found

    view, transform, intrinsic = child("fov_video"), child("transform"), child("intrinsic")
    left, top = _number(view, "left", path, name), _number(view, "top", path, name)
    right, bottom = _number(view, "right", path, name), _number(view, "bottom", path, name)
    fu, fv, cu, cv, skew = (
        _number(intrinsic, k, path, name) / SUBPIXELS
        for k in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "skew")
    )
    K = np.array([[fu, skew, cu - left], [0.0, fv, cv - top], [0.0, 0.0, 1.0]])
    k1, k2, k3 = (_number(intrinsic, f"radialDistortion{i}", path, name) for i in (1, 2, 3))
    p1, p2 = (_number(intrinsic, f"tangentalDistortion{i}", path, name) for i in (1, 2))
    rows = [[_number(transform, f"r{i}{j}", path, name) for j in (1, 2, 3)] for i in (1, 2, 3)]
    R = TURN @ fields.nearest_rotation(np.array(rows))
    centre_m = np.array([_number(transform, k, path, name) for k in "xyz"]) / 1000.0
    size_px = fields.size({"fov_video": [right - left + 1, bottom - top + 1]}, "fov_video", path, name)
    return fields.build(path, name, size_px, K, np.array([k1, k2, p1, p2, k3]), R, -R @ centre_m)


def dumps(rig: Rig) -> str:
    """The text of the file; KinecastError where a lens cannot be said in it (fisheye, or k4 to k6)."""
    root = ElementTree.Element("calibration", {"type": "regular", "source": "kinecast"})
    parent = ElementTree.SubElement(root, "cameras")
    for c in rig:
        if c.model != "brown" or np.any(c.distortion[5:]):
            raise KinecastError(f"camera {c.name!r}: its lens model cannot be written to .qca.txt: use rig.toml")
        if rig.up != "z":
            raise KinecastError(f"rig {rig.name!r} is {rig.up}-up and .qca.txt is z-up: use rig.toml")
        element = ElementTree.SubElement(parent, "camera", {"active": "1", "serial": c.name, "model": "video"})
        w, h = c.size_px
        view = {"left": "0", "top": "0", "right": str(w - 1), "bottom": str(h - 1)}
        for tag in ("fov_marker", "fov_marker_max", "fov_video", "fov_video_max"):
            ElementTree.SubElement(element, tag, view)
        x, y, z = (float(v) * 1000.0 for v in c.centre_world)
        rows = TURN @ c.R
        transform = {"x": repr(x), "y": repr(y), "z": repr(z)}
        transform |= {f"r{i + 1}{j + 1}": repr(float(rows[i, j])) for i in range(3) for j in range(3)}
        ElementTree.SubElement(element, "transform", transform)
        k = [*map(float, c.distortion), 0.0][:5]
        values = {
            "focalLengthU": c.K[0, 0] * SUBPIXELS,
            "focalLengthV": c.K[1, 1] * SUBPIXELS,
            "centerPointU": c.K[0, 2] * SUBPIXELS,
            "centerPointV": c.K[1, 2] * SUBPIXELS,
            "skew": c.K[0, 1] * SUBPIXELS,
            "radialDistortion1": k[0],
            "radialDistortion2": k[1],
            "radialDistortion3": k[4],
            "tangentalDistortion1": k[2],
            "tangentalDistortion2": k[3],
            "sensorMinU": 0.0,
            "sensorMinV": 0.0,
            "sensorMaxU": (w - 1) * SUBPIXELS,
            "sensorMaxV": (h - 1) * SUBPIXELS,
        }
        ElementTree.SubElement(element, "intrinsic", {key: repr(float(v)) for key, v in values.items()})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
