"""The recorder: everything that the registry marks recorded, from every node, into one file for each of its lives."""

import json
import os
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from kinecast.calibration.formats import load_rig, native
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus.bus import Bus, Received
from kinecast.nodes.bus.messages import End, Health, SourceReport
from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.bus.wiring import reads
from kinecast.nodes.graph.launch_file import dump, without_secrets
from kinecast.nodes.graph.records import SUPERVISOR, Graph, NodeContext, RecorderNode, kind_of
from kinecast.nodes.recording.file import LAUNCH, MODELS, RIG, About, Recording, RecordingWriter, Stamp
from kinecast.nodes.recording.paths import next_path, recordings

STOP_WAIT_NS = 1_500_000_000  # after a stop: for the last words of the other nodes, which stop at the same time
OWN_HEALTH_NS = 2_000_000_000
MOST_MODELS = 256  # names of all cameras together
IDLE_S = 0.25  # a message that comes late in a quiet time wakes us anyway


class RecorderCore:
    """Writes what it is given and says when the data must reach the disk; reads no clock and opens nothing.

    writers: the nodes whose end it waits for. flush_ns: data at most so old is lost by a kill.
    """

    def __init__(self, writer: RecordingWriter, writers: frozenset[str], flush_ns: int) -> None:
        self._writer = writer
        self._waits_for = set(writers)
        self._flush_ns = flush_ns
        self._due_ns: int | None = None
        self._models: dict[str, str] = {}

    @property
    def ended(self) -> bool:
        """Whether every node that it waits for has ended."""
        return not self._waits_for

    def handle(self, message: Received) -> None:
        """Append one message. Raises KinecastError where the disk refuses it."""
        e = message.envelope
        if isinstance(message.record, SourceReport):
            self._note_models(message.record, message.t_arrival_ns)
        stamp = Stamp(message.topic, e.sequence, message.t_arrival_ns, e.t_publish_ns, e.version, e.incarnation)
        self._writer.write(stamp, message.payload)
        if self._due_ns is None:
            self._due_ns = message.t_arrival_ns + self._flush_ns
        # the end of a stream may have been said while this recorder was being restarted; health says it again
        said = message.record
        if isinstance(said, End) or (isinstance(said, Health) and said.state == "ended"):
            self._waits_for.discard(said.node)

    def tick(self, t_ns: int) -> None:
        """Close the chunk in progress where it is due, so that a kill does not take it."""
        if self._due_ns is not None and t_ns >= self._due_ns:
            self._writer.flush()
            self._due_ns = None

    def next_deadline_ns(self) -> int | None:
        """When the oldest data in memory must be on disk, or None where there is none."""
        return self._due_ns

    def _note_models(self, report: SourceReport, t_ns: int) -> None:
        # a graph of sixteen cameras has a few; an attachment for every new name would fill the disk
        if not report.models.items() <= self._models.items() and len(self._models) < MOST_MODELS:
            self._models |= report.models
            self._writer.attach(MODELS, json.dumps(self._models, indent=1, sort_keys=True).encode(), t_ns)


def writers_to_end(graph: Graph, name: str) -> frozenset[str]:
    """The nodes that this recorder reads and that say when they have ended."""
    ends = TOPICS["end"].writers
    return frozenset(w for w in reads(graph, name) if w != SUPERVISOR and kind_of(graph, w) in ends)


def _about(context: NodeContext, file: Path, segment: int) -> About:
    """What the new file says of itself; a further segment shares the id of the first."""
    shared = ""
    if segment:
        first = Recording.open(recordings(file)[-1], follow=False).about
        shared = first.get("recording", "")
    return About(
        recording=shared or uuid.uuid4().hex,
        session=context.graph.session.name,
        pace=context.graph.session.pace,
        segment=segment,
        incarnation=context.incarnation,
        epoch_ns=context.session_start_ns,
        started_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _open(context: NodeContext, settings: RecorderNode) -> tuple[BinaryIO, Path, About]:
    """A new file, never one that is there."""
    file = Path(context.graph.session.out) / settings.file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        path, segment = next_path(file, again=context.incarnation > 0)
        return path.open("xb"), path, _about(context, file, segment)
    except OSError as e:
        raise KinecastError(f"{file}: cannot record here: {e.strerror}") from None


def main(context: NodeContext) -> None:
    """Record until every writer has ended or the process is asked to stop; KinecastError where the disk is full."""
    settings = context.graph.nodes[context.name]
    assert isinstance(settings, RecorderNode)
    rig = native.dumps(load_rig(context.graph.session.rig)).encode()
    with Bus(context) as bus:
        try:
            stream, path, about = _open(context, settings)
            try:
                record(bus, stream, path, about, rig, round(settings.flush_s * 1e9))
                os.fsync(stream.fileno())
            finally:
                # after a full disk the last buffer cannot be written either, and the reason has been said
                with suppress(OSError):
                    stream.close()
        except KinecastError as e:
            bus.state, bus.note = "failed", str(e)
            raise


def record(bus: Bus, stream: BinaryIO, path: Path, about: About, rig: bytes, flush_ns: int) -> None:
    """Write the whole of one segment into ``stream``, its index last."""
    context = bus.context
    writer = RecordingWriter(stream, about, str(path))
    writer.attach(RIG, rig)
    writer.attach(LAUNCH, dump(without_secrets(context.graph)).encode())
    bus.state, bus.note = "running", f"recording to {path.name}"
    core = RecorderCore(writer, writers_to_end(context.graph, context.name), flush_ns)
    _take(bus, core, writer)
    bus.state = "ended"
    _write_health(bus, writer)
    writer.finish()


def _take(bus: Bus, core: RecorderCore, writer: RecordingWriter) -> None:
    """Messages into the file until all writers have ended, or a while after the process is asked to stop."""
    stop_by_ns: int | None = None
    health_ns = time.monotonic_ns() + OWN_HEALTH_NS
    while not core.ended:
        now = time.monotonic_ns()
        if bus.stopping and stop_by_ns is None:
            stop_by_ns = now + STOP_WAIT_NS
        if stop_by_ns is not None and now >= stop_by_ns:
            return
        due = core.next_deadline_ns()
        message = bus.receive(IDLE_S if due is None else min(IDLE_S, max(0.0, (due - now) * 1e-9)))
        if message is not None:
            core.handle(message)
        now = time.monotonic_ns()
        core.tick(now)
        if now >= health_ns:
            health_ns = now + OWN_HEALTH_NS
            _write_health(bus, writer)


def _write_health(bus: Bus, writer: RecordingWriter) -> None:
    """The recorder's own word, which nobody sends it: gaps, restarts and what it received."""
    health = bus.health()
    life = bus.context.incarnation
    writer.record(Stamp(f"health/{health.node}", 0, health.t_ns, health.t_ns, incarnation=life), health)
