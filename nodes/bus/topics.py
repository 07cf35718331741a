"""The one registry of topics. A row says everything about its topic: who writes and reads it, as which record, at which
rate, and whether it may be lost. Wiring, health, recorder and ``docs/reference/topics.md`` follow from it."""

from dataclasses import dataclass
from typing import Any, Literal

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Meshes, Poses
from kinecast.nodes.bus.messages import (
    Ack,
    CommonRate,
    End,
    Health,
    Hello,
    Preview,
    PreviewWish,
    RigHealth,
    SourceReport,
)
from kinecast.nodes.graph.records import LOOKS_ON

Delivery = Literal["lossless", "latest", "link"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A family of topics ``name`` or ``name/<key>``.

    record: what a message of it is. key: what the part after the ``/`` names, "" where the topic has one member.
    rate: messages a second of each member: a number; ``camera``, as many as its camera has frames; ``sets``, as many as
    the slowest camera that is fused; None where it comes when it comes. judged: its writer's health is judged by it.
    delivery: ``lossless``: a gap is counted, and in the lossless pace it travels by credit; ``latest``: only the newest
    matters; ``link``: between the two ends of the bus, no node receives it.
    writers: the kinds of node that may publish it. readers: those that take every message: of a lossless topic a writer
    waits for them. watchers: those that look on, and are never waited for.
    version: of its schema; fields are only ever added.
    """

    name: str
    record: type[Any]
    key: str
    rate: float | Literal["camera", "sets"] | None
    delivery: Delivery
    writers: tuple[str, ...]
    readers: tuple[str, ...] = ()
    watchers: tuple[str, ...] = ()
    judged: bool = False
    version: int = 1

    @property
    def recorded(self) -> bool:
        """Whether it is in a recording: the recorder reads it."""
        return self.delivery != "link" and "recorder" in (*self.readers, *self.watchers)


_BOTH = ("fusion", "recorder")
_EVERYBODY = ("camera", "fusion", "recorder", "viewer", "stream", "web", "supervisor")

TOPICS: dict[str, Topic] = {
    t.name: t
    for t in (
        Topic("keypoints", Keypoints2D, "camera", "camera", "lossless", ("camera",), _BOTH, judged=True),
        Topic("source", SourceReport, "camera", 0.2, "lossless", ("camera",), _BOTH),
        Topic("end", End, "node", None, "lossless", ("camera", "fusion", "supervisor"), _BOTH, ("supervisor",)),
        Topic("framesets", FrameSet, "", "sets", "lossless", ("fusion",), ("recorder",)),
        Topic("poses", Poses, "", "sets", "lossless", ("fusion",), ("recorder",), LOOKS_ON, judged=True),
        Topic("bodies", Bodies, "", "sets", "lossless", ("fusion",), ("recorder",), LOOKS_ON),
        Topic("preview_wish", PreviewWish, "", 1, "latest", ("web",), watchers=("camera",)),
        Topic("preview", Preview, "camera", None, "latest", ("camera",), watchers=("web",)),
        Topic("meshes", Meshes, "", "sets", "latest", ("fusion",)),
        Topic("rig_health", RigHealth, "", 1, "lossless", ("fusion",), ("recorder",), ("web",)),
        Topic("common_rate", CommonRate, "", 1, "latest", ("supervisor",), watchers=("camera", "recorder")),
        Topic("health", Health, "node", 2, "latest", _EVERYBODY, watchers=("recorder", "supervisor", "web")),
        Topic("hello", Hello, "node", None, "link", ("camera", "fusion", "supervisor"), _BOTH),
        Topic("ack", Ack, "node", None, "link", _BOTH, ("camera", "fusion", "supervisor")),
    )
}


def topic_of(name: str) -> Topic:
    """The family of a full topic name, e.g. ``keypoints/cam1``; KinecastError where there is none."""
    family, _, key = name.partition("/")
    topic = TOPICS.get(family)
    if topic is None or bool(topic.key) != bool(key):
        raise KinecastError(f"unknown topic {name!r}: known are {', '.join(TOPICS)}")
    return topic
