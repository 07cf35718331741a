"""How far to trust what the network says of its own errors: measured on held-out motion, stored with the weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Depth = Literal["k", "gamma", "trajectory"]


@dataclass(frozen=True, slots=True, eq=False)
class Sigma:
    """Factors on the predicted standard deviations, and constants where nothing is predicted.

    depth: which of the three ways to depth is taken unless another is asked for. joints: (J, 3) or (1, 1) factors on
    the σ of joints, in the axes of the virtual camera; joints_m: σ in metres of a network without variances.
    log_gamma, log_root: factors on the σ of log depth by γ and by the trajectory; log_k: that σ itself, by k alone.
    lateral: factor on the σ of the root across the ray.
    """

    depth: Depth
    joints: NDArray[np.float64]
    joints_m: NDArray[np.float64]
    log_k: float
    log_gamma: float
    log_root: float
    lateral: float


def read_sigma(payload: Mapping[str, Any], joints: int) -> Sigma:
    """From the JSON of a weights file, by the names that engines.train.lifter.sigma_calibration writes; all are
    optional.

    ``joints``: one number or (J, 3); ``joints_m``: likewise; ``root_code``: (3,), of which the last is for log depth;
    ``log_gamma``; ``log_k``: ``{"mean": …, "sd": …}``; ``lateral``; ``depth``. Raises ValueError or TypeError where one
    is not as told.
    """
    known = {"joints", "joints_m", "root_code", "log_gamma", "log_k", "lateral", "depth"}
    if unknown := set(payload) - known:
        raise ValueError(f"sigma: unknown {', '.join(sorted(unknown))}")
    depth = payload.get("depth", "gamma")
    if depth not in get_args(Depth):
        raise ValueError(f"sigma: depth is {depth!r}, known are {', '.join(get_args(Depth))}")
    factors = _table("joints", payload.get("joints", 1.0), joints)
    constants = _table("joints_m", payload.get("joints_m", 0.08), joints)
    # RootNet's k assumes one size of person in one posture: bent or seated people are off by as much
    k = payload.get("log_k", {"mean": 0.0, "sd": 0.3})
    numbers = {
        "log_k": math.hypot(k["mean"], k["sd"]),
        "log_gamma": float(payload.get("log_gamma", 1.0)),
        "log_root": float(np.reshape(payload.get("root_code", [1.0, 1.0, 1.0]), 3)[2]),
        "lateral": float(payload.get("lateral", 1.0)),
    }
    for name, value in numbers.items():
        if not 0 < value < 1e3:
            raise ValueError(f"sigma: {name} is {value}")
    return Sigma(depth, factors, constants, **numbers)


def _table(name: str, payload: Any, joints: int) -> NDArray[np.float64]:
    table = np.array(payload, np.float64)
    table = table.reshape(1, 1) if table.ndim == 0 else table
    if table.shape not in ((1, 1), (joints, 3)):
        raise ValueError(f"sigma: {name} is {table.shape}, expected one number or ({joints}, 3)")
    if not (table > 0).all():
        raise ValueError(f"sigma: a number in {name} is not positive")
    return table
