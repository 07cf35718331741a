"""OpenCV's own files (``cv2.FileStorage``: YAML, XML), read with every fault in one line. EasyMocap writes them too."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.camera import Float
from calibration.formats import fields
from capture.errors import KinecastError


def recognise(head: str) -> bool:
    """Whether a text file begins like one of OpenCV's."""
    return head.startswith("%YAML") or "<opencv_storage>" in head


def parse(content: str, path: Path) -> Any:
    """The open storage. KinecastError where the file is cut off or damaged."""
    try:
        storage = cv2.FileStorage(content, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    except (cv2.error, SystemError):  # its binding reports a parser's fault as a SystemError
        storage = None
    if storage is None or not storage.isOpened():
        raise KinecastError(f"{path}: an OpenCV file that is cut off or damaged: export the calibration again")
    return storage


def matrix(parent: Any, key: str, shapes: tuple[tuple[int, ...], ...], path: Path, camera: str = "") -> Float:
    """The numbers under ``key``, a matrix or a plain list, as float64 of one of ``shapes``."""
    node = parent.getNode(key)
    if node.empty():
        return fields.array({}, key, shapes, path, camera)
    try:
        value = node.mat() if node.isMap() else [node.at(i).real() for i in range(node.size())]
    except (cv2.error, SystemError):
        raise fields.fail(path, camera, key, "holds fewer numbers than it says: the file is damaged") from None
    return fields.array({key: np.array([]) if value is None else value}, key, shapes, path, camera)


def text(node: Any) -> str:
    """A text, or a number written where a text was meant (names like 01)."""
    if node.isString():
        return str(node.string())
    return str(int(node.real())) if node.isInt() or node.isReal() else ""


def texts(parent: Any, key: str) -> list[str]:
    """A list of texts; empty where there is none."""
    node = parent.getNode(key)
    return [text(node.at(i)) for i in range(node.size())] if node.isSeq() else []


def whole_number(parent: Any, *keys: str) -> int | None:
    """The first of ``keys`` that is there, as a whole number."""
    for key in keys:
        node = parent.getNode(key)
        if node.isInt() or node.isReal():
            return round(float(node.real()))
    return None


def size(parent: Any, keys: tuple[tuple[str, ...], tuple[str, ...]], told: tuple[int, int] | None, path: Path,
         camera: str) -> tuple[int, int]:  # fmt: skip
    """(width, height) under one of the names in ``keys``, else what the caller was told; KinecastError without."""
    found = [whole_number(parent, *k) for k in keys]
    if None in found:
        if told is None:
            raise fields.fail(
                path, camera, "", f"the file does not say the size of its pictures ({keys[0][0]}): say it (--size)"
            )
        found = [*told]
    return fields.size({"size": np.array(found, dtype=np.float64)}, "size", path, camera)
