"""Photos as cameras and phones write them: a JPEG that notes how it was held."""

import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def noted(path: Path, image: NDArray[np.uint8], orientation: int, order: str = "<") -> None:
    """Write a JPEG of the sensor's picture with that Exif orientation; order: ``<`` or ``>`` endian."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    tiff = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    tiff += struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
