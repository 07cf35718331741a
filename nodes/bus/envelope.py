"""What every message carries around its payload, whatever its topic. On the wire: [topic, envelope, payload]."""

from dataclasses import dataclass, fields
from typing import Any

import msgpack

from kinecast.nodes.bus.codec import CodecError


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent a message, which one it is, and when.

    writer: name of the node. incarnation: which life of that node, from 0. sequence: number of the message within
    (writer, incarnation, topic), from 0, so that a gap is a loss that can be seen. version: schema version of the
    topic. t_capture_ns: capture time that the message is about, 0 where none. t_publish_ns: monotonic clock of the
    writer.
    credit: number of the message among all lossless ones of this writer and incarnation, from 0; -1 where the pace or
    the topic has no credits.
    """

    writer: str
    incarnation: int
    sequence: int
    version: int
    t_capture_ns: int
    t_publish_ns: int
    credit: int = -1

    def pack(self) -> bytes:
        """As a msgpack list; fields are only ever added at its end."""
        out: bytes = msgpack.packb([getattr(self, f.name) for f in fields(self)])
        return out


_TYPES = [f.type for f in fields(Envelope)]
# what a recording keeps of a sequence (60 Hz for two years), and of the other numbers
_MOST = {"sequence": (1 << 32) - 1, "incarnation": (1 << 31) - 1, "version": (1 << 31) - 1}
_RANGES = [(f.name, -1 if f.name == "credit" else 0, _MOST.get(f.name, (1 << 63) - 1)) for f in fields(Envelope)[1:]]


def unpack(data: bytes) -> Envelope:
    """The envelope in ``data``; CodecError where it is none."""
    try:
        values: Any = msgpack.unpackb(data)
    except Exception:
        raise CodecError("the envelope is not a msgpack message") from None
    if not isinstance(values, list) or len(values) < len(_TYPES):
        raise CodecError("the envelope is not a list of its fields")
    values = values[: len(_TYPES)]
    if any(type(v) is not t for v, t in zip(values, _TYPES, strict=True)):
        raise CodecError("a field of the envelope has the wrong type")
    for value, (name, least, most) in zip(values[1:], _RANGES, strict=True):
        if not least <= value <= most:
            raise CodecError(f"{name} of the envelope is {'negative' if value < 0 else 'too large'}: {value}")
    return Envelope(*values)
