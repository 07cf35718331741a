"""Records that exist only because there are processes: who is alive, what a source is, where a stream ends."""

from dataclasses import dataclass, field
from typing import Literal

from kinecast.engines.records import CAUSES, F32, I64

# ready: everything is loaded, and the session's common start is awaited
State = Literal["starting", "ready", "running", "stalled", "ended", "failed"]


@dataclass(frozen=True, slots=True, eq=False)
class Health:
    """What a node says of itself, twice a second: the message ``health/<node>``.

    published and received count messages by topic since the node started; rate_hz is over the last two seconds.
    drops: everything lost so far, by cause (``skipped_at_source``, ``gap/keypoints/cam1`` …).
    latency_ms: for each step, the newest p50 and p95 over the last ten seconds.
    note: one line for a person, empty where all is well.
    """

    node: str
    kind: str
    pid: int
    state: State
    t_ns: int
    incarnation: int = 0
    published: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    rate_hz: dict[str, float] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict, metadata=CAUSES)
    latency_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RigHealth:
    """How the rig is, from the people alone, once a second where there are any: the message ``rig_health``.

    t_set_ns: of the newest frame set in it. epoch: of fusion. cameras: C names. All arrays are (C,), NaN where it is
    not known yet. residual_px: geometric mean of each camera's residuals against the point of the others; baseline_px:
    the same at the start. moved_px: how far its picture has moved since the start, ± moved_sigma_px; moved_since_ns:
    since when that counts as a camera that was moved, on the clock of the stamps; 0 where it does not. offset_ms: its
    clock against the mean of all, stamps less time, ± offset_sigma_ms; what of it is in force the frame sets say.
    """

    t_set_ns: int
    epoch: int
    cameras: tuple[str, ...]
    residual_px: F32
    baseline_px: F32
    moved_px: F32
    moved_sigma_px: F32
    moved_since_ns: I64
    offset_ms: F32
    offset_sigma_ms: F32


@dataclass(frozen=True, slots=True, eq=False)
class SourceReport:
    """Where a camera's pictures come from and what looks at them: the message ``source/<camera>``.

    Sent when the source opens, and again every five seconds for readers that came late.
    video: path of the video that the pictures can be read from again ("" where there is none); timestamps: path of the
    sidecar with each frame's ``t_capture_ns`` ("" where the container's own times are meant, counted from epoch_ns).
    models: name → sha256. runtime: model → what really bound, and why where it fell back.
    """

    camera: str
    kind: str
    uri: str
    size_px: tuple[int, int]
    fps_hz: float
    live: bool
    epoch_ns: int
    profile: str
    video: str = ""
    timestamps: str = ""
    models: dict[str, str] = field(default_factory=dict)
    runtime: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """The last message of a stream: ``end/<node>``. frames: how many were published; skipped: lost at the source."""

    node: str
    frames: int
    skipped: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Hello:
    """A writer that waits for a reader: ``hello/<node>``. sequence: lossless messages it has published so far."""

    node: str
    sequence: int


@dataclass(frozen=True, slots=True, eq=False)
class Ack:
    """Credit from a lossless reader to a writer: ``ack/<writer>``.

    sequence: so many lossless messages of the writer's ``incarnation`` were taken; -1: the writer was not heard yet.
    """

    reader: str
    writer: str
    sequence: int
    incarnation: int = 0
