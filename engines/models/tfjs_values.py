"""The values of a tfjs graph on its way to ONNX: constants that are folded, and what depends on the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.models.onnx_graph import OnnxGraph
from kinecast.engines.models.tfjs_file import Node, TfjsGraph

Array = NDArray[Any]

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass(slots=True)
class Value:
    """A value of the graph. probe: the constant itself, or zeros of its shape and type (no memory behind them).

    name: in the ONNX graph, in TensorFlow's layout; nchw: the same as NCHW. Either is made from the other when asked
    for. A constant has neither until it is used.
    """

    probe: Array
    constant: bool = False
    name: str = ""
    nchw: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.probe.shape


def fold(array: Array) -> Value:
    """A constant; int32 as int64."""
    return Value(array.astype(np.int64) if array.dtype == np.int32 else array, constant=True)


def unknown(like: Array, name: str = "", nchw: str = "") -> Value:
    """A value that depends on the picture, of the shape and type of ``like`` (in TensorFlow's layout)."""
    dtype = np.int64 if like.dtype == np.int32 else like.dtype
    return Value(np.broadcast_to(np.zeros((), dtype), like.shape), name=name, nchw=nchw)


class Conversion:
    """One file on its way."""

    def __init__(self, source: TfjsGraph) -> None:
        self.source = source
        self.onnx = OnnxGraph()
        self.values: dict[str, Value] = {}

    def inputs(self, node: Node) -> list[Value]:
        return [self.values[i.removesuffix(":0")] for i in node.inputs]

    def name(self, value: Value) -> str:
        """The ONNX name in TensorFlow's layout."""
        if not value.name:
            if value.constant:
                value.name = self.onnx.constant(value.probe)
            else:
                value.name = self.onnx.add("Transpose", [value.nchw], perm=_TO_NHWC)
        return value.name

    def nchw(self, value: Value) -> str:
        """The ONNX name of a picture as NCHW."""
        if not value.nchw:
            value.nchw = self.onnx.add("Transpose", [self.name(value)], perm=_TO_NCHW)
        return value.nchw

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """The same numbers in another shape."""
        out = value.probe.reshape(shape)
        if value.constant:
            return fold(out)
        return unknown(out, self.onnx.add("Reshape", [self.name(value), self.onnx.constant(out.shape, np.int64)]))
