"""Rig files: ours and those of other tools, recognised by what is in them."""

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import (
    anipose,
    colmap,
    easymocap,
    json_rigs,
    kalibr,
    native,
    opencap,
    opencv,
    qualisys,
    storage,
    xcp,
)
from kinecast.calibration.formats.fields import RigFile
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded

WRITABLE = ("rig", "aniposelib", "caliscope", "qualisys", "xcp", "easymocap", "colmap", "opencv")
FORMATS = (*WRITABLE, "kalibr", "opencap", "json")
FOLDERS = {"easymocap": easymocap.NAMES, "colmap": colmap.NAMES}  # formats of several files
XML_ENCODING = re.compile(rb"\s*<\?xml[^>]*? encoding=['\"]([\w.-]+)['\"]")
MAX_BYTES = 16 << 20  # a calibration of 500 cameras is under 1 MB

__all__ = [
    "FORMATS",
    "WRITABLE",
    "RigFile",
    "format_of",
    "load_lenses",
    "load_rig",
    "read_rig",
    "read_rig_file",
    "save_rig",
]


def load_rig(path: str | Path, units: str | None = None) -> Rig:
    """Read a rig in metres from any file that is known: see :func:`read_rig`."""
    return read_rig(path, units)[0]


def load_lenses(path: str | Path) -> Rig:
    """The lenses of a file, also of cameras that it does not place: those stand at the origin."""
    return read_rig_file(path, "m")[0].lens_rig()


def read_rig(path: str | Path, units: str | None = None, size_px: tuple[int, int] | None = None) -> tuple[Rig, str]:
    """The cameras whose place a file says, as a rig, and which of ``FORMATS`` it is: see :func:`read_rig_file`."""
    file, format = read_rig_file(path, units, size_px)
    return file.rig(), format


@guarded("a calibration")
def read_rig_file(
    path: str | Path, units: str | None = None, size_px: tuple[int, int] | None = None
) -> tuple[RigFile, str]:
    """Read all that a calibration file says, and say which of ``FORMATS`` it is; the suffix does not matter.

    path: a file; of EasyMocap and COLMAP the folder, or one of the files in it.
    units: unit of length (``m``, ``cm``, ``mm``) of a file that does not say it (aniposelib, Caliscope, EasyMocap,
    COLMAP, OpenCV), None: by the rule of ``fields.metres_of``. size_px: (width, height) of the pictures, for files
    that do not say it. Raises KinecastError with file, camera and field where something does not fit.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    for format, names in FOLDERS.items():
        if (path == folder or path.name in names) and all((folder / n).is_file() for n in names):
            first, second = (_text(folder / n) for n in names)
            if format == "easymocap":
                return easymocap.read(first, second, folder, units, size_px), format
            return colmap.read(first, second, folder, units), format
        if format == "easymocap" and path == folder and (folder / names[0]).is_file():
            return easymocap.read(_text(folder / names[0]), "", folder, units, size_px), format
        if path.name in names and path.is_file():
            raise KinecastError(f"{path}: {' and '.join(names)} must lie in one folder")
    if path.is_dir():
        raise _no_folder(path)
    content = _text(path)
    head = content[:4000]
    if qualisys.recognise(head):
        return qualisys.read(content, path), "qualisys"
    if xcp.recognise(head):
        return xcp.read(content, path), "xcp"
    if storage.recognise(head):
        return opencv.read(content, path, units, size_px), "opencv"
    if content.lstrip().startswith(("{", "[{")) or (path.suffix == ".json" and content.lstrip().startswith("[")):
        return _read_json(content, path, size_px), "json"
    try:
        table = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        return _read_yaml(
            content, path, units, size_px, f"; it is no TOML either: {e}" if path.suffix == ".toml" else ""
        )
    if native.recognise(table):
        rig = native.read(table, path)
        return RigFile(path, rig.name, rig.up, list(rig), list(rig)), "rig"
    if anipose.recognise(table):
        return anipose.read(table, path, units), "caliscope" if isinstance(table.get("cameras"), dict) else "aniposelib"
    raise _unknown(path)


def _read_yaml(
    content: str, path: Path, units: str | None, size_px: tuple[int, int] | None, also: str
) -> tuple[RigFile, str]:
    """A plain YAML file: Kalibr's, OpenCap's, or ROS' with the keys of OpenCV's sample."""
    try:
        data: Any = storage.first_document(content)
    except (yaml.YAMLError, RecursionError, ValueError):
        data = None
    if isinstance(data, Mapping) and kalibr.recognise(data):
        return kalibr.read(data, path), "kalibr"
    if isinstance(data, Mapping) and opencap.recognise(data):
        return opencap.read(data, path), "opencap"
    if isinstance(data, Mapping) and any(k in data for k in opencv.MATRIX):
        return opencv.read(content, path, units, size_px), "opencv"
    raise _unknown(path, also)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise KinecastError(f"{path}: {path.stat().st_size >> 20} MiB is too large for a rig file")
        return _decoded(path.read_bytes())
    except OSError as e:
        raise KinecastError(f"cannot read rig file {path}: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise KinecastError(f"{path}: not a text file, so not a rig file") from None


def _decoded(data: bytes) -> str:
    """The text of a file: UTF-8, UTF-16 where it begins with its mark, or what an XML file says that it is in."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        text = data.decode("utf-16")
    else:
        said = XML_ENCODING.match(data)
        word = said[1].decode("ascii", "replace") if said else "utf-8"
        try:
            text = data.decode("utf-8-sig" if word.lower() in ("utf-8", "utf8", "utf-16") else word)
        except LookupError:
            text = data.decode("utf-8-sig")
    # it is text now, and what it says of its encoding would be taken for the truth
    return re.sub(r"^(\s*<\?xml[^>]*?) encoding=(['\"])[^'\"]*\2", r"\1", text, count=1).replace("\r\n", "\n")


def _read_json(content: str, path: Path, size_px: tuple[int, int] | None) -> RigFile:
    try:
        data = json.loads(content)
    except (json.JSONDecodeError, RecursionError) as e:
        raise KinecastError(f"{path}: not valid JSON: {e}") from None
    if not json_rigs.recognise(data):
        raise _unknown(path)
    return json_rigs.read(data, path, size_px)


def _no_folder(path: Path) -> KinecastError:
    if (path / "cameras.bin").is_file():
        return KinecastError(
            f"{path}: COLMAP's binary files; write them as text: colmap model_converter --output_type TXT"
        )
    return KinecastError(
        f"{path}: a folder without a calibration: expected intri.yml and extri.yml (EasyMocap), or cameras.txt and "
        "images.txt (COLMAP)"
    )


def _unknown(path: Path, also: str = "") -> KinecastError:
    return KinecastError(
        f"{path}: no calibration that is known: expected rig.toml (kinecast_rig = 1), aniposelib or Caliscope TOML, "
        "Qualisys .qca.txt, Vicon .xcp, OpenCV or MC-Calib YAML or XML, ROS camera_info, Kalibr's camchain, OpenCap's "
        "sessionMetadata.yaml, "
        "EasyMocap's or COLMAP's folder, JSON of Panoptic, MVOR, VoxelPose or 4D Association, or with K and "
        f"cam_from_world{also}"
    )


def format_of(path: str | Path) -> str:
    """The format to write for a file of that name; what says nothing is ours. Folders need an explicit format."""
    name = Path(path).name.lower()
    for format, ends in (
        ("qualisys", (".qca.txt", ".qca")),
        ("xcp", (".xcp",)),
        ("opencv", (".yml", ".yaml", ".xml")),
        ("caliscope", ("camera_array.toml",)),
    ):
        if name.endswith(ends):
            return format
    return "rig"


def save_rig(rig: Rig, path: str | Path, format: str | None = None, units: str = "m") -> None:
    """Write a rig, each file whole or not at all. format: one of ``WRITABLE``, None: by :func:`format_of`.

    path: of ``easymocap`` and ``colmap`` a folder. units: unit of length of ``aniposelib`` and ``opencv``. ``rig`` is
    exact to the last bit; the others round by 1 ulp or so, but ``xcp``, whose lens is another model.
    """
    path = Path(path)
    format = format or format_of(path)
    if format in FOLDERS:
        if path.exists() and not path.is_dir():
            raise KinecastError(f"{path}: {format} is a folder of files, and this is a file: name a folder")
        texts = easymocap.dumps(rig) if format == "easymocap" else colmap.dumps(rig)
        for name, text in texts.items():
            atomic_write(path / name, text)
        return
    if format == "rig":
        content = native.dumps(rig)
    elif format == "aniposelib":
        content = anipose.dumps(rig, units)
    elif format == "caliscope":
        content = anipose.dumps_caliscope(rig)
    elif format == "qualisys":
        content = qualisys.dumps(rig)
    elif format == "xcp":
        content = xcp.dumps(rig)
    elif format == "opencv":
        content = opencv.dumps(rig, path.name, units)
    else:
        raise KinecastError(f"rigs cannot be written as {format!r}: known are {', '.join(WRITABLE)}")
    atomic_write(path, content)
