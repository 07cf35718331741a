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

AGAIN = 100_000  # what is added to the number of a person who is there twice
FACE = ("left_eye", "right_eye", "left_ear", "right_ear")
HEAD_M = 0.25  # the head of an adult is 0.2 m long, from the nose to the back


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
    notes: what is odd about it, one line each.
    """

    name: str
    joints: tuple[str, ...]
    frames: Mapping[int, Mapping[int, Float]]
    complete: bool
    scored: tuple[int, ...] = ()
    times_ns: Mapping[int, int] = field(default_factory=dict)
    implied: Mapping[str, tuple[tuple[tuple[str, float], ...], ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def person_frames(self) -> int:
        """How often somebody is annotated."""
        return sum(len(f) for f in self.frames.values())


def put_person(people: dict[int, Float], person: int, points: Float, where: str, notes: list[str]) -> None:
    """Somebody more in a frame. Whose number is there already gets a number of their own, and it is noted."""
    own = person
    while own in people:
        own += AGAIN
    if own != person:
        notes.append(f"{where}: person {person} is there twice; taken as two, the other is {own}")
    people[own] = points


def odd_faces(truth: Truth) -> list[str]:
    """A line for every joint of a face further from its nose than a head is long; it is scored all the same."""
    if "nose" not in truth.joints:
        return []
    face = [j for j, name in enumerate(truth.joints) if name in FACE]
    nose, out = truth.joints.index("nose"), []
    for number, people in truth.frames.items():
        for person, points in people.items():
            away = np.linalg.norm(points[face] - points[nose], axis=-1)
            for j, m in zip(face, away.tolist(), strict=True):
                if m > HEAD_M:
                    out.append(f"frame {number}, person {person}: {truth.joints[j]} lies {m:.2f} m from the nose")
    return out


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
