"""TensorRT: `tensorrt` where it is installed, else `tensorrt_rtx`, which has the same API; built once, then cached.

Networks are strongly typed everywhere (TensorRT 11 and TensorRT-RTX know nothing else), so half precision comes from
the ONNX file: it is converted first. Running needs a GPU; building with `tensorrt_rtx` does not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime.device import no_gpu, open_device
from kinecast.engines.runtime.engine_build import build_engine, ready_library
from kinecast.engines.runtime.session import Arrays, TensorSpec
from kinecast.engines.runtime.shapes import Shapes


def why_not() -> str:
    """Why TensorRT cannot run here, one clause; empty where it can."""
    if why := no_gpu():
        return why
    try:
        ready_library()
    except KinecastError as e:
        return str(e)
    return ""


class TensorRtSession:
    """One engine with one execution context and buffers on the device, which grow to the largest shape seen."""

    def __init__(self, path: Path, precision: str, shapes: Shapes, reason: str = "") -> None:
        device = open_device()
        library = ready_library()
        self._trt, self._device = library.module, device
        engine_path = build_engine(path, precision, shapes, library=library, gpu=device.name)
        self._engine = library.runtime().deserialize_cuda_engine(engine_path.read_bytes())
        if self._engine is None:
            raise KinecastError(
                f"the engine {engine_path} does not load on {device.name}: {library.last_error()}: delete it, or "
                "take another runtime"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise KinecastError(f"no memory on {device.name} to run {path.name}: close other programs that use the GPU")
        trt = self._trt
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {n: self._engine.get_tensor_mode(n) for n in names}
        self.inputs = tuple(self._spec(n) for n in names if modes[n] == trt.TensorIOMode.INPUT)
        self.outputs = tuple(self._spec(n) for n in names if modes[n] == trt.TensorIOMode.OUTPUT)
        self.reason = reason
        self.provider = f"{library.title} {library.version} on {device.name} {precision}"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Every output by name. Copies in, computes and copies out on one stream, then waits for it."""
        self._device.make_current()
        held = []  # the copies are asynchronous: what they read must outlive them
        for spec in self.inputs:
            array = np.ascontiguousarray(inputs[spec.name], spec.dtype)
            held.append(array)
            if not self._context.set_input_shape(spec.name, array.shape):
                raise ValueError(f"input {spec.name}: shape {array.shape} is outside the engine's profile")
            self._context.set_tensor_address(spec.name, self._device.upload(spec.name, array))
        results: Arrays = {}
        for spec in self.outputs:
            results[spec.name] = np.empty(tuple(self._context.get_tensor_shape(spec.name)), spec.dtype)
            address = self._device.reserve(spec.name, results[spec.name].nbytes)
            self._context.set_tensor_address(spec.name, address)
        if not self._context.execute_async_v3(self._device.stream):
            raise RuntimeError("TensorRT refused to run the engine; its log names the cause")
        for name, array in results.items():
            self._device.download(name, array)
        self._device.wait()
        return results

    def close(self) -> None:
        """Release the context, the engine and the device's buffers."""
        self._context = self._engine = None
        self._device.close()

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(None if d < 0 else int(d) for d in self._engine.get_tensor_shape(name))
        return TensorSpec(name, shape, np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))))
