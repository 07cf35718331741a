"""How a photo is to be turned: the orientation that a camera or phone notes in a JPEG."""

import struct
from pathlib import Path

ORIENTATION, SHORT = 0x0112, 3
HEAD_BYTES = 1 << 17  # the note stands in the first segment, which holds 64 kB at the most


def orientation(path: Path) -> int:
    """1 to 8 as the Exif standard numbers them (1: as it is, 3: by half, 6: clockwise, 8: counterclockwise); 1 where a
    file says nothing, or nothing that can be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        return _of_jpeg(head) if head[:2] == b"\xff\xd8" else 1
    except (OSError, struct.error, IndexError):
        return 1


def _of_jpeg(data: bytes) -> int:
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] not in (0xD9, 0xDA):
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return _of_tiff(data[at + 10 : at + 2 + length])
        at += 2 + length
    return 1


def _of_tiff(data: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return 1
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, first)
    for i in range(count):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", data, first + 2 + 12 * i)
        if (tag, kind) == (ORIENTATION, SHORT):
            (value,) = struct.unpack_from(f"{order}H", data, first + 10 + 12 * i)
            return value if 1 <= value <= 8 else 1
    return 1
