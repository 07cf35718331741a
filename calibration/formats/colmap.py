"""COLMAP's sparse model as text: ``cameras.txt`` and ``images.txt`` (and an empty ``points3D.txt``) in one folder.

``images.txt`` has two lines an image: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME (camera from world; x right, y
down, z forward; the quaternion is Hamilton's) and the 2D points, often an empty line. Its corner of the top left pixel
is (0, 0), so the centre of that pixel is (0.5, 0.5) and principal points are half a pixel larger than ours.

A camera of a rig is an image: named by its folder (``cam01/000001.png``), else by its file (``cam01.png``). Several
images of one name must agree on where it stands, since a rig does not move. COLMAP's reconstructions have no unit of
length: ``units``, else the comment that we write, else the rule of aniposelib.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from kinecast.calibration.camera import Camera, Float, LensModel, Rig
from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import RigFile
from kinecast.capture.errors import KinecastError

NAMES = ("cameras.txt", "images.txt")
# parameters by name, as in COLMAP's models.h; f stands for both focal lengths
MODELS: dict[str, tuple[LensModel, str]] = {
    "SIMPLE_PINHOLE": ("brown", "f cx cy"),
    "PINHOLE": ("brown", "fx fy cx cy"),
    "SIMPLE_RADIAL": ("brown", "f cx cy k1"),
    "RADIAL": ("brown", "f cx cy k1 k2"),
    "OPENCV": ("brown", "fx fy cx cy k1 k2 p1 p2"),
    "FULL_OPENCV": ("brown", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    "OPENCV_FISHEYE": ("fisheye", "fx fy cx cy k1 k2 k3 k4"),
    "SIMPLE_RADIAL_FISHEYE": ("fisheye", "f cx cy k1"),
    "RADIAL_FISHEYE": ("fisheye", "f cx cy k1 k2"),
}
ORDER: dict[LensModel, str] = {"brown": "k1 k2 p1 p2 k3 k4 k5 k6", "fisheye": "k1 k2 k3 k4"}
SAME = 1e-6
COMMENT = re.compile(r"# kinecast: units (\S+), up (\S+)")


def read(cameras: str, images: str, folder: Path, units: str | None = None) -> RigFile:
    """The cameras in metres, a camera an image name. KinecastError names file, line and what was expected there."""
    lenses = _lenses(cameras, folder / NAMES[0])
    comment = COMMENT.search(images)
    places: dict[str, tuple[Float, Float, str]] = {}
    path = folder / NAMES[1]
    lines = [(i + 1, line) for i, line in enumerate(images.splitlines()) if not line.lstrip().startswith("#")]
    while lines and not lines[0][1].strip():
        del lines[0]
    # a camera a folder, unless images of several lenses lie in one
    listed = [line.split(maxsplit=9) for _, line in lines[::2] if len(line.split(maxsplit=9)) == 10]
    by_file = len({_place(w[9]).parent for w in listed}) == 1 and len({w[8] for w in listed}) == len(listed)
    for i, (number, line) in enumerate(lines):
        if i % 2:
            if len(line.split()) % 3:
                raise KinecastError(f"{path}: line {number}: expected the points of the image above, or an empty line")
            continue
        if not line.strip():
            continue
        name, R, t, camera = _image(line, number, path, by_file)
        if camera not in lenses:
            raise KinecastError(f"{path}: line {number}: image {name!r} is of camera {camera}, not in {NAMES[0]}")
        before = places.setdefault(name, (R, t, camera))
        if max(np.abs(before[0] - R).max(), np.abs(before[1] - t).max()) > SAME:
            raise KinecastError(
                f"{path}: line {number}: images of camera {name!r} stand in different places: a camera of a rig does "
                "not move; keep one image of each"
            )
    if not places:
        raise KinecastError(f"{path}: no image in it, so nothing says where cameras stand")
    poses = [(R, t) for R, t, _ in places.values()]
    out = RigFile(folder, folder.resolve().name or "rig")
    scale = fields.metres_of(units or (comment[1] if comment else None), poses, folder, out.notes)
    for name, (R, t, c) in places.items():
        out.add(_camera(name, *lenses[c], R, t * scale, folder))
    out.settle_up(comment[2] if comment else None)
    return out


def _numbers(words: list[str], path: Path, number: int) -> Float:
    try:
        value = np.array([float(w) for w in words])
    except ValueError:
        value = np.array([np.nan])
    if not np.isfinite(value).all():
        raise KinecastError(f"{path}: line {number}: expected numbers, found {' '.join(words)[:60]!r}")
    return value


def _lenses(text: str, path: Path) -> dict[str, tuple[tuple[int, int], str, Float]]:
    out = {}
    for i, line in enumerate(text.splitlines()):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        model = words[1] if len(words) > 1 else "nothing"
        if model not in MODELS:
            raise KinecastError(f"{path}: line {i + 1}: lens model {model} is not known: {', '.join(MODELS)}")
        values = _numbers(words[2:], path, i + 1)
        expected = len(MODELS[model][1].split())
        if len(values) != 2 + expected:
            raise KinecastError(
                f"{path}: line {i + 1}: {model} has width, height and {expected} parameters, not {len(values)} numbers"
            )
        size = fields.size({"size": values[:2]}, "size", path, words[0])
        out[words[0]] = (size, model, values[2:])
    return out


def _place(name: str) -> PurePosixPath:
    return PurePosixPath(name.strip().replace("\\", "/"))


def _image(line: str, number: int, path: Path, by_file: bool) -> tuple[str, Float, Float, str]:
    words = line.split(maxsplit=9)
    if len(words) != 10:
        raise KinecastError(
            f"{path}: line {number}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found {len(words)} words"
        )
    values = _numbers(words[1:8], path, number)
    w, x, y, z = values[:4] / max(float(np.linalg.norm(values[:4])), 1e-12)
    if abs(float(np.linalg.norm(values[:4])) - 1) > 1e-3:
        raise KinecastError(f"{path}: line {number}: QW QX QY QZ are no rotation: their length is not 1")
    place = _place(words[9])
    name = place.stem if by_file else place.parent.name or place.stem
    return name, matrix_of(x, y, z, w), values[4:], words[8]


def matrix_of(x: float, y: float, z: float, w: float) -> Float:
    """(3, 3) rotation of a unit quaternion (Hamilton's)."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_of(R: Float) -> Float:
    """(4,) x y z w of a rotation, w ≥ 0."""
    from scipy.spatial.transform import Rotation

    q = np.asarray(Rotation.from_matrix(np.asarray(R)).as_quat(), dtype=np.float64)
    return np.asarray(q if q[3] >= 0 else -q)


def _camera(name: str, size: tuple[int, int], model: str, values: Float, R: Float, t: Float, path: Path) -> Camera:
    lens, names = MODELS[model]
    p = dict(zip(names.split(), values, strict=True))
    fx, fy = p.get("fx", p.get("f", 0.0)), p.get("fy", p.get("f", 0.0))
    K = np.array([[fx, 0, p["cx"] - 0.5], [0, fy, p["cy"] - 0.5], [0, 0, 1]])
    k = np.array([p.get(n, 0.0) for n in ORDER[lens].split()])
    return fields.build(path, name, size, K, k[:4] if lens == "brown" and not k[4:].any() else k, R, t, lens)


def dumps(rig: Rig) -> dict[str, str]:
    """The texts of the three files by name; KinecastError for skew, which COLMAP's models do not have."""
    cameras = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    images = [f"# kinecast: units m, up {rig.up}", "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "# POINTS2D[]"]
    for i, c in enumerate(rig, 1):
        if c.K[0, 1]:
            raise KinecastError(f"camera {c.name!r}: its pixels are skewed, which COLMAP cannot say: use rig.toml")
        k = [*map(float, c.distortion), *[0.0] * 8][:8]
        model = "OPENCV_FISHEYE" if c.model == "fisheye" else "FULL_OPENCV" if any(k[4:]) else "OPENCV"
        p = [c.K[0, 0], c.K[1, 1], c.K[0, 2] + 0.5, c.K[1, 2] + 0.5, *(k if model == "FULL_OPENCV" else k[:4])]
        cameras.append(f"{i} {model} {c.size_px[0]} {c.size_px[1]} " + " ".join(repr(float(v)) for v in p))
        x, y, z, w = quaternion_of(c.R)
        pose = " ".join(repr(float(v)) for v in (w, x, y, z, *c.t))
        images += [f"{i} {pose} {i} {c.name}.png", ""]
    points = "# POINT3D_ID X Y Z R G B ERROR TRACK[]\n"
    return {NAMES[0]: "\n".join(cameras) + "\n", NAMES[1]: "\n".join(images) + "\n", "points3D.txt": points}
