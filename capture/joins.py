"""Files that were joined from several: where a part begins, and when its pictures are shown.

Parts bring times of their own, which go back where the next part begins; those of transport streams may leap. A part
that was cut without being encoded anew also brings the pictures from its last key frame up to the cut, its *pre-roll*,
which nobody is meant to see: an edit list hides them, and where such parts are joined (``ffmpeg -f concat -c copy``)
they are squeezed into no time, a tick or none from one to the next.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

JOIN_S = 10  # a transport stream that goes on so much later was cut there, as FFmpeg has it: no camera paused
MADE_OF_CUTS = {"mpegts", "mpeg"}
SHOWN_TIMES_ONLY = {"matroska", "webm"}  # FFmpeg makes up their times to decode, and badly where times go back
MOST_REORDERED = 16  # pictures that may be sent after a later one
HIDDEN = -(1 << 61)  # packets at and before this time are decoded and not shown


def is_shown(packet: Any) -> bool:
    """Whether a packet's picture is to be seen, of a container that has times."""
    return not packet.is_discard and (packet.pts is None or packet.pts > HIDDEN)


class Joins:
    """Lays the times of joined parts in a row and hides their pre-roll. Packets in order, and then ``rest``.

    interval: between two pictures, in ticks of ``time_base``. container: FFmpeg's name of the format. A single time
    that is wrong shifts nothing: what follows decides, by what goes on more evenly.
    """

    def __init__(self, interval: int, time_base: Fraction, container: str) -> None:
        names = set(container.split(","))
        self._interval = interval
        self._leap = JOIN_S / time_base if MADE_OF_CUTS & names else None
        self._ordered = not SHOWN_TIMES_ONLY & names
        self._shift, self._other = 0, 0
        self._last: int | None = None  # time to decode of the packet before, shifted
        self._first_shown: int | None = None
        self._newest: int | None = None  # time of the last picture so far, shifted
        self._squeezed: int | None = None  # since a part began with a pre-roll: the last picture of the one before
        self._tight = False  # while its pictures follow at once
        self._held: Any = None
        self.joins, self.hidden = 0, 0

    @property
    def notes(self) -> list[str]:
        """Lines for the user."""
        out = []
        if self.joins:
            out.append(f"its times begin anew {self.joins} times: each part follows the one before")
        if self.hidden:
            out.append(f"{self.hidden} pictures from before the cuts of its parts are left out")
        return out

    def place(self, packet: Any) -> Iterator[Any]:
        """Take a packet; gives the one before, its times in the row."""
        before, self._held = self._held, packet
        if before is not None:
            yield self._placed(before, packet)

    def rest(self) -> Iterator[Any]:
        """The last packet."""
        before, self._held = self._held, None
        if before is not None:
            yield self._placed(before, None)

    def _placed(self, packet: Any, following: Any) -> Any:
        if packet.is_discard:  # an edit list leaves it out, and what it shows next may have been sent before
            self._move(packet)
            self._last = None
            return packet
        if packet.is_keyframe:
            self._tight = self._begins_pre_roll(packet, following)
            self._squeezed = self._newest if self._tight else None
        if not self._ordered:
            if packet.is_keyframe and self._squeezed is None:
                self._restart_shown(packet)
        elif packet.dts is not None:
            self._join(packet)
        step = None if self._last is None or packet.dts is None else packet.dts + self._shift - self._last
        self._move(packet)
        self._last = packet.dts if packet.dts is not None else self._last
        self._hide(packet, step)
        return packet

    def _move(self, packet: Any) -> None:
        packet.dts = None if packet.dts is None else packet.dts + self._shift
        packet.pts = None if packet.pts is None else packet.pts + self._shift

    def _begins_pre_roll(self, packet: Any, following: Any) -> bool:
        """Whether a key frame and the picture after it follow at once, which no camera's do."""
        if self._last is None or self._interval < 8 or following is None or following.is_keyframe:
            return False
        if packet.dts is None or packet.pts is None or following.dts is None or following.pts is None:
            return False
        steps = packet.dts + self._shift - self._last, following.dts - packet.dts
        return all(0 <= s <= 1 for s in steps)

    def _hide(self, packet: Any, step: int | None) -> None:
        """Mark a picture of a pre-roll, and note the newest of those that are shown."""
        if packet.pts is None:
            return
        self._tight = self._tight and step is not None and step <= 1
        before_it = self._squeezed is not None and packet.pts <= self._squeezed
        if before_it or (self._tight and packet.pts == packet.dts):
            self.hidden += 1
            packet.pts = HIDDEN - self.hidden
            return
        self._newest = packet.pts if self._newest is None else max(self._newest, packet.pts)

    def _restart_shown(self, packet: Any) -> None:
        """Shift what follows a key frame that is shown before much of what came before it."""
        if packet.pts is None:
            return
        if self._first_shown is None:
            self._first_shown = packet.pts
        elif self._newest is not None:
            back = self._newest - (packet.pts + self._shift)
            if back > MOST_REORDERED * self._interval or (back > 0 and packet.pts <= self._first_shown):
                self._shift, self.joins = self._newest + self._interval - packet.pts, self.joins + 1

    def _join(self, packet: Any) -> None:
        """Shift what follows a time to decode that goes back, or leaps."""
        order, due = packet.dts, 0 if self._last is None else self._last + self._interval
        if self._other != self._shift and abs(order + self._other - due) < abs(order + self._shift - due):
            self._shift, self.joins = self._other, self.joins - 1
        self._other = self._shift
        if self._last is None:
            return
        step = order + self._shift - self._last
        if step < 0 or (self._leap is not None and step > self._leap):
            self._shift, self.joins = due - order, self.joins + 1
