"""Toy networks as ONNX files, written by hand: small enough to know what they must give."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int | str, ...]


def save(path: Path, nodes: list[Any], inputs: dict[str, Shape], outputs: dict[str, Shape],
         constants: dict[str, NDArray[Any]]) -> Path:  # fmt: skip
    """One ONNX file with float32 ends."""
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def conv(path: Path, batch: int | str = 1) -> tuple[Path, NDArray[np.float32]]:
    """relu(x ∗ w) with x (batch, 3, 8, 8) and a 1×1 kernel w (4, 3): returns the file and w."""
    w = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    shapes: tuple[Shape, Shape] = ((batch, 3, 8, 8), (batch, 4, 8, 8))
    return save(path, nodes, {"x": shapes[0]}, {"y": shapes[1]}, {"w": w[:, :, None, None]}), w


def conv_twin(x: NDArray[np.float32], w: NDArray[np.float32]) -> NDArray[np.float32]:
    """What :func:`conv` must give, in numpy."""
    return np.maximum(np.einsum("oc,nchw->nohw", w, x), 0).astype(np.float32)


def fixed(path: Path, size_px: tuple[int, int], outputs: dict[str, NDArray[np.float32]]) -> Path:
    """A model that sees a (1, 3, H, W) picture and always answers ``outputs``."""
    w, h = size_px
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Add", ["nothing", f"c_{n}"], [n]) for n in outputs]
    constants = {f"c_{n}": v for n, v in outputs.items()} | {"zero": np.float32(0).reshape(())}
    return save(path, nodes, {"x": (1, 3, h, w)}, {n: v.shape for n, v in outputs.items()}, constants)


def brightest(path: Path, size_px: tuple[int, int], joints: int) -> Path:
    """A SimCC model, split 1: every joint is where columns and rows of the (1, 3, H, W) picture are brightest."""
    w, h = size_px
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["col"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["row"], axes=[1, 3], keepdims=0),
    ]
    for name in ("col", "row"):
        nodes.append(helper.make_node("Unsqueeze", [name, "one"], [f"{name}1"]))
        nodes.append(helper.make_node("Tile", [f"{name}1", "repeats"], [f"{name}s"]))
    constants = {"one": np.array([1], np.int64), "repeats": np.array([1, joints, 1], np.int64)}
    return save(path, nodes, {"x": (1, 3, h, w)}, {"cols": (1, joints, w), "rows": (1, joints, h)}, constants)
