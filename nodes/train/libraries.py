"""The libraries of the extra ``train``: what needs them says so in one line where they are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from kinecast.capture.errors import KinecastError

TRAINING = ("torch", "tensorboard", "safetensors")


@contextmanager
def training_libraries() -> Iterator[None]:
    """Around imports; KinecastError names the library that is missing and how to get it."""
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").split(".")[0] not in TRAINING:
            raise  # a fault of ours
        raise KinecastError(f"training needs {e.name}: pip install -c constraints.txt -e '.[train]'") from None
