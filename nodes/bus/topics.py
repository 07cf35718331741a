"""The one registry of topics: what travels, as which record, whether it may be lost and whether it is recorded."""

from dataclasses import dataclass
from typing import Any, Literal

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Meshes, Poses
from kinecast.nodes.bus.messages import Ack, End, Health, Hello, RigHealth, SourceReport


@dataclass(frozen=True, slots=True)
class Topic:
    """A family of topics ``name`` or ``name/<who>``.

    rate_hz: rate expected of each member; None where it is that of the cameras, 0 where there is no rate.
    delivery: ``lossless`` travels with credits where the pace is lossless, and a gap is counted always; of ``latest``
    only the newest matters.
    writers: the kinds of node that may publish it. version: schema version; fields are only ever added.
    """

    name: str
    record: type[Any]
    keyed: bool
    rate_hz: float | None
    delivery: Literal["lossless", "latest"]
    recorded: bool
    writers: tuple[str, ...]
    version: int = 1


TOPICS: dict[str, Topic] = {
    t.name: t
    for t in (
        Topic("keypoints", Keypoints2D, True, None, "lossless", True, ("camera",)),
        Topic("source", SourceReport, True, 0.2, "lossless", True, ("camera",)),
        Topic("end", End, True, 0, "lossless", True, ("camera", "fusion", "supervisor")),
        Topic("framesets", FrameSet, False, None, "lossless", True, ("fusion",)),
        Topic("poses", Poses, False, None, "lossless", True, ("fusion",)),
        Topic("bodies", Bodies, False, None, "lossless", True, ("fusion",)),
        Topic("meshes", Meshes, False, None, "latest", False, ("fusion",)),
        Topic("rig_health", RigHealth, False, 1, "lossless", True, ("fusion",)),
        Topic("health", Health, True, 2, "latest", True, ("camera", "fusion", "recorder", "viewer", "supervisor")),
        Topic("hello", Hello, True, 0, "latest", False, ("camera", "fusion", "supervisor")),
        Topic("ack", Ack, True, 0, "latest", False, ("fusion", "recorder")),
    )
}


def topic_of(name: str) -> Topic:
    """The family of a full topic name, e.g. ``keypoints/cam1``; KinecastError where there is none."""
    family, _, key = name.partition("/")
    topic = TOPICS.get(family)
    if topic is None or topic.keyed != bool(key):
        raise KinecastError(f"unknown topic {name!r}: known are {', '.join(TOPICS)}")
    return topic
