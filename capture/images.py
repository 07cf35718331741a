"""A folder of pictures as a source, in the natural order of their names (``img2`` before ``img10``)."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.playback import PlayedSource, Step, from_memory
from kinecast.capture.source import SourceInfo

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key of a file name with its numbers taken as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in parts]


def _load(path: Path, camera: str) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise KinecastError(
            f"camera {camera}: cannot read the picture {path}: remove it from the folder or make it anew"
        )
    return np.asarray(image, dtype=np.uint8)


def open_images(
    folder: str,
    camera: str,
    *,
    fps_hz: float | None,
    epoch_ns: int,
    live: bool,
    loop: str = "off",
    frames: int | None = None,
    clock: Clock | None = None,
) -> PlayedSource:
    """Open a folder of pictures, shown at ``fps_hz`` (30 where None); frame n is captured at epoch + n / fps_hz.

    Raises KinecastError where there is no folder, no picture in it, or the first one cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise KinecastError(f"camera {camera}: there is no folder {folder}: check source.uri in the launch file")
    paths = sorted((p for p in root.iterdir() if p.suffix.lower() in SUFFIXES), key=natural_key)
    if not paths:
        raise KinecastError(f"camera {camera}: no picture in {folder}; known kinds are {' '.join(sorted(SUFFIXES))}")
    rate_hz = fps_hz or 30.0
    if rate_hz <= 0:
        raise KinecastError(f"camera {camera}: fps_hz of {folder} is {rate_hz}; it must be above 0")
    h, w = _load(paths[0], camera).shape[:2]
    steps: list[Step] = [Step(n, round(n * 1e9 / rate_hz), partial(_load, p, camera)) for n, p in enumerate(paths)]
    played: Iterator[Step] = from_memory(steps, loop, round(len(paths) * 1e9 / rate_hz))
    known = frames if loop != "off" else min(frames or len(paths), len(paths))
    info = SourceInfo("images", folder, (w, h), rate_hz, live, known)
    return PlayedSource(camera, info, played, clock or MonotonicClock(), epoch_ns, frames)
