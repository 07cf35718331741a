"""``open_session``: the one door to every runtime, and the choice of the best that really binds."""

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime.session import Session
from kinecast.engines.runtime.shapes import Shapes, read_shapes
from kinecast.engines.runtime.torch import kind_of_torch

Runtime = Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"]
RUNTIMES = ("auto", "onnxruntime", "openvino", "tensorrt", "torch")
PRECISIONS = ("f32", "f16", "bf16")
TORCH_FILES = (".pt2", ".ts", ".pt")
_log = logging.getLogger("kinecast.runtime")


def open_session(path: str | Path, runtime: str = "auto", threads: int = 1, precision: str = "f32",
                 shapes: Mapping[str, Any] | None = None) -> Session:  # fmt: skip
    """Open a model file; nothing is fetched.

    runtime: ``auto`` takes TensorRT where a GPU and the library are, else ONNX Runtime on CUDA, else OpenVINO, else
    ONNX Runtime on the CPU (OpenVINO's float32 is about a tenth faster), and torch for torch's own files.
    threads: that one run may use on the CPU. precision: ``f32``, or ``f16`` or ``bf16`` where the runtime computes so.
    shapes: for free dimensions, see :func:`engines.runtime.shapes.read_shapes`.
    Raises KinecastError where the file is missing or not fit, or where the runtime that was asked for cannot be had.
    """
    path = Path(path)
    if not path.is_file():
        raise KinecastError(f"model {path} does not exist: check the path, or run `kinecast models pull`")
    for word, known, what in ((runtime, RUNTIMES, "runtime"), (precision, PRECISIONS, "precision")):
        if word not in known:
            raise KinecastError(f"unknown {what} {word!r}: known are {', '.join(known)}")
    if threads < 1:
        raise KinecastError(f"threads is {threads}: expected 1 or more")
    bounds = read_shapes(shapes)
    if runtime == "auto":
        session = _best(path, threads, precision, bounds)
    else:
        session = _OPENERS[runtime](path, threads, precision, bounds, "")
    _log.info("%s: %s%s", path.name, session.provider, f" ({session.reason})" if session.reason else "")
    return session


def _best(path: Path, threads: int, precision: str, shapes: Shapes) -> Session:
    if is_torch(path):
        return _torch(path, threads, precision, shapes, "a file of torch")
    refused: list[str] = []
    for name, ready in (("tensorrt", _tensorrt_ready), ("onnxruntime", _cuda_ready), ("openvino", _openvino_ready)):
        if why := ready(precision):
            refused.append(why)
            continue
        try:
            return _OPENERS[name](path, threads, precision, shapes, "; ".join(refused))
        except (KinecastError, RuntimeError, TypeError, OSError) as e:  # bindings raise the latter where CUDA is broken
            refused.append(f"{name}: {e}")
            _log.warning("%s: %s does not bind: %s", path.name, name, e)
    if precision != "f32":
        raise KinecastError(f"nothing here computes in {precision} ({'; '.join(refused)}): take precision f32")
    return _onnxruntime(path, threads, precision, shapes, "; ".join(refused))


def _tensorrt_ready(precision: str) -> str:
    from kinecast.engines.runtime.tensorrt import why_not

    return why_not()


def _cuda_ready(precision: str) -> str:
    if precision != "f32":
        return f"ONNX Runtime takes no {precision} of a float32 file"
    from kinecast.engines.runtime.onnxruntime import cuda_offered

    return "" if cuda_offered() else "ONNX Runtime without CUDA"


def _openvino_ready(precision: str) -> str:
    return "" if importlib.util.find_spec("openvino") else "OpenVINO is not installed"


def _onnxruntime(path: Path, threads: int, precision: str, shapes: Shapes, reason: str) -> Session:
    _must_be_onnx(path, "onnxruntime")
    if precision != "f32":
        raise KinecastError(
            f"precision {precision} with runtime onnxruntime: it computes as the file says: take f32, or openvino"
        )
    from kinecast.engines.runtime.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(path, threads, reason)


def _openvino(path: Path, threads: int, precision: str, shapes: Shapes, reason: str) -> Session:
    _must_be_onnx(path, "openvino")
    if why := _openvino_ready(precision):
        raise KinecastError(f"{why}: pip install 'kinecast[openvino]', or take runtime onnxruntime")
    from kinecast.engines.runtime.openvino import OpenVinoSession

    return OpenVinoSession(path, threads, precision, shapes, reason)


def _tensorrt(path: Path, threads: int, precision: str, shapes: Shapes, reason: str) -> Session:
    _must_be_onnx(path, "tensorrt")
    from kinecast.engines.runtime.tensorrt import TensorRtSession, why_not

    if why := why_not():
        raise KinecastError(f"runtime tensorrt cannot be had: {why}: take runtime auto, openvino or onnxruntime")
    return TensorRtSession(path, precision, shapes, reason)


def _torch(path: Path, threads: int, precision: str, shapes: Shapes, reason: str) -> Session:
    if not is_torch(path):
        raise KinecastError(
            f"{path} is not a file of torch ({', '.join(TORCH_FILES)}): take runtime auto, onnxruntime or openvino for "
            "ONNX, or export the network with torch.export.save"
        )
    if kind_of_torch(path) == "weights":
        raise KinecastError(f"{path} holds weights alone, without a network: export it with torch.jit.save, or as ONNX")
    if importlib.util.find_spec("torch") is None:
        raise KinecastError("torch is not installed: pip install 'kinecast[torch]', or use the ONNX file of the model")
    if precision != "f32":
        raise KinecastError(f"precision {precision} with runtime torch: it runs as it was exported: take f32")
    from kinecast.engines.runtime.torch import TorchSession

    return TorchSession(path, threads, reason)


def is_torch(path: Path) -> bool:
    """Whether a file is one of torch's, by its name or by what is in it."""
    return path.suffix in TORCH_FILES or bool(kind_of_torch(path))


def _must_be_onnx(path: Path, runtime: str) -> None:
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04" and not is_torch(path):
            raise KinecastError(f"{path} is a zip archive, not a network: unpack it and name the .onnx file in it")
    if is_torch(path):
        raise KinecastError(f"{path} is a file of torch: runtime {runtime} takes ONNX; take runtime torch or auto")


_OPENERS: dict[str, Callable[[Path, int, str, Shapes, str], Session]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "torch": _torch,
}
