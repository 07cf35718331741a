"""The binary frame that a stream sends: one message a frame set, documented in docs/reference/stream.md.

Little-endian. Header (36 bytes): magic ``KCF1``; people, joints J, betas B, flags, uint16 each (flag 1: rotations
follow); number of the set, uint32; capture and sending time on the Unix clock, int64 nanoseconds; how far ahead of the
capture it was predicted, float32 milliseconds. Then each person: identity int32, flags uint32 (``BODY_FLAGS``); with
rotations β (B,), the root's place (3,), J quaternions x y z w in each parent's frame, the root's in the world; then J
joints (3,) and their σ (J,), metres. All float32; missing is NaN.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
MAGIC = b"KCF1"
_HEADER = struct.Struct("<4sHHHHIqqf")
_PERSON = struct.Struct("<iI")
ROTATIONS = 1
MOST_PEOPLE, MOST_JOINTS = 256, 256


@dataclass(frozen=True, slots=True, eq=False)
class StreamedPerson:
    """One person of a frame. betas: (B,), root_m: (3,), quaternions_xyzw: (J, 4); empty where there are no bodies.
    joints_m: (J, 3), NaN where missing. joint_sd_m: (J,)."""

    person: int
    flags: int
    betas: F32
    root_m: F32
    quaternions_xyzw: F32
    joints_m: F32
    joint_sd_m: F32


@dataclass(frozen=True, slots=True, eq=False)
class StreamFrame:
    """Everybody at one time. t_capture_ns: what it shows; t_sent_ns: when it was sent; both on the Unix clock.
    predicted_ms: how far ahead of the capture the poses were carried."""

    seq: int
    t_capture_ns: int
    t_sent_ns: int
    predicted_ms: float
    people: tuple[StreamedPerson, ...]


def pack(frame: StreamFrame) -> bytes:
    """The frame as bytes; everybody has the same joints, and rotations all or nobody."""
    first = frame.people[0] if frame.people else None
    turned = first is not None and len(first.quaternions_xyzw) > 0
    joints = 0 if first is None else len(first.joints_m)
    betas = 0 if first is None or not turned else len(first.betas)
    head = (len(frame.people), joints, betas, ROTATIONS if turned else 0, frame.seq & 0xFFFFFFFF)
    parts = [_HEADER.pack(MAGIC, *head, frame.t_capture_ns, frame.t_sent_ns, frame.predicted_ms)]
    for p in frame.people:
        parts.append(_PERSON.pack(p.person, p.flags))
        arrays = (p.betas, p.root_m, p.quaternions_xyzw) if turned else ()
        parts += [np.ascontiguousarray(a, "<f4").tobytes() for a in (*arrays, p.joints_m, p.joint_sd_m)]
    return b"".join(parts)


def unpack(data: bytes) -> StreamFrame:
    """The frame in ``data``; ValueError where it is none."""
    if len(data) < _HEADER.size or data[:4] != MAGIC:
        raise ValueError("not a Kinecast frame")
    _, people, joints, betas, flags, seq, t_capture_ns, t_sent_ns, predicted_ms = _HEADER.unpack_from(data)
    turned = bool(flags & ROTATIONS)
    sizes = [betas, 3, joints * 4] if turned else [0, 0, 0]
    each = _PERSON.size + 4 * (sum(sizes) + joints * 4)
    if people > MOST_PEOPLE or joints > MOST_JOINTS or len(data) != _HEADER.size + people * each:
        raise ValueError(f"a frame of {people} people with {joints} joints does not have {len(data)} bytes")
    out = []
    for n in range(people):
        start = _HEADER.size + n * each
        person, doubts = _PERSON.unpack_from(data, start)
        numbers = np.frombuffer(data, "<f4", (each - _PERSON.size) // 4, start + _PERSON.size)
        b, root, turns, places, sd = np.split(numbers, np.cumsum([*sizes, joints * 3]))
        out.append(StreamedPerson(person, doubts, b, root, turns.reshape(-1, 4), places.reshape(-1, 3), sd))
    return StreamFrame(seq, t_capture_ns, t_sent_ns, predicted_ms, tuple(out))
