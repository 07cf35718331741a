"""TFLite → ONNX: a toy file against numpy, written out by hand."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.models.convert_tflite import convert_tflite
from tests.engines.models.toy_tflite import ToyTflite
from tests.engines.models.toys import Array, conv_same, resize_half_pixel, run_onnx

RELU, RELU6 = 1, 3
SAME, VALID = 0, 1
# Values are of order ten and sums run over at most 72 products, so float32 keeps 1e-4.
TOLERANCE = 1e-4


def toy(path: Path) -> tuple[Path, dict[str, Array]]:
    """(1, 7, 6, 3) → convolution → prelu → two branches, added → pool → ``map`` and ``row``."""
    rng = np.random.default_rng(5)
    w = {
        "w1": rng.uniform(-1, 1, (8, 3, 3, 3)).astype(np.float16),  # out, h, w, in; half precision
        "b1": rng.uniform(-1, 1, 8).astype(np.float32),
        "slope": rng.uniform(0, 1, (1, 1, 8)).astype(np.float32),
        "w2": rng.uniform(-1, 1, (1, 2, 2, 8)).astype(np.float32),  # depthwise, valid
        "w3": np.where(rng.uniform(size=(8, 1, 1, 8)) < 0.4, rng.uniform(-1, 1, (8, 1, 1, 8)), 0).astype(np.float32),
        "zero": np.zeros(8, np.float32),
    }
    t = ToyTflite()
    x = t.value("picture", (1, 7, 6, 3))
    w1 = t.op("DEQUANTIZE", [t.const(w["w1"])], t.value("w1", (8, 3, 3, 3)))
    conv = {"StrideH": 2, "StrideW": 2, "DilationHFactor": 1, "DilationWFactor": 1, "Padding": SAME}
    a = t.op("CONV_2D", [x, w1, t.const(w["b1"])], t.value("a", (1, 4, 3, 8)), "Conv2DOptions", **conv)
    a = t.op("PRELU", [a, t.const(w["slope"])], t.value("p", (1, 4, 3, 8)))
    one = {**conv, "StrideH": 1, "StrideW": 1}
    sparse = t.op("DENSIFY", [t.const(w["w3"], sparse=True)], t.value("w3", (8, 1, 1, 8)))
    left = t.op("CONV_2D", [a, sparse, t.const(w["zero"])], t.value("l", (1, 4, 3, 8)), "Conv2DOptions", **one,
                FusedActivationFunction=RELU6)  # fmt: skip
    down = t.op("DEPTHWISE_CONV_2D", [a, t.const(w["w2"]), t.const(w["zero"])], t.value("d", (1, 3, 2, 8)),
                "DepthwiseConv2DOptions", **{**one, "Padding": VALID}, DepthMultiplier=1)  # fmt: skip
    right = t.op("RESIZE_BILINEAR", [down, t.const(np.array([4, 3], np.int32))], t.value("r", (1, 4, 3, 8)),
                 "ResizeBilinearOptions", HalfPixelCenters=True, AlignCorners=False)  # fmt: skip
    both = t.op("ADD", [left, right], t.value("b", (1, 4, 3, 8)), "AddOptions", FusedActivationFunction=RELU)
    pads = t.const(np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    padded = t.op("PAD", [both, pads], t.value("pad", (1, 5, 4, 8)))
    pool = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2, "Padding": SAME}
    small = t.op("MAX_POOL_2D", [padded], t.value("m", (1, 3, 2, 8)), "Pool2DOptions", **pool)
    large = t.op("DEPTH_TO_SPACE", [small], t.value("map", (1, 6, 4, 2)), "DepthToSpaceOptions", BlockSize=2)
    twin = t.op("CONCATENATION", [large, large], t.value("twin", (1, 6, 4, 4)), "ConcatenationOptions", Axis=3)
    flat = t.op("RESHAPE", [twin, t.const(np.array([1, 96], np.int32))], t.value("flat", (1, 96)))
    row = t.op("LOGISTIC", [flat], t.value("row", (1, 96)))
    return t.write(path, [x], [large, row]), w


def expected(x: Array, w: dict[str, Array]) -> tuple[Array, Array]:
    """What the toy gives, by loops and numpy: the map (6, 4, 2) and the row (96)."""
    a = conv_same(x, w["w1"].astype(float).transpose(1, 2, 3, 0), 2) + w["b1"]
    a = np.where(a < 0, a * w["slope"], a)
    left = np.clip(a @ w["w3"].astype(float).reshape(8, 8).T, 0, 6)
    down = sum(a[i : i + 3, j : j + 2] * w["w2"][0, i, j] for i in range(2) for j in range(2))
    both = np.maximum(left + resize_half_pixel(np.asarray(down), 4, 3), 0)
    padded = np.pad(both, ((1, 0), (0, 1), (0, 0)))
    small = np.array([[padded[i : i + 2, j : j + 2].max((0, 1)) for j in (0, 2)] for i in (0, 2, 4)])
    large = small.reshape(3, 2, 2, 2, 2).transpose(0, 2, 1, 3, 4).reshape(6, 4, 2)
    return large, 1 / (1 + np.exp(-np.concatenate([large, large], 2).reshape(-1)))


def test_every_operator_matches_the_slow_twin(tmp_path: Path) -> None:
    path, w = toy(tmp_path / "toy.tflite")
    picture = np.random.default_rng(6).uniform(-1, 1, (1, 7, 6, 3)).astype(np.float32)
    large, row = run_onnx(convert_tflite(path, ["map", "row"]), input=picture)
    want_large, want_row = expected(picture[0].astype(float), w)
    assert want_large.std() > 0.1, "the comparison is of something"
    assert large.shape == (1, 6, 4, 2) and np.abs(large[0] - want_large).max() < TOLERANCE
    assert row.shape == (1, 96) and np.abs(row[0] - want_row).max() < TOLERANCE


def test_only_the_wanted_outputs_and_what_they_need_are_kept(tmp_path: Path) -> None:
    import onnx

    path, _ = toy(tmp_path / "toy.tflite")
    model = onnx.load_from_string(convert_tflite(path, ["map"]))
    assert [o.name for o in model.graph.output] == ["map"]
    assert "Sigmoid" not in {n.op_type for n in model.graph.node}
    (out,) = run_onnx(convert_tflite(path, ["row"]), input=np.zeros((1, 7, 6, 3), np.float32))
    assert out.shape == (1, 96)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    path, _ = toy(tmp_path / "toy.tflite")
    assert convert_tflite(path, ["map", "row"]) == convert_tflite(path, ["map", "row"])


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    path, _ = toy(tmp_path / "toy.tflite")
    with pytest.raises(KinecastError, match=r"no output 'mask': it has map, row"):
        convert_tflite(path, ["mask"])
    t = ToyTflite()
    x = t.value("x", (1, 2))
    odd = t.write(tmp_path / "odd.tflite", [x], [t.op("CUMSUM", [x], t.value("y", (1, 2)))])
    with pytest.raises(KinecastError, match="operator CUMSUM is not known"):
        convert_tflite(odd, ["y"])
    (tmp_path / "no.tflite").write_bytes(b"something else")
    with pytest.raises(KinecastError, match="not a TFLite model"):
        convert_tflite(tmp_path / "no.tflite", ["y"])
