"""The index of a recording's chunks, on disk while it is written.

The mcap library keeps it in memory until the end: with a chunk every quarter of a second 22 MB an hour, and a recorder
runs for a day. Here it lies in a temporary file that has no name, and in memory only where that cannot be written.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from io import BytesIO

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.records import ChunkIndex
from mcap.writer import Writer

_HELD = "_Writer__chunk_indices"  # of mcap's pinned version; a test says where another has another name
HEAD_BYTES = 9  # of a record: its kind and its length


class SpooledIndex:
    """Stands for the writer's list: it appends, and is gone through once, in order."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="kinecast-", buffering=0)  # noqa: SIM115 – as long as the writer
        self._rest: list[ChunkIndex] = []  # after the disk refused

    def append(self, index: ChunkIndex) -> None:
        """Keep one more. Never raises for a full disk."""
        if not self._rest:
            record = RecordBuilder()
            index.write(record)
            data = record.end()
            with contextlib.suppress(OSError):
                if self._file.write(data) == len(data):
                    return
        self._rest.append(index)

    def __iter__(self) -> Iterator[ChunkIndex]:
        self._file.seek(0)
        while len(head := self._file.read(HEAD_BYTES)) == HEAD_BYTES:
            data = self._file.read(int.from_bytes(head[1:], "little"))
            if len(data) < int.from_bytes(head[1:], "little"):
                break  # the one that the disk refused, which is among the rest
            yield ChunkIndex.read(ReadDataStream(BytesIO(data)))
        yield from self._rest


def spool_index(writer: Writer) -> None:
    """Let a writer that has begun keep its index on disk."""
    if getattr(writer, _HELD) == []:
        setattr(writer, _HELD, SpooledIndex())
