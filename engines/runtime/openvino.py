"""OpenVINO on the CPU: the fastest here without a GPU, once told to compute in float32 and to leave the cores alone."""

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime.session import Arrays, TensorSpec
from kinecast.engines.runtime.shapes import Shapes

_TYPES = {"f32": "f32", "f16": "f16", "bf16": "bf16"}


@functools.cache
def _core() -> Any:
    return importlib.import_module("openvino").Core()


class OpenVinoSession:
    """One ONNX file compiled for the CPU, one stream, tuned for latency."""

    def __init__(self, path: Path, threads: int, precision: str, shapes: Shapes, reason: str = "") -> None:
        ov: Any = importlib.import_module("openvino")
        options = {
            # bf16 is the default where the CPU has it, and moves BlazePose landmarks by 3–6 px
            "INFERENCE_PRECISION_HINT": _TYPES[precision],
            "INFERENCE_NUM_THREADS": threads,
            # pinning would put the one-thread models of two processes on the same core
            "ENABLE_CPU_PINNING": False,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            model = _core().read_model(str(path))
            if shapes:
                model.reshape({name: [_dimension(a, b) for a, b in zip(low, high, strict=True)]
                               for name, (low, _, high) in shapes.items()})  # fmt: skip
            self._compiled = _core().compile_model(model, "CPU", options)
        except Exception as e:  # the library raises RuntimeError and others
            raise KinecastError(f"{path} does not open in OpenVINO: {str(e).strip().splitlines()[-1]}") from None
        ran_in = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        if ran_in != _TYPES[precision]:
            reason = f"{reason}; " * bool(reason) + f"this CPU has no {precision}"
        self.reason = reason
        self.provider = f"OpenVINO {ov.__version__.split('-')[0]} CPU {ran_in}"
        self.inputs = tuple(_spec(p) for p in self._compiled.inputs)
        self.outputs = tuple(_spec(p) for p in self._compiled.outputs)
        self._request = self._compiled.create_infer_request()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Every output by name, copied out of the request's own memory."""
        results = self._request.infer(dict(inputs), share_inputs=True, share_outputs=False)
        return {spec.name: results[i] for i, spec in enumerate(self.outputs)}

    def close(self) -> None:
        """Release the request and the compiled model."""
        self._request = self._compiled = None


def _dimension(low: int, high: int) -> Any:
    return low if low == high else importlib.import_module("openvino").Dimension(low, high)


def _spec(port: Any) -> TensorSpec:
    shape = tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()))
