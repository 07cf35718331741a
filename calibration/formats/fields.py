"""Taking numbers out of a file that somebody else wrote: every error says file, camera and field in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np

from kinecast.calibration.camera import Camera, Float, LensModel, Rig
from kinecast.capture.errors import KinecastError

UNITS_M = {"m": 1.0, "cm": 0.01, "mm": 0.001}
UPS = ("x", "y", "z", "-x", "-y", "-z")


def fail(path: Path, camera: str, field: str, what: str) -> KinecastError:
    """The error for one field of one camera, to be raised by the caller."""
    where = f"{path}: camera {camera!r}" if camera else f"{path}"
    return KinecastError(f"{where}: {field}: {what}" if field else f"{where}: {what}")


def xml_root(content: str, path: Path) -> ElementTree.Element:
    """The root of an XML file; KinecastError where it is not valid, or declares entities."""
    if "<!DOCTYPE" in content or "<!ENTITY" in content:
        raise KinecastError(f"{path}: declares XML entities, which no calibration needs: refused")
    try:
        return ElementTree.fromstring(content.encode())
    except ElementTree.ParseError as e:
        raise KinecastError(f"{path}: not valid XML ({e}): export the calibration again") from None


def array(
    table: Mapping[str, Any], key: str, shapes: tuple[tuple[int, ...], ...], path: Path, camera: str = ""
) -> Float:
    """``table[key]`` as float64 of one of ``shapes``; KinecastError where it is missing, misshapen or not finite."""
    expected = " or ".join("×".join(map(str, s)) for s in shapes)
    if key not in table:
        raise fail(path, camera, key, f"is missing; expected {expected} numbers")
    try:
        value = np.array(table[key], dtype=np.float64)
    except (ValueError, TypeError):
        raise fail(path, camera, key, f"is not {expected} numbers: {str(table[key])[:60]}") from None
    if value.shape not in shapes:
        raise fail(path, camera, key, f"has shape {'×'.join(map(str, value.shape)) or 'scalar'}, expected {expected}")
    if not np.all(np.isfinite(value)):
        raise fail(path, camera, key, "holds a number that is not finite")
    return value


def text(table: Mapping[str, Any], key: str, path: Path, camera: str = "", default: str | None = None) -> str:
    """``table[key]`` as text."""
    value = table.get(key, default)
    if value is None:
        raise fail(path, camera, key, "is missing; expected a text")
    if not isinstance(value, str):
        raise fail(path, camera, key, f"is not a text: {str(value)[:60]}")
    return value


def size(table: Mapping[str, Any], key: str, path: Path, camera: str) -> tuple[int, int]:
    """``table[key]`` as (width, height): two whole, positive numbers (some writers give them as 1088.0)."""
    w, h = array(table, key, ((2,),), path, camera)
    if w != int(w) or h != int(h) or min(w, h) <= 0 or max(w, h) > 65535:
        raise fail(path, camera, key, f"{w:g} × {h:g} is not a picture's width and height in pixels")
    return int(w), int(h)


def coefficients(value: Float, model: LensModel, path: Path, camera: str, key: str) -> Float:
    """OpenCV lens coefficients brought to a length that Camera takes: padded with zeros, trailing zeros cut."""
    flat = np.ravel(value)
    lengths = (4,) if model == "fisheye" else (4, 5, 8)
    used = int(np.max(np.nonzero(flat)[0], initial=-1)) + 1
    if len(flat) in lengths:
        return flat
    for n in lengths:
        if used <= n:
            return np.concatenate([flat[:n], np.zeros(max(0, n - len(flat)))])
    raise fail(path, camera, key, f"{used} coefficients of a {model} lens; at most {lengths[-1]} can be used")


def build(
    path: Path,
    name: str,
    size_px: tuple[int, int],
    K: Float,
    distortion: Float,
    R: Float,
    t: Float,
    model: LensModel = "brown",
) -> Camera:
    """A Camera from its parts; what Camera refuses becomes a KinecastError that names the file."""
    if not name or not name.isprintable() or set(name) & set("/\\*") or name.startswith("."):
        raise fail(path, name, "name", f"{name!r} cannot name a camera and its files: no / \\ * or first dot")
    if len(np.ravel(R)) != 9 or not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise fail(path, name, "rotation", "is not a rotation matrix (orthonormal, right-handed)")
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = R
    cam_from_world[:3, 3] = t
    try:
        return Camera(name, size_px, K, distortion, cam_from_world, model)
    except ValueError as e:
        raise fail(path, "", "", str(e)) from None


def nearest_rotation(R: Float) -> Float:
    """The rotation nearest to a (3, 3) matrix printed with few digits, by SVD; garbage is left to ``build``."""
    if R.shape != (3, 3) or not np.allclose(R @ R.T, np.eye(3), atol=1e-3):
        return R
    u, _, vt = np.linalg.svd(R)
    return np.asarray(u @ vt)


def metres_of(units: str | None, poses: list[tuple[Float, Float]], path: Path) -> float:
    """Metres in a unit of a file. units: what the caller or the file says; None: what the size of the rig tells.

    The widest distance between two cameras (of a single camera, its distance from the origin) is metres up to 40 and
    millimetres from 100 on; between the two nobody can tell, and the file is refused.
    """
    if units is not None:
        if not isinstance(units, str) or units not in UNITS_M:
            raise fail(path, "", "units", f"{units!r} is none of {', '.join(UNITS_M)}")
        return UNITS_M[units]
    if not poses:
        raise fail(path, "", "", "has no camera")
    centres = np.stack([-R.T @ t for R, t in poses])
    if len(centres) > 1:
        spread = float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
    else:
        spread = float(np.linalg.norm(centres[0]))
    if spread <= 40.0:
        return 1.0
    if spread >= 100.0:
        return UNITS_M["mm"]
    raise fail(path, "", "", f"cameras are {spread:.0f} units apart, which may be m, cm or mm: say which (--units)")


def rig(cameras: list[Camera], name: str, up: Any, path: Path) -> Rig:
    """A Rig from its cameras; what Rig refuses becomes a KinecastError that names the file."""
    if up not in UPS:
        raise fail(path, "", "up", f"{up!r} is none of {', '.join(UPS)}")
    try:
        return Rig(tuple(cameras), name, cast(Any, up))
    except ValueError as e:
        raise fail(path, "", "", str(e)) from None
