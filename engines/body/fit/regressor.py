"""From what views see of a person straight to rotations and shape: a small network, run with numpy.

A window of normalised keypoints of one view goes through an encoder; then the parameters, begun at their mean, are
corrected three times by a network that sees both (iterative error feedback: Carreira et al. 2016; Kanazawa et al.,
*End-to-end recovery of human shape and pose*, 2018). Rotations are told in six numbers (Zhou et al. 2019), the root's
in the axes of the virtual camera that looks at the person. Where the person stands is no output: given the pose it is
linear in the keypoints (:func:`place`). Trained by :mod:`engines.train.regressor.optimiser`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import times
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.fixed import nearest_rotations
from kinecast.engines.products import Weights, plain, product

Float = NDArray[np.float64]
F32 = NDArray[np.float32]
Floats = NDArray[Any]

FORMAT, VERSION = "kinecast_regressor", "1"
PATH = Path(__file__).parents[2] / "artifacts" / "body-start.safetensors"
SKELETON, JOINTS, CONTEXT = "halpe26", 26, 3
WINDOW, STEP_S = 5, 0.1  # frames that the network sees, the present one last, and the time between them
BETAS, ROTATIONS = 10, 24
OUTPUTS = ROTATIONS * 6 + BETAS
INPUTS = WINDOW * JOINTS * 3 + CONTEXT
FEEDBACK = 3
WIDTHS = (512, 256, 320)  # encoder, its code, and the network that corrects
MEAN_STEPS, NEAR_RAD = 5, 0.1


def layers(widths: tuple[int, int, int] = WIDTHS) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of every layer by name."""
    wide, code, update = widths
    return {
        "encode.0": (wide, INPUTS), "encode.1": (code, wide), "update.0": (update, code + OUTPUTS),
        "update.1": (update, update), "update.2": (OUTPUTS, update),
    }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Regressor:
    """Weights by name, float32, as :func:`layers` names them, and ``mean`` (154,): where every answer begins.

    about: what the writer told, for the model card. name: the file's, with a hash of its bytes. body: id of the body
    whose rotations and shape are meant.
    """

    tensors: Mapping[str, F32]
    body: str
    about: Mapping[str, Any]
    name: str = ""
    _layers: Mapping[str, Weights] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        t = self.tensors
        made = {n: plain(t[f"{n}.weight"].T, t[f"{n}.bias"]) for n in layers()}
        object.__setattr__(self, "_layers", made)

    def predict(self, windows: Floats, context: Floats) -> tuple[Float, Float]:
        """Rotations (N, 24, 3, 3) in the body's tree, the root's in the virtual camera, and betas (N, 10).

        windows: (N, 5, 26, 3) features x, y, confidence as :func:`engines.virtual_camera.normalise` gives them, oldest
        first, the first known frame standing for those before it. context: (N, 5) of the last frame, as given there.
        """
        x = np.concatenate([windows.reshape(len(windows), -1), context[:, :CONTEXT]], axis=1).astype(np.float32)
        code = self._layer("encode.1", self._layer("encode.0", x))
        parameters = np.tile(self.tensors["mean"], (len(x), 1))
        for _ in range(FEEDBACK):
            y = self._layer("update.1", self._layer("update.0", np.concatenate([code, parameters], axis=1)))
            parameters = parameters + product(y, self._layers["update.2"])
        out = parameters.astype(np.float64)
        return rotations(out[:, : 6 * ROTATIONS].reshape(-1, ROTATIONS, 6)), out[:, 6 * ROTATIONS :]

    def _layer(self, name: str, x: F32) -> F32:
        y = product(x, self._layers[name])
        return np.maximum(y, 0, out=y)


def rotations(six: Float) -> Float:
    """(..., 6) → (..., 3, 3): the first two columns, made orthonormal (Zhou et al. 2019)."""
    a, b = six[..., :3], six[..., 3:]
    x = a / np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-8)
    y = b - (x * b).sum(axis=-1, keepdims=True) * x
    y = y / np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-8)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def six_of(R: Float) -> Float:
    """(..., 3, 3) → (..., 6)."""
    return np.concatenate([R[..., 0], R[..., 1]], axis=-1)


def into_world(R: Float, world_from_virtual: Float) -> Float:
    """Rotations (..., 24, 3, 3) with the root's turned from the virtual camera (..., 3, 3) into the world."""
    out = R.copy()
    out[..., 0, :, :] = times(world_from_virtual, R[..., 0, :, :])
    return out


def fused(R: Float, betas: Float, weight: Float) -> tuple[Float, Float]:
    """What several views say as one: R (N, V, 24, 3, 3) in the world, betas (N, V, B), weight (N, V), 0 for none.

    Rotations (N, 24, 3, 3): the median, nearly: means of matrices brought back to rotations, each view weighed by the
    inverse of how far it was off, so that one that took the front for the back has little say. Betas (N, B): the mean.
    """
    say = np.repeat(np.where(weight > 0, weight, 0.0)[..., None], R.shape[2], axis=2)  # (N, V, 24)
    w = say.copy()
    for _ in range(MEAN_STEPS):
        mean = nearest_rotations((w[..., None, None] * R).sum(axis=1))
        off = np.linalg.norm(R - mean[:, None], axis=(-1, -2))
        w = say / (NEAR_RAD + off)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    return mean, (betas * weight[..., None]).sum(axis=1) / total


def place(points: Float, P: Float, xy: Float, w: Float) -> Float:
    """(N, 3) translations that bring keypoints (N, K, 3) onto the views best, in the linear sense.

    P: (C, 3, 4) normalised cameras; xy: (N, C, K, 2); w: (N, C, K) ≥ 0. Where little is seen it stays near 0.
    """
    seen = np.where(w[..., None] > 0, xy, 0.0)
    A = P[None, :, None, :2] - seen[..., None] * P[None, :, None, 2:]  # (N, C, K, 2, 4)
    b = -(np.einsum("nckij,nkj->ncki", A[..., :3], points) + A[..., 3])
    weight = w / np.maximum(w.max(axis=(1, 2), keepdims=True), 1e-12)
    H = np.einsum("nck,nckia,nckib->nab", weight, A[..., :3], A[..., :3], optimize=True) + 1e-9 * np.eye(3)
    g = np.einsum("nck,nckia,ncki->na", weight, A[..., :3], b, optimize=True)
    return np.asarray(np.linalg.solve(H, g[..., None])[..., 0])


def write_regressor(path: Path, state: Mapping[str, Any], body: str, about: Mapping[str, Any]) -> Path:
    """Write weights (arrays, or torch tensors on the CPU) as float16, whole or not at all; ValueError for no number."""
    from safetensors.numpy import save

    tensors = {}
    for name, value in state.items():
        array = np.ascontiguousarray(value, dtype=np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds what is no number")
        tensors[name] = array.astype(np.float16) if array.ndim > 1 else array
    if wrong := _mismatch(tensors):
        raise ValueError(wrong)
    atomic_write(path, save(tensors, {FORMAT: VERSION, "body": body, "about": json.dumps(dict(about))}))
    return path


def read_regressor(path: Path = PATH) -> Regressor:
    """Read and check a file of :func:`write_regressor`; KinecastError where it is none or is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError as e:
        raise KinecastError(f"cannot read the regressor {path}: {e.strerror}: check the path") from None
    try:
        stored = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
        about = json.loads(header.get("about", "{}"))
    except (SafetensorError, ValueError, KeyError):
        raise KinecastError(f"{path} is not a whole safetensors file: copy it again, or train anew") from None
    if header.get(FORMAT) != VERSION:
        raise KinecastError(f"{path} holds no regressor of this Kinecast: `kinecast train regressor` writes one")
    if wrong := _mismatch(stored):
        raise KinecastError(f"{path} is of another architecture: {wrong}: take the file as it was written")
    tensors = {name: value.astype(np.float32) for name, value in stored.items()}
    bad = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if bad:
        raise KinecastError(f"{path}: {bad[0]} holds what is no number: copy the file again, or train anew")
    return Regressor(tensors, header.get("body", ""), about, f"{path.stem}@{hashlib.sha256(content).hexdigest()[:12]}")


def _mismatch(tensors: Mapping[str, NDArray[Any]]) -> str:
    """What first differs from the architecture; empty where nothing does. The widths are those of the file."""
    try:
        widths = tuple(len(tensors[f"{n}.bias"]) for n in ("encode.0", "encode.1", "update.0"))
    except KeyError as e:
        return f"{e.args[0]} is missing"
    expected: dict[str, tuple[int, ...]] = {"mean": (OUTPUTS,)}
    for name, (outputs, inputs) in layers((widths[0], widths[1], widths[2])).items():
        expected |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    for name, shape in expected.items():
        if name not in tensors or tensors[name].shape != shape:
            return f"{name} is {tensors[name].shape if name in tensors else 'missing'}, expected {shape}"
    unknown = sorted(set(tensors) - set(expected))
    return f"{unknown[0]} is unknown" if unknown else ""
