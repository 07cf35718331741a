"""TFLite → ONNX, for the float operators of the BlazePose graphs; one function an operator.

Pictures are carried NCHW inside, because that is what ONNX convolutions take; inputs and outputs keep TFLite's layout.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.models.onnx_graph import OnnxGraph, float32, same_padding
from kinecast.engines.models.tflite_file import Operator, TfliteGraph, read_tflite

INPUT = "input"  # the name of the one input of every converted model
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class _Conversion:
    """One file on its way: values by tensor number, constants in TFLite's layout."""

    def __init__(self, source: TfliteGraph) -> None:
        self.source = source
        self.constants = dict(source.constants)
        self.onnx = OnnxGraph()
        self.values: dict[int, str] = {}

    def value(self, tensor: int) -> str:
        """The ONNX name of a tensor; pictures are NCHW. A constant is stored at its first use."""
        if tensor not in self.values:
            array = self.constants[tensor]
            self.values[tensor] = self.onnx.constant(array.transpose(_TO_NCHW) if array.ndim == 4 else array)
        return self.values[tensor]

    def options(self, op: Operator, table: str) -> Any:
        """The operator's options, read as the named TFLite table."""
        import tflite

        options = getattr(tflite, table)()
        options.Init(op.options.Bytes, op.options.Pos)
        return options

    def activate(self, code: int, value: str) -> str:
        """Apply a fused activation."""
        if code == 0:
            return value
        if code == 1:
            return self.onnx.add("Relu", [value])
        if code == 3:
            return self.onnx.add("Clip", [value, self.onnx.constant(0, np.float32), self.onnx.constant(6, np.float32)])
        raise NotImplementedError(f"fused activation {code}")


def _keep_constant(c: _Conversion, op: Operator) -> None:
    """DENSIFY and DEQUANTIZE of weights: done while reading."""
    if op.inputs[0] not in c.constants:
        raise NotImplementedError(f"{op.name} of an activation")
    array = c.constants[op.inputs[0]]
    c.constants[op.outputs[0]] = float32(array) if op.name == "DEQUANTIZE" else array


def _window(c: _Conversion, op: Operator, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
            padding: int) -> list[int]:  # fmt: skip
    """ONNX pads (top, left, bottom, right) of a sliding window; padding 0 is SAME, 1 is VALID."""
    if padding == 1:
        return [0, 0, 0, 0]
    height, width = c.source.shapes[op.inputs[0]][1:3]
    top, bottom = same_padding(height, kernel[0], strides[0], dilations[0])
    left, right = same_padding(width, kernel[1], strides[1], dilations[1])
    return [top, left, bottom, right]


def _conv(c: _Conversion, op: Operator) -> str:
    depthwise = op.name == "DEPTHWISE_CONV_2D"
    o = c.options(op, "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
    weights = c.constants[op.inputs[1]]  # (1, h, w, C) or (out, h, w, in)
    kernel = list(weights.shape[1:3])
    strides, dilations = [o.StrideH(), o.StrideW()], [o.DilationHFactor(), o.DilationWFactor()]
    weights = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
    has_bias = len(op.inputs) > 2 and op.inputs[2] >= 0
    bias = c.constants[op.inputs[2]] if has_bias else np.zeros(weights.shape[0], np.float32)
    out = c.onnx.add(
        "Conv",
        [c.value(op.inputs[0]), c.onnx.constant(weights), c.onnx.constant(bias)],
        strides=strides,
        dilations=dilations,
        pads=_window(c, op, kernel, strides, dilations, o.Padding()),
        group=c.source.shapes[op.inputs[0]][3] if depthwise else 1,
        kernel_shape=kernel,
    )
    return c.activate(o.FusedActivationFunction(), out)


def _add(c: _Conversion, op: Operator) -> str:
    out = c.onnx.add("Add", [c.value(i) for i in op.inputs])
    return c.activate(c.options(op, "AddOptions").FusedActivationFunction(), out)


def _pad(c: _Conversion, op: Operator) -> str:
    amounts: NDArray[Any] = c.constants[op.inputs[1]].astype(np.int64)
    if len(amounts) == 4:
        amounts = amounts[_TO_NCHW]
    return c.onnx.add("Pad", [c.value(op.inputs[0]), c.onnx.constant(amounts.T.reshape(-1))], mode="constant")


def _resize(c: _Conversion, op: Operator) -> str:
    o = c.options(op, "ResizeBilinearOptions")
    height, width = c.constants[op.inputs[1]].tolist()
    n, _, _, channels = c.source.shapes[op.inputs[0]]
    sampling = "align_corners" if o.AlignCorners() else "half_pixel" if o.HalfPixelCenters() else "asymmetric"
    size = c.onnx.constant([n, channels, height, width], np.int64)
    source = c.value(op.inputs[0])
    return c.onnx.add("Resize", [source, "", "", size], mode="linear", coordinate_transformation_mode=sampling)


def _max_pool(c: _Conversion, op: Operator) -> str:
    o = c.options(op, "Pool2DOptions")
    kernel, strides = [o.FilterHeight(), o.FilterWidth()], [o.StrideH(), o.StrideW()]
    pads = _window(c, op, kernel, strides, [1, 1], o.Padding())
    out = c.onnx.add("MaxPool", [c.value(op.inputs[0])], kernel_shape=kernel, strides=strides, pads=pads)
    return c.activate(o.FusedActivationFunction(), out)


def _sigmoid(c: _Conversion, op: Operator) -> str:
    return c.onnx.add("Sigmoid", [c.value(op.inputs[0])])


def _depth_to_space(c: _Conversion, op: Operator) -> str:
    size = c.options(op, "DepthToSpaceOptions").BlockSize()
    return c.onnx.add("DepthToSpace", [c.value(op.inputs[0])], blocksize=size, mode="DCR")


def _prelu(c: _Conversion, op: Operator) -> str:
    slope = c.constants[op.inputs[1]]
    slope = slope.transpose(2, 0, 1) if slope.ndim == 3 else slope
    return c.onnx.add("PRelu", [c.value(op.inputs[0]), c.onnx.constant(slope)])


def _reshape(c: _Conversion, op: Operator) -> str:
    """A reshape means TFLite's order of the numbers, so a picture goes through NHWC on either side."""
    value = c.value(op.inputs[0])
    old, new = c.source.shapes[op.inputs[0]], c.source.shapes[op.outputs[0]]
    if len(old) == 4 and not old[1] == old[2] == 1:
        value = c.onnx.add("Transpose", [value], perm=_TO_NHWC)
    value = c.onnx.add("Reshape", [value, c.onnx.constant(new, np.int64)])
    return c.onnx.add("Transpose", [value], perm=_TO_NCHW) if len(new) == 4 else value


def _concat(c: _Conversion, op: Operator) -> str:
    rank = len(c.source.shapes[op.outputs[0]])
    axis = c.options(op, "ConcatenationOptions").Axis() % rank
    return c.onnx.add("Concat", [c.value(i) for i in op.inputs], axis=_TO_NHWC[axis] if rank == 4 else axis)


_OPERATORS: dict[str, Callable[[_Conversion, Operator], str | None]] = {
    "ADD": _add,
    "CONCATENATION": _concat,
    "CONV_2D": _conv,
    "DENSIFY": _keep_constant,
    "DEPTHWISE_CONV_2D": _conv,
    "DEPTH_TO_SPACE": _depth_to_space,
    "DEQUANTIZE": _keep_constant,
    "LOGISTIC": _sigmoid,
    "MAX_POOL_2D": _max_pool,
    "PAD": _pad,
    "PRELU": _prelu,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
}


def convert_tflite(path: Path, keep: Sequence[str]) -> bytes:
    """The TFLite model as the bytes of an ONNX model with the outputs named in ``keep``, in that order.

    The one input is named ``input``, float32, with TFLite's shape (N, H, W, C). Raises KinecastError where the file
    is no TFLite model, has no such output, or has an operator that is not known here.
    """
    source = read_tflite(path)
    names = {source.names[t]: t for t in source.outputs}
    if missing := [name for name in keep if name not in names]:
        raise KinecastError(f"{path} has no output {missing[0]!r}: it has {', '.join(names)}; correct the card")
    c = _Conversion(source)
    (entry,) = source.inputs
    c.values[entry] = c.onnx.add("Transpose", [INPUT], perm=_TO_NCHW)
    for op in source.operators:
        if op.name not in _OPERATORS:
            raise KinecastError(f"{path}: the operator {op.name} is not known to the converter; convert it elsewhere")
        try:
            out = _OPERATORS[op.name](c, op)
        except NotImplementedError as e:
            raise KinecastError(f"{path}: {e} is not known to the converter; convert it elsewhere") from None
        if out is not None:
            c.values[op.outputs[0]] = out
    for name in keep:
        tensor = names[name]
        if len(source.shapes[tensor]) == 4:
            c.onnx.add("Transpose", [c.values[tensor]], name, perm=_TO_NHWC)
        else:
            c.onnx.add("Identity", [c.values[tensor]], name)
    return c.onnx.model([(INPUT, source.shapes[entry])], [(name, source.shapes[names[name]]) for name in keep])
