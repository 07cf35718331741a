"""Where two recordings part: field by field, leaving out what depends on when a machine did something.

Compared are the topics that follow from what was seen (keypoints, framesets, poses, bodies), in the order in which one
follows from the other, so that the first difference named is the nearest to the cause.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Poses
from kinecast.nodes.recording.file import Recording, Stamp

FAMILIES = ("keypoints", "framesets", "poses", "bodies")
WINDOW = 512  # messages of one topic that may lie out of the order of their numbers

Key = tuple[int, ...]


@cache
def stable_fields(cls: type[Any]) -> tuple[str, ...]:
    """The fields of a record that are the same whenever and wherever it was made."""
    return tuple(f.name for f in fields(cls) if not f.metadata.get("volatile"))


@cache
def later_fields(cls: type[Any]) -> frozenset[str]:
    """The fields that recordings made before them lack: one that is empty says nothing of the other."""
    return frozenset(f.name for f in fields(cls) if f.metadata.get("later"))


def differing(a: Any, b: Any) -> list[str]:
    """Names of the stable fields in which two records of one kind are not the same, bit for bit."""
    pairs = ((name, getattr(a, name), getattr(b, name)) for name in stable_fields(a.__class__))
    later = later_fields(a.__class__)
    return [n for n, x, y in pairs if not _same(x, y) and not (n in later and bool(x.size) != bool(y.size))]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


def distance_mm(a: Poses | Bodies, b: Poses | Bodies) -> float:
    """Greatest distance between joints that both give, of people with the same identity; 0 where there are none."""
    ours, theirs = _joints(a), _joints(b)
    if ours[0] != theirs[0]:
        return 0.0
    known = {int(p): n for n, p in enumerate(b.person_ids)}
    rows = [(n, known[int(p)]) for n, p in enumerate(a.person_ids) if int(p) in known]
    if not rows:
        return 0.0
    mine, others = (np.array(side) for side in zip(*rows, strict=True))
    gap = ours[1][mine].astype(np.float64) - theirs[1][others]
    lengths = np.linalg.norm(gap, axis=-1)
    return float(np.nanmax(lengths, initial=0.0) * 1e3) if np.isfinite(lengths).any() else 0.0


def _joints(record: Poses | Bodies) -> tuple[str, NDArray[np.float32]]:
    """What the joints are called, and where they are (P, J, 3) metres."""
    if isinstance(record, Bodies):
        return "smpl24", record.joints_world_m
    return record.skeleton, record.points_world_m


@dataclass(slots=True)
class TopicDiff:
    """One topic of two recordings. first: number of the first message that differs, and how (a field, or who lacks it).

    fields: in how many messages each field differs. max_mm: for poses and bodies, over all that both have.
    """

    topic: str
    same: int = 0
    different: int = 0
    only_a: int = 0
    only_b: int = 0
    first: tuple[str, str] | None = None
    fields: Counter[str] = field(default_factory=Counter)
    max_mm: float = 0.0

    @property
    def parts(self) -> bool:
        """Whether anything differs."""
        return bool(self.different or self.only_a or self.only_b)

    def add(self, key: Key, a: Any, b: Any) -> None:
        """Compare a pair; None stands for a message that one of them lacks."""
        how: list[str]
        if a is None or b is None:
            self.only_a += b is None
            self.only_b += a is None
            how = ["only in the first" if b is None else "only in the second"]
        else:
            how = differing(a, b)
            self.fields.update(how)
            self.same += not how
            self.different += bool(how)
            if how and isinstance(a, Poses | Bodies) and isinstance(b, Poses | Bodies):
                self.max_mm = max(self.max_mm, distance_mm(a, b))
        if how and self.first is None:
            self.first = (named(self.topic, key), ", ".join(how))


def named(topic: str, key: Key) -> str:
    """A key in words."""
    if topic.startswith("keypoints"):
        return f"frame {key[1]}" + (f" of restart {key[0]}" if key[0] else "")
    return f"set {key[1]}" + (f" of run {key[0]}" if key[0] else "")


def key_of(stamp: Stamp, record: Any) -> Key:
    """What a message is called, whoever recorded it."""
    if isinstance(record, Keypoints2D):
        return (stamp.incarnation, record.frame_seq)
    if isinstance(record, FrameSet):
        return (record.run_index, record.seq)
    return (record.run_index, record.frameset_seq)


def _sorted(recording: Recording, topic: str) -> Iterator[tuple[Key, Any]]:
    """Messages by key, although a few may have been recorded out of order."""
    heap: list[tuple[Key, int, Any]] = []
    for n, (_, stamp, record) in enumerate(recording.messages((topic,))):
        heapq.heappush(heap, (key_of(stamp, record), n, record))
        if len(heap) > WINDOW:
            key, _, record = heapq.heappop(heap)
            yield key, record
    while heap:
        key, _, record = heapq.heappop(heap)
        yield key, record


def _compare(topic: str, a: Recording, b: Recording) -> TopicDiff:
    out = TopicDiff(topic)
    left, right = _sorted(a, topic), _sorted(b, topic)
    x, y = next(left, None), next(right, None)
    while x is not None or y is not None:
        if y is None or (x is not None and x[0] < y[0]):
            assert x is not None
            out.add(x[0], x[1], None)
            x = next(left, None)
        elif x is None or y[0] < x[0]:
            out.add(y[0], None, y[1])
            y = next(right, None)
        else:
            out.add(x[0], x[1], y[1])
            x, y = next(left, None), next(right, None)
    return out


def compare(a: Recording, b: Recording) -> list[TopicDiff]:
    """Every topic of either recording that can be compared, in the order of cause and effect."""
    topics = {stamp.topic for recording in (a, b) for stamp, _ in recording.raw(FAMILIES)}
    return [_compare(t, a, b) for t in sorted(topics, key=lambda t: (FAMILIES.index(t.partition("/")[0]), t))]
