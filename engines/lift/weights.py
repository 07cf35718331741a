"""Weights of a lifter as one file: safetensors, with everything about it as JSON in the header. numpy alone."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.virtual_camera import CONTEXT

FORMAT = "kinecast_lifter"
VERSION = 1
FOLDER = Path(__file__).parent.parent / "artifacts"
Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class LifterFile:
    """A file that was read and checked.

    tensors: float32 by the names of network.LifterNetwork's state dict, without the batch counters. meta: what the
    writer told, by topic: ``training``, ``data``, ``figures``, ``sigma``. name: the file's, with a hash of its bytes.
    """

    config: LifterConfig
    tensors: Tensors
    meta: dict[str, Any]
    name: str


def write_lifter(
    path: Path,
    state: Mapping[str, Any],
    config: LifterConfig,
    *,
    training: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    sigma: Mapping[str, Any] | None = None,
    half: bool = True,
) -> Path:
    """Write the state dict of a LifterNetwork (arrays, or torch tensors on the CPU), whole or not at all.

    half: matrices as float16; vectors (biases, batch norms, whose variances float16 could not hold) stay float32.
    training, data, figures: for the model card, any JSON. sigma: the calibration of the uncertainties, see
    engines.lift.sigma.Sigma. Raises ValueError where the state is not of that config or holds what is no number.
    """
    from safetensors.numpy import save

    tensors = {}
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            array = np.ascontiguousarray(value, dtype=np.float32)
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds what is no number")
            tensors[name] = array.astype(np.float16) if half and array.ndim > 1 else array
    if wrong := _mismatch(tensors, config):
        raise ValueError(wrong)
    about = {"training": training, "data": data, "figures": figures, "sigma": sigma}
    header = {FORMAT: str(VERSION), "config": json.dumps(config.to_dict())}
    header |= {topic: json.dumps(dict(value or {})) for topic, value in about.items()}
    atomic_write(path, save(tensors, header))
    return path


def read_lifter(path: Path, skeleton: str | None = None) -> LifterFile:
    """Read and check a file of :func:`write_lifter`; raises KinecastError where it is none, or of another skeleton."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError as e:
        raise KinecastError(f"cannot read the lifter {path}: {e.strerror}: check the path") from None
    try:
        stored = load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError):
        raise KinecastError(f"{path} is not a whole safetensors file: copy it again, or train a lifter anew") from None
    if FORMAT not in header:
        raise KinecastError(f"{path} holds no lifter of Kinecast: give a file that `kinecast train lifter` wrote")
    if header[FORMAT] != str(VERSION):
        raise KinecastError(
            f"{path} is a lifter of version {header[FORMAT]}, this Kinecast reads {VERSION}: update, or train anew"
        )
    try:
        config = LifterConfig.from_dict(json.loads(header["config"]))
        meta = {topic: json.loads(header.get(topic, "{}")) for topic in ("training", "data", "figures", "sigma")}
    except (ValueError, TypeError, KeyError) as e:
        raise KinecastError(f"{path}: its config cannot be used ({e}): train a lifter anew") from None
    if wrong := _mismatch(stored, config):
        raise KinecastError(f"{path} is of another architecture: {wrong}: take the file as it was written")
    if skeleton is not None and config.skeleton != skeleton:
        raise KinecastError(
            f"{path} lifts the skeleton {config.skeleton}, {skeleton} is asked for: take a lifter trained for that"
        )
    tensors = {name: value.astype(np.float32) for name, value in stored.items()}
    bad = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if bad:
        raise KinecastError(f"{path}: {bad[0]} holds what is no number: copy the file again, or train anew")
    return LifterFile(config, tensors, meta, f"{path.stem}@{hashlib.sha256(content).hexdigest()[:12]}")


def shapes_of(config: LifterConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of every tensor of a lifter."""
    j, features = config.joints, 3 if config.confidence else 2
    shapes = _trunk("pose", config.widths, j * features, config.channels, j)
    if config.variance:
        shapes |= {"log_variance.weight": (j * 3, config.channels, 1), "log_variance.bias": (j * 3,)}
    if n := config.trajectory_channels:
        shapes |= _trunk("trajectory", config.widths, j * features + CONTEXT, n, 1)
        shapes |= {"trajectory_log_variance.weight": (3, n, 1), "trajectory_log_variance.bias": (3,)}
    if n := config.gamma_hidden:
        shapes |= _layers("gamma", (config.channels + j * features + CONTEXT, n, n, 2))
    if n := config.projector_hidden:
        shapes |= _layers("projector", (j * 4 + CONTEXT, n, n, j * 2))
        shapes["projector.log_step"] = (config.correction_steps, j, 3)
    return shapes


def _trunk(name: str, widths: tuple[int, ...], inputs: int, channels: int, joints: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "expand_conv.weight": (channels, inputs, widths[0]),
        "shrink.weight": (joints * 3, channels, 1),
        "shrink.bias": (joints * 3,),
    }
    norms = ["expand_bn"]
    for block, width in enumerate(widths[1:]):
        shapes[f"layers_conv.{2 * block}.weight"] = (channels, channels, width)
        shapes[f"layers_conv.{2 * block + 1}.weight"] = (channels, channels, 1)
        norms += [f"layers_bn.{2 * block}", f"layers_bn.{2 * block + 1}"]
    shapes |= {f"{n}.{p}": (channels,) for n in norms for p in ("weight", "bias", "running_mean", "running_var")}
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


def _layers(name: str, sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes |= {f"{name}.layers.{i}.weight": (outputs, inputs), f"{name}.layers.{i}.bias": (outputs,)}
    return shapes


def _mismatch(tensors: Mapping[str, NDArray[Any]], config: LifterConfig) -> str:
    """What first differs between tensors and a config; empty where nothing does."""
    expected = shapes_of(config)
    for name, shape in expected.items():
        if name not in tensors:
            return f"{name} is missing"
        if tensors[name].shape != shape:
            return f"{name} is {tensors[name].shape}, expected {shape}"
    unknown = sorted(set(tensors) - set(expected))
    return f"{unknown[0]} is unknown" if unknown else ""
