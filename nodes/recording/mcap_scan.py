"""Reading MCAP files that may be torn: the outer records, one chunk at a time, and exactly where it stops.

The library's indexed reader refuses a file without a footer and its stream reader ends in one of several exceptions;
here a file is first walked by record headers alone, seeking over the chunks, so that what is whole and what is not is
known before anything is unpacked. Format: https://mcap.dev/spec.
"""

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, Metadata, Schema
from mcap.stream_reader import get_chunk_data_stream

MAGIC = b"\x89MCAP0\r\n"
HEAD = struct.Struct("<BQ")  # opcode, length of what follows
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time; the data follows
MAX_CHUNK_BYTES = 256 << 20  # ours are 256 KiB plus one message; more is not a recording of ours
MAX_ATTACHMENT_BYTES = 64 << 20


class NotMcapError(ValueError):
    """The file does not begin as an MCAP file does."""


@dataclass(slots=True)
class Scan:
    """What one file holds.

    size: its bytes; good: bytes up to the end of the last whole record; complete: index and closing magic are there.
    chunks: (offset, length) of the body of every whole chunk, in the order written.
    attachments: the newest of each name that is sound; damaged: names of those whose checksum does not fit.
    channels and schemas: those outside of chunks (a complete file repeats them).
    """

    size: int
    good: int = 0
    complete: bool = False
    chunks: list[tuple[int, int]] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    channels: dict[int, Any] = field(default_factory=dict)
    schemas: dict[int, Any] = field(default_factory=dict)


def _parse(kind: Any, body: bytes) -> Any:
    return kind.read(ReadDataStream(io.BytesIO(body)))


def scan(file: BinaryIO) -> Scan:
    """Walk the records of a file without unpacking a chunk; stops, without an exception, where the file is torn.

    Raises NotMcapError where the first bytes are not those of an MCAP file.
    """
    out = Scan(size=file.seek(0, io.SEEK_END))
    file.seek(0)
    magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic):
        raise NotMcapError
    position = len(magic)
    footer = False
    while len(magic) == len(MAGIC):
        out.good = position
        file.seek(position)
        head = file.read(HEAD.size)
        if footer or len(head) < HEAD.size:
            out.complete = footer and head[: len(MAGIC)] == MAGIC
            out.good += len(MAGIC) if out.complete else 0
            break
        opcode, length = HEAD.unpack(head)
        body = position + HEAD.size
        if opcode == 0 or body + length > out.size:
            break
        try:
            _note(out, file, opcode, body, length)
        except (ValueError, struct.error, EOFError, OverflowError):
            break
        except Exception as e:
            # the library's own EndOfFile does not derive from EOFError
            if type(e).__module__.partition(".")[0] != "mcap":
                raise
            break
        footer = opcode == Opcode.FOOTER
        position = body + length
    return out


def _note(out: Scan, file: BinaryIO, opcode: int, body: int, length: int) -> None:
    if opcode == Opcode.CHUNK:
        out.chunks.append((body, length))
    elif opcode == Opcode.ATTACHMENT and length <= MAX_ATTACHMENT_BYTES:
        content = file.read(length)
        attachment = _parse(Attachment, content)
        checksum = int.from_bytes(content[-4:], "little")  # 0: the writer took no checksum
        if checksum and checksum != zlib.crc32(content[:-4]):
            out.damaged.append(attachment.name)
        else:
            out.attachments[attachment.name] = attachment.data
    elif opcode == Opcode.METADATA:
        metadata = _parse(Metadata, file.read(length))
        out.metadata[metadata.name] = metadata.metadata
    elif opcode == Opcode.CHANNEL:
        channel = _parse(Channel, file.read(length))
        out.channels[channel.id] = channel
    elif opcode == Opcode.SCHEMA:
        schema = _parse(Schema, file.read(length))
        out.schemas[schema.id] = schema


class ChunkMessage(NamedTuple):
    """A message as it lies in a chunk; times in ns."""

    channel_id: int
    sequence: int
    log_time: int
    publish_time: int
    data: bytes


def chunk_records(file: BinaryIO, offset: int, length: int) -> list[Any]:
    """The channels (the library's record) and messages (ChunkMessage) of one chunk, in the order written.

    Raises ValueError where it is damaged (its CRC does not fit, or it does not unpack); nothing of it is given then.
    """
    file.seek(offset)
    try:
        chunk = _parse(Chunk, file.read(length))
        # the size is in the file twice, and a damaged one must not take all memory
        size = zstandard.get_frame_parameters(chunk.data).content_size if chunk.compression == "zstd" else 0
        if max(size, chunk.uncompressed_size) > MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk of {max(size, chunk.uncompressed_size)} bytes")
        stream, _ = get_chunk_data_stream(chunk, validate_crc=True)
        return _unpack(stream.read(MAX_CHUNK_BYTES + 1) if chunk.uncompressed_size else b"")
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as e:
        raise ValueError(str(e) or type(e).__name__) from None


def _unpack(content: bytes) -> list[Any]:
    """The library's ``breakup_chunk`` at a fifth of its cost."""
    out: list[Any] = []
    position = 0
    while position < len(content):
        opcode, length = HEAD.unpack_from(content, position)
        position += HEAD.size
        end = position + length
        if end > len(content):
            raise ValueError("a record reaches beyond its chunk")
        if opcode == Opcode.MESSAGE:
            channel, sequence, log, publish = MESSAGE.unpack_from(content, position)
            out.append(ChunkMessage(channel, sequence, log, publish, content[position + MESSAGE.size : end]))
        elif opcode == Opcode.CHANNEL:
            out.append(_parse(Channel, content[position:end]))
        position = end
    return out
