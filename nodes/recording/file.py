"""A recording: one MCAP file, or several segments of one, holding the messages of the bus with their bytes untouched.

The rig, the resolved launch file and the models travel inside as attachments, the schemas as JSON schemas. Reading is
streaming and tolerant: a file that was cut short is read to its last whole chunk and says so.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mcap.records import Channel
from mcap.writer import CompressionType, Writer

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.capture.errors import KinecastError
from kinecast.capture.version import kinecast_version
from kinecast.nodes.bus.codec import CodecError, decode, encode, json_schema
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.bus.topics import TOPICS, topic_of
from kinecast.nodes.recording.chunk_index import spool_index
from kinecast.nodes.recording.mcap_scan import ChunkMessage, NotMcapError, Scan, chunk_records, scan
from kinecast.nodes.recording.paths import segment_path

CHUNK_BYTES = 256 << 10  # measured: a kill loses 6–98 ms at this size with a flush every 0.25 s
ABOUT = "kinecast"
RIG, LAUNCH, MODELS = "rig.toml", "launch.yaml", "models.json"
MEDIA = {RIG: "application/toml", LAUNCH: "application/yaml", MODELS: "application/json"}


@dataclass(frozen=True, slots=True)
class About:
    """What a recording says of itself. recording: an id that its segments share. incarnation: of the recorder."""

    recording: str = ""
    session: str = ""
    pace: str = "lossless"
    segment: int = 0
    incarnation: int = 0
    epoch_ns: int = 0
    started_utc: str = ""
    made_by: str = "recorder"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The envelope of a recorded message.

    sequence: the writer's number on this topic, 32 bits; t_log_ns: arrival at the recorder; t_publish_ns: when the
    writer sent it; both on the monotonic clock. incarnation: of the writer. segment: the file it was read from.
    """

    topic: str
    sequence: int
    t_log_ns: int = 0
    t_publish_ns: int = 0
    version: int = 1
    incarnation: int = 0
    segment: int = 0


class RecordingWriter:
    """Writes one segment into a binary stream. Every method raises KinecastError where the disk refuses.

    stream: opened for writing, with ``tell``; not closed here. where: its name in messages.
    """

    def __init__(self, stream: BinaryIO, about: About, where: str = "recording") -> None:
        self._stream = stream
        self._where = where
        self._channels: dict[tuple[str, int, int], int] = {}
        self._schemas: dict[str, int] = {}
        self.messages = 0
        self.pending = 0  # messages that are not on disk yet
        with self._disk():
            self._writer = Writer(stream, CHUNK_BYTES, CompressionType.ZSTD)
            spool_index(self._writer)
            self._writer.start(profile="kinecast", library=f"kinecast {kinecast_version()}")
            metadata = {name: str(getattr(about, name)) for name in About.__slots__}
            self._writer.add_metadata(ABOUT, {"version": kinecast_version(), **metadata})
            self._writer.add_metadata("schemas", {t.name: str(t.version) for t in TOPICS.values()})

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise KinecastError(
                f"{self._where}: {e.strerror or e} while recording; free some space or record elsewhere; "
                f"what was recorded so far stays readable"
            ) from e

    def attach(self, name: str, data: bytes, t_log_ns: int = 0) -> None:
        """Attach a file; of one name the last attached counts."""
        with self._disk():
            self._writer.add_attachment(0, t_log_ns, name, MEDIA.get(name, "application/octet-stream"), data)

    def write(self, stamp: Stamp, payload: bytes) -> None:
        """Append a message, its bytes as they travelled."""
        key = (stamp.topic, stamp.version, stamp.incarnation)
        with self._disk():
            if key not in self._channels:
                self._channels[key] = self._channel(stamp)
            self._writer.add_message(
                self._channels[key], stamp.t_log_ns, payload, stamp.t_publish_ns, stamp.sequence & 0xFFFFFFFF
            )
        self.messages += 1
        self.pending += 1

    def record(self, stamp: Stamp, record: Any) -> None:
        """Append a record."""
        self.write(stamp, encode(record))

    def _channel(self, stamp: Stamp) -> int:
        metadata = {"version": str(stamp.version), "incarnation": str(stamp.incarnation)}
        return int(self._writer.register_channel(stamp.topic, "msgpack", self._schema(stamp), metadata))

    def _schema(self, stamp: Stamp) -> int:
        """Number of the schema of a topic, 0 (none) for one of a newer version that is only copied."""
        family = TOPICS.get(stamp.topic.partition("/")[0])
        if family is None or stamp.version > family.version:
            return 0
        name = family.record.__name__
        if name not in self._schemas:
            schema = json.dumps(json_schema(family.record)).encode()
            self._schemas[name] = int(self._writer.register_schema(name, "jsonschema", schema))
        return self._schemas[name]

    def flush(self) -> None:
        """Close the chunk in progress and hand it to the operating system: from here on a kill does not lose it."""
        with self._disk():
            self._writer.flush()
        self.pending = 0

    def finish(self) -> None:
        """Write index and footer. Nothing can be written after."""
        with self._disk():
            self._writer.finish()
            self._stream.flush()
        self.pending = 0


@dataclass(slots=True)
class Segment:
    """One file of a recording. lost_chunks: chunks of it that are damaged, known once it has been read."""

    path: Path
    number: int
    scan: Scan
    lost_chunks: int = 0

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole record."""
        return self.scan.size - self.scan.good

    @property
    def cut_short(self) -> bool:
        """Whether the file lacks its end."""
        return not self.scan.complete


@dataclass(slots=True)
class Recording:
    """A recording that is open for reading; files are opened only while they are read.

    unreadable: messages that did not decode, by topic; unknown: topics that this version does not know, with counts.
    Both are counted while ``messages`` runs.
    """

    path: Path
    segments: list[Segment]
    unreadable: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, path: str | Path, follow: bool = True) -> "Recording":
        """Open a file, and with ``follow`` the segments that a restarted recorder wrote after it.

        Raises KinecastError where there is no such file or it is not an MCAP file.
        """
        first = Path(path)
        segments = [Segment(first, 0, _scan(first))]
        about = segments[0].scan.metadata.get(ABOUT, {})
        while follow and (nth := segment_path(first, len(segments))).exists():
            found = _scan(nth)
            same = found.metadata.get(ABOUT, {}).get("recording")
            if same and about.get("recording") and same != about["recording"]:
                break  # left by another session
            segments.append(Segment(nth, len(segments), found))
        return cls(first, segments)

    @property
    def about(self) -> dict[str, str]:
        """What the first segment says of itself; empty where it was cut before that."""
        return next((s.scan.metadata[ABOUT] for s in self.segments if ABOUT in s.scan.metadata), {})

    @property
    def cut_short(self) -> bool:
        """Whether a segment lacks its end or a chunk was found damaged."""
        return any(s.cut_short or s.lost_chunks for s in self.segments)

    def damage(self) -> list[str]:
        """One line for each segment that is not whole."""
        out = []
        for s in self.segments:
            if s.cut_short:
                torn = (
                    f"{s.torn_bytes} bytes behind the last whole record are lost"
                    if s.torn_bytes
                    else "without its index"
                )
                out.append(f"{s.path.name}: cut short, {torn}")
            out += [f"{s.path.name}: the attached {name!r} is damaged, and not used" for name in s.scan.damaged]
            if s.lost_chunks:
                out.append(f"{s.path.name}: {s.lost_chunks} of {len(s.scan.chunks)} chunks are damaged")
        return out

    def attachment(self, name: str) -> bytes | None:
        """The newest attachment of that name, or None."""
        found = [s.scan.attachments[name] for s in self.segments if name in s.scan.attachments]
        return found[-1] if found else None

    @property
    def rig(self) -> Rig:
        """The rig that was attached; KinecastError where there is none."""
        data = self.attachment(RIG)
        if data is None:
            damaged = any(RIG in s.scan.damaged for s in self.segments)
            why = "the rig attached to it is damaged" if damaged else "no rig is attached to it; was it cut short?"
            raise KinecastError(f"{self.path}: {why} `kinecast info` shows what there is")
        where = Path(f"{self.path}:{RIG}")
        try:
            return native.read(tomllib.loads(data.decode()), where)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise KinecastError(f"{where}: {e}") from None

    @property
    def launch_text(self) -> str:
        """The resolved launch file that was attached, "" where there is none."""
        return (self.attachment(LAUNCH) or b"").decode(errors="replace")

    @property
    def models(self) -> dict[str, str]:
        """Name → sha256 of the models that were in force."""
        try:
            models = json.loads(self.attachment(MODELS) or b"{}")
        except ValueError:
            models = {}
        return {str(k): str(v) for k, v in models.items()} if isinstance(models, dict) else {}

    @property
    def sources(self) -> dict[str, SourceReport]:
        """The newest source report of every camera."""
        return {report.camera: report for _, _, report in self.messages(("source",))}

    def holds(self, topic: str) -> bool:
        """Whether it has a message of that topic: a whole file says so in its index, of a torn one it is looked for."""
        if not self.cut_short:
            return any(c.topic == topic for s in self.segments for c in s.scan.channels.values())
        return any(True for _ in self.raw((topic,)))

    @property
    def openings(self) -> dict[str, list[SourceReport]]:
        """For every camera its source reports, one for each video that was kept, in the order they were opened."""
        out: dict[str, dict[tuple[str, str], SourceReport]] = {}
        for _, _, report in self.messages(("source",)):
            out.setdefault(report.camera, {})[report.video, report.timestamps] = report
        return {camera: list(reports.values()) for camera, reports in out.items()}

    def raw(self, topics: Collection[str] | None = None) -> Iterator[tuple[Stamp, bytes]]:
        """Every message with its bytes, in the order recorded. topics: full names or families; None: all."""
        for segment in self.segments:
            segment.lost_chunks = 0
            with _opened(segment.path) as file:
                yield from _segment(segment, file, topics)

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, Stamp, Any]]:
        """(topic, stamp, record) in the order recorded; what cannot be decoded is counted and left out.

        Raises KinecastError where a message has a newer schema than this version reads.
        """
        self.unreadable.clear()
        self.unknown.clear()
        for stamp, payload in self.raw(topics):
            try:
                topic = topic_of(stamp.topic)
            except KinecastError:
                self.unknown[stamp.topic] += 1
                continue
            if stamp.version > topic.version:
                raise KinecastError(
                    f"{self.path}: {topic.name} version {stamp.version}, but this Kinecast ({kinecast_version()}) "
                    f"reads up to version {topic.version}; update Kinecast"
                )
            try:
                record = decode(topic.record, payload)
            except CodecError:
                self.unreadable[stamp.topic] += 1
                continue
            yield stamp.topic, stamp, record


def _scan(path: Path) -> Scan:
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise KinecastError(f"{path}: not a file, so no recording")
        with path.open("rb") as file:
            return scan(file)
    except FileNotFoundError:
        raise KinecastError(f"{path}: no such recording") from None
    except NotMcapError:
        raise KinecastError(f"{path}: not an MCAP file, so no recording of Kinecast's") from None
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror}") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror}") from None
    with file:
        yield file


def number_of(metadata: Mapping[str, str], key: str, default: int) -> int:
    """A number that a recording says of itself, or the default where it says none."""
    with suppress(KeyError, ValueError):
        return int(metadata[key])
    return default


def _segment(segment: Segment, file: BinaryIO, topics: Collection[str] | None) -> Iterator[tuple[Stamp, bytes]]:
    channels: dict[int, Channel] = dict(segment.scan.channels)
    heads: dict[int, tuple[str, int, int, bool]] = {}
    for offset, length in segment.scan.chunks:
        try:
            records = chunk_records(file, offset, length)
        except ValueError:
            segment.lost_chunks += 1
            continue
        for record in records:
            if isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, ChunkMessage) and record.channel_id in channels:
                head = heads.get(record.channel_id)
                if head is None:
                    channel = channels[record.channel_id]
                    wanted = topics is None or bool({channel.topic, channel.topic.partition("/")[0]} & set(topics))
                    about = channel.metadata
                    head = (channel.topic, number_of(about, "version", 1), number_of(about, "incarnation", 0), wanted)
                    heads[record.channel_id] = head
                topic, schema_version, incarnation, wanted = head
                if wanted:
                    times = record.log_time, record.publish_time
                    yield (
                        Stamp(topic, record.sequence, *times, schema_version, incarnation, segment.number),
                        record.data,
                    )
