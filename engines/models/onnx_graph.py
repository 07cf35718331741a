"""A small builder of ONNX graphs whose bytes depend on nothing but what is put in: same input, same file."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 17  # the newest that every backend we drive takes; pinned, because the cards hold the hash of the result
IR_VERSION = 8


class OnnxGraph:
    """Collects nodes and constants; ``model`` drops what no output needs and checks the rest."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._count = 0

    def name(self) -> str:
        """A new name for a value."""
        self._count += 1
        return f"x{self._count}"

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Store an array, returns its name."""
        from onnx import numpy_helper

        self._count += 1
        name = f"c{self._count}"
        # np.array keeps a scalar a scalar; ascontiguousarray would make it (1,)
        self._constants[name] = numpy_helper.from_array(np.array(value, dtype, order="C"), name)
        return name

    def add(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node of one output, returns the name of that output."""
        from onnx import helper

        output = output or self.name()
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def add_many(self, op: str, inputs: Sequence[str], n_outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs, returns their names."""
        from onnx import helper

        outputs = [self.name() for _ in range(n_outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, **attributes))
        return outputs

    def model(
        self, inputs: Iterable[tuple[str, Sequence[int | str]]], outputs: Iterable[tuple[str, Sequence[int | str]]]
    ) -> bytes:
        """The serialised model of the float32 inputs and outputs (name, shape); a str is a free dimension."""
        import onnx
        from onnx import TensorProto, helper

        def infos(values: Iterable[tuple[str, Sequence[int | str]]]) -> list[Any]:
            return [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(shape)) for n, shape in values]

        ends = infos(outputs)
        needed = {end.name for end in ends}
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            kept[::-1], "graph", infos(inputs), ends, [t for n, t in self._constants.items() if n in needed]
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="kinecast"
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """(before, after) of TensorFlow's SAME padding: out = ceil(size / stride), the odd one goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """The array as float32 (exact for half precision)."""
    return np.asarray(array, np.float32)
