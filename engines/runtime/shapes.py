"""The shapes that free dimensions may take, as a user or a card gives them."""

from collections.abc import Mapping
from typing import Any

from kinecast.capture.errors import KinecastError

Shape = tuple[int, ...]
Shapes = dict[str, tuple[Shape, Shape, Shape]]  # input name → smallest, usual and largest shape


def read_shapes(given: Mapping[str, Any] | None) -> Shapes:
    """``{"x": (1, 3, 8, 8)}`` for a fixed shape, ``{"x": ((1, 3), (4, 3), (8, 3))}`` for smallest, usual, largest."""
    out: Shapes = {}
    for name, shape in (given or {}).items():
        if all(isinstance(d, int) for d in shape):
            out[name] = (tuple(shape), tuple(shape), tuple(shape))
            continue
        bounds = tuple(tuple(int(d) for d in s) for s in shape)
        ranks = {len(s) for s in bounds}
        ordered = len(bounds) == 3 and len(ranks) == 1 and all(a <= b <= c for a, b, c in zip(*bounds, strict=True))
        if not ordered:
            raise KinecastError(
                f"shapes of input {name} are {shape}: expected one shape, or smallest ≤ usual ≤ largest"
            )
        out[name] = (bounds[0], bounds[1], bounds[2])
    return out
