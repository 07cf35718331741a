"""Files into networks of torch: our own weights, and checkpoints in VideoPose3D's layout."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from numpy.random import _pickle

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.network import LifterNetwork, TemporalModel
from kinecast.engines.lift.weights import read_lifter

# VideoPose3D keeps its random generator in the checkpoint; these make an array of numbers and nothing else
_RANDOM_STATE = [
    _pickle.__randomstate_ctor,
    _pickle.__bit_generator_ctor,
    (_reconstruct, "numpy.core.multiarray._reconstruct"),  # its name before numpy 2
    (_reconstruct, "numpy._core.multiarray._reconstruct"),
    np.random.mtrand.RandomState,
    np.random.MT19937,
    np.ndarray,
    np.dtype,
    np.dtypes.UInt32DType,
]


def load_network(path: Path, skeleton: str | None = None) -> LifterNetwork:
    """The network of a weights file, for export or further training, in eval mode; raises KinecastError."""
    file = read_lifter(path, skeleton)
    network = LifterNetwork(file.config)
    state = {name: torch.from_numpy(value) for name, value in file.tensors.items()}
    # the counters of batch norm are not in the file and nothing reads them
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    network.load_state_dict(state | counters)
    network.eval()
    return network


def load_videopose(path: Path, causal: bool, part: str = "model_pos") -> TemporalModel:
    """A checkpoint in VideoPose3D's layout, in eval mode; nothing in the file is executed.

    Widths, channels and joints are read off the tensors; two numbers for each joint go in. ``causal`` is not in the
    file: it changes no weight, only which frame an output stands for. part: ``model_pos``, or ``model_traj`` of a
    semi-supervised one. Raises KinecastError.
    """
    try:
        with torch.serialization.safe_globals(_RANDOM_STATE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise KinecastError(f"cannot read the checkpoint {path}: {e.strerror}: check the path") from None
    except Exception as e:  # torch raises what it happens to meet: pickle, zip, key and runtime errors
        first = (str(e).splitlines() or [type(e).__name__])[0]
        raise KinecastError(f"{path} is no checkpoint that can be read safely ({first}): export its tensors") from None
    state = content.get(part) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise KinecastError(f"{path} has no {part!r}: give a checkpoint in VideoPose3D's layout")
    try:
        model = _model_for(state, causal)
        model.load_state_dict(state)
    except (KeyError, RuntimeError, AttributeError, ValueError, IndexError) as e:
        first = str(e).strip().splitlines()[-1].strip()
        raise KinecastError(f"{path}: {part} is of another architecture ({first}): VideoPose3D's is read") from None
    model.eval()
    return model


def _model_for(state: dict[str, Any], causal: bool) -> TemporalModel:
    channels, inputs, first = state["expand_conv.weight"].shape
    blocks = len([k for k in state if k.startswith("layers_conv.")]) // 2
    widths = (first, *(state[f"layers_conv.{2 * b}.weight"].shape[2] for b in range(blocks)))
    joints = state["shrink.weight"].shape[0] // 3
    return TemporalModel(inputs // 2, 2, joints, widths, causal, channels=channels)
