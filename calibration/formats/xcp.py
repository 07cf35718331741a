"""Vicon's ``.xcp``: XML, millimetres, the camera looks along +z with x right and y down, as OpenCV's does.

A ``Camera`` (DEVICEID, SENSOR_SIZE, PIXEL_ASPECT_RATIO, SKEW) has a ``KeyFrame``: ORIENTATION, the quaternion x y z w
of camera from world; POSITION, where it stands; FOCAL_LENGTH and PRINCIPAL_POINT in pixels. That much three readers
agree on (Pose2Sim, the Imaginarium's, Vicon's own description).

VICON_RADIAL (k1 k2) and VICON_RADIAL2 (a name, the centre of distortion x y, k1 k2 k3) *correct*: a point that lies
r px from the centre as it was seen belongs at r (1 + k1 r² + k2 r⁴ + k3 r⁶). OpenCV's coefficients go the other way and
have no unit, so they are fitted, with five terms or, where that is not enough (wide lenses), with eight, and what is
left over the picture must stay under ``MOST_MISS_PX``. Some readers hand the numbers to OpenCV as they are, which at
1e-8 per px² is no correction at all. What we write carries OpenCV's coefficients too (KINECAST_LENS, which other
readers pass over) and so comes back as it was; a lens that Vicon's numbers miss by more than ``WRITTEN_MISS_PX`` is
refused, for the sake of those readers.

Of a system with video cameras (TYPE or DISPLAY_TYPE with "video" or "vue") the others are left out, and so is a camera
without a KeyFrame: it was not calibrated.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.colmap import matrix_of, quaternion_of
from kinecast.calibration.formats.fields import RigFile
from kinecast.capture.errors import KinecastError

MOST_MISS_PX = 1.5  # of a lens that is read, at the worst place, a corner of the picture
ENOUGH_PX = 0.05  # a fit this near is left as it is
WRITTEN_MISS_PX = 0.25  # of a lens that is written, for readers other than ours
OWN = "KINECAST_LENS"
GRID = 21


def recognise(head: str) -> bool:
    """Whether the beginning of a text file is a Vicon calibration."""
    return "<Cameras" in head and "<Camera " in head


def read(content: str, path: Path) -> RigFile:
    """The cameras in metres, z up (Vicon's default); KinecastError names file, camera and field."""
    root = fields.xml_root(content, path)
    out = RigFile(path, path.stem)
    named = [(e.get("DEVICEID") or e.get("USERID") or f"cam_{i}", e) for i, e in enumerate(root.iter("Camera"))]
    elements = fields.by_name(named, path, "DEVICEID")
    known = {n: e for n, e in elements.items() if e.find("KeyFrames/KeyFrame") is not None}
    video = {n: e for n, e in known.items() if _is_video(e)}
    for name, element in (video or known).items():
        out.add(_camera(element, name, path))
    if not out.cameras:
        raise KinecastError(f"{path}: no camera in it has a KeyFrame: it was not calibrated")
    out.left_out([n for n in elements if n not in known], "they have no KeyFrame: not calibrated")
    out.left_out([n for n in known if video and n not in video], "marker cameras, by their types")
    if not video:
        out.notes.append("no type names a video camera: all cameras are taken")
    out.settle_up(None, "z")
    return out


def _is_video(element: ElementTree.Element) -> bool:
    words = (element.get("TYPE", "") + element.get("DISPLAY_TYPE", "")).lower()
    return "video" in words or "vue" in words


def _numbers(element: ElementTree.Element, key: str, counts: tuple[int, ...], path: Path, camera: str) -> Float:
    words = (element.get(key) or "").split()
    shapes = tuple((n,) for n in counts)
    return fields.array({key: words} if words else {}, key, shapes, path, camera)


def _camera(element: ElementTree.Element, name: str, path: Path) -> Camera:
    frames = element.findall("KeyFrames/KeyFrame")
    if any({**f.attrib, "FRAME": ""} != {**frames[0].attrib, "FRAME": ""} for f in frames):
        raise fields.fail(path, name, "KeyFrames", "has several: the camera moved, and a camera of a rig does not")
    frame = frames[0]
    size = _numbers(element, "SENSOR_SIZE", (2,), path, name)
    size_px = fields.size({"SENSOR_SIZE": size}, "SENSOR_SIZE", path, name)
    q = _numbers(frame, "ORIENTATION", (4,), path, name)
    if abs(float(np.linalg.norm(q)) - 1) > 1e-3:
        raise fields.fail(path, name, "ORIENTATION", "is no rotation: the length of the quaternion is not 1")
    x, y, z, w = q / np.linalg.norm(q)
    R = matrix_of(x, y, z, w)
    centre_m = _numbers(frame, "POSITION", (3,), path, name) / 1000.0
    f = float(_numbers(frame, "FOCAL_LENGTH", (1,), path, name)[0])
    cx, cy = _numbers(frame, "PRINCIPAL_POINT", (2,), path, name)
    aspect, skew = (
        float(_numbers(element, key, (1,), path, name)[0]) if element.get(key) else default
        for key, default in (("PIXEL_ASPECT_RATIO", 1.0), ("SKEW", 0.0))
    )
    if not (aspect > 0 and f > 0):
        raise fields.fail(path, name, "FOCAL_LENGTH", "and PIXEL_ASPECT_RATIO must be positive")
    K = np.array([[f, skew, cx], [0.0, f / aspect, cy], [0.0, 0.0, 1.0]])
    lens = _lens(frame, K, size_px, path, name)
    return fields.build(path, name, size_px, K, lens, R, -R @ centre_m)


def _lens(frame: ElementTree.Element, K: Float, size_px: tuple[int, int], path: Path, name: str) -> Float:
    """(4,), (5,) or (8,) OpenCV's coefficients that undo Vicon's correction."""
    if frame.get(OWN):
        return _numbers(frame, OWN, (4, 5, 8), path, name)
    if frame.get("VICON_RADIAL2"):
        words = (frame.get("VICON_RADIAL2") or "").split()
        if not words[0].lower().startswith("vicon"):
            raise fields.fail(path, name, "VICON_RADIAL2", f"is of the model {words[0][:40]!r}, which is not known")
        values = fields.array({"VICON_RADIAL2": words[1:]}, "VICON_RADIAL2", ((5,), (4,)), path, name)
        centre, k = values[:2], np.pad(values[2:], (0, 5 - len(values)))
    elif frame.get("VICON_RADIAL"):
        k = np.pad(_numbers(frame, "VICON_RADIAL", (2,), path, name), (0, 1))
        centre = K[:2, 2]
    else:
        return np.zeros(4)
    seen = _grid(size_px)
    r2 = ((seen - centre) ** 2).sum(axis=1)
    if not k.any():
        return np.zeros(4)
    grow = 1 + r2 * (k[0] + r2 * (k[1] + r2 * k[2]))
    if not (grow > 0.2).all() or grow.max() > 5:
        raise fields.fail(path, name, "VICON_RADIAL", "is not per px²: over the picture it moves points too far")
    right = centre + (seen - centre) * grow[:, None]
    xy = (np.linalg.inv(K) @ np.concatenate([right, np.ones((len(right), 1))], axis=1).T).T[:, :2]
    bent = (np.linalg.inv(K) @ np.concatenate([seen, np.ones((len(seen), 1))], axis=1).T).T[:, :2]
    lens, miss = _fitted(xy, bent, float(K[0, 0]))
    if miss > MOST_MISS_PX:
        raise fields.fail(path, name, "VICON_RADIAL", f"OpenCV's lens model misses it by {miss:.1f} px: refused")
    return lens


def _fitted(xy: Float, bent: Float, focal_px: float) -> tuple[Float, float]:
    """(5,) or (8,) OpenCV coefficients that take undistorted xy (n, 2) to ``bent``, and the greatest miss in px."""
    x, y = xy.T
    q = x * x + y * y
    flat, target = np.concatenate([x, y]), bent.T.ravel()
    tangential = np.concatenate(
        [np.stack([2 * x * y, q + 2 * x * x], axis=1), np.stack([q + 2 * y * y, 2 * x * y], axis=1)]
    )
    scale = float(q.max()) or 1.0  # with powers of q / scale all coefficients are of one size
    powers = np.stack([(np.concatenate([q, q]) / scale) ** n for n in (1, 2, 3)], axis=1)
    plain = np.column_stack([flat[:, None] * powers, tangential])
    start = np.linalg.lstsq(plain, target - flat, rcond=None)[0]

    def miss(p: Float) -> Float:
        bottom = 1 + powers @ p[5:] if len(p) > 5 else 1.0
        return np.asarray((flat * (1 + powers @ p[:3]) / bottom + tangential @ p[3:5] - target) * focal_px)

    found = start
    if np.abs(miss(start)).max() > ENOUGH_PX:
        from scipy.optimize import least_squares

        more = np.asarray(least_squares(miss, np.concatenate([start, np.zeros(3)]), method="lm").x)
        if np.abs(miss(more)).max() < np.abs(miss(start)).max():
            found = more
    k = found[:3] / scale ** np.arange(1, 4)
    rest = found[5:] / scale ** np.arange(1, 4) if len(found) > 5 else np.zeros(0)
    return np.array([k[0], k[1], found[3], found[4], k[2], *rest]), float(np.abs(miss(found)).max())


def _grid(size_px: tuple[int, int]) -> Float:
    x, y = np.meshgrid(np.linspace(0, size_px[0] - 1, GRID), np.linspace(0, size_px[1] - 1, GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _correction(c: Camera) -> tuple[Float, Float]:
    """(2,) centre and (3,) k1 k2 k3 that correct what the lens does, per px²; KinecastError where that is not enough.

    The centre of distortion is estimated too: Vicon has no tangential terms, and a shifted centre is nearly the same.
    """
    centre = np.asarray(c.K[:2, 2]).copy()
    if not np.any(c.distortion) and c.model == "brown":
        return centre, np.zeros(3)
    from scipy.optimize import least_squares

    seen = _grid(c.size_px)
    flat = c.undistort(seen)
    right = (np.concatenate([flat, np.ones((len(flat), 1))], axis=1) @ np.asarray(c.K).T)[:, :2]
    half = float(np.hypot(*c.size_px)) / 2

    def miss(p: Float) -> Float:
        d = seen - (centre + p[:2])
        s2 = (d**2).sum(axis=1) / half**2
        grow = 1 + s2 * (p[2] + s2 * (p[3] + s2 * p[4]))
        return np.asarray(((centre + p[:2]) + d * grow[:, None] - right).ravel())

    worst = np.inf
    if np.isfinite(right).all():
        p = np.asarray(least_squares(miss, np.zeros(5), x_scale=[10, 10, 0.1, 0.1, 0.1]).x)
        worst = float(np.abs(miss(p)).max())
    if worst > WRITTEN_MISS_PX:
        reason = f"Vicon's lens model misses it by {worst:.2f} px at the worst place"
        if not np.isfinite(worst):
            reason = "its lens has no inverse at the border of the picture, so it cannot be corrected as Vicon does"
        raise KinecastError(f"camera {c.name!r}: {reason}: use rig.toml")
    return centre + p[:2], p[2:] / half ** np.array([2.0, 4.0, 6.0])


def dumps(rig: Rig) -> str:
    """The text of the file; KinecastError where a lens cannot be said in it, or the rig is not z up."""
    if rig.up != "z":
        raise KinecastError(f"rig {rig.name!r} is {rig.up}-up and .xcp is z-up: use rig.toml")
    root = ElementTree.Element("Cameras", {"NAME": rig.name, "VERSION": "1.0"})
    for i, c in enumerate(rig, 1):
        f, aspect = float(c.K[0, 0]), float(c.K[0, 0] / c.K[1, 1])
        centre, k = _correction(c)
        size = f"{c.size_px[0]} {c.size_px[1]}"
        attributes = {"DEVICEID": c.name, "DISPLAY_TYPE": "Video", "NAME": c.name, "PIXEL_ASPECT_RATIO": repr(aspect),
                "SENSOR_SIZE": size, "SKEW": repr(float(c.K[0, 1])), "TYPE": "Video", "USERID": str(i)}  # fmt: skip
        element = ElementTree.SubElement(root, "Camera", attributes)

        def row(*values: float) -> str:
            return " ".join(repr(float(v)) for v in values)

        place = {"FOCAL_LENGTH": row(f), "FRAME": "0", "IMAGE_ERROR": "0", "WORLD_ERROR": "0",
                 "ORIENTATION": row(*quaternion_of(c.R)), "POSITION": row(*(1000.0 * c.centre_world)),
                 "PRINCIPAL_POINT": row(c.K[0, 2], c.K[1, 2]), "VICON_RADIAL": row(*k[:2]),
                 "VICON_RADIAL2": "ViconRadial2 " + row(*centre, *k), OWN: row(*c.distortion)}  # fmt: skip
        ElementTree.SubElement(ElementTree.SubElement(element, "KeyFrames"), "KeyFrame", place)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
