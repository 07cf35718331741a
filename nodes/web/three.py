"""three.js, which draws the 3D view: fetched once from npm at a pinned version, checked by hash, kept in the cache.

MIT licence, (c) 2010-2026 three.js authors. Without it the page shows pictures and tables.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import sha256_of
from kinecast.engines.models.card import Origin
from kinecast.engines.models.fetch import extract, fetch_origin

VERSION = "0.187.0"
FILES = {
    "build/three.module.js": "104f56145899722094556490d787aae0617cc2fc3382f31df02d724ea1aee341",
    "build/three.core.js": "613e370f76638fdef83926642bf256dc9615684922de1ce1f63a8583e5d78578",
}


def folder() -> Path:
    """Where the files are kept."""
    return cache_dir() / "web" / f"three-{VERSION}"


def missing() -> bool:
    """Whether a file is not there, or is not what it was."""
    kept = folder()
    return not all((kept / n).is_file() and sha256_of(kept / n) == digest for n, digest in FILES.items())


def pull_three(fetch: Callable[[Origin, Path], Path] = fetch_origin) -> Path:
    """Fetch what is missing; returns the folder. KinecastError where it cannot be had or has another hash."""
    if missing():
        with tempfile.TemporaryDirectory() as work:
            archive = fetch(Origin("npm", "three", VERSION), Path(work))
            extract(archive, FILES, Path(work))
            for name, digest in FILES.items():
                if (found := sha256_of(Path(work) / name)) != digest:
                    raise KinecastError(f"three@{VERSION}: {name} has sha256 {found}, expected {digest}: not installed")
            for name in FILES:
                atomic_write(folder() / name, (Path(work) / name).read_bytes())
    return folder()
