"""Weights files: the same numbers back, and a plain word for every file that will not do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift import LifterConfig
from kinecast.engines.lift.weights import read_lifter, shapes_of, write_lifter
from tests.engines.lift.toy_lifter import TOY, network, write

torch = pytest.importorskip("torch", reason="torch is not installed")


def test_names_and_shapes_are_those_of_the_network() -> None:
    for config in ({}, {"widths": (3, 1), "confidence": False, "variance": False, "gamma_hidden": 0}):
        net = network(**config)
        state = {k: tuple(v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
        assert state == shapes_of(net.config)


@pytest.mark.parametrize("half", [True, False])
def test_what_is_written_is_read(tmp_path: Path, half: bool) -> None:
    net = network(widths=(3, 3))
    told = {"training": {"hours": 1.5}, "data": {"clips": ["a"]}, "figures": {"mpjpe_mm": 50}, "sigma": {"lateral": 2}}
    path = write_lifter(tmp_path / "w.safetensors", net.state_dict(), net.config, half=half, **told)
    file = read_lifter(path, "halpe26")
    assert file.config == net.config
    assert file.meta == told
    assert file.name.startswith("w@")
    for name, value in file.tensors.items():
        exact = net.state_dict()[name].numpy()
        # float16 keeps 11 bits; vectors are not rounded
        assert np.allclose(value, exact, rtol=2**-11 if half and exact.ndim > 1 else 0, atol=1e-7 if half else 0), name
    from kinecast.engines.lift.checkpoint import load_network

    again = load_network(path)
    assert write_lifter(tmp_path / "again.safetensors", again.state_dict(), again.config, half=half)
    assert all(
        np.array_equal(v, file.tensors[k]) for k, v in read_lifter(tmp_path / "again.safetensors").tensors.items()
    )


def test_nothing_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    net = network(widths=(3,))
    with pytest.raises(ValueError, match="expand_conv"):
        write_lifter(tmp_path / "w", net.state_dict(), LifterConfig(**(TOY | {"widths": (5,)})))
    net.pose.shrink.bias.data[0] = float("nan")
    with pytest.raises(ValueError, match=r"pose\.shrink\.bias holds what is no number"):
        write_lifter(tmp_path / "w", net.state_dict(), net.config)
    assert not list(tmp_path.iterdir())


def _rewritten(path: Path, **changes: Any) -> None:
    """The same tensors under another header."""
    from safetensors.numpy import load_file, save_file

    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    header |= {k: v for k, v in changes.items() if v is not None}
    save_file(load_file(path), path, {k: v for k, v in header.items() if changes.get(k, "") is not None})


def _config(**changes: Any) -> str:
    return json.dumps(LifterConfig(**(TOY | {"widths": (3,)})).to_dict() | changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kinecast_lifter": "7"}, "of version 7, this Kinecast reads 1"),
        ({"kinecast_lifter": None}, "holds no lifter"),
        ({"config": "{"}, "its config cannot be used"),
        ({"config": _config(colour=3)}, "unknown colour"),
        ({"config": _config(channels="many")}, "its config cannot be used"),
        ({"config": _config(widths=[4])}, "not all odd"),
        ({"config": _config(skeleton="squid8")}, "skeleton 'squid8'"),
        ({"config": _config(channels=32)}, "another architecture: pose.expand_conv.weight"),
        ({"config": _config(gamma_hidden=0)}, "another architecture: gamma.*unknown"),
        ({"config": _config(skeleton="h36m17")}, "another architecture"),
    ],
)
def test_headers_that_will_not_do(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "w.safetensors", widths=(3,))
    _rewritten(path, **changes)
    with pytest.raises(KinecastError, match=says) as caught:
        read_lifter(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_will_not_do(tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", widths=(3,))
    with pytest.raises(KinecastError, match=r"lifts the skeleton halpe26, coco17 is asked for"):
        read_lifter(path, "coco17")
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(KinecastError, match="not a whole safetensors file"):
            read_lifter(path)
    with pytest.raises(KinecastError, match="cannot read the lifter"):
        read_lifter(tmp_path / "absent.safetensors")
