"""Qualisys' ``.qca.txt``: XML, lengths in mm, pixels in 1/64, and a camera that looks along its −z with y up.

``transform`` holds where the camera stands in the world (x y z, mm) and in r11…r33, row by row, the camera's axes in
world axes: x right, y up, z backwards. OpenCV's axes are that turned by 180° about x. Principal points count from the
sensor's corner, so the corner of ``fov_video`` is taken off. The coefficients belong to normalised coordinates and have
no unit: they are used as they stand.

- Other writers of the layout (OpenCap, Theia, Pose2Sim) have whole pixels and no ``fov_video``: the unit is told by
  ``sensorMax`` beside ``fov_video``, else by which of both makes a picture; without ``fov_video`` its size is
  ``sensorMax``'s.
- ``viewrotation``: a camera that lies on its side. Its numbers belong to the sensor; players show, and other programs
  write, the picture turned clockwise by so many degrees. The rig is for the turned, upright picture, and says so.
- Where some cameras are video cameras (by ``model`` or ``video_resolution``) the others are left out, and so is a
camera
  with ``calibrated="false"``.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import RigFile
from kinecast.capture.errors import KinecastError

SUBPIXELS = 64.0
TURN = np.diag([1.0, -1.0, -1.0])  # OpenCV's camera axes from Qualisys'
LEAST_PX = 64  # no picture is smaller


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


def read(content: str, path: Path) -> RigFile:
    """The cameras, in the file's order, z up (Qualisys' default); KinecastError names file, camera and field."""
    root = fields.xml_root(content, path)
    blocks = [root] if root.find("cameras") is not None else [e for e in root.iter() if e.find("cameras") is not None]
    if len(blocks) > 1:
        raise KinecastError(f"{path}: holds {len(blocks)} calibrations, and which is meant it does not say: keep one")
    found = blocks[0].findall("cameras/camera") if blocks else []
    elements = fields.by_name([(e.get("serial") or f"cam_{i}", e) for i, e in enumerate(found)], path, "serial")
    out = RigFile(path, path.name.split(".")[0])
    failed = [n for n, e in elements.items() if e.get("calibrated", "true").lower() in ("false", "0")]
    known = {n: e for n, e in elements.items() if n not in failed}
    video = {n: e for n, e in known.items() if _is_video(e)}
    for name, element in (video or known).items():
        out.add(_camera(element, name, path, out.notes))
    out.left_out(failed, "calibrated is false")
    out.left_out([n for n in known if video and n not in video], "marker cameras, by their models")
    if not video and any(e.get("model", "none") != "none" for e in known.values()):
        out.notes.append("no model names a video camera: all cameras are taken")
    out.settle_up(None, "z")
    return out


def _is_video(element: ElementTree.Element) -> bool:
    """Video cameras say so by name; a hybrid films too, and only who films has a video resolution."""
    model = element.get("model", "").lower()
    return "video" in model or "hybrid" in model or bool(element.get("video_resolution"))


def _camera(element: ElementTree.Element, name: str, path: Path, notes: list[str]) -> Camera:
    def child(tag: str) -> ElementTree.Element:
        found = element.find(tag)
        if found is None:
            raise fields.fail(path, name, tag, "is missing")
        return found

    transform, intrinsic = child("transform"), child("intrinsic")
    corner, size_px, unit = _picture(element, intrinsic, name, path, notes)
    fu, fv, cu, cv, skew = (
        _number(intrinsic, k, path, name) / unit
        for k in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "skew")
    )
    K = np.array([[fu, skew, cu - corner[0]], [0.0, fv, cv - corner[1]], [0.0, 0.0, 1.0]])
    k1, k2, k3 = (_number(intrinsic, f"radialDistortion{i}", path, name) for i in (1, 2, 3))
    tangential = "tangentialDistortion" if intrinsic.get("tangentialDistortion1") else "tangentalDistortion"  # theirs
    p1, p2 = (_number(intrinsic, f"{tangential}{i}", path, name) for i in (1, 2))
    rows = [[_number(transform, f"r{i}{j}", path, name) for j in (1, 2, 3)] for i in (1, 2, 3)]
    R = TURN @ fields.rotation_of(np.array(rows))
    centre_m = np.array([_number(transform, k, path, name) for k in "xyz"]) / 1000.0
    camera = fields.build(path, name, size_px, K, np.array([k1, k2, p1, p2, k3]), R, -R @ centre_m)
    turn = _number(element, "viewrotation", path, name) if element.get("viewrotation") else 0.0
    if turn % 90:
        raise fields.fail(path, name, "viewrotation", f"{turn:g} is no multiple of 90")
    if (quarters := int(turn // 90) % 4) and skew:
        raise fields.fail(path, name, "skew", "of a camera that lies on its side cannot be kept: calibrate without")
    if quarters:
        camera = turned_clockwise(camera, quarters)
        w, h = camera.size_px
        notes.append(f"camera {name}: viewrotation {turn:g}: the rig is for the picture turned upright, {w}×{h}")
    return camera


def _picture(
    element: ElementTree.Element, intrinsic: ElementTree.Element, name: str, path: Path, notes: list[str]
) -> tuple[tuple[float, float], tuple[int, int], float]:
    """Corner and size of the video's picture on the sensor, px, and how many units of the intrinsics a pixel has."""
    view = element.find("fov_video")
    sensor = [float(intrinsic.get(f"sensorMax{a}", "nan")) for a in "UV"]
    if view is None:
        if not np.isfinite(sensor).all():
            raise fields.fail(
                path, name, "fov_video", "is missing, and so is sensorMaxU: the pictures' size is not known"
            )
        unit = SUBPIXELS if min(sensor) / SUBPIXELS >= LEAST_PX else 1.0
        # the greatest coordinate or the size itself, depending on the writer: sides of pictures are even
        sides = [2 * ((round(v / unit) + 1) // 2) for v in sensor]
        size_px = fields.size({"sensorMax": sides}, "sensorMax", path, name)
        notes.append(f"camera {name}: size {sides[0]}×{sides[1]} as its sensor's (fov_video is missing), {_unit(unit)}")
        return (0.0, 0.0), size_px, unit
    left, top, right, bottom = (_number(view, k, path, name) for k in ("left", "top", "right", "bottom"))
    size_px = fields.size({"fov_video": [right - left + 1, bottom - top + 1]}, "fov_video", path, name)
    centre = [_number(intrinsic, f"centerPoint{a}", path, name) for a in "UV"]
    # a sensor that is as many units wide as the picture is pixels: whole pixels
    if np.isfinite(sensor).all():
        unit = SUBPIXELS if min(s / (m + 1) for s, m in zip(sensor, (right, bottom), strict=True)) > 8 else 1.0
    else:
        unit = SUBPIXELS if max(c / (m + 1) for c, m in zip(centre, (right, bottom), strict=True)) > 2 else 1.0
    if unit == 1.0:
        notes.append(f"camera {name}: {_unit(unit)}")
    return (left, top), size_px, unit


def _unit(unit: float) -> str:
    return "its lens is in whole pixels" if unit == 1.0 else "its lens is in 1/64 px"


def turned_clockwise(c: Camera, quarters: int) -> Camera:
    """The camera (``brown``, no skew) of the picture turned clockwise: pixel (x, y) goes to (h − 1 − y, x) a
    quarter."""
    for _ in range(quarters):
        w, h = c.size_px
        K = c.K
        k1, k2, p1, p2, *rest = map(float, c.distortion)
        # the new x is the old −y, the new y the old x
        turned = np.array([[K[1, 1], 0, h - 1 - K[1, 2]], [0, K[0, 0], K[0, 2]], [0, 0, 1]])
        spin = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3], cam_from_world[:3, 3] = spin @ c.R, spin @ c.t
        lens: Float = np.array([k1, k2, p2, -p1, *rest])
        c = Camera(c.name, (h, w), turned, lens, cam_from_world, c.model)
    return c


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
