"""One call over ONNX Runtime, OpenVINO, TensorRT and torch: a model file in, named arrays in and out."""

from kinecast.engines.runtime.open import RUNTIMES, Runtime, open_session
from kinecast.engines.runtime.session import Session, TensorSpec, warm_up

__all__ = ["RUNTIMES", "Runtime", "Session", "TensorSpec", "open_session", "warm_up"]
