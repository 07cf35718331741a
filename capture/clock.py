"""The clock that sources read and wait on; tests give one of their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time in nanoseconds."""

    def now_ns(self) -> int:
        """Return the time now."""
        ...

    def wait_until_ns(self, t_ns: int) -> None:
        """Return at ``t_ns`` or a little later; at once where it has passed."""
        ...


class MonotonicClock:
    """The host's monotonic clock, the one that every stamp of this host is on."""

    def now_ns(self) -> int:
        """Return the time now."""
        return time.monotonic_ns()

    def wait_until_ns(self, t_ns: int) -> None:
        """Sleep until ``t_ns``."""
        left_ns = t_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
