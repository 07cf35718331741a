"""What is in a recording, in one pass over it."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import BODY_FLAGS, Bodies, FrameSet, Keypoints2D, Poses
from kinecast.nodes.bus.codec import CodecError, decode
from kinecast.nodes.bus.messages import Health, SourceReport
from kinecast.nodes.bus.topics import TOPICS, topic_of
from kinecast.nodes.recording.file import Recording, Stamp


@dataclass(slots=True)
class TopicSummary:
    """Messages of one topic, bytes of their payloads, gaps in the writer's sequence (lost) and how often it lived."""

    messages: int = 0
    payload_bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    lost: int = 0
    lives: int = 0
    next_sequence: dict[int, int] = field(default_factory=dict)

    def add(self, stamp: Stamp, payload: bytes, from_start: bool) -> None:
        """Count one message. from_start: what was sent before the first one here is lost."""
        self.first_ns = stamp.t_log_ns if not self.messages else self.first_ns
        self.last_ns = stamp.t_log_ns
        self.messages += 1
        self.payload_bytes += len(payload)
        # of a topic like health only the newest matters: nothing of it is ever "lost"
        family = TOPICS.get(stamp.topic.partition("/")[0])
        counted = family is None or family.delivery == "lossless"
        expected = self.next_sequence.get(stamp.incarnation, 0 if from_start else stamp.sequence)
        self.lost += max(0, stamp.sequence - expected) if counted else 0
        self.next_sequence[stamp.incarnation] = max(expected, stamp.sequence + 1)
        self.lives = len(self.next_sequence)

    @property
    def rate_hz(self) -> float | None:
        """Messages per second of arrival; None where that is not defined."""
        span = self.last_ns - self.first_ns
        return (self.messages - 1) * 1e9 / span if self.messages > 1 and span > 0 else None


@dataclass(slots=True)
class CameraSummary:
    """frames and people-frames of one camera, times of capture, and what its source says."""

    frames: int = 0
    detections: int = 0
    first_ns: int = 0
    last_ns: int = 0
    skipped: int = 0
    size_px: tuple[int, int] = (0, 0)
    skeleton: str = ""
    source: SourceReport | None = None


@dataclass(slots=True)
class Summary:
    """The whole of a recording. people: sets in which each identity was seen. bodies: person-frames of each body, by
    its id; body_flags: how many of them have each flag. drops: last word of each node.

    capture_ns: of the first and of the last frame. from_start: the recording begins where the streams do.
    heard_ns: arrival of the first and of the last message of every segment.
    """

    topics: dict[str, TopicSummary] = field(default_factory=dict)
    cameras: dict[str, CameraSummary] = field(default_factory=dict)
    people: Counter[int] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)
    body_flags: Counter[str] = field(default_factory=Counter)
    sets: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    runs: set[int] = field(default_factory=set)
    drops: dict[str, dict[str, int]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    capture_ns: tuple[int, int] | None = None
    from_start: bool = True
    heard_ns: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, stamp: Stamp, payload: bytes) -> None:
        """Count one message."""
        first, last = self.heard_ns.get(stamp.segment, (stamp.t_log_ns, stamp.t_log_ns))
        self.heard_ns[stamp.segment] = (min(first, stamp.t_log_ns), max(last, stamp.t_log_ns))
        self.topics.setdefault(stamp.topic, TopicSummary()).add(stamp, payload, self.from_start)
        try:
            topic = topic_of(stamp.topic)
            record = decode(topic.record, payload) if stamp.version <= topic.version else None
        except (CodecError, KinecastError):
            self.unreadable += 1
            return
        if isinstance(record, Keypoints2D):
            self._camera(record)
        elif isinstance(record, FrameSet):
            self.sets += 1
            self.reasons[record.reason] += 1
            self.runs.add(record.run_index)
        elif isinstance(record, Poses):
            self.people.update(record.person_ids.tolist())
            self.refused = dict(record.refused)
        elif isinstance(record, Bodies):
            self.bodies[record.body_id] += len(record.person_ids)
            bits = record.flags.tolist()
            self.body_flags.update(name for i, name in enumerate(BODY_FLAGS) for b in bits if b >> i & 1)
        elif isinstance(record, Health):
            self.drops[record.node] = dict(record.drops)
        elif isinstance(record, SourceReport):
            self.cameras.setdefault(record.camera, CameraSummary()).source = record

    def _camera(self, record: Keypoints2D) -> None:
        camera = self.cameras.setdefault(record.camera, CameraSummary())
        t = record.t_capture_ns
        camera.first_ns = t if not camera.frames else camera.first_ns
        camera.last_ns = t
        camera.frames += 1
        camera.detections += len(record.scores)
        camera.skipped = record.skipped
        camera.size_px, camera.skeleton = record.size_px, record.skeleton
        low, high = self.capture_ns or (t, t)
        self.capture_ns = (min(low, t), max(high, t))

    @property
    def outages_s(self) -> list[float]:
        """Seconds between one segment and the next in which nothing was recorded."""
        spans = [self.heard_ns[n] for n in sorted(self.heard_ns)]
        return [(b[0] - a[1]) / 1e9 for a, b in pairwise(spans)]

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame captured to the last."""
        return (self.capture_ns[1] - self.capture_ns[0]) / 1e9 if self.capture_ns else 0.0


def summarise(recording: Recording) -> Summary:
    """Read all of it once."""
    # a later segment alone does not begin where the streams did
    out = Summary(from_start=recording.about.get("segment", "0") == "0")
    for stamp, payload in recording.raw():
        out.add(stamp, payload)
    return out


def as_json(recording: Recording, summary: Summary) -> dict[str, Any]:
    """The same as plain data, under stable keys; call after :func:`summarise`."""
    rig = recording.rig if recording.attachment("rig.toml") else None
    return {
        "file": str(recording.path),
        "about": recording.about,
        "segments": [
            {"file": s.path.name, "bytes": s.scan.size, "cut_short": s.cut_short, "torn_bytes": s.torn_bytes,
             "chunks": len(s.scan.chunks), "damaged_chunks": s.lost_chunks}
            for s in recording.segments
        ],
        "cut_short": recording.cut_short,
        "duration_s": summary.duration_s,
        "outages_s": summary.outages_s,
        "topics": {
            name: {
                "messages": t.messages, "bytes": t.payload_bytes, "rate_hz": t.rate_hz, "lost": t.lost, "lives": t.lives
            }
            for name, t in sorted(summary.topics.items())
        },
        "cameras": {
            name: {
                "frames": c.frames, "skipped": c.skipped, "detections": c.detections, "size_px": list(c.size_px),
                "skeleton": c.skeleton, "source": c.source.uri if c.source else "",
                "video": c.source.video if c.source else "",
                "fps": (c.frames - 1) * 1e9 / (c.last_ns - c.first_ns) if c.last_ns > c.first_ns else None,
            }
            for name, c in sorted(summary.cameras.items())
        },
        "frame_sets": {"count": summary.sets, "reasons": dict(summary.reasons), "epochs": sorted(summary.runs)},
        "people": {str(p): n for p, n in sorted(summary.people.items())},
        "bodies": dict(sorted(summary.bodies.items())),
        "body_flags": {name: summary.body_flags[name] for name in BODY_FLAGS if summary.body_flags[name]},
        "refused": summary.refused,
        "drops": {node: drops for node, drops in sorted(summary.drops.items()) if drops},
        "unreadable": summary.unreadable,
        "models": recording.models,
        "rig": None if rig is None else {"name": rig.name, "up": rig.up, "cameras": list(rig.names)},
    }  # fmt: skip
