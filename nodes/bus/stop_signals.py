"""The one way in which a process is asked to stop: an event that SIGINT and SIGTERM set."""

import signal
import threading
from types import FrameType

STOP = threading.Event()


def install() -> None:
    """From now on SIGINT and SIGTERM ask this process to stop, and interrupt nothing. Main thread only."""

    def asked(number: int, frame: FrameType | None) -> None:
        STOP.set()

    signal.signal(signal.SIGINT, asked)
    signal.signal(signal.SIGTERM, asked)
    # the supervisor starts a process with both held back, so that none comes before this
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def deafen() -> None:
    """From now on both are ignored: the interpreter takes handlers away as it ends, and would die of a late signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
