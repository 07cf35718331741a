"""The step as an ONNX file: taps as inputs, what each layer read as outputs, the batch free; for GPUs and OpenVINO.

Written node by node from the folded weights, so that no torch is needed and the same weights give the same file.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_write
from kinecast.engines.lift.rows import perceptron_of
from kinecast.engines.lift.stream import Affine, fold_trunk
from kinecast.engines.lift.weights import LifterFile
from kinecast.engines.virtual_camera import CONTEXT

OPSET = 17


class _Graph:
    """Nodes, constants and names of a graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def affine(self, x: str, layer: Affine, output: str = "") -> str:
        # a product and a sum: TensorRT and ONNX Runtime both fuse them
        y = self.add("MatMul", [x, self.constant(layer[0])])
        return self.add("Add", [y, self.constant(layer[1])], output)

    def relu(self, x: str, output: str = "") -> str:
        return self.add("Relu", [x], output)

    def part(self, x: str, start: int, stop: int, output: str = "") -> str:
        ends = [self.constant(np.array([v], np.int64)) for v in (start, stop, 1)]
        return self.add("Slice", [x, *ends], output)

    def reshape(self, x: str, shape: tuple[int, ...], output: str = "") -> str:
        return self.add("Reshape", [x, self.constant(np.array(shape, np.int64))], output)


def export_onnx(file: LifterFile, path: Path) -> Path:
    """Write the step of a causal lifter; see the module for its inputs and outputs.

    inputs: ``features`` (N, J, 3), ``context`` (N, 5), and ``pose_tap_i``, ``trajectory_tap_i`` (N, size) in the order
    of stream.TrunkRows.taps. outputs: those of rows.Outputs that the lifter has, and ``pose_present_i``,
    ``trajectory_present_i``, what tapped layer i > 0 read and the caller keeps.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    config, tensors = file.config, file.tensors
    j, g = config.joints, _Graph()
    inputs: dict[str, tuple[int, ...]] = {"features": (j, 3), "context": (CONTEXT,)}
    outputs: dict[str, tuple[int, ...]] = {}
    keypoints = "features" if config.confidence else _columns(g, "features", 0, 2)
    x = g.reshape(keypoints, (-1, j * (3 if config.confidence else 2)))
    trunk = _trunk(g, file, "pose", x, inputs, outputs)
    pose = g.affine(trunk, fold_trunk(tensors, "pose", config, ("log_variance",) if config.variance else ()).head)
    relative = g.part(pose, 0, 3 * j)
    g.reshape(relative, (-1, j, 3), "relative_m")
    outputs["relative_m"] = outputs["corrected_m"] = (j, 3)
    if config.variance:
        g.reshape(g.part(pose, 3 * j, 6 * j), (-1, j, 3), "log_variance")
        outputs["log_variance"] = (j, 3)
    if config.trajectory_channels:
        both = g.add("Concat", [x, "context"], axis=1)
        way = _trunk(g, file, "trajectory", both, inputs, outputs)
        head = g.affine(way, fold_trunk(tensors, "trajectory", config, ("trajectory_log_variance",)).head)
        g.part(head, 0, 3, "root_code")
        g.part(head, 3, 6, "root_log_variance")
        outputs["root_code"] = outputs["root_log_variance"] = (3,)
    if config.gamma_hidden:
        gamma_input = g.add("Concat", [trunk, x, "context"], axis=1)
        _perceptron(g, perceptron_of(tensors, "gamma"), gamma_input, "log_gamma")
        outputs["log_gamma"] = (2,)
    corrected = _correct(g, file, relative) if config.projector_hidden else relative
    g.reshape(corrected, (-1, j, 3), "corrected_m")
    graph = helper.make_graph(
        g.nodes,
        "lifter",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("batch", *s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("batch", *s)) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in g.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    atomic_write(path, model.SerializeToString())
    return path


def shapes_for(file: LifterFile, least: int = 1, usual: int = 8, most: int = 64) -> dict[str, Any]:
    """Batch sizes of every input, as engines.runtime.open_session and build_engine take them."""
    config = file.config
    sizes: dict[str, tuple[int, ...]] = {"features": (config.joints, 3), "context": (CONTEXT,)}
    for name in ("pose", "trajectory")[: 2 if config.trajectory_channels else 1]:
        trunk = fold_trunk(file.tensors, name, config)
        taps = [size for size, width in zip(trunk.sizes, trunk.widths, strict=True) for _ in range(width - 1)]
        sizes |= {f"{name}_tap_{i}": (size,) for i, size in enumerate(taps)}
    return {name: tuple((batch, *size) for batch in (least, usual, most)) for name, size in sizes.items()}


def _trunk(
    g: _Graph, file: LifterFile, name: str, x: str, inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
) -> str:  # fmt: skip
    """The layers of a trunk as stream.TrunkRows runs them; adds its taps to inputs and its presents to outputs."""
    trunk = fold_trunk(file.tensors, name, file.config)
    count, h = 0, x
    # OpenVINO merges an output that is a mere copy: what is kept has its name where it is made
    presents = [f"{name}_present_{i}" for i in range(1, len(trunk.widths))] + [""]
    for block, (width, size) in enumerate(zip(trunk.widths, trunk.sizes, strict=True)):
        taps = [f"{name}_tap_{count + i}" for i in range(width - 1)]
        count += len(taps)
        inputs |= dict.fromkeys(taps, (size,))
        tapped = g.add("Concat", [*taps, h], axis=1)
        if block == 0:
            h = g.relu(g.affine(tapped, trunk.layers[0]), presents[0])
            continue
        outputs[f"{name}_present_{block}"] = (size,)
        kept = h if trunk.causal else [*taps, h][width // 2]
        y = g.relu(g.affine(tapped, trunk.layers[2 * block - 1]))
        h = g.add("Add", [kept, g.relu(g.affine(y, trunk.layers[2 * block]))], presents[block])
    return h


def _perceptron(g: _Graph, layers: list[Affine], x: str, output: str = "") -> tuple[str, str, str]:
    h1 = g.relu(g.affine(x, layers[0]))
    h2 = g.relu(g.affine(h1, layers[1]))
    return h1, h2, g.affine(h2, layers[2], output)


def _columns(g: _Graph, features: str, start: int, stop: int) -> str:
    """(N, J, 3) → (N, J, stop - start)."""
    ends = [g.constant(np.array([v], np.int64)) for v in (start, stop, 2)]
    return g.add("Slice", [features, *ends])


def _correct(g: _Graph, file: LifterFile, pose: str) -> str:
    """The correction steps of rows.Rows.correct."""
    j = file.config.joints
    layers = perceptron_of(file.tensors, "projector")
    back = [g.constant(w.T) for w, _ in layers]
    into = g.constant(layers[0][0][: 3 * j].T)
    seen = g.reshape(_columns(g, "features", 0, 2), (-1, 2 * j))
    confidence = g.reshape(_columns(g, "features", 2, 3), (-1, j))
    doubled = g.constant(np.repeat(np.eye(j, dtype=np.float32), 2, axis=1))
    say = g.add("MatMul", [confidence, doubled])
    zero = g.constant(np.zeros(1, np.float32))
    for lengths in np.exp(file.tensors["projector.log_step"]):
        x = g.add("Concat", [pose, confidence, "context"], axis=1)
        h1, h2, projected = _perceptron(g, layers, x)
        error = g.add("Mul", [g.add("Sub", [projected, seen]), say])
        for h, weights in ((h2, back[2]), (h1, back[1])):
            open_ = g.add("Cast", [g.add("Greater", [h, zero])], to=1)
            error = g.add("Mul", [g.add("MatMul", [error, weights]), open_])
        step = g.add("Mul", [g.add("MatMul", [error, into]), g.constant(lengths.reshape(1, -1))])
        pose = g.add("Sub", [pose, step])
    return pose
