"""Reading a TFLite file: its tensors, constants (dense, sparse or half precision) and operators, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

Array = NDArray[Any]

_DTYPES: dict[int, type] = {
    0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 9: np.int8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: its builtin name, the tensors it reads and writes, and its options table (None: it has none)."""

    name: str
    inputs: list[int]
    outputs: list[int]
    options: Any


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """The first subgraph of a file. Tensors are numbers; shapes are TFLite's own (pictures are NHWC)."""

    names: list[str]
    shapes: list[list[int]]
    constants: dict[int, Array]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]


def read_tflite(path: Path) -> TfliteGraph:
    """Parse the file; KinecastError where it is not a TFLite model."""
    import tflite

    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise KinecastError(f"{path} is not a TFLite model: fetch it again or correct the card")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    shapes = [t.ShapeAsNumpy().tolist() if t.ShapeLength() else [] for t in tensors]
    constants = {}
    for i, tensor in enumerate(tensors):
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            values: Array = np.frombuffer(buffer.DataAsNumpy().tobytes(), _DTYPES[tensor.Type()])
            constants[i] = _dense(tensor, values) if tensor.Sparsity() else values.reshape(shapes[i])
    return TfliteGraph(
        names=[t.Name().decode() for t in tensors],
        shapes=shapes,
        constants=constants,
        operators=[_operator(model, graph.Operators(i)) for i in range(graph.OperatorsLength())],
        inputs=[graph.Inputs(i) for i in range(graph.InputsLength())],
        outputs=[graph.Outputs(i) for i in range(graph.OutputsLength())],
    )


def _operator(model: Any, op: Any) -> Operator:
    import tflite

    code = model.OperatorCodes(op.OpcodeIndex())
    # codes over 127 are in the newer field, the others in both or in the older one alone
    name = tflite.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    return Operator(name, op.InputsAsNumpy().tolist(), op.OutputsAsNumpy().tolist(), op.BuiltinOptions())


def _dense(tensor: Any, values: Array) -> Array:
    """The dense form of a sparse constant (TFLite's block-sparse format: a tree of dense and compressed levels)."""
    sparsity = tensor.Sparsity()
    shape = tensor.ShapeAsNumpy().tolist()
    order = sparsity.TraversalOrderAsNumpy().tolist()
    block_map = sparsity.BlockMapAsNumpy().tolist() if sparsity.BlockMapLength() else []
    levels = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
    block = [1] * len(shape)
    for k, dim in enumerate(block_map):
        block[dim] = levels[len(shape) + k].DenseSize()

    nodes = np.zeros(1, np.int64)  # the nodes of the level reached, and their coordinates on the levels above
    coords = np.zeros((1, 0), np.int64)
    for level in levels:
        nodes, coords = _descend(level, nodes, coords)
    at = np.zeros((len(nodes), len(shape)), np.int64)
    for k, dim in enumerate(order):
        if dim < len(shape):
            at[:, dim] += coords[:, k] * block[dim]
        else:
            at[:, block_map[dim - len(shape)]] += coords[:, k]
    out = np.zeros(shape, values.dtype)
    out[tuple(at.T)] = values[nodes]
    return out


def _descend(level: Any, nodes: Array, coords: Array) -> tuple[Array, Array]:
    if level.Format() == 0:  # dense: every node has all children
        n = level.DenseSize()
        child = np.tile(np.arange(n), len(nodes))
        return np.repeat(nodes, n) * n + child, np.concatenate([np.repeat(coords, n, 0), child[:, None]], 1)
    starts = _index_vector(level.ArraySegmentsType(), level.ArraySegments())
    index = _index_vector(level.ArrayIndicesType(), level.ArrayIndices())
    count = starts[nodes + 1] - starts[nodes]
    parent = np.repeat(np.arange(len(nodes)), count)
    within = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
    children = np.repeat(starts[nodes], count) + within
    return children, np.concatenate([coords[parent], index[children][:, None]], 1)


def _index_vector(kind: int, table: Any) -> Array:
    import tflite

    vector = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy(), np.int64)
