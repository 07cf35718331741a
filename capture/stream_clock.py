"""When a stream's pictures were captured: from its own times where these can be believed, else from their arrival.

A packet is late by the network's delay and never early, so the least (arrival − own time) of the last seconds, the
*jitter floor*, is the offset between the stream's clock and ours. What remains is the constant part of the delay: a job
for the session's clock offsets. Own times are doubted: they may be missing, stand still, jump (an RTP clock that is set
anew), or run at another rate than time (FFmpeg takes 25 Hz for every HTTP MJPEG; some cameras count pictures).
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

WINDOW_NS = 10_000_000_000  # long enough to meet an undelayed packet, short enough that 50 ppm of drift is 0.5 ms
BIN_NS = 100_000_000  # of each tenth of a second the least delayed packet is kept
EARLY_NS = 250_000_000  # earlier than the floor by more than this: the stream's clock was set, no network is so fast
SLACK_NS = 25_000_000  # above the floor by less than this is no reason to doubt
FRESH_NS = 300_000_000  # so long above the floor makes a clock doubtful that has just been begun with
PATIENCE_NS = 2_000_000_000  # and so long one that has been right for long: a network may be busy for a while
TRIAL_NS = 1_000_000_000  # so long must a doubted clock keep pace before it is believed again
FIT_NS = 1_000_000_000  # the least span that a rate is told from
MOST_RATE = 0.1  # a clock that is wrong by more is no clock; by less, it is put right
LEAST_PACKETS = 3


@dataclass(slots=True)
class _Bin:
    """The least delayed packet of a tenth of a second."""

    start_ns: int
    arrival_ns: int
    offset_ns: int


class StreamClock:
    """Capture times of one opening of a stream: ``hear`` every packet, then ask for the ``stamp`` of every picture.

    Reads no clock. ``basis`` says in words what the stamps are made of, for the source's report and the health note.
    """

    def __init__(self) -> None:
        self._bins: deque[_Bin] = deque()
        self._recent: deque[tuple[int, int]] = deque()  # (arrival, offset) of the newest packets
        self._began_ns = 0
        self._rate = 0.0  # how much the offset grows in a nanosecond: 0.1 is a clock that is a tenth too slow
        self._order_ns: int | None = None
        self._last_ns: int | None = None
        self._trusted = True
        self._doubt = "the stream gives no times"
        self._known = False  # whether any packet had a time
        self.restarts = 0

    @property
    def basis(self) -> str:
        """``stream time``, or ``arrival (why)``."""
        if self._known and self._trusted:
            return f"stream time, {self._rate:+.1%} put right" if self._rate else "stream time"
        return f"arrival ({self._doubt})"

    def hear(self, own_ns: int | None, order_ns: int | None, arrival_ns: int) -> None:
        """Take in a packet. own_ns: the time of its picture; order_ns: when it is to be decoded, which never goes back
        though B pictures are sent after later ones (by default own_ns).
        """
        order_ns = own_ns if order_ns is None else order_ns
        if own_ns is None or order_ns is None:
            return
        before, self._order_ns = self._order_ns, order_ns
        if before is not None and order_ns == before:
            self._doubted("its own times stand still")
            return
        offset_ns = arrival_ns - own_ns
        if not self._known:
            self._restart(arrival_ns, trusted=True)
            self._known = True
        elif before is not None and order_ns < before:
            self._doubted("its clock was set back", restart_ns=arrival_ns, trusted=True)
        elif self._bins and offset_ns < self._floor_ns(arrival_ns) - EARLY_NS:
            self._doubted("its clock was set forward", restart_ns=arrival_ns, trusted=True)
        self._add(arrival_ns, offset_ns)
        self._judge(arrival_ns)

    def stamp(self, own_ns: int | None, arrival_ns: int) -> int:
        """Capture time of a picture that came out of the decoder at ``arrival_ns``: never after it, and after the
        picture before.
        """
        stamp_ns = arrival_ns
        if own_ns is not None and self._trusted and self._bins:
            stamp_ns = min(arrival_ns, own_ns + self._floor_ns(arrival_ns))
        if self._last_ns is not None:
            stamp_ns = max(stamp_ns, self._last_ns + 1)
        self._last_ns = stamp_ns
        return stamp_ns

    def _add(self, arrival_ns: int, offset_ns: int) -> None:
        self._recent.append((arrival_ns, offset_ns))
        while len(self._recent) > LEAST_PACKETS and self._recent[0][0] < arrival_ns - self._patience_ns(arrival_ns):
            self._recent.popleft()
        newest = self._bins[-1] if self._bins else None
        if newest is None or arrival_ns >= newest.start_ns + BIN_NS:
            self._bins.append(_Bin(arrival_ns, arrival_ns, offset_ns))
            self._fit()
        elif offset_ns <= newest.offset_ns:
            newest.arrival_ns, newest.offset_ns = arrival_ns, offset_ns
        while self._bins[0].start_ns < arrival_ns - WINDOW_NS:
            self._bins.popleft()

    def _floor_ns(self, now_ns: int) -> int:
        """The least offset of the window, the rate taken into account."""
        if not self._rate:
            return min(b.offset_ns for b in self._bins)
        return min(b.offset_ns + round(self._rate * (now_ns - b.arrival_ns)) for b in self._bins)

    def _patience_ns(self, now_ns: int) -> int:
        """A clock that has been right for eight seconds is doubted after two, a new one after the first tenths."""
        return min(PATIENCE_NS, max(FRESH_NS, (now_ns - self._began_ns) // 4))

    def _jitter_ns(self) -> float:
        """How much the delay changes from packet to packet."""
        steps = [b[1] - a[1] for a, b in zip(self._recent, list(self._recent)[1:], strict=False)]
        middle = median(steps) if steps else 0
        return median(abs(s - middle) for s in steps) if steps else 0

    def _above_ns(self, now_ns: int) -> float:
        """How far even the least delayed of the newest packets is above the floor, less what jitter explains."""
        least = min(o + round(self._rate * (now_ns - a)) for a, o in self._recent)
        return least - self._floor_ns(now_ns) - SLACK_NS - 2 * self._jitter_ns()

    def _judge(self, now_ns: int) -> None:
        age_ns = now_ns - self._began_ns
        if abs(self._rate) > MOST_RATE:
            self._doubt = f"its own times run {abs(self._rate):.0%} too {'slow' if self._rate > 0 else 'fast'}"
            self._trusted = False
        elif self._trusted:
            enough = len(self._recent) >= LEAST_PACKETS and self._recent[0][0] > self._began_ns
            if enough and age_ns > self._patience_ns(now_ns) and self._above_ns(now_ns) > 0:
                self._doubted("its clock is slow or was set", restart_ns=now_ns)
        elif age_ns >= TRIAL_NS and len(self._bins) > LEAST_PACKETS and self._keeps_pace(now_ns):
            self._trusted = True

    def _keeps_pace(self, now_ns: int) -> bool:
        """Whether the first and the second half of the trial tell one floor."""
        levels = [b.offset_ns + self._rate * (now_ns - b.arrival_ns) for b in self._bins]
        half = len(levels) // 2
        return abs(min(levels[:half]) - min(levels[half:])) <= SLACK_NS + 2 * self._jitter_ns()

    def _fit(self) -> None:
        """The rate, from the first and the last third of the bins; none where jitter alone may be the reason."""
        bins = list(self._bins)[:-1]
        if len(bins) < 6 or bins[-1].arrival_ns - bins[0].arrival_ns < FIT_NS:
            return
        third = len(bins) // 3
        pairs = zip(bins[:third], bins[-third:], strict=True)
        rate = median((b.offset_ns - a.offset_ns) / (b.arrival_ns - a.arrival_ns) for a, b in pairs)
        line = [b.offset_ns - rate * (b.arrival_ns - bins[0].arrival_ns) for b in bins]
        middle = median(line)
        spread = median(abs(v - middle) for v in line)
        span_ns = bins[-1].arrival_ns - bins[0].arrival_ns
        self._rate = rate if abs(rate) * span_ns > 3 * spread + 0.2 * SLACK_NS else 0.0

    def _doubted(self, why: str, restart_ns: int | None = None, trusted: bool = False) -> None:
        if restart_ns is None:
            self._doubt = why
            self._trusted = False
            return
        self._doubt = why
        self._restart(restart_ns, trusted)
        self.restarts += 1

    def _restart(self, now_ns: int, trusted: bool) -> None:
        self._bins.clear()
        self._recent.clear()
        self._rate, self._began_ns, self._trusted = 0.0, now_ns, trusted
