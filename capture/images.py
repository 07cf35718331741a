"""A folder of pictures as a source, in the natural order of their names (``img2`` before ``img10``)."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.playback import PlayedSource, Step, from_memory
from kinecast.capture.source import SourceInfo

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

MOST_GAP = 1000  # numbers further apart are times of day and the like


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key of a file name with its numbers taken as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in parts]


def numbers_of(paths: list[Path]) -> list[int]:
    """Number of each picture, from 0: what the last number in its name that changes counts, else its place.

    Every second or tenth picture of a film is no film with gaps: a step that all have is taken as one.
    """
    places = list(range(len(paths)))
    parts = [re.split(r"(\d+)", p.stem) for p in paths]
    around = {(*part[:-2], part[-1]) for part in parts if len(part) > 2}
    if len(paths) < 2 or len(around) != 1 or any(len(p) < 3 for p in parts) or len({p.suffix for p in paths}) > 1:
        return places
    numbers = [int(p[-2]) for p in parts]
    steps = [b - a for a, b in pairwise(numbers)]
    step = min(steps)
    if step < 1 or any(s % step for s in steps) or max(steps) > MOST_GAP * step:
        return places  # a stamp rather than a number
    return [(n - numbers[0]) // step for n in numbers]


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
    start_s: float = 0.0,
    clock: Clock | None = None,
) -> PlayedSource:
    """Open a folder of pictures, shown at ``fps_hz`` (30 where None); frame n is captured at epoch + n / fps_hz.

    n is the number in the picture's name, counted from the first one: a picture that is missing leaves a gap in the
    numbers and in time. Where names have no such number, or step evenly by more than one, pictures are counted.
    start_s: as :func:`capture.files.open_video`. Raises KinecastError where there is no folder, no picture in it, or
    the first one cannot be read.
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
    skipped = round(start_s * rate_hz)
    numbers = numbers_of(paths)
    steps = [
        Step(n - max(0, skipped), round((n - skipped) * 1e9 / rate_hz), partial(_load, p, camera))
        for n, p in zip(numbers, paths, strict=True)
        if n >= skipped
    ]
    if not steps:
        raise KinecastError(f"camera {camera}: {folder} has no picture after start_s {start_s:g}")
    played: Iterator[Step] = from_memory(steps, loop, round((numbers[-1] + 1 - skipped) * 1e9 / rate_hz))
    known = frames if loop != "off" else min(frames or len(steps), len(steps))
    gaps = numbers[-1] + 1 - len(numbers)
    notes = (f"{gaps} pictures are missing between {paths[0].name} and {paths[-1].name}",) if gaps else ()
    info = SourceInfo("images", folder, (w, h), rate_hz, live, known, notes)
    return PlayedSource(camera, info, played, clock or MonotonicClock(), epoch_ns, frames)
