"""Toy models, made here: a tfjs graph, a TFLite file and an ONNX file, each a few hundred bytes."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class ToyTfjs:
    """Writes a tfjs graph model: nodes one after the other, weights as float16, uint8 (affine) or as they are."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.data = b""

    def const(self, name: str, value: Any, dtype: Any = np.float32, quantise: str = "") -> str:
        array = np.asarray(value, dtype)
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        if quantise == "float16":
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            self.data += array.astype(np.float16).tobytes()
        elif quantise == "uint8":  # the numbers of a test are whole, so that nothing is lost
            entry["quantization"] = {"dtype": "uint8", "scale": 0.5, "min": -4.0, "original_dtype": "float32"}
            self.data += np.round((array + 4) * 2).astype(np.uint8).tobytes()
        else:
            self.data += array.tobytes()
        self.entries.append(entry)
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        return name

    def node(self, op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(
            {"name": name, "op": op, "input": inputs, "attr": {k: attr(v) for k, v in attributes.items()}}
        )
        return name

    def write(self, folder: Path, output: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "toy.bin").write_bytes(self.data)
        model = {
            "format": "graph-model",
            "signature": {"outputs": {"out": {"name": f"{output}:0"}}},
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["toy.bin"], "weights": self.entries}],
        }
        (folder / "toy.json").write_text(json.dumps(model))
        return folder / "toy.json"


def attr(value: Any) -> dict[str, Any]:
    """An attribute in tfjs' JSON: DT_… is a type, other text a byte string, numbers are strings."""
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, str):
        return {"type": value} if value.startswith("DT_") else {"s": base64.b64encode(value.encode()).decode()}
    if value and isinstance(value[0], str):
        return {"list": {"s": [base64.b64encode(v.encode()).decode() for v in value]}}
    return {"list": {"i": [str(v) for v in value]}}


def small_tfjs(folder: Path) -> Path:
    """Brightness: the mean-free picture, doubled and summed over channels."""
    toy = ToyTfjs()
    toy.node("Placeholder", "input", [])
    toy.node("Mul", "double", ["input", toy.const("two", 2.0)])
    toy.node("Sum", "sum", ["double", toy.const("axes", [3], np.int32)], keep_dims=False)
    return toy.write(folder, "sum")


def toy_onnx(path: Path, gain: float = 2.0) -> Path:
    """x (1, 3, 4, 4) → y = gain · x."""
    from onnx import TensorProto, helper, numpy_helper, save

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 4, 4]) for n in ("x", "y")]
    weight = numpy_helper.from_array(np.float32(gain), "gain")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "gain"], ["y"])], "toy", ends[:1], ends[1:], [weight])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def conv_same(x: Array, w: Array, stride: int, depthwise: bool = False) -> Array:
    """The slow twin: TensorFlow's SAME convolution of (H, W, I) with (h, w, I, O) or depthwise (h, w, I, M)."""
    h, wd, cin = x.shape
    kh, kw = w.shape[:2]
    cout = w.shape[2] * w.shape[3] if depthwise else w.shape[3]
    oh, ow = -(-h // stride), -(-wd // stride)
    top = max((oh - 1) * stride + kh - h, 0) // 2
    left = max((ow - 1) * stride + kw - wd, 0) // 2
    out = np.zeros((oh, ow, cout))
    for i, j, a, b in np.ndindex(oh, ow, kh, kw):
        y, z = i * stride + a - top, j * stride + b - left
        if 0 <= y < h and 0 <= z < wd:
            if depthwise:
                out[i, j] += (x[y, z][:, None] * w[a, b]).reshape(-1)
            else:
                out[i, j] += x[y, z] @ w[a, b]
    assert cin == w.shape[2]
    return out


def resize_half_pixel(x: Array, height: int, width: int) -> Array:
    """The slow twin of TensorFlow's bilinear resize with half-pixel centres, of (H, W, C)."""
    out = np.zeros((height, width, x.shape[2]))
    for i, j in np.ndindex(height, width):
        y = min(max((i + 0.5) * x.shape[0] / height - 0.5, 0), x.shape[0] - 1)
        z = min(max((j + 0.5) * x.shape[1] / width - 0.5, 0), x.shape[1] - 1)
        y0, z0 = int(y), int(z)
        y1, z1 = min(y0 + 1, x.shape[0] - 1), min(z0 + 1, x.shape[1] - 1)
        fy, fz = y - y0, z - z0
        out[i, j] = (
            x[y0, z0] * (1 - fy) * (1 - fz)
            + x[y1, z0] * fy * (1 - fz)
            + x[y0, z1] * (1 - fy) * fz
            + x[y1, z1] * fy * fz
        )
    return out


def run_onnx(model: bytes, **inputs: Array) -> list[Array]:
    """All outputs of the model on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [np.asarray(o) for o in session.run(None, inputs)]
