"""TensorRT: engines built ahead of time without a GPU, cached by all that they depend on; the device's bookkeeping."""

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime import open_session
from kinecast.engines.runtime.device import Device, no_gpu
from kinecast.engines.runtime.engine_build import EngineKey, Library, build_engine, load_library
from tests.engines import toys


@pytest.fixture
def library() -> Library:
    """The library that builds without a GPU."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    return load_library()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))


def test_an_engine_is_built_once(tmp_path: Path, library: Library) -> None:
    path, _ = toys.conv(tmp_path / "m.onnx", batch="n")
    shapes = {"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}
    engine = build_engine(path, shapes=shapes, library=library)
    assert engine.parent == tmp_path / "cache" / "engines"
    assert engine.stat().st_size > 1000
    stamp = engine.stat().st_mtime_ns
    assert build_engine(path, shapes=shapes, library=library) == engine
    assert engine.stat().st_mtime_ns == stamp
    others = {
        build_engine(path, shapes={"x": (2, 3, 8, 8)}, library=library),
        build_engine(path, "f16", shapes, library=library),
        build_engine(path, shapes=shapes, library=library, capabilities=((8, 9),)),
    }
    assert len(others | {engine}) == 4
    assert sorted(p.suffix for p in engine.parent.iterdir()) == [".engine"] * 4


def test_half_precision_shrinks_an_engine_of_weights(tmp_path: Path, library: Library) -> None:
    from onnx import helper

    w = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = toys.save(tmp_path / "m.onnx", [node], {"x": (1, 512)}, {"y": (1, 512)}, {"w": w})
    full, half = (build_engine(path, p, library=library).stat().st_size for p in ("f32", "f16"))
    # the weights are 1 MiB in f32 and half of that in f16; code and tables, some 100 kB, differ as well
    assert full - half > 0.25 * 2**20


def test_what_is_no_model_is_refused(tmp_path: Path, library: Library) -> None:
    for name, data in (("four.onnx", b"xxxx"), ("empty.onnx", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(KinecastError, match=rf"{name} is not an ONNX file"):
            build_engine(tmp_path / name, library=library)
    path, _ = toys.conv(tmp_path / "m.onnx")
    with pytest.raises(KinecastError, match="has no input 'z': it has x"):
        build_engine(path, shapes={"z": (1, 2)}, library=library)
    with pytest.raises(KinecastError, match=r"nothing for compute capability 9\.0"):
        build_engine(path, library=library, capabilities=((9, 0),))
    with pytest.raises(KinecastError, match="f32 or f16"):
        build_engine(path, "bf16", library=library)
    assert not list((tmp_path / "cache").rglob("*.engine"))


def test_a_build_that_breaks_off_leaves_nothing(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = toys.conv(tmp_path / "m.onnx")

    def full_disk(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(KinecastError, match="No space left on device: free some space"):
        build_engine(path, library=library)
    assert not list((tmp_path / "cache" / "engines").iterdir())


def test_every_part_of_the_key_counts() -> None:
    key = EngineKey("a", "tensorrt 10.1", "RTX 4090", "f32", "{}")
    other = {
        "model_sha256": "b",
        "library": "tensorrt 10.2",
        "gpu": "RTX 3060",
        "precision": "f16",
        "shapes": '{"x": 1}',
    }
    assert len({key.path, *(replace(key, **{name: value}).path for name, value in other.items())}) == 6


def test_hopper_is_not_given_to_the_library_that_refuses_it() -> None:
    try:
        library = load_library((9, 0))
    except KinecastError as e:
        assert "does not serve compute capability 9.0" in str(e)
    else:
        assert library.name == "tensorrt"


@pytest.mark.alone
@pytest.mark.skipif(bool(no_gpu()), reason=f"running an engine needs a GPU: {no_gpu()}")
def test_an_engine_gives_what_numpy_gives(tmp_path: Path) -> None:
    path, w = toys.conv(tmp_path / "m.onnx", batch="n")
    try:
        session = open_session(path, "tensorrt", shapes={"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))})
    except KinecastError as e:
        pytest.skip(str(e))
    for n in (1, 4, 2):
        x = np.random.default_rng(n).normal(size=(n, 3, 8, 8)).astype(np.float32)
        # TF32 rounds the factors to 11 bits where the library takes it
        np.testing.assert_allclose(session.run({"x": x})["y"], toys.conv_twin(x, w), atol=8 * 3 * 2**-11)
    session.close()


class FakeDriver:
    """A driver whose device memory is the host's: enough to see what Device asks for and in which order."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.calls: list[str] = []
        self.fail = ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *arguments: None

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == self.fail:
                return 2
            getattr(self, f"on_{name}")(*arguments)
            return 0

        return call

    def on_cuDeviceGetName(self, text: Any, size: int, handle: Any) -> None:
        text.value = b"Toy GPU"

    def on_cuDeviceGetAttribute(self, value: Any, which: int, handle: Any) -> None:
        value._obj.value = {75: 8, 76: 9}[which]

    def on_cuStreamCreate(self, stream: Any, flags: int) -> None:
        stream._obj.value = 77

    def on_cuMemAlloc_v2(self, pointer: Any, size: Any) -> None:
        block = ctypes.create_string_buffer(size.value)
        self.blocks[ctypes.addressof(block)] = block
        pointer._obj.value = ctypes.addressof(block)

    def on_cuMemFree_v2(self, pointer: Any) -> None:
        del self.blocks[pointer.value]

    def on_cuMemcpyHtoDAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> None:
        assert stream.value == 77
        ctypes.memmove(to.value, source.value, size.value)

    on_cuMemcpyDtoHAsync_v2 = on_cuMemcpyHtoDAsync_v2


def test_a_device_moves_arrays_and_gives_everything_back() -> None:
    driver = FakeDriver()
    device = Device(driver)
    assert (device.name, device.capability, device.stream) == ("Toy GPU", (8, 9), 77)
    x = np.arange(6, dtype=np.float32)
    address = device.upload("x", x)
    assert device.reserve("x", 8) == address, "a buffer that is large enough stays"
    back = np.zeros_like(x)
    device.download("x", back)
    device.wait()
    np.testing.assert_array_equal(back, x)
    device.reserve("x", 1000)
    assert len(driver.blocks) == 1, "the smaller buffer was freed"
    device.close()
    device.close()
    assert not driver.blocks
    assert driver.calls.count("cuStreamDestroy_v2") == driver.calls.count("cuDevicePrimaryCtxRelease_v2") == 1


def test_a_device_that_refuses_says_what() -> None:
    driver = FakeDriver()
    device = Device(driver)
    driver.fail = "cuMemAlloc_v2"
    with pytest.raises(KinecastError, match="refused cuMemAlloc_v2 with CUDA error 2"):
        device.reserve("x", 4)
