"""ONNX Runtime: on CUDA where its provider binds, else on the CPU."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime.session import Arrays, TensorSpec

_DTYPES = {"float": "float32", "float16": "float16", "double": "float64", "int64": "int64", "int32": "int32",
           "uint8": "uint8", "int8": "int8", "bool": "bool"}  # fmt: skip
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def cuda_offered() -> bool:
    """Whether the installed ONNX Runtime was built with CUDA; it may still fail to bind."""
    ort: Any = importlib.import_module("onnxruntime")
    return CUDA in ort.get_available_providers()


class OnnxRuntimeSession:
    """One ONNX file in ONNX Runtime; float32 on the CPU, on CUDA in the precision of the file."""

    def __init__(self, path: Path, threads: int, reason: str = "") -> None:
        ort: Any = importlib.import_module("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # idle workers that spin would take the core from the other cameras
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        wanted = [p for p in (CUDA, CPU) if p in ort.get_available_providers()]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=wanted)
        except Exception as e:  # the library's own classes share no base but this
            raise KinecastError(f"{path} does not open in ONNX Runtime: {_first_line(e)}: check the file") from None
        bound = self._session.get_providers()[0]
        if bound != wanted[0]:
            reason = f"{wanted[0]} is installed but did not bind (driver or CUDA libraries missing?)"
        self.reason = reason
        self.provider = f"ONNX Runtime {ort.__version__} {bound.removesuffix('ExecutionProvider')} f32"
        self.inputs = tuple(_spec(t) for t in self._session.get_inputs())
        self.outputs = tuple(_spec(t) for t in self._session.get_outputs())
        self._names = [t.name for t in self.outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Every output by name."""
        return dict(zip(self._names, self._session.run(None, dict(inputs)), strict=True))

    def close(self) -> None:
        """Release the library's session."""
        self._session = None


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(d if isinstance(d, int) else None for d in tensor.shape)
    return TensorSpec(tensor.name, shape, np.dtype(_DTYPES[tensor.type.removeprefix("tensor(").removesuffix(")")]))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
