"""The recorder on a real bus in one process: whole sessions, a restart, a stop, a disk that is full."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kinecast.calibration.formats import native
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus.bus import Bus, Received
from kinecast.nodes.bus.codec import encode
from kinecast.nodes.bus.envelope import Envelope
from kinecast.nodes.bus.messages import End, Health, SourceReport
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import Graph, NodeContext
from kinecast.nodes.recording import recorder
from kinecast.nodes.recording.file import About, Recording, RecordingWriter
from kinecast.nodes.recording.recorder import RecorderCore
from tests.nodes.bus.graphs import context, graph, keypoints
from tests.nodes.recording.scene import circle_rig, source
from tests.nodes.recording.toys import FullDisk

WAIT_S = 30.0


@pytest.fixture
def session(tmp_path: Path) -> Graph:
    """A lossless graph of one camera, fusion and recorder that writes into ``out``."""
    (tmp_path / "rig.toml").write_text(native.dumps(circle_rig()))
    g = graph(recorder=True)
    return replace(g, session=replace(g.session, out=str(tmp_path / "out"), rig=str(tmp_path / "rig.toml")))


class Recorder(threading.Thread):
    """``main`` in a thread; its exception, if any, is kept."""

    def __init__(self, told: NodeContext) -> None:
        super().__init__(daemon=True)
        self.told, self.error = told, None
        self.start()

    error: BaseException | None

    def run(self) -> None:
        try:
            recorder.main(self.told)
        except BaseException as e:
            self.error = e


@pytest.fixture(autouse=True)
def stop_event(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The recorder's own stop, in place of the one of this process."""
    stop = threading.Event()

    def opened(told: NodeContext) -> Bus:
        buses.append(Bus(told, stop))
        return buses[-1]

    buses.clear()
    monkeypatch.setattr(recorder, "Bus", opened)
    return stop


buses: list[Bus] = []  # those that a recorder opened in this test


def wait_until(true: Callable[[], bool]) -> None:
    """Until it is true, or a deadline that fails the test."""
    until = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < until
        threading.Event().wait(0.01)


class Others:
    """The camera and the fusion of the graph, played by the test."""

    def __init__(self, g: Graph) -> None:
        self.stop = threading.Event()
        self.camera = Bus(context(g, "cam0"), self.stop)
        self.fusion = Bus(context(g, "fusion"), self.stop)
        # fusion gives credit for what it takes, as the real one does
        self.taking = threading.Thread(target=self._take, daemon=True)
        self.taking.start()

    def _take(self) -> None:
        while not self.stop.is_set():
            self.fusion.receive(0.1)

    def close(self) -> None:
        self.stop.set()
        self.taking.join(WAIT_S)
        self.camera.close()
        self.fusion.close()


def test_a_session_is_recorded_to_its_end(session: Graph) -> None:
    others = Others(session)
    running = Recorder(context(session, "recorder"))
    others.camera.publish("source/cam0", source("cam0"))
    for n in range(40):
        others.camera.publish("keypoints/cam0", keypoints("cam0", n), n)
    others.camera.publish("end/cam0", End("cam0", 40, 0, "end of file"))
    others.fusion.publish("end/fusion", End("fusion", 0, 0, "end of file"))
    running.join(WAIT_S)
    others.close()
    assert not running.is_alive() and running.error is None
    recording = Recording.open(Path(session.session.out) / "session.mcap")
    assert not recording.cut_short
    got = list(recording.messages(("keypoints",)))
    assert [s.sequence for _, s, _ in got] == list(range(40))
    assert all(encode(r) == encode(keypoints("cam0", n)) for n, (_, _, r) in enumerate(got))
    assert recording.rig.names == circle_rig().names
    assert recording.launch_text == dump(session)
    assert recording.models == {"toy": "00ff"}
    said = [r for t, _, r in recording.messages(("health",)) if t == "health/recorder"]
    assert said[-1].state == "ended" and said[-1].received["keypoints/cam0"] == 40


def test_asked_to_stop_it_closes_the_file_properly(session: Graph, stop_event: threading.Event) -> None:
    others = Others(session)
    running = Recorder(context(session, "recorder"))
    for n in range(5):
        others.camera.publish("keypoints/cam0", keypoints("cam0", n), n)
    stop_event.set()
    running.join(WAIT_S)
    others.close()
    assert not running.is_alive() and running.error is None
    recording = Recording.open(Path(session.session.out) / "session.mcap")
    assert not recording.cut_short
    assert sum(1 for _ in recording.raw(("keypoints",))) == 5


def test_restarted_it_goes_on_in_a_new_segment(session: Graph, stop_event: threading.Event) -> None:
    others = Others(session)
    first = Recorder(context(session, "recorder"))
    others.camera.publish("keypoints/cam0", keypoints("cam0", 0), 0)
    stop_event.set()
    first.join(WAIT_S)
    stop_event.clear()
    second = Recorder(context(session, "recorder", 1))
    # what is sent before a new life is heard is lost to it, and counted by the writer
    wait_until(lambda: len(buses) == 2 and all(buses[1]._reader.links[w].heard for w in ("cam0", "fusion")))
    others.camera.publish("keypoints/cam0", keypoints("cam0", 1), 0)
    others.camera.publish("end/cam0", End("cam0", 2, 0, "end of file"))
    others.fusion.publish("end/fusion", End("fusion", 0, 0, "end of file"))
    second.join(WAIT_S)
    others.close()
    assert first.error is None and second.error is None
    recording = Recording.open(Path(session.session.out) / "session.mcap")
    assert [s.path.name for s in recording.segments] == ["session.mcap", "session-001.mcap"]
    assert recording.segments[1].scan.metadata["kinecast"]["incarnation"] == "1"
    assert [(s.segment, r.frame_seq) for _, s, r in recording.messages(("keypoints",))] == [(0, 0), (1, 1)]


def test_a_later_session_leaves_an_earlier_recording_alone(session: Graph, stop_event: threading.Event) -> None:
    out = Path(session.session.out)
    out.mkdir()
    (out / "session.mcap").write_bytes(b"precious")
    stop_event.set()
    running = Recorder(context(session, "recorder"))
    running.join(WAIT_S)
    assert running.error is None
    assert (out / "session.mcap").read_bytes() == b"precious"
    assert not Recording.open(out / "session_2.mcap").cut_short


def received(n: int, topic: str = "keypoints/cam0", record: object = None) -> Received:
    record = keypoints("cam0", n) if record is None else record
    return Received(topic, Envelope("cam0", 0, n, 1, n, n), encode(record), record, n * 10_000_000)


def test_data_reaches_the_disk_within_flush_s(tmp_path: Path) -> None:
    """The core alone, so that time is what the test says it is."""
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        core = RecorderCore(RecordingWriter(file, About()), frozenset({"cam0"}), flush_ns=50_000_000)
        assert core.next_deadline_ns() is None
        on_disk = []
        for n in range(12):  # every 10 ms
            core.handle(received(n))
            assert core.next_deadline_ns() is not None
            core.tick(n * 10_000_000)
            on_disk.append(sum(1 for _ in Recording.open(path).raw()))
        assert on_disk == [0, 0, 0, 0, 0, 6, 6, 6, 6, 6, 6, 12]
        assert core.next_deadline_ns() is None
        core.handle(received(0, "end/cam0", End("cam0", 12, 0, "end of file")))
        assert core.ended


def test_new_models_are_attached_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        core = RecorderCore(writer, frozenset(), 1)
        for camera, models in (("cam0", {"a": "1"}), ("cam0", {"a": "1"}), ("cam1", {"b": "2"})):
            report = replace(source(camera), models=models)
            assert isinstance(report, SourceReport)
            core.handle(received(0, f"source/{camera}", report))
        writer.finish()
    assert Recording.open(path).models == {"a": "1", "b": "2"}


def test_an_end_that_was_missed_in_a_restart_is_heard_from_health(tmp_path: Path) -> None:
    with (tmp_path / "a.mcap").open("wb") as file:
        core = RecorderCore(RecordingWriter(file, About()), frozenset({"cam0", "cam1"}), 1)
        for camera, state, ended in (("cam0", "ended", False), ("cam1", "running", False), ("cam1", "ended", True)):
            core.handle(received(0, f"health/{camera}", Health(camera, "camera", 1, state, 0)))  # type: ignore[arg-type]
            assert core.ended == ended


def test_a_full_disk_ends_it_with_one_line(session: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = FullDisk(20_000)
    path = tmp_path / "full.mcap"
    monkeypatch.setattr(recorder, "_open", lambda told, settings: (disk, path, About()))
    others = Others(session)
    running = Recorder(context(session, "recorder"))

    def send() -> None:
        for n in range(200):
            others.camera.publish("keypoints/cam0", keypoints("cam0", n), n)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    running.join(WAIT_S)
    others.close()
    sending.join(WAIT_S)
    assert isinstance(running.error, KinecastError)
    assert "full.mcap: No space left on device while recording" in str(running.error)
    path.write_bytes(disk.kept)
    recording = Recording.open(path)
    sequences = [s.sequence for _, s, _ in recording.messages(("keypoints",))]
    assert recording.cut_short and sequences == list(range(len(sequences)))
    assert recording.rig.names == circle_rig().names
