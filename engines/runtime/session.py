"""What a runtime offers: a model opened once, named arrays in, named arrays out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. shape: None stands for a dimension that is free; None alone: the file does not say."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any]


class Session(Protocol):
    """An open model. A session is used by one thread at a time.

    inputs, outputs: names, shapes and dtypes, in the order of the file.
    provider: what really bound, such as ``OpenVINO 2026.4.1 CPU f32`` or ``TensorRT-RTX 1.7 on RTX 4090``.
    reason: why this and no other, one line; empty where it is just what was asked for.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def provider(self) -> str: ...
    @property
    def reason(self) -> str: ...

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Every output by name, in arrays of the caller's own. Inputs have the shapes and dtypes of the specs."""
        ...

    def close(self) -> None:
        """Release what is held outside Python; the session is not used afterwards."""
        ...


def warm_up(session: Session) -> None:
    """Run once on zeros (free dimensions 1), so that compiling and allocating are over before frames flow."""
    feed = {}
    for spec in session.inputs:
        if spec.shape is None:
            return
        feed[spec.name] = np.zeros([d or 1 for d in spec.shape], spec.dtype)
    session.run(feed)
