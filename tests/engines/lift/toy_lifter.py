"""A small lifter with random weights and lively batch norms, and a toy person who walks before a camera."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.engines.lift import LifterConfig
from kinecast.engines.lift.weights import LifterFile, read_lifter, write_lifter

torch = pytest.importorskip("torch", reason="torch is not installed")

TOY = {"channels": 24, "trajectory_channels": 12, "gamma_hidden": 10, "projector_hidden": 14}
HZ = 30.0


def network(**changes: Any) -> Any:
    """A LifterNetwork in eval mode whose batch norms are far from the identity."""
    from kinecast.engines.lift.network import LifterNetwork

    torch.manual_seed(1)
    return liven(LifterNetwork(LifterConfig(**(TOY | changes))))


def liven(net: Any) -> Any:
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net.eval()


def write(path: Path, sigma: dict[str, Any] | None = None, half: bool = False, **changes: Any) -> Path:
    net = network(**changes)
    return write_lifter(path, net.state_dict(), net.config, sigma=sigma, half=half)


def toy_file(folder: Path, **changes: Any) -> LifterFile:
    return read_lifter(write(folder / "toy.safetensors", **changes))


def frames(rng: np.random.Generator, n: int, t: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (n, t, 26, 3) and context (n, t, 5) without any meaning."""
    features = rng.normal(size=(n, t, 26, 3))
    features[..., 2] = rng.uniform(0, 1, (n, t, 26))
    return features.astype(np.float32), rng.normal(size=(n, t, 5)).astype(np.float32)


def walker(t_s: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Joints (T, 26, 3) in metres in a camera's axes (y down) at times: a cloud of a person's size that sways."""
    rng = np.random.default_rng(seed)
    rest = rng.normal(0, (0.2, 0.45, 0.15), (26, 3))
    phase, pace = rng.uniform(0, 6, (26, 3)), rng.uniform(0.3, 1.0, (26, 3))
    sway = 0.12 * np.sin(2 * np.pi * pace * t_s[:, None, None] + phase)
    path = np.stack([0.4 * np.sin(0.7 * t_s), 0 * t_s, 4 + 0.5 * np.sin(0.5 * t_s)], -1)
    return rest + sway + path[:, None]


def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points[..., :2] / points[..., 2:]
