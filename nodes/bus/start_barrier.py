"""The common start of a realtime session: the supervisor says it on standard input, once every node is ready.

Recorded and synthetic sources count their time from it; cameras that film the world do not wait for it.
"""

import threading
from collections.abc import Callable

WORD = b"start "
_SLICE_S = 0.1
_told = threading.Event()
_session_start_ns = 0


def line(session_start_ns: int) -> bytes:
    """What the supervisor writes to a node."""
    return WORD + b"%d\n" % session_start_ns


def take(text: bytes) -> None:
    """Take in a line that came from the supervisor; anything else is left alone."""
    global _session_start_ns
    if text.startswith(WORD) and text[len(WORD) :].strip().isdigit():
        _session_start_ns = int(text[len(WORD) :])
        _told.set()


def wait(stopping: Callable[[], bool]) -> int | None:
    """The start of the session on the monotonic clock, once it is told; None where the node is to stop first."""
    while not _told.wait(_SLICE_S):
        if stopping():
            return None
    return _session_start_ns
