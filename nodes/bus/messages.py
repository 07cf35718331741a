"""Records that exist only because there are processes: who is alive, what a source is, where a stream ends."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from kinecast.engines.records import CAUSES, F32, I64, RUN, Arrays

MOST_MODELS = 16

KERNELS, KERNELS_THERE = "kernels", "kernels compiled"  # of ``Health.found`` while a fusion compiles
# ready: everything is loaded, and the session's common start is awaited
State = Literal["starting", "ready", "running", "stalled", "ended", "failed"]


@dataclass(frozen=True, slots=True, eq=False)
class Health:
    """What a node says of itself, twice a second: the message ``health/<node>``.

    node, kind: its name and what it is. pid: of its process. state: ``ready`` is when the session's common start is
    awaited. t_ns: monotonic. incarnation: its life, from 0. published, received: messages by topic since the node
    started. rate_hz: of each topic, over the last two seconds. drops: everything lost so far, by cause
    (``skipped_at_source``, ``gap/keypoints/cam1`` …). latency_ms: of each step, p50 and p95 over the last ten seconds.
    found: what came of it so far (``people`` seen by a camera; ``views fused`` and ``sets with people`` of fusion; at a
    first start ``kernels`` and ``kernels compiled``).
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
    found: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class RigHealth(Arrays):
    """How the rig is, from the people alone, once a second where there are any: the message ``rig_health``.

    t_set_ns: of the newest frame set in it. run_index: of fusion. cameras: C names; every array is NaN where it is not
    known yet. residual_px: geometric mean of each camera's residuals against the point of the others. baseline_px: the
    same at the start. moved_px: how far its picture has moved since the start. moved_sigma_px: of that, one standard
    deviation. moved_since_ns: since when that counts as a camera that was moved, on the clock of the stamps; 0 where it
    does not. offset_ms: its clock against the mean of all, stamps less time; what of it is in force the frame sets say.
    offset_sigma_ms: of that, one standard deviation.
    """

    SHAPES: ClassVar = {
        "residual_px": "C",
        "baseline_px": "C",
        "moved_px": "C",
        "moved_sigma_px": "C",
        "moved_since_ns": "C",
        "offset_ms": "C",
        "offset_sigma_ms": "C",
    }

    t_set_ns: int
    run_index: int = field(metadata=RUN)
    cameras: tuple[str, ...]
    residual_px: F32
    baseline_px: F32
    moved_px: F32
    moved_sigma_px: F32
    moved_since_ns: I64
    offset_ms: F32
    offset_sigma_ms: F32

    def check(self) -> None:
        """Raise ValueError where shapes disagree."""
        self.expect("rig health", C=len(self.cameras))


@dataclass(frozen=True, slots=True, eq=False)
class SourceReport:
    """Where a camera's pictures come from and what looks at them: the message ``source/<camera>``.

    Sent when the source opens, and again every five seconds for readers that came late.

    camera: its name in the rig. kind: as in the launch file. uri: what was opened. size_px: width, height of the
    pictures. fps_hz: rate that the source says. live: frames come at their own time. epoch_ns: capture time of its
    first frame, where it is recorded. profile: of the detector. video: path of the video that the pictures can be read
    from again, "" where there is none. timestamps: path of the sidecar with each frame's ``t_capture_ns``, "" where the
    container's own times are meant, counted from epoch_ns. models: name → sha256. runtime: model → what really bound,
    and why where it fell back. timing: what the stamps are made of, where the source can tell. notes: how it is read
    (mirrored, decoded by hardware, joined from parts).
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
    timing: str = ""
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ValueError where it names more models than a detector has: each goes into the recording."""
        if len(self.models) > MOST_MODELS or any(len(name) > 200 or len(h) > 200 for name, h in self.models.items()):
            raise ValueError(f"source of {self.camera[:80]}: {len(self.models)} models, at most {MOST_MODELS}")


@dataclass(frozen=True, slots=True, eq=False)
class CommonRate:
    """Which moments all cameras take, so that frame sets stay whole on a machine that cannot take all: ``common_rate``.

    rate_hz: moments a second; 0: every frame. phase_ns: where they are counted from, on the clock of the stamps: of
    the frames in [phase + n / rate, phase + (n + 1) / rate) a camera takes the first. full_hz: what the cameras give.
    note: for a person.
    """

    rate_hz: float
    phase_ns: int
    full_hz: float
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PreviewWish:
    """Somebody looks at the page: cameras send small pictures until it is silent, ``preview_wish``, once a second.

    until_ns: monotonic; a camera sends none later. longest_px: the longer side of a picture. rate_hz: of pictures.
    """

    until_ns: int
    longest_px: int
    rate_hz: float


@dataclass(frozen=True, slots=True, eq=False)
class Preview(Arrays):
    """A small picture for the page, ``preview/<camera>``: never recorded, and made only while somebody looks.

    camera: name in the rig. frame_seq, t_capture_ns: of its frame. jpeg: its bytes. skeleton, keypoints_px: of the
    people in it, in pixels of the whole picture.
    """

    SHAPES: ClassVar = {"keypoints_px": "P J 2"}

    camera: str
    frame_seq: int
    t_capture_ns: int
    jpeg: bytes
    skeleton: str
    keypoints_px: F32


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """The last message of a stream: ``end/<node>``.

    node: whose. frames: how many were published. skipped: lost at the source. reason: why it ended.
    """

    node: str
    frames: int
    skipped: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Hello:
    """A writer that waits for a reader: ``hello/<node>``.

    node: the writer. sequence: lossless messages it has published so far.
    """

    node: str
    sequence: int


@dataclass(frozen=True, slots=True, eq=False)
class Ack:
    """Credit from a lossless reader to a writer: ``ack/<writer>``.

    reader, writer: names of the nodes. sequence: so many lossless messages of the writer's ``incarnation`` were taken;
    -1: the writer was not heard yet. incarnation: life of the writer that is meant.
    """

    reader: str
    writer: str
    sequence: int
    incarnation: int = 0
