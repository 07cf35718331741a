"""EasyMocap's pair of files, ``intri.yml`` and ``extri.yml`` in one folder: OpenCV YAML with the camera in the key.

``names``; ``K_NAME``, ``dist_NAME`` (k1 k2 p1 p2 k3), and in later branches ``H_NAME``, ``W_NAME``; ``R_NAME`` a
Rodrigues vector, ``Rot_NAME`` the same as a matrix, ``T_NAME``: camera from world, metres. Without H and W the file
does not say the size of the pictures, and twice the principal point is not it: the caller must say. Lenses of cameras
that ``extri.yml`` does not place are lenses alone.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np

from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.formats import fields, storage
from kinecast.calibration.formats.fields import RigFile
from kinecast.calibration.rigid import rotation_vector
from kinecast.capture.errors import KinecastError

NAMES = ("intri.yml", "extri.yml")


def read(intri: str, extri: str, folder: Path, units: str | None, size_px: tuple[int, int] | None) -> RigFile:
    """The cameras in metres; lenses alone where ``extri`` is empty. KinecastError names file, camera and field."""
    lens = storage.parse(intri, folder / NAMES[0])
    place = storage.parse(extri, folder / NAMES[1]) if extri else {}
    names = storage.texts(lens, "names") or [k[2:] for k in lens if k.startswith("K_")]
    if not names:
        raise KinecastError(f"{folder / NAMES[0]}: no camera in it (names, K_…): is it EasyMocap's?")
    out = RigFile(folder, folder.resolve().name or "rig")
    listed = storage.texts(place, "names") or names
    if strange := [n for n in listed if n not in names]:
        raise fields.fail(folder / NAMES[0], strange[0], f"K_{strange[0]}", "is missing, and extri.yml places it")
    there = [n for n in names if n in listed and {f"T_{n}", f"R_{n}", f"Rot_{n}"} & set(place)]
    poses = {n: _pose(place, n, folder / NAMES[1]) for n in there}
    said = units or storage.text(place, "units") or None
    scale = fields.metres_of(said, list(poses.values()), folder, out.notes) if poses else 1.0
    for name in names:
        R, t = poses.get(name, (np.eye(3), np.zeros(3)))
        out.add(_camera(lens, name, R, t * scale, folder / NAMES[0], size_px), name in poses)
    if size_px:
        out.notes.append(f"size: {size_px[0]}×{size_px[1]}, as --size says")
    out.left_out(
        [n for n in names if n not in poses], "extri.yml does not place them" if extri else "there is no extri.yml"
    )
    out.settle_up(storage.text(place, "up") or None)
    return out


def _pose(place: Any, name: str, path: Path) -> tuple[Float, Float]:
    if f"Rot_{name}" in place:
        R = fields.rotation_of(storage.matrix(place, f"Rot_{name}", ((3, 3),), path, name))
    else:
        turn = storage.matrix(place, f"R_{name}", ((3, 1), (1, 3), (3,), (3, 3)), path, name)
        R = fields.rotation_of(turn)
    return R, np.ravel(storage.matrix(place, f"T_{name}", ((3, 1), (1, 3), (3,)), path, name))


def _camera(lens: Any, name: str, R: Float, t: Float, path: Path, given_px: tuple[int, int] | None) -> Camera:
    size_px = storage.size(lens, ((f"W_{name}",), (f"H_{name}",)), given_px, path, name)
    K = storage.matrix(lens, f"K_{name}", ((3, 3),), path, name)
    shapes = tuple(s for n in (4, 5, 8, 12, 14) for s in ((n, 1), (1, n), (n,)))
    key = f"dist_{name}" if f"dist_{name}" in lens else f"D_{name}"
    given = storage.matrix(lens, key, shapes, path, name)
    return fields.build(path, name, size_px, K, fields.coefficients(given, "brown", path, name, key), R, t)


def dumps(rig: Rig) -> dict[str, str]:
    """The texts of both files by name, every float64 in full; KinecastError for a lens that does not fit in."""
    lens, place = (["%YAML:1.0", "---", "names:", *(f'  - "{c.name}"' for c in rig)] for _ in range(2))
    for c in rig:
        if c.model != "brown" or np.any(c.distortion[5:]):
            raise KinecastError(f"camera {c.name!r}: EasyMocap's files hold k1 k2 p1 p2 k3 only: use rig.toml")
        k = [*map(float, c.distortion), 0.0][:5]
        lens += [*_matrix(f"K_{c.name}", c.K), *_matrix(f"dist_{c.name}", np.array([k]))]
        lens += [f"H_{c.name}: {c.size_px[1]}", f"W_{c.name}: {c.size_px[0]}"]
        turn = rotation_vector(c.R)[:, None]
        place += [*_matrix(f"R_{c.name}", turn), *_matrix(f"Rot_{c.name}", c.R)]
        place += _matrix(f"T_{c.name}", c.t[:, None])
    place += ['units: "m"', f'up: "{rig.up}"']
    return {NAMES[0]: "\n".join(lens) + "\n", NAMES[1]: "\n".join(place) + "\n"}


def _matrix(key: str, value: Any) -> list[str]:
    flat = cast(Float, np.asarray(value, dtype=np.float64))
    data = ", ".join(repr(float(v)) for v in flat.ravel())
    return [f"{key}: !!opencv-matrix", f"  rows: {flat.shape[0]}", f"  cols: {flat.shape[1]}", "  dt: d",
            f"  data: [{data}]"]  # fmt: skip
