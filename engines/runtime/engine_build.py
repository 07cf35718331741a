"""Building TensorRT engines from ONNX, once: the result is cached by model, library, GPU, precision and shapes.

`tensorrt_rtx` builds ahead of time without a GPU, for every GPU that it supports; `tensorrt` builds for the GPU that
is there. Engines are not byte-reproducible, so a cached one is kept until its key changes.
"""

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime.device import gpu_capability
from kinecast.engines.runtime.shapes import Shapes, read_shapes

# compute capabilities that tensorrt_rtx 1.7 serves; it refuses Hopper (9.0), where tensorrt proper is the library
RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
Capabilities = tuple[tuple[int, int], ...]
AHEAD = "aot"  # stands for the GPU in the key of an engine that is built ahead of time


class Library:
    """One of the two libraries of the same API, with a logger that keeps what it was told."""

    def __init__(self, name: str) -> None:
        self.name, self.module = name, importlib.import_module(name)
        self.title = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}[name]
        self.version = str(self.module.__version__)
        self.errors: list[str] = []
        self._logger = _logger(self.module, self.errors)

    @property
    def builds_ahead(self) -> bool:
        """Whether engines can be built without the GPU that runs them."""
        return self.name == "tensorrt_rtx"

    def builder(self) -> Any:
        return self.module.Builder(self._logger)

    def parser(self, network: Any) -> Any:
        return self.module.OnnxParser(network, self._logger)

    def runtime(self) -> Any:
        return self.module.Runtime(self._logger)

    def last_error(self) -> str:
        """The last error that the library logged, or that it logged none."""
        return self.errors[-1] if self.errors else "the library gave no reason"


def _logger(module: Any, errors: list[str]) -> Any:
    class Keep(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (module.ILogger.Severity.ERROR, module.ILogger.Severity.INTERNAL_ERROR):
                errors.append(text.strip().splitlines()[0])

    return Keep()


def load_library(capability: tuple[int, int] | None = None) -> Library:
    """The library for a GPU of that compute capability; None: one that builds ahead of time.

    `tensorrt` where it is installed and a GPU is there, else `tensorrt_rtx` where it serves the GPU. A package that
    is there by name only (the registry's stub fetches its libraries elsewhere) is passed over.
    """
    tried: list[str] = []
    for name in ("tensorrt", "tensorrt_rtx"):
        if name == "tensorrt" and capability is None:
            continue
        if name == "tensorrt_rtx" and capability is not None and capability not in RTX_CAPABILITIES:
            tried.append(f"tensorrt_rtx does not serve compute capability {capability[0]}.{capability[1]}")
            continue
        if importlib.util.find_spec(name) is None:
            tried.append(f"{name} is not installed")
            continue
        try:
            return Library(name)
        except Exception as e:  # a stub without its libraries fails in ways of its own
            tried.append(f"{name} does not import ({e})")
    raise KinecastError(f"no TensorRT: {'; '.join(tried)}: pip install 'kinecast[tensorrt]'")


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine depends on. gpu: its name, or ``aot`` with the capabilities that it was built for."""

    model_sha256: str
    library: str
    gpu: str
    precision: str
    shapes: str

    @property
    def path(self) -> Path:
        """Where the engine is or will be: in the cache, by the hash of all this."""
        text = json.dumps([self.model_sha256, self.library, self.gpu, self.precision, self.shapes])
        return cache_dir() / "engines" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.engine"


def build_engine(
    onnx: str | Path,
    precision: str = "f32",
    shapes: Mapping[str, Any] | None = None,
    library: Library | None = None,
    gpu: str = "",
    capabilities: Capabilities = (),
) -> Path:
    """The cached engine of an ONNX file, built now where it is not there yet.

    precision: ``f32`` or ``f16`` (the ONNX file is converted first, its inputs and outputs stay float32). shapes: of
    inputs with free dimensions, see :func:`engines.runtime.shapes.read_shapes`. library: by default the one that
    builds ahead of time. gpu: name of the GPU that a `tensorrt` engine is for. capabilities: which GPUs an engine
    built ahead of time is for; empty: those that the library takes by itself (8.0 and newer).
    Raises KinecastError with the library's own words where the file cannot be parsed or built.
    """
    path = Path(onnx)
    library = library or load_library()
    bounds = read_shapes(shapes)
    if precision not in ("f32", "f16"):
        raise KinecastError(f"precision {precision} with TensorRT: it is f32 or f16 here")
    model = path.read_bytes()
    target = AHEAD + "".join(f"-{a}.{b}" for a, b in capabilities) if library.builds_ahead else gpu
    key = EngineKey(hashlib.sha256(model).hexdigest(), f"{library.name} {library.version}", target, precision,
                    json.dumps(bounds, sort_keys=True))  # fmt: skip
    if key.path.is_file():
        return key.path
    if precision == "f16":
        from kinecast.engines.runtime.half import to_half

        model = to_half(model, path)
    engine = _build(library, model, path, bounds, capabilities)
    atomic_write(key.path, engine)
    return key.path


def _build(library: Library, model: bytes, path: Path, shapes: Shapes, capabilities: Capabilities) -> bytes:
    trt, builder = library.module, library.builder()
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = library.parser(network)
    # a parser may say yes to bytes that are no model; then there is nothing to compute
    if not parser.parse(model) or network.num_outputs == 0:
        words = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise KinecastError(f"{path} is not an ONNX file that {library.title} can read: {(words or ['no outputs'])[0]}")
    config = builder.create_builder_config()
    _add_profile(builder, config, network, shapes, path)
    if capabilities and library.builds_ahead:
        config.num_compute_capabilities = len(capabilities)
        for i, (major, minor) in enumerate(capabilities):
            config.set_compute_capability(_capability(trt, major, minor), i)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise KinecastError(f"{library.title} could not build {path}: {library.last_error()}: take another runtime")
    return bytes(engine)


def _capability(trt: Any, major: int, minor: int) -> Any:
    name = f"SM{major}{minor}"
    if not hasattr(trt.ComputeCapability, name):
        known = ", ".join(f"{a}.{b}" for a, b in RTX_CAPABILITIES)
        raise KinecastError(f"TensorRT-RTX builds nothing for compute capability {major}.{minor}: it knows {known}")
    return getattr(trt.ComputeCapability, name)


def _add_profile(builder: Any, config: Any, network: Any, shapes: Shapes, path: Path) -> None:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    free = [t for t in inputs if any(d < 0 for d in t.shape)]
    if unknown := set(shapes) - {t.name for t in inputs}:
        raise KinecastError(f"{path} has no input {sorted(unknown)[0]!r}: it has {', '.join(t.name for t in inputs)}")
    if not free:
        return
    profile = builder.create_optimization_profile()
    for tensor in free:
        # a free dimension without a word about it is a batch of one
        usual = tuple(max(d, 1) for d in tensor.shape)
        low, mid, high = shapes.get(tensor.name, (usual, usual, usual))
        profile.set_shape(tensor.name, low, mid, high)
    if config.add_optimization_profile(profile) < 0:
        raise KinecastError(f"{path}: shapes {shapes} do not fit the inputs of the file")


def ready_library() -> Library:
    """The library that serves the GPU of this machine; KinecastError where there is none."""
    return load_library(gpu_capability())
