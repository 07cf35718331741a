"""Reading a TensorFlow.js graph model: the nodes and the weights, without TensorFlow."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

Array = NDArray[Any]

_DTYPES: dict[str, type] = {
    "float32": np.float32, "float16": np.float16, "int32": np.int32, "bool": np.bool_, "uint8": np.uint8,
    "uint16": np.uint16,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. inputs: values as ``node`` or ``node:output``; control inputs are left out."""

    op: str
    name: str
    inputs: list[str]
    attributes: dict[str, Any]

    def number(self, key: str, default: int = 0) -> int:
        """An integer attribute."""
        return int(self.attributes.get(key, {}).get("i", default))

    def numbers(self, key: str) -> list[int]:
        """A list of integers."""
        return [int(i) for i in self.attributes.get(key, {}).get("list", {}).get("i", [])]

    def flag(self, key: str) -> bool:
        """A boolean attribute."""
        return bool(self.attributes.get(key, {}).get("b", False))

    def text(self, key: str) -> str:
        """A byte string attribute, decoded."""
        return base64.b64decode(self.attributes[key]["s"]).decode()

    def texts(self, key: str) -> list[str]:
        """A list of byte strings, decoded."""
        return [base64.b64decode(s).decode() for s in self.attributes.get(key, {}).get("list", {}).get("s", [])]

    def kind(self, key: str) -> str:
        """A data type, as ``DT_FLOAT``."""
        return str(self.attributes[key]["type"])


@dataclass(frozen=True, slots=True)
class TfjsGraph:
    """nodes by name, in the file's order; weights by node name; outputs: name in the signature → value."""

    nodes: dict[str, Node]
    weights: dict[str, Array]
    outputs: dict[str, str]


def read_tfjs(path: Path) -> TfjsGraph:
    """Parse ``model.json`` and the weight files that it names beside it; KinecastError where there is no such model."""
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        topology = model["modelTopology"]["node"]
        manifest = model["weightsManifest"]
    except (ValueError, KeyError, TypeError) as e:
        raise KinecastError(f"{path} is not a tfjs graph model ({e!r}): fetch it again or correct the card") from None
    nodes = {
        n["name"]: Node(n["op"], n["name"], [i for i in n.get("input", []) if i[0] != "^"], n.get("attr", {}))
        for n in topology
    }
    named = model.get("signature", {}).get("outputs", {})
    outputs = {key: value["name"].removesuffix(":0") for key, value in named.items()}
    return TfjsGraph(nodes, _weights(path.parent, manifest), outputs)


def _weights(folder: Path, manifest: list[dict[str, Any]]) -> dict[str, Array]:
    weights = {}
    for group in manifest:
        data = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        at = 0
        for entry in group["weights"]:
            array, n_bytes = _weight(entry, data, at)
            weights[entry["name"]] = array
            at += n_bytes
    return weights


def _weight(entry: dict[str, Any], data: bytes, at: int) -> tuple[Array, int]:
    """One weight and its length in bytes; quantised ones become float32."""
    quantised = entry.get("quantization", {})
    dtype = _DTYPES[quantised.get("dtype", entry["dtype"])]
    count = int(np.prod(entry["shape"], dtype=np.int64))
    raw: Array = np.frombuffer(data, dtype, count, at)
    length = raw.nbytes
    if "scale" in quantised:  # affine, of 8 or 16 bits
        raw = raw.astype(np.float32) * np.float32(quantised["scale"]) + np.float32(quantised["min"])
    return raw.astype(_DTYPES[entry["dtype"]]).reshape(entry["shape"]), length
