"""What every data set is brought to: who is where in which frame."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """name: of the data set. joints: names of the J joints, in order.

    frames: frame number → person → (J, 3) metres in the world of the data set, NaN where not annotated. A frame without
    anybody is there with an empty map; a frame that was not annotated is not there.
    complete: everybody is annotated, so that a prediction without a truth is a ghost.
    scored: people that an average is over; empty: all. times_ns: frame number → time, empty where there are
    only numbers.
    implied: joints that the data set defines otherwise than HALPE-26 does: name → ways, the best first, each
    ((joint of a result, weight), …). The first way that a person has all joints of is taken; the person's own joint of
    that name stands in where there is none.
    """

    name: str
    joints: tuple[str, ...]
    frames: Mapping[int, Mapping[int, Float]]
    complete: bool
    scored: tuple[int, ...] = ()
    times_ns: Mapping[int, int] = field(default_factory=dict)
    implied: Mapping[str, tuple[tuple[tuple[str, float], ...], ...]] = field(default_factory=dict)

    @property
    def person_frames(self) -> int:
        """How often somebody is annotated."""
        return sum(len(f) for f in self.frames.values())


def load_json(path: Path) -> Any:
    """Parse a JSON file; KinecastError names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror or e}") from None
    except (ValueError, RecursionError) as e:
        raise KinecastError(f"{path}: not valid JSON: {e}") from None


def joints_of(values: Any, count: int, where: str, min_confidence: float, missing: float = 0.0) -> Float:
    """(count, 3) from count × (x, y, z, confidence) or × (x, y, z); NaN where the confidence is too low.

    missing: a joint whose three coordinates all equal this is not annotated, where there is no confidence.
    """
    try:
        rows = np.array(values, np.float64).reshape(count, -1)
    except (ValueError, TypeError):
        raise KinecastError(f"{where}: expected {count} joints of 3 or 4 numbers") from None
    if rows.shape[1] not in (3, 4):
        raise KinecastError(f"{where}: expected {count} joints of 3 or 4 numbers, not {rows.shape[1]}")
    points = rows[:, :3].copy()
    gone = ~(rows[:, 3] >= min_confidence) if rows.shape[1] == 4 else (points == missing).all(axis=1)
    points[gone] = np.nan
    return points
