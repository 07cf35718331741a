"""Files of OpenCV's ``cv2.FileStorage`` (YAML, XML), read with every fault in one line. EasyMocap writes them too.

Parsed by yaml and ElementTree into tables of texts, not by OpenCV: its parser ends the process on some damaged files.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml

from kinecast.calibration.camera import Float
from kinecast.calibration.formats import fields
from kinecast.capture.errors import KinecastError

DEEPEST = 60
EVENTS: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar stays a text, so 01 stays 01


def recognise(head: str) -> bool:
    """Whether a text file begins like one of OpenCV's."""
    return head.startswith("%YAML") or "<opencv_storage>" in head


def first_document(content: str) -> Any:
    """The first document of a YAML file (a recorded topic has one a message). ValueError where it nests too deep.

    Aliases too are refused: no calibration needs them, and a few lines of them unfold to gigabytes.
    """
    depth = 0
    for event in yaml.parse(content, EVENTS):  # constructing a document recurses, and in C that ends the process
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("nests too deep")
        if isinstance(event, yaml.DocumentEndEvent):
            break
    return next(yaml.load_all(content, LOADER), None)


def parse(content: str, path: Path) -> dict[str, Any]:
    """The file as nested tables, lists and texts. KinecastError where it is cut off or damaged."""
    try:
        if "<opencv_storage>" not in content[:4000]:
            # its directive, with a colon, is not YAML's; ROS writes none
            found = first_document(content.partition("\n")[2] if content.startswith("%YAML") else content)
        else:
            if "<!DOCTYPE" in content or "<!ENTITY" in content:
                raise KinecastError(f"{path}: declares XML entities, which no calibration needs: refused")
            found = _of_xml(ElementTree.fromstring(content.encode()))
    except (yaml.YAMLError, ElementTree.ParseError, RecursionError, ValueError, TypeError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(k, str) for k in found):
        raise KinecastError(f"{path}: an OpenCV file that is cut off or damaged: export the calibration again")
    return found


def _of_xml(element: ElementTree.Element) -> Any:
    children = list(element)
    if children and all(c.tag == "_" for c in children):
        return [_of_xml(c) for c in children]
    if children:
        return {c.tag: _of_xml(c) for c in children}
    text = (element.text or "").strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def table(parent: Any, key: str) -> dict[str, Any]:
    """A table within a table; empty where it is not there, or something else."""
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def matrix(parent: Any, key: str, shapes: tuple[tuple[int, ...], ...], path: Path, camera: str = "") -> Float:
    """The numbers under ``key``, a matrix or a plain list, as float64 of one of ``shapes`` (none: of any)."""
    if key not in parent:
        raise fields.fail(path, camera, key, "is missing; expected numbers")
    value = parent[key]
    if not isinstance(value, dict):
        return fields.array({key: value.split() if isinstance(value, str) else value}, key, shapes, path, camera)
    data = value.get("data", [])
    sizes = value.get("sizes", [value.get("rows", "0"), value.get("cols", "0")])
    try:
        flat = np.array(data.split() if isinstance(data, str) else data, dtype=np.float64)
        shape = [int(s) for s in (sizes.split() if isinstance(sizes, str) else sizes)]
        # a matrix of several channels says so in dt ("3d"); its channels are its last axis
        channels = "".join(c for c in str(value.get("dt", "d")) if c.isdigit())
        whole = flat.reshape([*shape, int(channels)] if channels not in ("", "1") else shape)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise fields.fail(path, camera, key, "does not hold the numbers that it says: the file is damaged") from None
    if shapes:
        return fields.array({key: whole}, key, shapes, path, camera)
    if not np.isfinite(whole).all() or not whole.size:
        raise fields.fail(path, camera, key, "holds no numbers, or one that is not finite")
    return whole


def text(parent: Any, key: str) -> str:
    """A text; empty where it is not there."""
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, str) else ""


def texts(parent: Any, key: str) -> list[str]:
    """A list of texts; empty where there is none."""
    value = parent.get(key)
    if isinstance(value, str):  # as XML has it
        value = [w.strip('"') for w in value.split()]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def whole_number(parent: Any, *keys: str) -> int | None:
    """The first of ``keys`` that is there, as a whole number."""
    for key in keys:
        try:
            return round(float(text(parent, key)))
        except (ValueError, OverflowError):
            continue
    return None


def size(
    parent: Any,
    keys: tuple[tuple[str, ...], tuple[str, ...]],
    given_px: tuple[int, int] | None,
    path: Path,
    camera: str,
) -> tuple[int, int]:
    """(width, height) under one of the names in ``keys``, else what the caller was told; KinecastError without."""
    found = [whole_number(parent, *k) for k in keys]
    if None in found:
        if given_px is None:
            raise fields.fail(
                path, camera, "", f"the file does not say the size of its pictures ({keys[0][0]}): say it (--size)"
            )
        found = [*given_px]
    return fields.size({"size": np.array(found, dtype=np.float64)}, "size", path, camera)
