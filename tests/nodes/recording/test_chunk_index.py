"""The index of chunks on disk: the same file to the last byte, and memory that does not grow."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from kinecast.nodes.recording import chunk_index
from kinecast.nodes.recording.chunk_index import SpooledIndex, spool_index

CHUNKS = 300


def write(stream: Any, spooled: bool, chunks: int = CHUNKS) -> Writer:
    writer = Writer(stream, 1 << 20, CompressionType.ZSTD)
    if spooled:
        spool_index(writer)
    writer.start()
    schema = writer.register_schema("bytes", "", b"")
    channels = [writer.register_channel(f"topic/{n}", "msgpack", schema) for n in range(8)]
    for chunk in range(chunks):
        for c in channels:
            writer.add_message(c, chunk, b"payload", chunk)
        writer._Writer__finalize_chunk()  # type: ignore[attr-defined]
    return writer


def whole(spooled: bool) -> bytes:
    stream = io.BytesIO()
    write(stream, spooled).finish()
    return stream.getvalue()


def test_the_file_is_the_same_to_the_last_byte() -> None:
    assert whole(True) == whole(False)
    assert sum(1 for _ in make_reader(io.BytesIO(whole(True))).iter_messages()) == 8 * CHUNKS


def test_a_full_disk_costs_memory_and_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        """Takes 5,000 bytes, the last of them a part of a record."""

        def write(self, data: Any) -> int:
            room = 5000 - len(self.getvalue())
            if room <= 0:
                raise OSError(28, "No space left on device")
            return super().write(bytes(data)[:room])

    monkeypatch.setattr(chunk_index.tempfile, "TemporaryFile", lambda **_: Full())
    assert whole(True) == whole(False)


def test_memory_does_not_grow_with_chunks(tmp_path: Path) -> None:
    grown = {}
    for spooled in (True, False):
        with (tmp_path / f"{spooled}.mcap").open("wb") as stream:
            write(stream, spooled, 20).finish()
        with (tmp_path / f"{spooled}.mcap").open("wb") as stream:
            tracemalloc.start()
            kept = write(stream, spooled, 1000)
            grown[spooled] = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            kept.finish()
    assert grown[False] > 600_000  # the library's own, which this is about
    assert grown[True] < 100_000 < grown[False] / 5


def test_the_writer_of_the_pinned_version_has_the_list() -> None:
    writer = Writer(io.BytesIO())
    spool_index(writer)
    assert isinstance(getattr(writer, chunk_index._HELD), SpooledIndex)
