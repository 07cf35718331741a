"""The candidate as it will run, step by step in numpy: do torch and the exports say the same?"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.export import export_onnx, shapes_for
from kinecast.engines.lift.lifter import Lifter
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.lift.weights import LifterFile
from kinecast.engines.runtime import open_session
from kinecast.engines.runtime.session import Session
from kinecast.engines.virtual_camera import fill_unseen, normalise, out_of_virtual

Float = NDArray[np.float64]

EXACT_M = 1e-4  # float32 sums in another order, through a network of ten layers, on poses of a metre
SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Parity:
    """What was compared with the numpy step. off_m: largest difference of a joint; note: why it was not, else ""."""

    runtime: str
    off_m: float
    note: str = ""

    @property
    def fine(self) -> bool:
        return bool(self.note) or self.off_m < EXACT_M


def parity(file: LifterFile, onnx: Path) -> list[Parity]:
    """Write the ONNX file and compare. TensorRT's engine is built where the library is, and run where a GPU is."""
    out = [Parity("torch, whole window", _off(_steps(file), _torch(file)))]
    export_onnx(file, onnx)
    session = open_session(onnx, "onnxruntime", shapes=shapes_for(file))
    out.append(Parity("ONNX Runtime", _off(_steps(file), _steps(file, session))))
    return [*out, _tensorrt(file, onnx)]


def _tensorrt(file: LifterFile, onnx: Path) -> Parity:
    from kinecast.engines.runtime.engine_build import build_engine
    from kinecast.engines.runtime.tensorrt import why_not

    try:
        engine = build_engine(onnx, shapes=shapes_for(file))
    except KinecastError as e:
        return Parity("TensorRT", math.nan, f"no engine: {e}")
    if why := why_not():
        return Parity("TensorRT", math.nan, f"engine {engine.name} built, not run: {why}")
    session = open_session(onnx, "tensorrt", shapes=shapes_for(file))
    return Parity("TensorRT", _off(_steps(file), _steps(file, session)))


def _walk(file: LifterFile) -> tuple[Float, Float]:
    """Two people who sway before a camera, one of them missing joints: xy (T, 2, J, 2) and confidence (T, 2, J)."""
    rng = np.random.default_rng(3)
    frames, j = round(SECONDS * file.config.rate_hz), file.config.joints
    rest = rng.normal(0, (0.2, 0.45, 0.15), (2, j, 3))
    phase, pace = rng.uniform(0, 6, (2, j, 3)), rng.uniform(0.3, 1.0, (2, j, 3))
    t = np.arange(frames)[:, None, None, None] / file.config.rate_hz
    points = rest + 0.12 * np.sin(2 * np.pi * pace * t + phase) + np.array([[[0.0, 0.0, 4.0]], [[0.5, 0.0, 5.0]]])
    confidence = rng.uniform(0.3, 1.0, (frames, 2, j))
    confidence[:, 1, ::7] = 0.0
    return points[..., :2] / points[..., 2:], confidence


def _steps(file: LifterFile, session: Session | None = None) -> Float:
    """(T, 2, J, 3) joints about the root in the camera's axes, a frame at a time."""
    lifter, (xy, confidence) = Lifter(file, session=session), _walk(file)
    keys, focal, hz = [(1, "a"), (2, "a")], np.full((2, 2), 1000.0), file.config.rate_hz
    poses = [
        lifter.step(round(i * 1e9 / hz), keys, *seen, focal).relative_m
        for i, seen in enumerate(zip(xy, confidence, strict=True))
    ]
    return np.stack(poses)


def _torch(file: LifterFile) -> Float:
    """The same by torch, whole sequences at once."""
    import torch

    from kinecast.engines.train.lifter.dense_forward import lift_sequence

    network = LifterNetwork(file.config)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in file.tensors.items()}, strict=False)
    network.eval()
    xy, confidence = (v.swapaxes(0, 1) for v in _walk(file))
    n = fill_unseen(normalise(xy, confidence))
    features, context = (torch.from_numpy(v.astype(np.float32)) for v in (n.features, n.context))
    with torch.no_grad():
        pose = lift_sequence(network, features, context)[0].relative_m
        if network.projector is not None:
            pose = network.projector.correct(pose, features, context)
    joints = pose.double().numpy()
    joints -= joints[:, :, file.config.root : file.config.root + 1]
    return np.asarray(out_of_virtual(n.cam_from_virtual, joints).swapaxes(0, 1))


def _off(a: Float, b: Float) -> float:
    return float(np.abs(a - b).max())
