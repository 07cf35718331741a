"""Writer → reader, and what a reader makes of files that are torn, damaged, newer or not recordings at all."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus.codec import encode
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp
from kinecast.nodes.recording.mcap_scan import chunk_records
from kinecast.nodes.recording.paths import next_path, recordings, segment_path
from tests.nodes.recording.scene import keypoints, poses, write_scene
from tests.nodes.recording.toys import FullDisk


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "session.mcap"
    write_scene(path, frames=20, flush_every=3)
    return path


def count(path: Path) -> int:
    return sum(1 for _ in Recording.open(path).raw())


def test_what_is_written_is_read(scene: Path) -> None:
    recording = Recording.open(scene)
    got = list(recording.messages())
    assert not recording.cut_short and recording.damage() == []
    assert len(got) == 4 + 20 * 6 + 4
    rig = recording.rig
    assert rig.names == ("cam1", "cam2", "cam3", "cam4")
    topic, stamp, record = got[4 + 6 * 5 + 2]
    assert (topic, stamp.sequence, stamp.topic) == ("keypoints/cam3", 5, "keypoints/cam3")
    assert encode(record) == encode(keypoints(rig, 2, 5))
    assert list(recording.sources) == list(rig.names)
    assert recording.about["session"] == "scene" and recording.about["segment"] == "0"


def test_topics_select_by_family_or_by_full_name(scene: Path) -> None:
    recording = Recording.open(scene)
    assert {t for t, _, _ in recording.messages(("keypoints/cam2", "poses"))} == {"keypoints/cam2", "poses"}
    assert sum(1 for _ in recording.messages(("keypoints",))) == 80


def test_other_readers_of_mcap_read_it(scene: Path) -> None:
    """The library's own indexed reader is the oracle."""
    with scene.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        theirs = [(c.topic, m.sequence, m.data) for _, c, m in reader.iter_messages(log_time_order=False)]
        schema = next(iter(reader.get_summary().schemas.values()))
        assert [a.name for a in reader.iter_attachments()] == ["rig.toml"]
    assert schema.encoding == "jsonschema" and b'"properties"' in schema.data
    assert theirs == [(s.topic, s.sequence, data) for s, data in Recording.open(scene).raw()]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_at_any_byte_it_is_readable_to_the_last_whole_chunk(
    scene: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = scene.read_bytes()
    chunks = Recording.open(scene).segments[0].scan.chunks
    edges = [e for offset, length in chunks for e in (offset - 9, offset, offset + length - 1, offset + length)]
    cut = data.draw(st.one_of(st.sampled_from(edges), st.integers(0, len(content) - 1)))
    with scene.open("rb") as file:
        expected = sum(
            hasattr(r, "sequence") for o, n in chunks if o + n <= cut for r in list(chunk_records(file, o, n))
        )
    torn = tmp_path / "torn.mcap"
    torn.write_bytes(content[:cut])
    recording = Recording.open(torn)
    assert sum(1 for _ in recording.raw()) == expected
    assert recording.cut_short and "cut short" in recording.damage()[0]
    assert recording.segments[0].scan.good <= cut


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_never_read_as_data(scene: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Damage costs chunks, not truth: every message that is still read is one that was written."""
    content = bytearray(scene.read_bytes())
    written = {(s.topic, s.sequence, p) for s, p in Recording.open(scene).raw()}
    offset, length = data.draw(st.sampled_from(Recording.open(scene).segments[0].scan.chunks))
    content[data.draw(st.integers(offset, offset + length - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(content)
    read = {(s.topic, s.sequence, p) for s, p in Recording.open(damaged).raw()}
    assert read <= written


def test_a_damaged_chunk_is_named_and_the_rest_is_read(scene: Path, tmp_path: Path) -> None:
    content = bytearray(scene.read_bytes())
    offset, length = Recording.open(scene).segments[0].scan.chunks[2]
    content[offset + length // 2] ^= 0xFF
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(content)
    recording = Recording.open(damaged)
    assert 0 < sum(1 for _ in recording.raw()) < count(scene)
    assert recording.cut_short and "1 of 7 chunks are damaged" in recording.damage()[0]


def test_a_damaged_attachment_is_named_and_not_used(scene: Path, tmp_path: Path) -> None:
    content = bytearray(scene.read_bytes())
    rig = Recording.open(scene).attachment("rig.toml")
    assert rig is not None
    content[content.index(rig) + rig.index(b"0.")] = ord("1")  # still a rig, but another one
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(content)
    recording = Recording.open(damaged)
    assert recording.damage() == ["damaged.mcap: the attached 'rig.toml' is damaged, and not used"]
    with pytest.raises(KinecastError, match="the rig attached to it is damaged"):
        _ = recording.rig
    assert sum(1 for _ in recording.raw()) == count(scene)


def test_a_pipe_or_device_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mcap")
    for path in (tmp_path / "pipe.mcap", tmp_path):
        with pytest.raises(KinecastError, match="not a file, so no recording"):
            Recording.open(path)


@pytest.mark.parametrize("content", [b"no recording", b"\x00" * 100, b"\x89MCAP1\r\n" + b"\x00" * 40])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(KinecastError, match=r"x\.mcap: not an MCAP file"):
        Recording.open(path)
    with pytest.raises(KinecastError, match="no such recording"):
        Recording.open(tmp_path / "missing.mcap")


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "new.mcap"
    rig = write_scene(tmp_path / "rig.mcap", frames=1)
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.record(Stamp("poses", 0, version=1), poses(rig, 0))
        writer.record(Stamp("keypoints/cam1", 0, version=2), keypoints(rig, 0, 0))
        writer.finish()
    recording = Recording.open(path)
    assert sum(1 for _ in recording.messages(("poses",))) == 1
    with pytest.raises(KinecastError, match=r"keypoints version 2, .* update Kinecast"):
        list(recording.messages())


def test_a_message_that_is_no_record_is_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bad.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.write(Stamp("poses", 3), b"\x81\xa3seq\x01")
        writer.finish()
    recording = Recording.open(path)
    assert list(recording.messages()) == []
    assert recording.unreadable == {"poses": 1}


def test_segments_of_one_recording_are_read_in_a_row(tmp_path: Path) -> None:
    first = tmp_path / "session.mcap"
    write_scene(first, frames=4, finish=False, about=About("one", "s"))
    write_scene(segment_path(first, 1), frames=3, about=About("one", "s", segment=1, incarnation=1))
    write_scene(segment_path(first, 2), frames=2, about=About("another", "s", segment=2))
    recording = Recording.open(first)
    assert [s.path.name for s in recording.segments] == ["session.mcap", "session-001.mcap"]
    assert [s.segment for _, s, _ in recording.messages(("poses",))] == [0, 0, 0, 0, 1, 1, 1]
    assert recording.damage()[0].startswith("session.mcap: cut short")
    assert len(Recording.open(first, follow=False).segments) == 1


def test_flushed_data_survives_although_nothing_was_finished(tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    rig = write_scene(tmp_path / "rig.mcap", frames=1)
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.record(Stamp("poses", 0), poses(rig, 0))
        assert writer.pending == 1
        writer.flush()
        assert writer.pending == 0
        writer.record(Stamp("poses", 1), poses(rig, 1))
        assert [s.sequence for s, _ in Recording.open(path).raw()] == [0]


def test_a_full_disk_is_one_line_and_what_was_written_is_readable(tmp_path: Path) -> None:
    rig = write_scene(tmp_path / "rig.mcap", frames=1)
    disk = FullDisk(30_000)
    writer = RecordingWriter(disk, About(), "out/session.mcap")
    written = flushed = 0
    with pytest.raises(KinecastError, match=r"out/session\.mcap: No space left on device while recording; ") as caught:
        for written in range(10_000):
            writer.record(Stamp("poses", written), poses(rig, written))
            if written % 5 == 4:
                writer.flush()
                flushed = written + 1
    assert "\n" not in str(caught.value)
    path = tmp_path / "full.mcap"
    path.write_bytes(disk.getvalue())
    assert [s.sequence for s, _ in Recording.open(path).raw()] == list(range(flushed))
    assert flushed > 0


def test_no_recording_is_ever_written_over(tmp_path: Path) -> None:
    file = tmp_path / "session.mcap"
    assert next_path(file, again=False) == (file, 0)
    assert next_path(file, again=True) == (file, 0)
    file.touch()
    assert next_path(file, again=True) == (tmp_path / "session-001.mcap", 1)
    assert next_path(file, again=False) == (tmp_path / "session_2.mcap", 0)
    (tmp_path / "session_2.mcap").touch()
    (tmp_path / "session_2-001.mcap").touch()
    assert next_path(file, again=True) == (tmp_path / "session_2-002.mcap", 2)
    assert next_path(file, again=False) == (tmp_path / "session_3.mcap", 0)
    assert recordings(file) == [file, tmp_path / "session_2.mcap"]


def test_whole_files_appear_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "out.bin"
    with pytest.raises(RuntimeError), atomic_path(path, overwrite=False) as file:
        file.write(b"half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with atomic_path(path, overwrite=False) as file:
        file.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"
    with pytest.raises(KinecastError, match="exists already"), atomic_path(path, overwrite=False):
        pass
    assert path.read_bytes() == b"all"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["keypoints/a", "keypoints/b", "poses", "framesets", "end/a"]),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**63 - 1),
            st.integers(0, 2**63 - 1),
            st.integers(0, 3),
            st.binary(max_size=50),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_any_payload_comes_back_untouched(
    tmp_path: Path, rows: list[tuple[str, int, int, int, int, bytes, bool]]
) -> None:
    path = tmp_path / "any.mcap"
    stamps = [Stamp(t, seq, log, pub, 1, inc) for t, seq, log, pub, inc, _, _ in rows]
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        for stamp, row in zip(stamps, rows, strict=True):
            writer.write(stamp, row[5])
            if row[6]:
                writer.flush()
        writer.finish()
    got = list(Recording.open(path).raw())
    assert [s for s, _ in got] == stamps
    assert [p for _, p in got] == [row[5] for row in rows]


def test_arrays_survive_exactly(scene: Path) -> None:
    recording = Recording.open(scene)
    rig = recording.rig
    for frame, (_, _, record) in enumerate(recording.messages(("poses",))):
        np.testing.assert_array_equal(record.points_world_m, poses(rig, frame).points_world_m)
