"""Rig files: ours and those of other tools, recognised by what is in them."""

import json
import tomllib
from pathlib import Path

from calibration.camera import Rig
from calibration.formats import anipose, json_rigs, native, qualisys
from capture.errors import KinecastError
from capture.whole import write_whole

FORMATS = ("rig", "aniposelib", "qualisys", "json")
WRITABLE = ("rig", "aniposelib", "qualisys")
MAX_BYTES = 16 << 20  # a calibration of 500 cameras is under 1 MB

__all__ = ["FORMATS", "WRITABLE", "format_of", "load_rig", "read_rig", "save_rig"]


def load_rig(path: str | Path, units: str | None = None) -> Rig:
    """Read a rig in metres from any file that is known: see :func:`read_rig`."""
    return read_rig(path, units)[0]


def read_rig(path: str | Path, units: str | None = None) -> tuple[Rig, str]:
    """Read a rig and say which of ``FORMATS`` the file is; the suffix does not matter.

    units: unit of length of an aniposelib file (``m``, ``cm``, ``mm``), None: by the rule in ``formats.anipose``. The
    other formats say their unit. Raises KinecastError with file, camera and field where something does not fit.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise KinecastError(f"{path}: {path.stat().st_size >> 20} MiB is too large for a rig file")
        content = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise KinecastError(f"cannot read rig file {path}: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise KinecastError(f"{path}: not a text file, so not a rig file") from None
    if qualisys.recognise(content[:4000]):
        return qualisys.read(content, path), "qualisys"
    if content.lstrip().startswith("{"):
        try:
            data = json.loads(content)
        except (json.JSONDecodeError, RecursionError) as e:
            raise KinecastError(f"{path}: not valid JSON: {e}") from None
        if json_rigs.recognise(data):
            return json_rigs.read(data, path), "json"
        raise _unknown(path)
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as e:
        raise KinecastError(f"{path}: not a calibration that is known, and not valid TOML: {e}") from None
    if native.recognise(table):
        return native.read(table, path), "rig"
    if anipose.recognise(table):
        return anipose.read(table, path, units), "aniposelib"
    raise _unknown(path)


def _unknown(path: Path) -> KinecastError:
    return KinecastError(
        f"{path}: no calibration in it: expected rig.toml (kinecast_rig = 1), aniposelib TOML, Qualisys .qca.txt, "
        "or JSON with K and cam_from_world"
    )


def format_of(path: str | Path) -> str:
    """The format to write for a file of that name: ``.qca.txt`` is Qualisys', all else is ours."""
    return "qualisys" if Path(path).name.lower().endswith((".qca.txt", ".qca")) else "rig"


def save_rig(rig: Rig, path: str | Path, format: str | None = None, units: str = "m") -> None:
    """Write a rig, whole or not at all. format: one of ``WRITABLE``, None: by :func:`format_of`.

    units: unit of length of an aniposelib file. ``rig`` is exact to the last bit; the others round by 1 ulp or so.
    """
    path = Path(path)
    format = format or format_of(path)
    if format == "rig":
        content = native.dumps(rig)
    elif format == "aniposelib":
        content = anipose.dumps(rig, units)
    elif format == "qualisys":
        content = qualisys.dumps(rig)
    else:
        raise KinecastError(f"rigs cannot be written as {format!r}: known are {', '.join(WRITABLE)}")
    write_whole(path, content)
