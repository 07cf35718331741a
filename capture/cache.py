"""Where fetched and built files are kept between runs."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The user's cache: ``KINECAST_CACHE``, else ``$XDG_CACHE_HOME/kinecast``, else ``~/.cache/kinecast``.

    The folder may not exist yet; whoever writes makes it.
    """
    if own := os.environ.get("KINECAST_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kinecast"
