"""Virtual Motion Capture protocol over OSC over UDP, for VSeeFace, Warudo, VMC4UE, Unity and Blender.

*VMC Protocol specification* (protocol.vmc.info): /VMC/Ext/OK, /T, /Root/Pos and /Bone/Pos with Unity's humanoid bones,
in Unity's left-handed axes (x right, y up, z forward). A bundle stays within one Ethernet frame, so that none is torn.
"""

import socket
import struct

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.nodes.exchange.export.bone_names import BONES
from kinecast.nodes.stream.frame import StreamedPerson, StreamFrame

MOST_BYTES = 1472  # of an Ethernet frame's 1,500, less the heads of IP and UDP
HUMANOID = BONES["unity"][:22]  # hands have no fingers here
_BUNDLE = b"#bundle\0" + struct.pack(">Q", 1)  # to be acted on at once


def _text(word: str) -> bytes:
    raw = word.encode() + b"\0"
    return raw + bytes(-len(raw) % 4)


_OK = _text("/VMC/Ext/OK") + _text(",i") + struct.pack(">i", 1)
_TIME = _text("/VMC/Ext/T") + _text(",f")
_ROOT = _text("/VMC/Ext/Root/Pos") + _text(",sfffffff") + _text("root")
_BONES = [_text("/VMC/Ext/Bone/Pos") + _text(",sfffffff") + _text(name) for name in HUMANOID]
_NUMBERS = struct.Struct(">7f")


class VmcSender:
    """Sends each person to a port of their own: the first to ``port``, the next to ``port`` + 1 … up to ``people``.

    A person keeps their port while they are there; a port that is free goes to who comes next.
    """

    def __init__(self, target: str, people: int = 1) -> None:
        host, _, port = target.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536 - people:
            raise KinecastError(f"vmc: {target!r} is not HOST:PORT, as 127.0.0.1:39539")
        try:
            self._host, self._port = socket.gethostbyname(host), int(port)
        except OSError as e:
            raise KinecastError(f"vmc: {host}: {e.strerror or e}") from None
        self._slots: list[int | None] = [None] * people
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.unsent = 0

    def send(self, frame: StreamFrame) -> None:
        """Send everybody who has rotations and a port. What the network does not take at once is counted and lost."""
        here = {p.person: p for p in frame.people if len(p.quaternions_xyzw)}
        self._slots = [who if who in here else None for who in self._slots]
        for person in here:
            if person not in self._slots and None in self._slots:
                self._slots[self._slots.index(None)] = person
        for slot, who in enumerate(self._slots):
            if who is None:
                continue
            for bundle in bundles(here[who], frame.t_capture_ns * 1e-9):
                try:
                    self._socket.sendto(bundle, (self._host, self._port + slot))
                except OSError:  # nobody listens there, or the buffer is full: the next frame comes soon
                    self.unsent += 1

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()


def bundles(person: StreamedPerson, t_s: float) -> list[bytes]:
    """The OSC bundles of one person, whose world has y up; each at most ``MOST_BYTES``."""
    turns = person.quaternions_xyzw * np.array([1, -1, -1, 1], np.float32)  # x mirrored: Unity's hand is the left one
    root = person.root_m * np.array([-1, 1, 1], np.float32)
    nothing = np.zeros(3, np.float32)
    messages = [_OK, _TIME + struct.pack(">f", t_s % 86400.0), _ROOT + _NUMBERS.pack(0, 0, 0, 0, 0, 0, 1)]
    for j, head in enumerate(_BONES):
        place = root if j == 0 else nothing  # receivers have bones of their own, and take rotations alone
        messages.append(head + _NUMBERS.pack(*place.tolist(), *turns[j].tolist()))
    out, size = [[_BUNDLE]], len(_BUNDLE)
    for message in messages:
        piece = struct.pack(">I", len(message)) + message
        if size + len(piece) > MOST_BYTES:
            out.append([_BUNDLE])
            size = len(_BUNDLE)
        out[-1].append(piece)
        size += len(piece)
    return [b"".join(parts) for parts in out]
