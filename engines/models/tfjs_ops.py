"""The operations of :mod:`engines.models.convert_tfjs`, one function each: a node in, the values that it gives out."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.models.onnx_graph import same_padding
from kinecast.engines.models.tfjs_file import Node
from kinecast.engines.models.tfjs_values import Conversion, Value, fold, unknown

Array = NDArray[Any]
Operation = Callable[[Conversion, Node], list[Value]]


def _needs_constant(node: Node, *values: Value) -> None:
    if not all(v.constant for v in values):
        raise NotImplementedError(f"an operand of {node.op} depends on the picture")


def _elementwise(onnx_op: str, function: Callable[..., Array]) -> Operation:
    """An operation whose ONNX twin takes the same operands and broadcasts alike."""

    def run(c: Conversion, node: Node) -> list[Value]:
        inputs = c.inputs(node)
        out = np.asarray(function(*(v.probe for v in inputs)))
        if all(v.constant for v in inputs):
            return [fold(out)]
        if all(v.nchw and v.shape == out.shape for v in inputs):  # between convolutions: no need to turn the picture
            return [unknown(out, nchw=c.onnx.add(onnx_op, [v.nchw for v in inputs]))]
        return [unknown(out, c.onnx.add(onnx_op, [c.name(v) for v in inputs]))]

    return run


def _floor_div(c: Conversion, node: Node) -> list[Value]:
    a, b = c.inputs(node)
    out: Array = np.floor_divide(a.probe, b.probe)
    if a.constant and b.constant:
        return [fold(out)]
    quotient = c.onnx.add("Div", [c.name(a), c.name(b)])
    # whole numbers here are indices, never negative, for which cutting off is the floor
    return [unknown(out, quotient if out.dtype.kind == "i" else c.onnx.add("Floor", [quotient]))]


def _squared_difference(c: Conversion, node: Node) -> list[Value]:
    a, b = c.inputs(node)
    out = np.square(a.probe - b.probe)
    if a.constant and b.constant:
        return [fold(out)]
    difference = c.onnx.add("Sub", [c.name(a), c.name(b)])
    return [unknown(out, c.onnx.add("Mul", [difference, difference]))]


def _select(c: Conversion, node: Node) -> list[Value]:
    condition, values = c.inputs(node)[:2]
    if condition.shape != values.shape:  # the old Select spreads a short condition over rows, Where over columns
        raise NotImplementedError(f"condition {condition.shape} of values {values.shape}")
    return _elementwise("Where", np.where)(c, node)


def _cast(c: Conversion, node: Node) -> list[Value]:
    from onnx import TensorProto

    (value,) = c.inputs(node)
    dtype, code = {
        "DT_FLOAT": (np.float32, TensorProto.FLOAT),
        "DT_INT32": (np.int64, TensorProto.INT64),
        "DT_BOOL": (np.bool_, TensorProto.BOOL),
    }[node.kind("DstT")]
    out: Array = value.probe.astype(dtype)
    if value.constant:
        return [fold(out)]
    if value.probe.dtype == dtype:
        return [value]
    return [unknown(out, c.onnx.add("Cast", [c.name(value)], to=code))]


def _conv(c: Conversion, node: Node) -> list[Value]:
    """All four convolutions: plain or depthwise, alone or with bias and activation."""
    picture, kernel, *rest = c.inputs(node)
    _needs_constant(node, kernel, *rest)
    weights = kernel.probe  # (h, w, in, out), depthwise (h, w, in, multiplier)
    depthwise = "Depthwise" in node.op
    size = list(weights.shape[:2])
    channels = picture.shape[3]
    weights = weights.transpose(2, 3, 0, 1).reshape(-1, 1, *size) if depthwise else weights.transpose(3, 2, 0, 1)
    fused = node.texts("fused_ops")
    operands = [c.nchw(picture), c.onnx.constant(weights)]
    if "BiasAdd" in fused:
        operands.append(c.onnx.constant(rest[0].probe))
    strides, dilations = node.numbers("strides")[1:3], (node.numbers("dilations") or [1] * 4)[1:3]
    pads, height_width = _window(node, picture, size, strides, dilations)
    out = c.onnx.add("Conv", operands, strides=strides, dilations=dilations, pads=pads, kernel_shape=size,
                     group=channels if depthwise else 1)  # fmt: skip
    for activation in fused:
        if activation == "Relu":
            out = c.onnx.add("Relu", [out])
        elif activation == "Relu6":
            out = c.onnx.add("Clip", [out, c.onnx.constant(0, np.float32), c.onnx.constant(6, np.float32)])
        elif activation != "BiasAdd":
            raise NotImplementedError(f"fused {activation}")
    return [unknown(np.broadcast_to(np.float32(0), (picture.shape[0], *height_width, len(weights))), nchw=out)]


def _max_pool(c: Conversion, node: Node) -> list[Value]:
    (picture,) = c.inputs(node)
    size, strides = node.numbers("ksize")[1:3], node.numbers("strides")[1:3]
    pads, height_width = _window(node, picture, size, strides, [1, 1])
    out = c.onnx.add("MaxPool", [c.nchw(picture)], kernel_shape=size, strides=strides, pads=pads)
    like = np.broadcast_to(np.float32(0), (picture.shape[0], *height_width, picture.shape[3]))
    return [unknown(like, nchw=out)]


def _window(node: Node, picture: Value, kernel: list[int], strides: list[int], dilations: list[int]
            ) -> tuple[list[int], list[int]]:  # fmt: skip
    """ONNX pads and the (height, width) that come out of a sliding window."""
    pads, out = [(0, 0), (0, 0)], [0, 0]
    for k in range(2):
        size = picture.shape[1 + k]
        if node.text("padding") == "SAME":
            pads[k] = same_padding(size, kernel[k], strides[k], dilations[k])
        reach = (kernel[k] - 1) * dilations[k] + 1
        out[k] = (size + sum(pads[k]) - reach) // strides[k] + 1
    if min(out) < 1:
        raise ValueError(f"the picture is too small: {picture.shape[1:3]}")
    return [pads[0][0], pads[1][0], pads[0][1], pads[1][1]], out


def _resize(c: Conversion, node: Node) -> list[Value]:
    picture, size = c.inputs(node)
    _needs_constant(node, size)
    n, _, _, channels = picture.shape
    height, width = size.probe.tolist()
    sampling = "asymmetric"
    if node.flag("align_corners") or node.flag("half_pixel_centers"):
        sampling = "align_corners" if node.flag("align_corners") else "half_pixel"
    sizes = c.onnx.constant([n, channels, height, width], np.int64)
    out = c.onnx.add("Resize", [c.nchw(picture), "", "", sizes], mode="linear", coordinate_transformation_mode=sampling)
    return [unknown(np.broadcast_to(np.float32(0), (n, height, width, channels)), nchw=out)]


def _shape(c: Conversion, node: Node) -> list[Value]:
    (value,) = c.inputs(node)
    return [fold(np.array(value.shape if node.op == "Shape" else value.probe.size, np.int64))]


def _constant_only(function: Callable[..., Array]) -> Operation:
    def run(c: Conversion, node: Node) -> list[Value]:
        inputs = c.inputs(node)
        _needs_constant(node, *inputs)
        return [fold(function(*(v.probe for v in inputs)))]

    return run


def _reshape(c: Conversion, node: Node) -> list[Value]:
    value, *rest = c.inputs(node)
    _needs_constant(node, *rest)
    if node.op == "Reshape":
        return [c.reshaped(value, rest[0].probe.tolist())]
    if node.op == "ExpandDims":
        return [c.reshaped(value, np.expand_dims(value.probe, int(rest[0].probe)).shape)]
    return [c.reshaped(value, np.squeeze(value.probe, tuple(node.numbers("squeeze_dims")) or None).shape)]


def _strided_slice(c: Conversion, node: Node) -> list[Value]:
    value, *bounds = c.inputs(node)
    _needs_constant(node, *bounds)
    begin, end, step = (b.probe.tolist() for b in bounds)
    bits = {key: node.number(f"{key}_mask") for key in ("begin", "end", "shrink_axis", "new_axis", "ellipsis")}
    if bits["ellipsis"]:
        raise NotImplementedError("an ellipsis")
    index: list[Any] = []
    for k in range(len(begin)):
        if bits["new_axis"] >> k & 1:
            index.append(None)
        elif bits["shrink_axis"] >> k & 1:
            index.append(begin[k])
        else:
            first = None if bits["begin"] >> k & 1 else begin[k]
            index.append(slice(first, None if bits["end"] >> k & 1 else end[k], step[k]))
    out = value.probe[tuple(index)]
    if value.constant:
        return [fold(out)]
    cuts = []
    for axis, cut in enumerate(i for i in index if i is not None):
        cut = slice(cut, cut + 1 or None, 1) if isinstance(cut, int) else cut
        first, last, stride = cut.indices(value.shape[axis])
        if stride < 0:
            raise NotImplementedError("a slice that runs backwards")
        if (first, last, stride) != (0, value.shape[axis], 1):
            cuts.append((first, last, axis, stride))
    if not cuts:
        return [c.reshaped(value, out.shape)]
    sliced = c.onnx.add("Slice", [c.name(value), *(c.onnx.constant(x, np.int64) for x in zip(*cuts, strict=True))])
    # new and dropped axes are a reshape, since the shape is known
    return [unknown(out, c.onnx.add("Reshape", [sliced, c.onnx.constant(out.shape, np.int64)]))]


def _pack(c: Conversion, node: Node) -> list[Value]:
    inputs, axis = c.inputs(node), node.number("axis")
    out = np.stack([v.probe for v in inputs], axis)
    if all(v.constant for v in inputs):
        return [fold(out)]
    widened = [c.reshaped(v, np.expand_dims(v.probe, axis).shape) for v in inputs]
    return [unknown(out, c.onnx.add("Concat", [c.name(v) for v in widened], axis=axis))]


def _concat(c: Conversion, node: Node) -> list[Value]:
    *inputs, axis = c.inputs(node)
    _needs_constant(node, axis)
    out = np.concatenate([v.probe for v in inputs], int(axis.probe))
    if all(v.constant for v in inputs):
        return [fold(out)]
    return [unknown(out, c.onnx.add("Concat", [c.name(v) for v in inputs], axis=int(axis.probe)))]


def _split(c: Conversion, node: Node) -> list[Value]:
    """Split keeps the axis, Unpack drops it."""
    if node.op == "Split":
        where, value = c.inputs(node)
        _needs_constant(node, where)
        axis, count = int(where.probe), node.number("num_split")
    else:
        (value,) = c.inputs(node)
        axis, count = node.number("axis"), node.number("num")
    parts = np.split(value.probe, count, axis)
    if value.constant:
        values = [fold(p) for p in parts]
    else:
        names = c.onnx.add_many("Split", [c.name(value)], count, axis=axis)
        values = [unknown(p, n) for p, n in zip(parts, names, strict=True)]
    return values if node.op == "Split" else [c.reshaped(v, np.squeeze(v.probe, axis).shape) for v in values]


def _gather_nd(c: Conversion, node: Node) -> list[Value]:
    value, index = c.inputs(node)
    out = value.probe[tuple(np.moveaxis(index.probe, -1, 0))]
    if value.constant and index.constant:
        return [fold(out)]
    return [unknown(out, c.onnx.add("GatherND", [c.name(value), c.name(index)]))]


def _top_k(c: Conversion, node: Node) -> list[Value]:
    value, k = c.inputs(node)
    _needs_constant(node, k)
    order = np.argsort(-value.probe, -1, kind="stable")[..., : int(k.probe)]
    best = np.take_along_axis(value.probe, order, -1)
    if value.constant:
        return [fold(best), fold(order)]
    names = c.onnx.add_many("TopK", [c.name(value), c.onnx.constant(k.probe.reshape(1))], 2, axis=-1)
    return [unknown(best, names[0]), unknown(order, names[1])]


def _reduce(c: Conversion, node: Node) -> list[Value]:
    value, axes = c.inputs(node)
    _needs_constant(node, axes)
    over, keep = tuple(int(a) % value.probe.ndim for a in axes.probe.reshape(-1)), node.flag("keep_dims")
    out = (np.max if node.op == "Max" else np.sum)(value.probe, axis=over, keepdims=keep)
    if value.constant:
        return [fold(out)]
    if node.op == "Max":  # the axes are an attribute of one and an input of the other, up to opset 17
        return [unknown(out, c.onnx.add("ReduceMax", [c.name(value)], axes=list(over), keepdims=int(keep)))]
    operands = [c.name(value), c.onnx.constant(over, np.int64)]
    return [unknown(out, c.onnx.add("ReduceSum", operands, keepdims=int(keep)))]


def _arg_max(c: Conversion, node: Node) -> list[Value]:
    value, where = c.inputs(node)
    _needs_constant(node, where)
    axis = int(where.probe)
    out = np.argmax(value.probe, axis)
    if value.constant:
        return [fold(out)]
    return [unknown(out, c.onnx.add("ArgMax", [c.name(value)], axis=axis, keepdims=0))]


def _tile(c: Conversion, node: Node) -> list[Value]:
    value, times = c.inputs(node)
    _needs_constant(node, times)
    out = np.tile(value.probe, times.probe)
    if value.constant:
        return [fold(out)]
    return [unknown(out, c.onnx.add("Tile", [c.name(value), c.name(times)]))]


def _range(first: Array, last: Array, step: Array) -> Array:
    return np.arange(first.item(), last.item(), step.item()).astype(first.dtype)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


OPERATIONS: dict[str, Operation] = {
    "Abs": _elementwise("Abs", np.abs),
    "AddN": _elementwise("Sum", lambda *x: reduce(operator.add, x)),
    "AddV2": _elementwise("Add", np.add),
    "ArgMax": _arg_max,
    "Cast": _cast,
    "ConcatV2": _concat,
    "DepthwiseConv2dNative": _conv,
    "Equal": _elementwise("Equal", np.equal),
    "Exp": _elementwise("Exp", np.exp),
    "ExpandDims": _reshape,
    "Fill": _constant_only(lambda shape, x: np.full(shape, x, x.dtype)),
    "FloorDiv": _floor_div,
    "FusedDepthwiseConv2dNative": _conv,
    "GatherNd": _gather_nd,
    "Greater": _elementwise("Greater", np.greater),
    "GreaterEqual": _elementwise("GreaterOrEqual", np.greater_equal),
    "Identity": lambda c, node: c.inputs(node),
    "Less": _elementwise("Less", np.less),
    "LogicalAnd": _elementwise("And", np.logical_and),
    "Max": _reduce,
    "MaxPool": _max_pool,
    "Maximum": _elementwise("Max", np.maximum),
    "Minimum": _elementwise("Min", np.minimum),
    "Mul": _elementwise("Mul", np.multiply),
    "Pack": _pack,
    "Range": _constant_only(_range),
    "RealDiv": _elementwise("Div", np.divide),
    "Reciprocal": _elementwise("Reciprocal", np.reciprocal),
    "Reshape": _reshape,
    "ResizeBilinear": _resize,
    "Select": _select,
    "Shape": _shape,
    "Sigmoid": _elementwise("Sigmoid", _sigmoid),
    "Size": _shape,
    "Split": _split,
    "SquaredDifference": _squared_difference,
    "Squeeze": _reshape,
    "StridedSlice": _strided_slice,
    "Sub": _elementwise("Sub", np.subtract),
    "Sum": _reduce,
    "Tile": _tile,
    "TopKV2": _top_k,
    "Unpack": _split,
    "Conv2D": _conv,
    "_FusedConv2D": _conv,
}
