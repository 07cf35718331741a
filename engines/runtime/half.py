"""float32 ONNX → float16 inside, float32 at the ends: strongly typed TensorRT computes in the types of the file."""

from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.errors import KinecastError

# inputs that stay float32 whatever the rest is: Resize takes its scales so
_KEEP_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
_LARGEST = float(np.finfo(np.float16).max)


def to_half(model: bytes, path: Path) -> bytes:
    """The model with float16 weights and activations, casts behind its inputs and before its outputs.

    Weights beyond ±65504 are held there. Raises KinecastError for a model with subgraphs (If, Loop, Scan).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for n in graph.node for a in n.attribute):
        raise KinecastError(f"{path} has branches or loops and is not converted to float16: take precision f32")
    kept = {n.input[i] for n in graph.node for i in _KEEP_INPUTS.get(n.op_type, ()) if i < len(n.input)}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_half(tensor, numpy_helper))
    for node in graph.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.TENSOR and a.t.data_type == TensorProto.FLOAT:
                a.t.CopyFrom(_half(a.t, numpy_helper))
            if node.op_type == "Cast" and a.name == "to" and a.i == TensorProto.FLOAT:
                a.i = TensorProto.FLOAT16
    del graph.value_info[:]  # they name the old types
    known = {t.name for t in graph.initializer}
    ends = [[v.name for v in side if v.type.tensor_type.elem_type == TensorProto.FLOAT and v.name not in known]
            for side in (graph.input, graph.output)]  # fmt: skip
    before = [_cast(helper, name, f"{name}__f16", TensorProto.FLOAT16) for name in ends[0]]
    after = [_cast(helper, f"{name}__f16", name, TensorProto.FLOAT) for name in ends[1]]
    inside = {c.input[0]: c.output[0] for c in before} | {c.output[0]: c.input[0] for c in after}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = inside.get(name, name)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(proto.SerializeToString())


def _half(tensor: Any, numpy_helper: Any) -> Any:
    values = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, tensor.name)


def _cast(helper: Any, source: str, target: str, to: int) -> Any:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)
