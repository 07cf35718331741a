"""Tables of cameras in JSON, as scripts write them: each camera a matrix K, a place, a lens and a size, in some names.

They stand by camera name, or in a list whose tables say ``name`` or ``id``; at the top, or below (``{"calibration":
{"cameras": …}}``). ``cam_from_world`` and ``RT`` (3×4 or 4×4), or a rotation (3×3 or Rodrigues) and a translation,
take points of the world to the camera. The unit of length is the file's ``units``, else by the rule of
``fields.metres_of``; ``cam_from_world`` is in metres. A key that speaks of distortion is read or refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera, Float
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import RigFile
from kinecast.capture.errors import KinecastError

MATRIX = ("K", "camera_matrix", "cameraMatrix", "intrinsic_matrix", "intrinsics", "intrinsic", "matrix", "mtx", "k")
LENS = (
    "distortion", "distCoeff", "distCoeffs", "distCoef", "distortions", "distortion_coefficients", "dist_coeffs",
    "dist_coeff", "dist", "D", "d",
)  # fmt: skip
TURN = ("R", "rotation", "rvec", "rotation_matrix", "rot")
SHIFT = ("T", "t", "translation", "tvec", "translation_vector", "trans")
SIZE = ("size", "imgSize", "image_size", "img_size", "resolution")
SIDES = (("width", "height"), ("image_width", "image_height"), ("img_width", "img_height"), ("w", "h"))
POSE = ("cam_from_world", "RT")
LENGTHS = tuple(s for n in (4, 5, 8, 12, 14) for s in ((n,), (1, n), (n, 1)))
DEEPEST = 4


def _key(table: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((n for n in names if n in table), "")


def _is_camera(value: Any) -> bool:
    if not isinstance(value, Mapping) or not (key := _key(value, MATRIX)):
        return False
    return isinstance(value[key], list) and len(value[key]) in (3, 9)


def tables_of(data: Any, depth: int = 0) -> dict[str, Mapping[str, Any]]:
    """Every camera's table by its name, from the first place in the file that holds some; empty where there is none."""
    if isinstance(data, list):
        named = [t for t in data if _is_camera(t)]
        return {str(next((t[k] for k in ("name", "id", "cam_id", "serial") if k in t), i)): t for i, t in
                enumerate(named)}  # fmt: skip
    if not isinstance(data, Mapping) or depth > DEEPEST:
        return {}
    if found := {str(k): v for k, v in data.items() if _is_camera(v)}:
        return found
    return next((found for v in data.values() if (found := tables_of(v, depth + 1))), {})


def read(data: Any, path: Path, size_px: tuple[int, int] | None) -> RigFile:
    """The cameras in metres; KinecastError names file, camera and field."""
    out, tables = RigFile(path, path.stem), tables_of(data)
    poses = {name: pose for name, t in tables.items() if (pose := _pose(name, t, path)) is not None}
    said = next((data[k] for k in ("units", "unit") if isinstance(data, Mapping) and k in data), None)
    metres = said is None and all("cam_from_world" in t for t in tables.values())
    scale = fields.metres_of("m" if metres else said, list(poses.values()), path, out.notes) if poses else 1.0
    for name, table in tables.items():
        R, t = poses.get(name, (np.eye(3), np.zeros(3)))
        out.add(_camera(name, table, path, R, t * scale, size_px), name in poses)
    out.left_out([n for n in tables if n not in poses], "the file does not place them")
    out.settle_up(data.get("up") if isinstance(data, Mapping) else None)
    return out


def _pose(name: str, table: Mapping[str, Any], path: Path) -> tuple[Float, Float] | None:
    """Camera from world, in the file's unit; None where the table says no place."""
    if key := _key(table, POSE):
        T = fields.array(table, key, ((12,), (3, 4), (16,), (4, 4)), path, name).reshape(-1, 4)
        return fields.rotation_of(T[:3, :3]), T[:3, 3]
    turn, shift = _key(table, TURN), _key(table, SHIFT)
    if not turn and not shift:
        return None
    R = fields.array(table, turn or TURN[0], ((3, 3), (9,), (3,), (3, 1), (1, 3)), path, name)
    t = fields.array(table, shift or SHIFT[0], ((3,), (3, 1), (1, 3)), path, name)
    return fields.rotation_of(R.reshape(3, 3) if R.size == 9 else R), np.ravel(t)


def _camera(
    name: str, table: Mapping[str, Any], path: Path, R: Float, t: Float, given_px: tuple[int, int] | None
) -> Camera:
    K = fields.array(table, _key(table, MATRIX), ((3, 3), (9,)), path, name).reshape(3, 3)
    key = _key(table, LENS)
    if not key and (unknown := next((k for k in table if "dist" in k.lower()), "")):
        raise fields.fail(path, name, unknown, f"is no name of distortion that is known: {', '.join(LENS)}")
    model = fields.lens_model(table, path, name)
    given = np.ravel(fields.array(table, key, LENGTHS, path, name)) if key else np.zeros(4)
    d = fields.coefficients(given, model, path, name, key)
    return fields.build(path, name, _size(table, path, name, given_px), K, d, R, t, model)


def _size(table: Mapping[str, Any], path: Path, name: str, given_px: tuple[int, int] | None) -> tuple[int, int]:
    if key := _key(table, SIZE):
        return fields.size(table, key, path, name)
    for sides in SIDES:
        if all(s in table for s in sides):
            return fields.size({sides[0]: [table[s] for s in sides]}, sides[0], path, name)
    if given_px is None:
        raise KinecastError(f"{path}: camera {name!r}: the file does not say the size of its pictures: say it (--size)")
    return given_px
