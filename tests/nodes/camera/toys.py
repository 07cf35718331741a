"""A bus, a detector and sources that do as a script says, for the tests of the camera's loop."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera
from kinecast.capture.frame import Frame
from kinecast.capture.record import VideoRecorder
from kinecast.capture.source import Source, SourceInfo, SourceStalled
from kinecast.engines.records import People2D
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.messages import CommonRate
from kinecast.nodes.camera.loop import CameraCore, CameraLoop
from kinecast.nodes.camera.node import opener
from kinecast.nodes.graph.records import (
    CameraNode,
    DetectorSettings,
    FusionNode,
    Graph,
    NodeContext,
    Session,
    SourceSettings,
)
from tests.capture.videos import FakeClock, grey, number_of

SECOND = 1_000_000_000
LEAD = 4 * SECOND
EPOCH = 50 * SECOND  # when recorded sources begin
FRAME_NS = 40_000_000
CAMERA = Camera("left", (64, 48), np.diag([60.0, 60.0, 1.0]), np.zeros(5), np.eye(4))


class FakeBus:
    """Keeps what is published; asks to stop where ``until`` says so."""

    def __init__(self, until: Callable[["FakeBus"], bool] = lambda bus: False) -> None:
        self.meter = HealthMeter("cam", "camera")
        self.sent: list[tuple[str, Any, int]] = []
        self.states: list[str] = []  # each change
        self.notes: list[str] = []
        self.orders: list[CommonRate] = []  # one is told with every read, the last for ever
        self._until = until
        self._state, self._note = "starting", ""

    @property
    def stopping(self) -> bool:
        return self._until(self)

    @property
    def state(self) -> Any:
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        self._state = value
        if self.states[-1:] != [value]:
            self.states.append(value)

    @property
    def note(self) -> str:
        return self._note

    @note.setter
    def note(self, value: str) -> None:
        self._note = value
        if self.notes[-1:] != [value]:
            self.notes.append(value)

    def publish(self, topic: str, record: Any, t_capture_ns: int = 0, wait: bool = True) -> None:
        self.sent.append((topic, record, t_capture_ns))

    def latest(self, timeout_s: float) -> dict[str, Any]:
        if not self.orders:
            return {}
        order = self.orders.pop(0) if len(self.orders) > 1 else self.orders[0]
        return {"common_rate": SimpleNamespace(record=order)}

    def of(self, topic: str) -> list[Any]:
        return [record for name, record, _ in self.sent if name == topic]


class GreyDetector:
    """Sees one person, whose joints' x is the number that the picture's grey level tells; takes ``cost_ns``."""

    skeleton = "coco17"

    def __init__(self, clock: FakeClock, cost_ns: int = 0) -> None:
        self.clock, self.cost_ns, self.resets = clock, cost_ns, 0
        self.models = {"grey": "0" * 64}
        self.runtime = {"grey": "by hand"}

    def detect(self, frame: Frame) -> People2D:
        self.clock.t_ns += self.cost_ns
        x = number_of(frame.image_bgr)
        return People2D(
            np.full((1, 17, 2), [x, 0], np.float32),
            np.ones((1, 17), np.float32),
            np.zeros((1, 4), np.float32),
            np.ones(1, np.float32),
            np.zeros(1, np.int32),
        )

    def warm_up(self) -> None:
        pass

    def reset(self) -> None:
        self.resets += 1


class ScriptedSource:
    """Does what the script says: an int is a frame of that grey, an array a frame, a float so much silence, a tuple
    sets the losses.
    """

    def __init__(
        self, script: list[Any], clock: FakeClock, first_seq: int, size_px: tuple[int, int] = (64, 48)
    ) -> None:
        self.info = SourceInfo("usb", "fake", size_px, 30.0, True)
        self.skipped, self.losses, self.closed = 0, dict[str, int](), False
        self._script, self._clock, self._seq = list(script), clock, first_seq
        self._silent_until = clock.t_ns
        if script and isinstance(script[0], tuple):  # lost before the first read
            self.skipped, self.losses = self._script.pop(0)

    def read(self, timeout_s: float) -> Frame | None:
        if self._clock.t_ns < self._silent_until:
            self._clock.t_ns += round(timeout_s * SECOND)
            raise SourceStalled("silence")
        item = self._script.pop(0) if self._script else None
        if isinstance(item, float):
            self._silent_until = self._clock.t_ns + round(item * SECOND)
            return self.read(timeout_s)
        if isinstance(item, Exception):
            raise item
        if isinstance(item, tuple):
            self.skipped, self.losses = item
            return self.read(timeout_s)
        if item is None:
            return None
        self._clock.t_ns += FRAME_NS
        seq, self._seq = self._seq, self._seq + 1
        image = grey(item) if isinstance(item, int) else item
        return Frame("left", seq, self._clock.t_ns, self._clock.t_ns, image)

    def close(self) -> None:
        self.closed = True


def context_of(
    tmp_path: Path, source: SourceSettings, pace: str = "lossless", incarnation: int = 0, profile: str = "synthetic"
) -> NodeContext:
    node = CameraNode(camera="left", source=source, detector=DetectorSettings(profile=profile))
    session = Session(out=str(tmp_path / "out"), rig="rig.toml", pace=pace, lead_s=LEAD / SECOND)  # type: ignore[arg-type]
    graph = Graph(session, {"cam": node, "fusion": FusionNode()})
    return NodeContext("cam", graph, incarnation, 0 if pace == "lossless" else EPOCH - LEAD)


def run_file(
    tmp_path: Path, source: SourceSettings, pace: str, clock: FakeClock, cost_ns: int = 0, camera: Camera = CAMERA
) -> FakeBus:
    context = context_of(tmp_path, source, pace)
    bus, detector = FakeBus(), GreyDetector(clock, cost_ns)
    core = CameraCore("left", detector, camera, clock)
    CameraLoop(context, bus, core, detector, opener(context, camera, clock), clock).run()
    return bus


def run_device(
    tmp_path: Path, scripts: list[Any], settings: SourceSettings, until: Callable[[FakeBus], bool] = lambda bus: False
) -> tuple[FakeBus, GreyDetector, FakeClock, list[Any]]:
    clock = FakeClock(EPOCH)
    context = context_of(tmp_path, settings, "realtime")
    bus, detector, opened = FakeBus(until), GreyDetector(clock), list[Any]()

    def open_it(recorder: VideoRecorder | None, first_seq: int) -> Source:
        script = scripts.pop(0)
        opened.append(clock.t_ns)
        if isinstance(script, Exception):
            raise script
        return ScriptedSource(script, clock, first_seq)

    CameraLoop(context, bus, CameraCore("left", detector, CAMERA, clock), detector, open_it, clock).run()
    return bus, detector, clock, opened


def numbers(bus: FakeBus) -> list[int]:
    return [int(k.keypoints_px[0, 0, 0]) for k in bus.of("keypoints/left")]
