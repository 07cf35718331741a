"""torch: networks of torch.export or of TorchScript, on CUDA or the CPU.

Which of the two a file is, its content says: Sapiens' ``.pt2`` are TorchScript.
"""

import importlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime.session import Arrays, TensorSpec


class TorchSession:
    """One exported module. Inputs go in by position, in the order of the specs.

    Outputs that the module returns as a dict keep their names; others are ``output_0``, ``output_1``, … The file does
    not tell the shapes of a TorchScript module: they are None there.
    """

    def __init__(self, path: Path, threads: int, reason: str = "") -> None:
        torch: Any = importlib.import_module("torch")
        self._torch = torch
        torch.set_num_threads(threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            opened = _open_script if kind_of_torch(path) == "script" else _open_exported
            self._module, self.inputs, self.outputs = opened(torch, path, self._device)
        except Exception as e:  # zip, pickle and schema errors of the library
            raise KinecastError(
                f"{path} does not open in torch: {str(e).strip().splitlines()[0]}: export it with torch.export.save or "
                "torch.jit.save"
            ) from None
        self.reason = reason
        where = torch.cuda.get_device_name(0) if self._device == "cuda" else "CPU"
        self.provider = f"torch {torch.__version__} {where} f32"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Every output by name."""
        torch = self._torch
        given = [torch.from_numpy(np.ascontiguousarray(inputs[s.name])).to(self._device) for s in self.inputs]
        with torch.inference_mode():
            results = self._module(*given)
        if isinstance(results, dict):
            return {str(k): v.cpu().numpy() for k, v in results.items()}
        values = results if isinstance(results, tuple | list) else (results,)
        return {f"output_{i}": v.cpu().numpy() for i, v in enumerate(values)}

    def close(self) -> None:
        """Let go of the module."""
        self._module = None


def kind_of_torch(path: Path) -> Literal["script", "exported", "weights", ""]:
    """What a zip archive of torch's holds, by the files in it; empty where it is no archive, or none of torch's.

    weights: numbers alone, without a network (``torch.save`` of a state dict).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n.partition("/")[2] or n for n in archive.namelist()]
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return ""
    if "constants.pkl" in names and any(n.startswith("code/") for n in names):
        return "script"
    if any(n.startswith(("serialized_exported_program", "models/")) for n in names):
        return "exported"
    return "weights" if "data.pkl" in names else ""


_Opened = tuple[Any, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def _open_script(torch: Any, path: Path, device: str) -> _Opened:
    module = torch.jit.load(str(path), map_location=device).eval()
    names = [a.name for a in module.forward.schema.arguments][1:]
    return module, tuple(TensorSpec(n, None, np.dtype(np.float32)) for n in names), ()


def _open_exported(torch: Any, path: Path, device: str) -> _Opened:
    program = torch.export.load(str(path))
    values = {n.name: n.meta["val"] for n in program.graph.nodes if "val" in n.meta}
    inputs = _specs(program.graph_signature.user_inputs, values, list(program.graph_signature.user_inputs))
    ends = list(program.graph_signature.user_outputs)
    outputs = _specs(ends, values, [f"output_{i}" for i in range(len(ends))])
    return program.module().to(device), inputs, outputs


def _specs(nodes: Sequence[str], values: Mapping[str, Any], names: Sequence[str]) -> tuple[TensorSpec, ...]:
    out = []
    for node, name in zip(nodes, names, strict=True):
        shape = tuple(d if isinstance(d, int) else None for d in values[node].shape)
        out.append(TensorSpec(name, shape, np.dtype(str(values[node].dtype).removeprefix("torch."))))
    return tuple(out)
