"""TensorFlow.js graph model → ONNX at one input size, for the operations of MoveNet MultiPose.

At a fixed size every shape is known, so the arithmetic on shapes that fills such a graph is done here, in numpy, and
only what depends on the picture reaches the ONNX file. Each operation is written once as a numpy function: on constants
its result is the folded constant, on zeros it gives the shape. int32 becomes int64, which ONNX takes as an index.
"""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.engines.models.tfjs_file import Node, TfjsGraph, read_tfjs
from kinecast.engines.models.tfjs_ops import OPERATIONS, Operation
from kinecast.engines.models.tfjs_values import Conversion, fold, unknown

INPUT = "input"  # the name of the one input of every converted model


def convert_tfjs(path: Path, size_px: tuple[int, int], keep: Sequence[str]) -> bytes:
    """The graph model at ``path`` (``model.json``) as the bytes of an ONNX model for pictures of (width, height).

    The one input is ``input``, float32 (1, H, W, 3), also where the original takes int32: the numbers are the same
    (grey levels 0–255). ``keep`` are names of the signature's outputs. Raises KinecastError where the file is no graph
    model, has no such output, has an operation that is not known here or does not take this size.
    """
    source = read_tfjs(path)
    outputs = source.outputs or {name: name for name in source.nodes}
    if missing := [name for name in keep if name not in outputs]:
        raise KinecastError(f"{path} has no output {missing[0]!r}: it has {', '.join(outputs)}; correct the card")
    c = Conversion(source)
    for node in _in_order(source, [outputs[name] for name in keep]):
        if node.op == "Placeholder":
            shape = (1, size_px[1], size_px[0], 3)
            c.values[node.name] = unknown(np.broadcast_to(np.float32(0), shape), INPUT)
        elif node.op == "Const":
            c.values[node.name] = fold(source.weights[node.name])
        elif node.op not in OPERATIONS:
            raise KinecastError(f"{path}: the operation {node.op} is not known to the converter; convert it elsewhere")
        else:
            _convert(c, node, OPERATIONS[node.op], f"{path} at {size_px[0]}×{size_px[1]}")
    ends = []
    for name in keep:
        value = c.values[outputs[name]]
        c.onnx.add("Identity", [c.name(value)], name)
        ends.append((name, value.shape))
    return c.onnx.model([(INPUT, (1, size_px[1], size_px[0], 3))], ends)


def _convert(c: Conversion, node: Node, operation: Operation, where: str) -> None:
    try:
        with np.errstate(all="ignore"):  # the zeros of a probe may well be divided by
            results = operation(c, node)
    except (ValueError, IndexError, NotImplementedError) as e:
        raise KinecastError(f"{where}: {node.op} {node.name} cannot be converted: {e}") from None
    for k, value in enumerate(results):
        c.values[node.name if k == 0 else f"{node.name}:{k}"] = value


def _in_order(source: TfjsGraph, wanted: Sequence[str]) -> list[Node]:
    """The nodes that the wanted values need, each after its inputs."""
    needs: dict[str, list[str]] = {}
    todo = [name.split(":")[0] for name in wanted]
    while todo:
        name = todo.pop()
        if name not in needs:
            needs[name] = [i.split(":")[0] for i in source.nodes[name].inputs]
            todo += needs[name]
    return [source.nodes[name] for name in TopologicalSorter(needs).static_order()]
