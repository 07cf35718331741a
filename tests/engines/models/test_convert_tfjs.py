"""tfjs → ONNX: a toy graph against numpy, written out by hand."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.models.convert_tfjs import convert_tfjs
from tests.engines.models.toys import ToyTfjs, conv_same, resize_half_pixel, run_onnx, small_tfjs

# Values are of order one and sums run over at most 27 products, so float32 keeps 1e-5 easily.
TOLERANCE = 1e-5


def backbone(toy: ToyTfjs, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Convolution (stride 2, relu6) → depthwise → resize by two, added to itself. Returns the weights."""
    w = {
        "w1": np.round(rng.uniform(-1, 1, (3, 3, 3, 4)) * 2) / 2,
        "b1": rng.uniform(-1, 1, 4).astype(np.float16).astype(np.float32),
        "w2": rng.uniform(-1, 1, (3, 3, 4, 1)),
    }
    toy.node("Placeholder", "input", [], dtype="DT_INT32")
    toy.node("Cast", "float", ["input"], SrcT="DT_INT32", DstT="DT_FLOAT")
    toy.node("Mul", "unit", ["float", toy.const("recip", 1 / 255)])
    toy.const("w1", w["w1"], quantise="uint8")
    toy.const("b1", w["b1"], quantise="float16")
    toy.const("w2", w["w2"])
    toy.node("_FusedConv2D", "conv", ["unit", "w1", "b1"], strides=[1, 2, 2, 1], dilations=[1, 1, 1, 1],
             padding="SAME", fused_ops=["BiasAdd", "Relu6"])  # fmt: skip
    toy.node("DepthwiseConv2dNative", "dw", ["conv", "w2"], strides=[1, 1, 1, 1], padding="SAME")
    toy.node("Shape", "shape", ["dw"])
    for name, value in (("one", [1]), ("three", [3]), ("step", [1])):
        toy.const(name, value, np.int32)
    toy.node("StridedSlice", "hw", ["shape", "one", "three", "step"], begin_mask=0, end_mask=0, shrink_axis_mask=0)
    toy.node("Mul", "twice", ["hw", toy.const("two", 2, np.int32)])
    toy.node("ResizeBilinear", "up", ["dw", "twice"], align_corners=False, half_pixel_centers=True)
    toy.node("AddV2", "features", ["up", "up"])
    return w


@pytest.mark.parametrize("size_px", [(8, 6), (12, 10)])
def test_convolutions_and_shape_arithmetic_match_the_slow_twin(tmp_path: Path, size_px: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    toy = ToyTfjs()
    w = backbone(toy, rng)
    model = convert_tfjs(toy.write(tmp_path, "features"), size_px, ["out"])
    picture = rng.integers(0, 256, (1, size_px[1], size_px[0], 3)).astype(np.float32)

    x = np.clip(conv_same(picture[0] / 255, w["w1"], 2) + w["b1"], 0, 6)
    x = conv_same(x, w["w2"], 1, depthwise=True)
    expected = 2 * resize_half_pixel(x, 2 * x.shape[0], 2 * x.shape[1])
    (out,) = run_onnx(model, input=picture)
    assert out.shape == (1, *expected.shape)
    assert np.abs(out[0] - expected).max() < TOLERANCE


def test_the_peaks_of_a_map_are_found_as_numpy_finds_them(tmp_path: Path) -> None:
    """What MultiPose does after its network: local maxima, the best k, their place, values gathered there."""
    toy = ToyTfjs()
    toy.node("Placeholder", "input", [])
    toy.node("MaxPool", "pooled", ["input"], ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1], padding="SAME")
    toy.node("Sub", "below", ["input", "pooled"])
    toy.node("Abs", "distance", ["below"])
    toy.node("Less", "is_peak", ["distance", toy.const("eps", 1e-6)])
    toy.node("Cast", "peak", ["is_peak"], SrcT="DT_BOOL", DstT="DT_FLOAT")
    toy.node("Mul", "kept", ["input", "peak"])
    # channel 0 alone, as one row
    for name, value in (("b", [0, 0, 0, 0]), ("e", [0, 0, 0, 1]), ("s", [1, 1, 1, 1])):
        toy.const(name, value, np.int32)
    toy.node("StridedSlice", "first", ["kept", "b", "e", "s"], begin_mask=7, end_mask=7, shrink_axis_mask=8)
    toy.node("Reshape", "row", ["first", toy.const("flat", [1, -1], np.int32)])
    toy.node("TopKV2", "top", ["row", toy.const("k", 3, np.int32)])
    toy.node("Squeeze", "index", ["top:1"], squeeze_dims=[0])
    toy.node("FloorDiv", "y", ["index", toy.const("width", 5, np.int32)])
    toy.node("Mul", "start", ["y", "width"])
    toy.node("Sub", "x", ["index", "start"])
    toy.node("Pack", "at", ["y", "x"], axis=1)
    toy.node("Squeeze", "plane", ["input"], squeeze_dims=[0])
    toy.node("GatherNd", "values", ["plane", "at"])  # (3, 3): every channel at the three peaks
    toy.node("Cast", "at_float", ["at"], SrcT="DT_INT32", DstT="DT_FLOAT")
    toy.node("ConcatV2", "all", ["at_float", "values", toy.const("axis", -1, np.int32)], N=2)
    model = convert_tfjs(toy.write(tmp_path, "all"), (5, 4), ["out"])

    picture = np.random.default_rng(2).permutation(60).reshape(1, 4, 5, 3).astype(np.float32)
    padded = np.pad(picture[0, :, :, 0], 1, constant_values=-1)
    peaks = [(y, x) for y in range(4) for x in range(5) if picture[0, y, x, 0] == padded[y : y + 3, x : x + 3].max()]
    best = sorted(peaks, key=lambda p: -picture[0, p[0], p[1], 0])[:3]
    assert len(best) == 3
    expected = [[y, x, *picture[0, y, x]] for y, x in best]
    np.testing.assert_array_equal(run_onnx(model, input=picture)[0], expected)


def test_the_remaining_arithmetic_matches_numpy(tmp_path: Path) -> None:
    toy = ToyTfjs()
    toy.node("Placeholder", "input", [])
    toy.node("Unpack", "parts", ["input"], axis=3, num=3)
    toy.node("SquaredDifference", "sq", ["parts", "parts:1"])
    toy.node("AddN", "sum3", ["sq", "parts:1", "parts:2"], N=3)
    toy.node("Maximum", "at_least", ["sum3", toy.const("one", 1.0)])
    toy.node("Reciprocal", "inverse", ["at_least"])
    toy.node("RealDiv", "ratio", ["parts", "at_least"])
    toy.node("Greater", "more", ["ratio", toy.const("tenth", 0.1)])
    toy.node("Select", "chosen", ["more", "inverse", "ratio"])
    toy.node("Sigmoid", "s", ["chosen"])
    toy.node("Exp", "e", ["chosen"])
    toy.node("Minimum", "least", ["s", "e"])
    toy.node("ExpandDims", "wide", ["least", toy.const("last", -1, np.int32)])
    toy.node("Tile", "tiled", ["wide", toy.const("times", [1, 1, 1, 2], np.int32)])
    toy.node("Split", "halves", [toy.const("axis1", 1, np.int32), "tiled"], num_split=2)
    toy.node("Max", "high", ["halves:1", toy.const("axis2", [2], np.int32)], keep_dims=True)
    # a grid of column numbers, all of it known at conversion
    toy.node("Range", "columns", [toy.const("zero", 0.0), toy.const("six", 6.0), toy.const("unit", 1.0)])
    toy.node("Reshape", "column_row", ["columns", toy.const("as_row", [1, 1, 6, 1], np.int32)])
    toy.node("Mul", "weighed", ["halves", "column_row"])
    toy.node("ArgMax", "where", ["weighed", toy.const("axis2b", 2, np.int32)])
    toy.node("Cast", "where_f", ["where"], SrcT="DT_INT32", DstT="DT_FLOAT")
    toy.node("ExpandDims", "where_w", ["where_f", toy.const("axis2c", 2, np.int32)])
    toy.node("AddV2", "end", ["high", "where_w"])
    model = convert_tfjs(toy.write(tmp_path, "end"), (6, 4), ["out"])

    picture = np.random.default_rng(3).uniform(0, 3, (1, 4, 6, 3)).astype(np.float32)
    a, b, c = np.moveaxis(picture.astype(float), 3, 0)
    at_least = np.maximum((a - b) ** 2 + b + c, 1)
    chosen = np.where(a / at_least > 0.1, 1 / at_least, a / at_least)
    tiled = np.repeat(np.minimum(1 / (1 + np.exp(-chosen)), np.exp(chosen))[..., None], 2, 3)
    top, bottom = np.split(tiled, 2, 1)
    where = np.argmax(top * np.arange(6)[:, None], 2)
    expected = bottom.max(2, keepdims=True) + where[:, :, None]
    assert np.abs(run_onnx(model, input=picture)[0] - expected).max() < TOLERANCE


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for k in range(2):
        toy = ToyTfjs()
        backbone(toy, np.random.default_rng(1))
        files.append(toy.write(tmp_path / str(k), "features"))
    assert convert_tfjs(files[0], (8, 6), ["out"]) == convert_tfjs(files[1], (8, 6), ["out"])


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    toy = ToyTfjs()
    toy.node("Placeholder", "input", [])
    toy.node("Cumsum", "odd", ["input"])
    with pytest.raises(KinecastError, match="operation Cumsum is not known"):
        convert_tfjs(toy.write(tmp_path, "odd"), (4, 4), ["out"])
    with pytest.raises(KinecastError, match=r"no output 'people': it has out"):
        convert_tfjs(small_tfjs(tmp_path), (4, 4), ["people"])
    toy = ToyTfjs()
    toy.node("Placeholder", "input", [])
    toy.node("Reshape", "odd", ["input", toy.const("shape", [7, 7], np.int32)])
    with pytest.raises(KinecastError, match=r"at 4×4: Reshape odd cannot be converted"):
        convert_tfjs(toy.write(tmp_path, "odd"), (4, 4), ["out"])
    (tmp_path / "toy.json").write_text("{}")
    with pytest.raises(KinecastError, match="not a tfjs graph model"):
        convert_tfjs(tmp_path / "toy.json", (4, 4), ["out"])
