"""Every runtime gives what numpy gives, says what bound, and refuses with one clear line."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.runtime import open_session, warm_up
from kinecast.engines.runtime.device import no_gpu
from kinecast.engines.runtime.half import to_half
from tests.engines import toys

CPU = ["onnxruntime"] + ["openvino"] * bool(importlib.util.find_spec("openvino"))
# three products and two sums of float32 numbers near 1
F32_ERROR = 8 * np.finfo(np.float32).eps


@pytest.mark.parametrize("runtime", CPU)
def test_a_runtime_gives_what_numpy_gives(tmp_path: Path, runtime: str) -> None:
    path, w = toys.conv(tmp_path / "m.onnx")
    session = open_session(path, runtime)
    x = np.random.default_rng(2).normal(size=(1, 3, 8, 8)).astype(np.float32)
    got = session.run({"x": x})
    assert list(got) == ["y"]
    np.testing.assert_allclose(got["y"], toys.conv_twin(x, w), atol=F32_ERROR * 10)
    (inp,), (out,) = session.inputs, session.outputs
    assert (inp.name, inp.shape, inp.dtype) == ("x", (1, 3, 8, 8), np.float32)
    assert (out.name, out.shape) == ("y", (1, 4, 8, 8))
    assert "f32" in session.provider


@pytest.mark.parametrize("runtime", CPU)
def test_results_are_the_callers_own_and_the_same_again(tmp_path: Path, runtime: str) -> None:
    path, _ = toys.conv(tmp_path / "m.onnx")
    session = open_session(path, runtime)
    warm_up(session)
    x = np.random.default_rng(2).normal(size=(1, 3, 8, 8)).astype(np.float32)
    first = session.run({"x": x})["y"]
    kept = first.copy()
    session.run({"x": -x})
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(session.run({"x": x})["y"], kept)


@pytest.mark.parametrize("runtime", CPU)
def test_a_free_batch_takes_the_shape_that_is_given(tmp_path: Path, runtime: str) -> None:
    path, w = toys.conv(tmp_path / "m.onnx", batch="n")
    session = open_session(path, runtime, shapes={"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))})
    assert session.inputs[0].shape == (None, 3, 8, 8)
    x = np.random.default_rng(3).normal(size=(3, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(session.run({"x": x})["y"], toys.conv_twin(x, w), atol=F32_ERROR * 10)


def test_auto_binds_something_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, w = toys.conv(tmp_path / "m.onnx")
    with caplog.at_level("INFO", "kinecast.runtime"):
        session = open_session(path)
    assert session.provider in caplog.text
    if no_gpu():
        assert no_gpu() in session.reason
    x = np.ones((1, 3, 8, 8), np.float32)
    np.testing.assert_allclose(session.run({"x": x})["y"], toys.conv_twin(x, w), atol=F32_ERROR * 10)


def test_auto_falls_back_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("CUDA broke")

    monkeypatch.setattr("kinecast.engines.runtime.tensorrt.why_not", lambda: "")
    monkeypatch.setattr("kinecast.engines.runtime.tensorrt.TensorRtSession", broken)
    path, w = toys.conv(tmp_path / "m.onnx")
    session = open_session(path)
    assert "tensorrt: CUDA broke" in session.reason
    x = np.ones((1, 3, 8, 8), np.float32)
    np.testing.assert_allclose(session.run({"x": x})["y"], toys.conv_twin(x, w), atol=F32_ERROR * 10)
    with pytest.raises(RuntimeError, match="CUDA broke"):
        open_session(path, "tensorrt")


def test_openvino_is_held_to_float32(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path, w = toys.conv(tmp_path / "m.onnx")
    x = np.full((1, 3, 8, 8), 1 + 2**-12, np.float32)  # lost in bf16, which has 8 bits
    error = np.abs(open_session(path, "openvino").run({"x": x})["y"] - toys.conv_twin(x, w)).max()
    assert error < 2**-12 * 0.05


def test_refusals_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    path, _ = toys.conv(tmp_path / "m.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"xxxx")
    with pytest.raises(KinecastError, match=r"gone\.onnx does not exist: .*models pull"):
        open_session(tmp_path / "gone.onnx")
    for runtime in CPU:
        with pytest.raises(KinecastError, match=r"broken\.onnx does not open in"):
            open_session(broken, runtime)
    with pytest.raises(KinecastError, match="unknown runtime 'onnx'"):
        open_session(path, "onnx")
    with pytest.raises(KinecastError, match="unknown precision 'fp16'"):
        open_session(path, precision="fp16")
    with pytest.raises(KinecastError, match="threads is 0"):
        open_session(path, threads=0)
    with pytest.raises(KinecastError, match="take f32, or openvino"):
        open_session(path, "onnxruntime", precision="bf16")
    with pytest.raises(KinecastError, match="smallest ≤ usual ≤ largest"):
        open_session(path, shapes={"x": ((2, 3), (1, 3), (4, 3))})
    with pytest.raises(KinecastError, match="not a file of torch"):
        open_session(path, "torch")


@pytest.mark.skipif(not no_gpu(), reason="a GPU is here: tensorrt is not refused")
def test_tensorrt_without_a_gpu_is_refused_by_reason(tmp_path: Path) -> None:
    path, _ = toys.conv(tmp_path / "m.onnx")
    with pytest.raises(KinecastError, match=r"tensorrt cannot be had: .*NVIDIA.*: take runtime auto"):
        open_session(path, "tensorrt")


def test_torch_runs_what_torch_exported(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x, y):  # type: ignore[no-untyped-def]
            return x * 2 + y, y.sum(1)

    x, y = np.ones((2, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    example = (torch.from_numpy(x), torch.from_numpy(y))
    torch.export.save(torch.export.export(Net(), example), tmp_path / "m.pt2")
    torch.jit.save(torch.jit.trace(Net(), example), tmp_path / "m.ts")
    for name in ("m.pt2", "m.ts"):
        session = open_session(tmp_path / name)
        assert [s.name for s in session.inputs] == ["x", "y"]
        got = session.run({"x": x, "y": y})
        np.testing.assert_array_equal(got["output_0"], 2 * x + y)
        np.testing.assert_array_equal(got["output_1"], y.sum(1))
    assert open_session(tmp_path / "m.pt2").inputs[0].shape == (2, 3)
    (tmp_path / "bad.pt2").write_bytes(b"xxxx")
    with pytest.raises(KinecastError, match=r"bad\.pt2 does not open in torch"):
        open_session(tmp_path / "bad.pt2")
    with pytest.raises(KinecastError, match="a file of torch: runtime openvino takes ONNX"):
        open_session(tmp_path / "m.ts", "openvino")


def test_half_precision_is_that_of_the_file(tmp_path: Path) -> None:
    path, w = toys.conv(tmp_path / "m.onnx")
    (tmp_path / "half.onnx").write_bytes(to_half(path.read_bytes(), path))
    session = open_session(tmp_path / "half.onnx", "onnxruntime")
    assert session.inputs[0].dtype == session.outputs[0].dtype == np.float32
    x = np.random.default_rng(2).normal(size=(1, 3, 8, 8)).astype(np.float32)
    error = np.abs(session.run({"x": x})["y"] - toys.conv_twin(x, w)).max()
    # inputs, weights and result are rounded to 11 bits; the terms are below 8 in sum
    assert 1e-5 < error < 8 * 3 * 2**-11
