"""Which frames of a camera belong to the moments that all cameras of a session take together."""

from kinecast.nodes.bus.messages import CommonRate


class Moments:
    """Chooses frames by :class:`CommonRate`: of every moment the first; all of them while none was asked for.

    left_out: frames between the moments, read or passed over by the source. passed_over: those of them that the source
    counts as skipped since it was opened, which are none of its losses.
    """

    def __init__(self) -> None:
        self._order: CommonRate | None = None
        self._moment: int | None = None
        self._skipped = 0
        self.left_out = self.passed_over = 0

    @property
    def note(self) -> str:
        """For a person; empty while every frame is taken."""
        return "" if self._order is None or not self._order.rate_hz else self._order.note

    def ask(self, order: CommonRate) -> None:
        """From the next frame on these moments."""
        if self._order is None or (order.rate_hz, order.phase_ns) != (self._order.rate_hz, self._order.phase_ns):
            self._moment = None
        self._order = order

    def reopened(self) -> None:
        """The source was closed; the next one counts from 0."""
        self._skipped = self.passed_over = 0

    def takes(self, t_ns: int, skipped: int) -> bool:
        """Whether the frame of ``t_ns`` is taken. skipped: what its source has passed over so far."""
        passed, self._skipped = skipped - self._skipped, skipped
        if self._order is None or not self._order.rate_hz:
            return True
        moment = int((t_ns - self._order.phase_ns) * self._order.rate_hz // 1e9)
        before, self._moment = self._moment, moment
        missed = 0 if before is None else max(0, moment - before - 1)
        between = passed - min(missed, passed)
        self.passed_over += between
        self.left_out += between
        if before is not None and moment <= before:
            self.left_out += 1
            return False
        return True
