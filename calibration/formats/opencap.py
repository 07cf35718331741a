"""An OpenCap session: ``sessionMetadata.yaml``, which names board and phones, and a pickle of each camera beside it.

``Videos/Cam0/cameraIntrinsicsExtrinsics.pickle`` has ``intrinsicMat`` (3×3), ``distortion`` (k1 k2 p1 p2 k3),
``imageSize`` (height, width), ``rotation`` (3×3) and ``translation``, mm, from the board to the camera. Of the
pickles nothing but arrays is read. The world is the board's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.formats import fields
from kinecast.calibration.formats.fields import RigFile
from kinecast.capture.errors import KinecastError
from kinecast.capture.safe_pickle import read_numbers

FILE = "cameraIntrinsicsExtrinsics.pickle"
MAX_BYTES = 1 << 20  # a camera is 1 kB


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether a parsed YAML file is the metadata of an OpenCap session."""
    return isinstance(data.get("checkerBoard"), Mapping) and "iphoneModel" in data


def read(data: Mapping[str, Any], path: Path) -> RigFile:
    """The cameras of the session in metres; KinecastError names file, camera and field."""
    videos = path.parent / "Videos"
    phones = data["iphoneModel"] if isinstance(data["iphoneModel"], Mapping) else ()
    names = sorted({*map(str, phones), *(p.parent.name for p in videos.glob(f"*/{FILE}"))})
    out = RigFile(path, path.parent.name or path.stem)
    for name in names:
        file = videos / name / FILE
        if file.is_file() and (table := _table(file)) is not None:
            _add(out, table, file, name)
    found = {c.name for c in out.lenses}
    if not found:
        what = f"an OpenCap session, whose cameras are in Videos/*/{FILE} beside it, and there is none"
        raise fields.fail(path, "", "", f"{what}: download the whole session")
    out.left_out([n for n in names if n not in found], f"no Videos/…/{FILE}, or no board was found in it")
    out.left_out([c.name for c in out.lenses if c not in out.cameras], "a lens alone")
    out.notes.append("unit: mm, as OpenCap has it")
    out.settle_up(None)
    return out


def _add(out: RigFile, table: Mapping[str, Any], path: Path, name: str) -> None:
    K = fields.array(table, "intrinsicMat", ((3, 3),), path, name)
    d = fields.array(table, "distortion", ((1, 5), (5,), (5, 1)), path, name)
    h, w = np.ravel(fields.array(table, "imageSize", ((2, 1), (2,)), path, name))
    size_px = fields.size({"imageSize": (w, h)}, "imageSize", path, name)
    placed = "rotation" in table
    R, t = np.eye(3), np.zeros(3)
    if placed:
        R = fields.rotation_of(fields.array(table, "rotation", ((3, 3),), path, name))
        t = 1e-3 * np.ravel(fields.array(table, "translation", ((3, 1), (3,), (1, 3)), path, name))
    out.add(fields.build(path, name, size_px, K, np.ravel(d), R, t), placed)


def _table(path: Path) -> Mapping[str, Any] | None:
    """What a camera's pickle says; None, as OpenCap writes it where it found no board."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise fields.fail(path, "", "", "too large for one camera")
        data = read_numbers(path.read_bytes(), path)
    except OSError as e:
        raise KinecastError(f"cannot read {path}: {e.strerror or e}") from None
    if data is not None and not isinstance(data, Mapping):
        raise fields.fail(path, "", "", f"no camera: a pickle of {type(data).__name__}")
    return data
