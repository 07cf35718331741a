"""How far to trust what the network says of its own errors: measured on held-out motion, stored with the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Depth = Literal["k", "gamma", "trajectory"]


@dataclass(frozen=True, slots=True, eq=False)
class Sigma:
    """Factors on the predicted standard deviations, and constants where nothing is predicted.

    depth: which of the three ways to depth was best. relative: (J, 3) or (1, 1) factors on the σ of joints, in the axes
    of the virtual camera; relative_m: σ in metres of a network without variances. gamma, trajectory: factors on the σ
    of log depth; k: that σ itself, for k alone. lateral: factor on the σ of the root across the ray.
    """

    depth: Depth
    relative: NDArray[np.float64]
    relative_m: NDArray[np.float64]
    k: float
    gamma: float
    trajectory: float
    lateral: float


def read_sigma(told: Mapping[str, Any], joints: int) -> Sigma:
    """From the JSON of a weights file; what it leaves out counts as uncalibrated. Raises ValueError where it is off."""
    unknown = set(told) - set(Sigma.__slots__)
    if unknown:
        raise ValueError(f"sigma: unknown {', '.join(sorted(unknown))}")
    depth = told.get("depth", "gamma")
    if depth not in get_args(Depth):
        raise ValueError(f"sigma: depth is {depth!r}")
    tables = []
    for name, default in (("relative", 1.0), ("relative_m", 0.08)):
        table = np.array(told.get(name, default), np.float64)
        table = table.reshape(1, 1) if table.ndim == 0 else table
        if table.shape not in ((1, 1), (joints, 3)):
            raise ValueError(f"sigma: {name} is {table.shape}, expected one number or ({joints}, 3)")
        tables.append(table)
    # RootNet's k assumes one size of person in one posture: bent or seated people are off by as much
    usual = {"k": 0.3, "gamma": 1.0, "trajectory": 1.0, "lateral": 1.0}
    numbers = {name: float(told.get(name, value)) for name, value in usual.items()}
    if not all(0 < v < 1e3 for v in numbers.values()) or not all((t > 0).all() and (t < 1e3).all() for t in tables):
        raise ValueError("sigma: a factor is not positive")
    return Sigma(depth, tables[0], tables[1], **numbers)
