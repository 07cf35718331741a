"""Checkpoints of a training of the lifter: everything that a run is taken up from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.train.lifter.config import TrainConfig


def save_checkpoint(
    path: Path,
    config: TrainConfig,
    network: LifterNetwork,
    optimiser: torch.optim.Optimizer,
    step: int,
    spent_s: float,
    stopping: Mapping[str, Any] | None = None,
) -> None:
    """Everything that a run is taken up from, whole."""
    state = {
        "config": config.to_json(), "network": network.state_dict(), "optimiser": optimiser.state_dict(),
        "step": step, "spent_s": spent_s,
    }  # fmt: skip
    if stopping is not None:
        state["stopping"] = dict(stopping)
    with atomic_path(path, overwrite=True) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours, read without running any code in it; KinecastError where it is none."""
    if not path.exists():
        raise KinecastError(f"{path}: no checkpoint to go on from")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if set(state) - {"stopping"} == {"config", "network", "optimiser", "step", "spent_s"}:
            return dict(state)
    except Exception as e:  # torch raises whatever the damage leads to
        raise KinecastError(f"{path}: no checkpoint that can be read ({type(e).__name__})") from None
    raise KinecastError(f"{path}: no checkpoint of `kinecast train lifter`")
