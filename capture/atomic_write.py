"""Files that are written whole: under a temporary name beside their place, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kinecast.capture.errors import KinecastError

PRIVATE = (".mcap", ".mp4", ".mkv")  # people can be recognised in them: for the user alone, who may open them to others
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def atomic_path(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A new file that appears under its name only when the block ends without an exception.

    Raises KinecastError where it exists already and ``overwrite`` is not given, or where the folder refuses it.
    """
    if path.exists() and not overwrite:
        raise KinecastError(f"{path} exists already: choose another name, or move it away")
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced by a file
        raise KinecastError(f"{path} is no file that could be replaced: choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as e:
        raise KinecastError(f"cannot write {path}: {e.strerror}: choose a folder of yours") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod((0o600 if path.suffix in PRIVATE else 0o666) & ~_UMASK)
        temporary.replace(path)
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
        advice = ": free some space, or write elsewhere" if full else ""
        raise KinecastError(f"cannot write {path}: {e.strerror or e}{advice}") from None
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def atomic_folder_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` for a library that opens its file itself; it becomes ``path`` when the block ends well.

    KinecastError where the folder refuses it, or the library could not write.
    """
    with (
        atomic_path(path, overwrite=True) as file,
        tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder,
    ):
        inner = Path(folder) / path.name
        try:
            yield inner
        except (RuntimeError, ValueError) as e:  # libraries in C++ say it in their own way
            raise KinecastError(f"cannot write {path}: {e}") from None
        with inner.open("rb") as made:
            shutil.copyfileobj(made, file)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, over an earlier one of that name: as :func:`atomic_path`."""
    with atomic_path(path, overwrite=True) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def require_suffix(path: Path, *suffixes: str) -> Path:
    """``path``, or KinecastError where its name says that it is something else: a recording is soon written over."""
    if path.suffix.lower() not in suffixes:
        raise KinecastError(f"{path}: the name must end in {' or '.join(suffixes)}")
    return path
