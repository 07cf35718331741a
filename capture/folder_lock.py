"""A folder that one process at a time may change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinecast.capture.errors import KinecastError


@contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[None]:
    """Hold ``folder``, which must exist, while the block lasts; nothing is left in it.

    doing: what another process that holds it is at, for the message. The system lets go of it when the holder ends,
    however that happens. Where a file system cannot hold a folder, nothing is held. Raises KinecastError where another
    process holds it.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # not on Windows
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as e:
        raise KinecastError(f"{folder}: {e.strerror}: choose a folder of yours") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KinecastError(f"{folder}: another process is {doing} there: wait until it is done") from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
