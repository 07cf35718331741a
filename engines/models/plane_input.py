"""The networks that we convert ourselves, taking a picture's own channels as bytes.

In front of the network stand the cast to float32 and one product: colour · channels + offset, both of them inputs, so
that one file serves BGR and every standard of Y, U and V, and neither colours nor numbers are worked out outside.
The file is made from the verified one when it is first needed, and kept in the cache.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import sha256_of
from kinecast.engines.models.cache import model_path, note_path
from kinecast.engines.models.card import Card

CHANNELS, COLOUR, OFFSET = "channels", "colour", "offset"  # (1, 3, H, W) uint8, (1, 3, 3) and (1, 3, 1) float32
VERSION = 1  # of what is put in front
_log = logging.getLogger("kinecast.models")


def plane_model_path(card: Card) -> Path | None:
    """The network of ``card`` with channels as its input; None for a card whose network we did not convert, and where
    the cache cannot be written."""
    if not card.builtin or card.convert.kind == "none":
        return None
    source = model_path(card)
    path = cache_dir() / "models" / f"{card.name}-{card.expected_sha256[:12]}.channels{VERSION}.onnx"
    note = note_path(path)
    if path.is_file() and note.is_file() and sha256_of(path) == note.read_text().strip():
        return path
    data = with_channels(source.read_bytes(), card.input.name)
    try:
        atomic_write(path, data)
        atomic_write(note, f"{hashlib.sha256(data).hexdigest()}\n")
    except KinecastError as e:
        _log.warning("%s; crops are converted to %s instead", e, card.input.colour)
        return None
    return path


def with_channels(network: bytes, name: str) -> bytes:
    """The network whose input ``name`` is (1, H, W, 3) float32, with the three inputs of this module instead."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(network)
    graph = model.graph
    given = next(i for i in graph.input if i.name == name)
    _, h, w, _ = (d.dim_value for d in given.type.tensor_type.shape.dim)

    def shape(label: str, *sides: int) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(sides, np.int64), label))
        return label

    front = [
        helper.make_node("Cast", [CHANNELS], ["front_float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["front_float", shape("front_flat", 1, 3, h * w)], ["front_rows"]),
        helper.make_node("MatMul", [COLOUR, "front_rows"], ["front_mixed"]),
        helper.make_node("Add", ["front_mixed", OFFSET], ["front_input"]),
        helper.make_node("Reshape", ["front_input", shape("front_square", 1, 3, h, w)], ["front_nchw"]),
    ]
    users: list[Any] = [n for n in graph.node if name in n.input]
    if len(users) == 1 and users[0].op_type == "Transpose" and list(users[0].attribute[0].ints) == [0, 3, 1, 2]:
        front[-1].output[0] = users[0].output[0]
        graph.node.remove(users[0])
    else:
        front.append(helper.make_node("Transpose", ["front_nchw"], [name], perm=[0, 2, 3, 1]))
    for number, node in enumerate(front):
        graph.node.insert(number, node)
    graph.input.remove(given)
    graph.input.extend(
        helper.make_tensor_value_info(label, kind, sides)
        for label, kind, sides in (
            (CHANNELS, TensorProto.UINT8, [1, 3, h, w]),
            (COLOUR, TensorProto.FLOAT, [1, 3, 3]),
            (OFFSET, TensorProto.FLOAT, [1, 3, 1]),
        )
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
