"""Taking numbers out of a file that somebody else wrote: every error says file, camera and field in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np

from kinecast.calibration.camera import Camera, Float, LensModel, Rig
from kinecast.calibration.rigid import nearest_rotation, rotation
from kinecast.capture.errors import KinecastError

UNITS_M = {"m": 1.0, "cm": 0.01, "mm": 0.001}
UNIT_WORDS = {
    "meter": "m",
    "metre": "m",
    "centimeter": "cm",
    "centimetre": "cm",
    "millimeter": "mm",
    "millimetre": "mm",
}
FISHEYE_WORDS = ("fisheye", "equidistant", "kannala_brandt", "opencv_fisheye", "kb4")
BROWN_WORDS = (
    "", "brown", "pinhole", "plumb_bob", "radtan", "rational_polynomial", "rational", "opencv", "standard", "none",
    "perspective", "normal", "brown_conrady", "full_opencv",
)  # fmt: skip
UPS = ("x", "y", "z", "-x", "-y", "-z")
# focal lengths over the longer side of the picture that no lens has: wider than 168° as a pinhole, or 0.6° and less
WIDEST, NARROWEST = 0.05, 100.0
AGREES = 0.7  # cosine of the angle to an axis, 45°: cameras look up or down by less than that, on average


@dataclass(slots=True)
class RigFile:
    """What a calibration file says.

    cameras: those whose place is known, in the file's order. lenses: all, those without a place at the origin.
    name, up: of the rig. notes: what was taken for granted, and what was left out and why, one line each.
    """

    path: Path
    name: str
    up: str = "z"
    cameras: list[Camera] = field(default_factory=list)
    lenses: list[Camera] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, camera: Camera, placed: bool = True) -> None:
        """Take up a camera. placed: whether the file says where it stands."""
        self.lenses.append(camera)
        if placed:
            self.cameras.append(camera)

    def left_out(self, names: Sequence[str], why: str) -> None:
        """Say that cameras are not in the rig."""
        if names:
            self.notes.append(f"left out: {', '.join(names)} ({why})")

    def settle_up(self, said: Any, convention: str = "") -> None:
        """The upward axis: what the file says, else the format's ``convention``, else what the cameras tell.

        People hold cameras upright: the mean of the pictures' up is near the world's. Where no axis agrees with it, it
        is taken to be z, as most tools have it.
        """
        if said is not None:
            self.up = said
            return
        if convention:
            self.up = convention
            self.notes.append(f"up: {convention}, as this format has it (--up says otherwise)")
            return
        if not self.cameras:
            return
        mean = -np.mean([c.R[1] for c in self.cameras], axis=0)
        axes = {name: float(mean[i] * sign) for sign, s in ((1, ""), (-1, "-")) for i, name in enumerate(
            f"{s}{a}" for a in "xyz")}  # fmt: skip
        best = max(axes, key=lambda a: axes[a])
        if axes[best] >= AGREES:
            self.up = best
            why = "the cameras' pictures are upright so; the file does not say"
        else:
            why = "taken for granted: the file does not say, and the cameras' pictures are upright about no axis"
        own = [c.name for c in self.cameras if np.abs(c.t).max() < 1e-6 and np.trace(c.R) > 2.9]
        if own:
            why += f"; the world is that of camera {own[0]}: --align puts it upright"
        self.notes.append(f"up: {self.up} ({why}; --up says otherwise)")

    def rig(self) -> Rig:
        """The placed cameras; KinecastError where there is none."""
        if not self.lenses:
            raise KinecastError(f"{self.path}: no camera in it: export the calibration again")
        if not self.cameras:
            raise fail(
                self.path, "", "", f"says the lenses of {len(self.lenses)} cameras and no camera's place: enough for "
                "`kinecast calibrate rig --intrinsics`, no rig yet",
            )  # fmt: skip
        return _rig(self.cameras, self)

    def lens_rig(self) -> Rig:
        """All cameras for their lenses alone: those without a place stand at the origin."""
        return _rig(self.lenses, self)


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


def by_name(found: Sequence[tuple[str, ElementTree.Element]], path: Path, key: str) -> dict[str, ElementTree.Element]:
    """Elements by the name that each bears; KinecastError where two bear the same."""
    out = dict(found)
    if len(out) < len(found):
        names = [n for n, _ in found]
        twice = next(n for n in names if names.count(n) > 1)
        raise fail(path, twice, key, "two cameras have it: give each its own")
    return out


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


def lens_model(table: Mapping[str, Any], path: Path, camera: str) -> LensModel:
    """Which lens a table says that it is, by ``fisheye`` or by a word; KinecastError for a word that is not known."""
    flag = table.get("fisheye", table.get("fisheye_model", False))
    if str(flag).strip().lower() in ("true", "1", "1.0", "yes"):
        return "fisheye"
    for key in ("distortion_model", "camera_model", "lens_model", "model", "distortion_type"):
        word = str(table.get(key, "")).strip().lower().replace("-", "_").replace(" ", "_")
        if word in FISHEYE_WORDS:
            return "fisheye"
        if key == "distortion_model" and word not in BROWN_WORDS:
            known = ", ".join(w for w in (*BROWN_WORDS, *FISHEYE_WORDS) if w)
            raise fail(path, camera, key, f"{word[:40]!r} is a lens that is not known here: {known}")
    return "brown"


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
    focal = float(np.sqrt(abs(K[0, 0] * K[1, 1]))) / max(size_px) if K.shape == (3, 3) else 1.0
    if not WIDEST < focal < NARROWEST:
        what = f"a focal length of {focal * max(size_px):.4g} px for pictures of {size_px[0]}×{size_px[1]} is no lens's"
        raise fail(path, name, "", f"{what}: is its unit another (1/64 px, mm)?")
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


def rotation_of(R: Float) -> Float:
    """The rotation that a file means: of a vector, or the nearest to a (3, 3) matrix printed with three digits or more.

    What is no rotation, a mirror too, is left to ``build``, which refuses it by name.
    """
    if R.shape != (3, 3):
        return rotation(np.ravel(R)) if R.size == 3 else R
    if not np.allclose(R @ R.T, np.eye(3), atol=5e-3) or np.linalg.det(R) < 0:
        return R
    return nearest_rotation(R)


def metres_of(units: str | None, poses: list[tuple[Float, Float]], path: Path, notes: list[str]) -> float:
    """Metres in a unit of a file. units: what the caller or the file says; None: what the size of the rig tells.

    notes: a line is added where the unit was taken for granted.

    The widest distance between two cameras (of a single camera, its distance from the origin) is metres up to 40 and
    millimetres from 100 on; between the two nobody can tell, and the file is refused.
    """
    if units is not None:
        word = units.strip().lower() if isinstance(units, str) else ""
        word = UNIT_WORDS.get(word.removesuffix("s"), word)
        if word not in UNITS_M:
            raise fail(path, "", "units", f"{units!r} is none of {', '.join(UNITS_M)}")
        return UNITS_M[word]
    if not poses:
        raise fail(path, "", "", "has no camera")
    centres = np.stack([-R.T @ t for R, t in poses])
    if len(centres) > 1:
        widest = float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
    else:
        widest = float(np.linalg.norm(centres[0]))
    guess = "m" if widest <= 40.0 else "mm" if widest >= 100.0 else ""
    if guess and len(centres) > 1:
        why = f"unit: {guess}, since the widest distance between two cameras is {widest:.4g} and the file does not say"
        notes.append(f"{why}: {widest * UNITS_M[guess]:.3g} m (--units says otherwise)")
    if guess:
        return UNITS_M[guess]
    raise fail(path, "", "", f"cameras are {widest:.0f} units apart, which may be m, cm or mm: say which (--units)")


def _rig(cameras: Sequence[Camera], file: RigFile) -> Rig:
    if file.up not in UPS:
        raise fail(file.path, "", "up", f"{file.up!r} is none of {', '.join(UPS)}")
    try:
        return Rig(tuple(cameras), file.name, cast(Any, file.up))
    except ValueError as e:
        raise fail(file.path, "", "", str(e)) from None
