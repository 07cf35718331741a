"""Which Kinecast this is."""

from importlib.metadata import PackageNotFoundError, version


def kinecast_version() -> str:
    """The version that is installed."""
    try:
        return version("kinecast")
    except PackageNotFoundError:
        return "0+source"
