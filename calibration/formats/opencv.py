"""Calibrations as OpenCV's programs write them (``cv2.FileStorage``, YAML or XML), in five layouts; ROS writes one of
them.

- ours: ``cameras``, a list of maps with ``name``, ``image_width``, ``image_height``, ``camera_matrix``,
  ``distortion_coefficients``, ``R`` (3×3 or Rodrigues), ``T``, ``fisheye_model``: the keys of OpenCV's calibration
  sample, a camera from the world each; beside them ``units`` and ``up``. Also as one map a camera at the top.
- ``samples/cpp/calibration.cpp``, and ROS' ``camera_info``: the same keys for one camera, at the top, without R and T:
  it stands at the origin. Of several cameras, those without R and T have a lens and no place.
- ``stereo_calib.cpp``: ``M1 D1 M2 D2`` and, there or in ``extrinsics.yml`` beside ``intrinsics.yml``, ``R T``: the
  second camera from the first, which is the world. The size of the pictures is not in it.
- MC-Calib's ``calibrated_cameras_data.yml``: ``camera_N`` with ``camera_matrix``, ``distortion_vector``, ``img_width``,
  ``img_height``, ``distortion_type`` (1: fisheye), ``camera_group`` and ``camera_pose_matrix``, the camera in the world
  of its group's first (4×4, world from camera). Groups do not know each other: the largest is the rig.
- ``multiview_calibration.py``: ``Ks distortions rvecs Ts is_fisheye image_sizes cam_ids``: cameras from the first.

The unit of T is that of the board's squares, which nobody wrote down: by ``units``, else by the rule of aniposelib.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kinecast.calibration.camera import Float, LensModel, Rig
from kinecast.calibration.formats import fields, storage
from kinecast.calibration.formats.fields import RigFile
from kinecast.calibration.rigid import inverse
from kinecast.capture.errors import KinecastError

PAIR = ("intrinsics", "extrinsics")
SIZE = (("image_width", "width", "image_Width", "img_width"), ("image_height", "height", "image_Height", "img_height"))
MATRIX = (
    "camera_matrix",
    "cameraMatrix",
    "Camera_Matrix",
    "K",
    "intrinsic_matrix",
    "cam_matrix",
    "intrinsics",
    "mtx",
    "k",
)
LENS = (
    "distortion_coefficients", "distCoeffs", "Distortion_Coefficients", "distortion_vector", "D", "dist", "distortion",
    "dist_coeffs", "dist_coeff", "distCoeff", "distortions", "d",
)  # fmt: skip
POSE = "camera_pose_matrix"  # MC-Calib's, world from camera
TURN = ("R", "rotation", "rvec", "rotation_matrix", "r")
SHIFT = ("T", "t", "translation", "tvec", "translation_vector")
STEREO = (("M", "D"), ("K", "D"), ("cameraMatrix", "distCoeffs"), ("camera_matrix_", "distortion_coefficients_"))
SHAPES = tuple(s for n in (4, 5, 8, 12, 14) for s in ((n, 1), (1, n), (n,)))
FOUND = tuple[str, tuple[int, int], Float, Float, LensModel, Float | None, Float]  # R None: no place


def read(content: str, path: Path, units: str | None = None, size_px: tuple[int, int] | None = None) -> RigFile:
    """The cameras in metres. KinecastError names file, camera and field."""
    s = storage.parse(content, path)
    keys = set(s)
    if {"Ks", "rvecs", "Ts"} <= keys:
        found = _multiview(s, path)
    elif pair := next((p for p in STEREO if all(f"{k}{i}" in keys for k in p for i in (1, 2))), None):
        found = _stereo(s, path, size_px, pair)
    else:
        found = [_camera(node, name, path, size_px) for name, node in _maps(s, path)]
    out = RigFile(path, path.stem)
    poses = [(f[5], f[6]) for f in found if f[5] is not None]
    apart = any(np.any(t) for _, t in poses)
    scale = fields.metres_of(units or storage.text(s, "units") or None, poses, path, out.notes) if apart else 1.0
    alone = len(found) == 1 and found[0][5] is None
    others = _other_groups(s)
    for name, size, K, d, model, R, t in found:
        lens = fields.coefficients(d, model, path, name, "distortion")
        turn = np.eye(3) if R is None else R
        placed = (R is not None or alone) and name not in others
        out.add(fields.build(path, name, size, K, lens, turn, t * scale, model), placed)
    if alone:
        out.notes.append("one camera without a place: it stands at the origin")
    out.notes += _of_ros(s)
    if size_px:
        out.notes.append(f"size: {size_px[0]}×{size_px[1]} where the file does not say it, as --size says")
    out.left_out([f[0] for f in found if f[5] is None and not alone], "the file does not place them")
    out.left_out(sorted(others), "another camera_group: nothing says where it stands from the largest")
    out.settle_up(storage.text(s, "up") or None)
    return out


def _of_ros(s: Any) -> list[str]:
    """What ROS' camera_info says of a part of the sensor: its lens is that of the whole, at full resolution."""
    notes = []
    bins = [storage.whole_number(s, f"binning_{a}") or 1 for a in "xy"]
    if max(bins) > 1:
        notes.append(f"binning {bins[0]}×{bins[1]}: the lens is for whole pictures, not for those that are binned")
    left, top, w, h = (storage.whole_number(storage.table(s, "roi"), k) or 0 for k in ("x_offset", "y_offset", "width",
                                                                                      "height"))  # fmt: skip
    if w and h:
        notes.append(f"roi {w}×{h} at {left}, {top}: the lens is for whole pictures, not for that part of them")
    return notes


def _other_groups(s: Any) -> set[str]:
    """MC-Calib's cameras that are not of the largest group."""
    groups = {k: storage.text(storage.table(s, k), "camera_group") for k in s if storage.table(s, k)}
    groups = {k: g for k, g in groups.items() if g}
    if not groups:
        return set()
    counts = list(groups.values())
    largest = max(counts, key=counts.count)
    return {k for k, g in groups.items() if g != largest}


def _first(parent: Any, names: tuple[str, ...]) -> str:
    return next((n for n in names if n in parent), names[0])


def _maps(s: Any, path: Path) -> list[tuple[str, Any]]:
    """Name and node of every camera."""
    listed = s.get("cameras")
    if isinstance(listed, list):
        nodes = [n if isinstance(n, dict) else {} for n in listed]
        return [(storage.text(n, "name") or f"cam_{i}", n) for i, n in enumerate(nodes)]
    if any(k in s for k in MATRIX):
        return [(storage.text(s, "name") or path.stem, s)]
    inside = storage.table(s, "cameras") or s
    maps = [(k, storage.table(inside, k)) for k in inside]
    out = [(k, n) for k, n in maps if any(m in n for m in MATRIX)]
    if not out:
        raise KinecastError(
            f"{path}: an OpenCV file without a calibration that is known: expected camera_matrix and "
            "distortion_coefficients, M1 D1 M2 D2 with R T, or Ks rvecs Ts"
        )
    return out


def _camera(node: Any, name: str, path: Path, given_px: tuple[int, int] | None) -> FOUND:
    size_px = storage.size(node, SIZE, given_px, path, name)
    K = storage.matrix(node, _first(node, MATRIX), ((3, 3), (9,)), path, name).reshape(3, 3)
    lens = storage.matrix(node, _first(node, LENS), SHAPES, path, name)
    fisheye = storage.whole_number(node, "fisheye_model", "fisheye", "distortion_type")
    fisheye = fisheye or storage.text(node, "distortion_model") in ("equidistant", "fisheye")
    model: LensModel = "fisheye" if fisheye else fields.lens_model(node, path, name)
    if POSE in node:
        cam_from_world = inverse(storage.matrix(node, POSE, ((4, 4),), path, name))
        return name, size_px, K, lens, model, fields.rotation_of(cam_from_world[:3, :3]), cam_from_world[:3, 3]
    turn, shift = _first(node, TURN), _first(node, SHIFT)
    rectifies = shift not in node and {"P", "p", "projection_matrix", "rectification_matrix"} & set(node)  # ROS' own R
    if (turn not in node and shift not in node) or rectifies:
        return name, size_px, K, lens, model, None, np.zeros(3)
    R = fields.rotation_of(storage.matrix(node, turn, ((3, 3), (3, 1), (1, 3), (3,)), path, name))
    return name, size_px, K, lens, model, R, np.ravel(storage.matrix(node, shift, ((3, 1), (1, 3), (3,)), path, name))


def _stereo(s: Any, path: Path, given_px: tuple[int, int] | None, pair: tuple[str, str]) -> list[FOUND]:
    out: list[FOUND] = []
    places = s
    if "R" not in s:
        beside = path.with_name(path.name.replace(*PAIR))
        if PAIR[0] not in path.name or not beside.is_file():
            raise KinecastError(f"{path}: lenses of two cameras without R and T: where they stand is in another file, "
                                "extrinsics.yml, which must lie beside intrinsics.yml")  # fmt: skip
        places = storage.parse(beside.read_text(encoding="utf-8-sig", errors="replace"), beside)
    for i in (1, 2):
        name = f"cam_{i}"
        size_px = storage.size(s, SIZE, given_px, path, name)
        R, t = np.eye(3), np.zeros(3)
        if i == 2:
            R = fields.rotation_of(storage.matrix(places, "R", ((3, 3), (3, 1), (1, 3)), path, name))
            t = np.ravel(storage.matrix(places, "T", ((3, 1), (1, 3), (3,)), path, name))
        K, lens = (
            storage.matrix(s, f"{key}{i}", shapes, path, name)
            for key, shapes in zip(pair, (((3, 3),), SHAPES), strict=True)
        )
        out.append((name, size_px, K, lens, "brown", R, t))
    return out


def _multiview(s: Any, path: Path) -> list[FOUND]:
    def table(key: str) -> Float:
        return storage.matrix(s, key, (), path)

    n = table("Ks").size // 9
    ids = storage.text(s, "cam_ids").split(",")
    names = ids if len(ids) == n and all(ids) else [f"cam_{i}" for i in range(n)]
    if not n:
        raise fields.fail(path, "", "Ks", "holds no camera")
    wrong = [k for k, per in (("Ks", 9), ("rvecs", 3), ("Ts", 3), ("image_sizes", 2)) if table(k).size != per * n]
    if wrong or table("distortions").size % n or table("is_fisheye").size != n:
        raise fields.fail(path, "", (wrong or ["distortions"])[0], f"does not hold numbers of {n} cameras")
    K, lens = table("Ks").reshape(n, 3, 3), table("distortions").reshape(n, -1)
    turn, shift, sizes = table("rvecs").reshape(n, 3), table("Ts").reshape(n, 3), table("image_sizes").reshape(n, 2)
    fish = table("is_fisheye").ravel()
    return [
        (names[i], fields.size({"image_sizes": sizes[i]}, "image_sizes", path, names[i]), K[i], lens[i],
         "fisheye" if fish[i] else "brown", fields.rotation_of(turn[i]), shift[i])
        for i in range(n)
    ]  # fmt: skip


def dumps(rig: Rig, name: str, units: str = "m") -> str:
    """The text of the file, XML where ``name`` ends so, else YAML; OpenCV prints floats so that they come back."""
    suffix = ".xml" if name.lower().endswith(".xml") else ".yml"
    s = cv2.FileStorage(suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    s.write("units", units)
    s.write("up", rig.up)
    s.startWriteStruct("cameras", cv2.FileNode_SEQ)
    for c in rig:
        s.startWriteStruct("", cv2.FileNode_MAP)
        s.write("name", c.name)
        s.write("image_width", c.size_px[0])
        s.write("image_height", c.size_px[1])
        s.write("fisheye_model", int(c.model == "fisheye"))
        for key, value in (
            ("camera_matrix", c.K),
            ("distortion_coefficients", c.distortion[:, None]),
            ("R", c.R),
            ("T", c.t[:, None] / fields.UNITS_M[units]),
        ):
            s.write(key, np.array(value, dtype=np.float64))
        s.endWriteStruct()
    s.endWriteStruct()
    return str(s.releaseAndGetString())
