"""How much larger errors on held-out clips are than the network says: factors for its standard deviations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.train.data.synthetic_batches import BatchSource
from kinecast.engines.train.lifter.validate import lift_batch
from kinecast.engines.virtual_camera import root_code

# errors have heavier tails than a normal distribution: the factor makes the share inside 2 σ right
SHARE, AT_SIGMA = 0.9545, 2.0


def calibrate_sigma(
    network: LifterNetwork, source: BatchSource, *, batches: int, device: str = "cpu"
) -> dict[str, Any]:
    """Factors by which every told standard deviation is multiplied.

    ``joints``: (J, 3) of x, y, z in the virtual camera, after self-correction; ``root_code``: (3,) of the trajectory's;
    ``log_gamma``: a number; ``log_k``: standard deviation of the log of the depth that k alone gives, and its mean;
    ``depth``: the way to depth whose logarithm errs least.
    """
    depths: dict[str, list[float]] = {}
    parts: dict[str, list[NDArray[np.float64]]] = {"joints": [], "root_code": [], "log_gamma": [], "log_k": []}
    for number in range(batches):
        batch = source.batch(number)
        out = lift_batch(network, batch, device)
        on = batch.weight > 0
        if out.sd_m is not None:
            parts["joints"].append(((out.corrected_m - batch.relative_m) / out.sd_m)[on])
        depth = batch.root_m[..., 2].astype(np.float64)
        off = {name: np.log(root[..., 2] / np.maximum(depth, 0.1)) for name, root in out.root_m.items()}
        parts["log_k"].append(off["k"][on])
        for name, error in off.items():
            depths.setdefault(name, []).append(float(np.abs(error[on]).mean()))
        if "gamma" in off:
            parts["log_gamma"].append((off["gamma"] / out.log_depth_sd["gamma"])[on])
        if out.root_code_sd is not None:
            extent = batch.extent.astype(np.float64)
            root = np.where(on[..., None], batch.root_m, 1.0).astype(np.float64)
            code_error = root_code(out.root_m["trajectory"], extent) - root_code(root, extent)
            parts["root_code"].append((code_error / out.root_code_sd)[on])
    found = {name: np.concatenate(rows) for name, rows in parts.items() if rows}
    factors: dict[str, Any] = {
        name: _factor(found[name]) for name in ("joints", "root_code", "log_gamma") if name in found
    }
    factors["log_k"] = {"mean": round(float(found["log_k"].mean()), 5), "sd": round(float(found["log_k"].std()), 5)}
    factors["depth"] = min(depths, key=lambda name: float(np.mean(depths[name])))
    return factors


def _factor(ratio: NDArray[np.float64]) -> Any:
    return np.round(np.maximum(np.quantile(np.abs(ratio), SHARE, axis=0) / AT_SIGMA, 0.01), 4).tolist()
