"""aniposelib's TOML, as FreeMoCap, Caliscope and Pose2Sim write it, and Caliscope's own ``camera_array.toml``.

One table a camera (``[cam_0]``: name, size, matrix, distortions, rotation as a Rodrigues vector, translation; in
``camera_array.toml`` ``[cameras.0]`` with a 3×3 rotation) and ``[metadata]``. Transforms are camera from world.

The file does not say its unit of length: the caller's ``units``; else ``metadata.units`` (which we write); else the
size of the rig decides, by the rule of ``fields.metres_of``. A table without a matrix is no camera (Pose2Sim's
settings, Caliscope's capture volume); a camera whose rotation or translation is missing or "null" has a lens and no
place yet.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import RigFile
from kinecast.calibration.rigid import rotation_vector
from kinecast.capture.errors import KinecastError


def _tables(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = data.get("cameras")
    if isinstance(listed, Mapping) and any(isinstance(v, Mapping) for v in listed.values()):
        found = {f"cam_{k}": v for k, v in listed.items() if isinstance(v, Mapping)}
    else:
        found = {k: v for k, v in data.items() if k != "metadata" and isinstance(v, Mapping)}
    return {k: v for k, v in found.items() if {"matrix", "distortions"} & set(v)}


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether a parsed TOML file is aniposelib's or Caliscope's: some table with a matrix or distortions."""
    return bool(_tables(data))


def read(data: Mapping[str, Any], path: Path, units: str | None = None) -> RigFile:
    """The cameras in metres. units: ``m``, ``cm`` or ``mm`` of the file, None: by the rule above.

    A camera that the writer marked ``ignore`` is left out.
    """
    out = RigFile(path, path.stem)
    metadata = data.get("metadata", {})
    metadata = metadata if isinstance(metadata, Mapping) else {}
    named = {fields.text(t, "name", path, k, default=k): t for k, t in _tables(data).items()}
    if len(named) < len(_tables(data)):
        raise fields.fail(path, "", "name", "two cameras have one name")
    tables = {n: t for n, t in named.items() if t.get("ignore") is not True}
    poses = {n: _pose(t, path, n) for n, t in tables.items() if _placed(t)}
    scale = fields.metres_of(units or metadata.get("units"), list(poses.values()), path, out.notes) if poses else 1.0
    for name, table in tables.items():
        R, t = poses.get(name, (np.eye(3), np.zeros(3)))
        out.add(_camera(table, name, R, t * scale, path), name in poses)
    out.left_out([n for n in named if n not in tables], "the writer marked them ignore")
    out.left_out([n for n in tables if n not in poses], "their places are not in the file")
    out.settle_up(metadata.get("up"))
    return out


def _placed(table: Mapping[str, Any]) -> bool:
    """Whether the file says where a camera stands; a writer of cameras that are not placed yet says "null"."""
    return not any(table.get(key, "null") in ("null", "None", "", []) for key in ("rotation", "translation"))


def _pose(table: Mapping[str, Any], path: Path, name: str) -> tuple[Float, Float]:
    R = fields.rotation_of(fields.array(table, "rotation", ((3,), (3, 3), (3, 1), (1, 3)), path, name))
    return R, np.ravel(fields.array(table, "translation", ((3,), (3, 1), (1, 3)), path, name))


def _camera(table: Mapping[str, Any], name: str, R: Float, t: Float, path: Path) -> Camera:
    model = fields.lens_model(table, path, name)
    shapes = tuple(s for n in range(1, 15) for s in ((n,), (1, n), (n, 1)))
    given = fields.array(table, "distortions", shapes, path, name)
    return fields.build(
        path,
        name,
        fields.size(table, "size", path, name),
        fields.array(table, "matrix", ((3, 3),), path, name),
        fields.coefficients(given, model, path, name, "distortions"),
        R,
        t,
        model,
    )


def dumps(rig: Rig, units: str = "m") -> str:
    """The text of the file, with the unit and the upward axis in ``[metadata]`` (other readers ignore both)."""
    out: dict[str, Any] = {}
    for i, c in enumerate(rig):
        out[f"cam_{i}"] = {
            "name": c.name,
            "size": list(c.size_px),
            "matrix": np.asarray(c.K).tolist(),
            "distortions": np.asarray(c.distortion).tolist(),
            "rotation": rotation_vector(c.R).tolist(),
            "translation": (np.asarray(c.t) / fields.UNITS_M[units]).tolist(),
            "fisheye": c.model == "fisheye",
        }
    out["metadata"] = {"adjusted": False, "error": 0.0, "units": units, "up": rig.up}
    return tomli_w.dumps(out)


def dumps_caliscope(rig: Rig) -> str:
    """The text of a ``camera_array.toml``: ``[cameras.N]``, metres, N the number at the end of the camera's name.

    Where names have no numbers, or the same, N counts from 0. Caliscope knows cameras by N alone; ``name`` is for us.
    KinecastError for a lens that it does not know (k4 to k6).
    """
    digits = [re.search(r"(\d+)$", c.name) for c in rig]
    numbers = [int(d[1]) for d in digits if d]
    if len(set(numbers)) < len(rig):
        numbers = list(range(len(rig)))
    tables: dict[str, Any] = {}
    for n, c in zip(numbers, rig, strict=True):
        fisheye = c.model == "fisheye"
        if np.any(c.distortion[5:]):
            raise KinecastError(f"camera {c.name!r}: Caliscope's lens has k1 k2 p1 p2 k3 only: use rig.toml")
        lens = np.asarray(c.distortion).tolist() if fisheye else [*map(float, c.distortion), 0.0][:5]
        tables[str(n)] = {
            "cam_id": n,
            "name": c.name,
            "size": list(c.size_px),
            "rotation_count": 0,
            "matrix": np.asarray(c.K).tolist(),
            "distortions": lens,
            "rotation": rotation_vector(c.R).tolist(),
            "translation": np.asarray(c.t).tolist(),
            "ignore": False,
            "fisheye": fisheye,
        }
    return tomli_w.dumps({"metadata": {"units": "m", "up": rig.up}, "cameras": tables})
