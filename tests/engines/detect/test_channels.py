"""Crops from planes, and networks that take them: the slow twin converts to BGR first and works numbers out outside."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.planes import Colour, Planes
from kinecast.engines.detect.opened_card import OpenModel
from kinecast.engines.detect.picture import Picture, Region, apply_affine
from kinecast.engines.models import find_card
from kinecast.engines.models.card import Input
from kinecast.engines.models.plane_input import CHANNELS, with_channels
from kinecast.engines.runtime import open_session
from tests.engines.detect.toys import blob

SIZE = (48, 32)


def grey_planes(image: NDArray[np.uint8], colour: Colour, chroma: tuple[int, int] = (128, 128)) -> Planes:
    """Planes of one brightness picture (H, W), U and V the same everywhere."""
    h, w = image.shape
    return Planes(image.copy(), tuple(np.full((h // 2, w // 2), c, np.uint8) for c in chroma), colour)


def smooth(seed: int, size_px: tuple[int, int] = (640, 480)) -> Planes:
    """Random, and smooth enough that half the resolution of colour loses nothing."""
    rng = np.random.default_rng(seed)
    w, h = size_px

    def plane(columns: int, rows: int, low: int, high: int) -> NDArray[np.uint8]:
        coarse = rng.uniform(low, high, (6, 8)).astype(np.float32)
        return np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC).clip(low, high), np.uint8)

    colour = Colour("bt709" if seed % 2 else "bt601", seed % 3 == 0)
    return Planes(plane(w, h, 60, 190), (plane(w // 2, h // 2, 100, 156), plane(w // 2, h // 2, 100, 156)), colour)


def network(path: Path, layout: str) -> Path:
    """x (1, H, W, 3) or its transpose → the same numbers, so that every one of them can be compared."""
    from onnx import TensorProto, helper, save

    w, h = SIZE
    shape = [1, h, w, 3]
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[0, 3, 1, 2]) if layout == "front" else \
        helper.make_node("Mul", ["x", "one"], ["y"])  # fmt: skip
    out = [1, 3, h, w] if layout == "front" else shape
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph([node], "toy", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)], [one])  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("layout", ["front", "whole"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("seed", range(4))
def test_channels_give_a_network_the_numbers_of_its_card(tmp_path: Path, layout: str, order: Any, seed: int) -> None:
    source = network(tmp_path / "toy.onnx", layout)
    front = tmp_path / "front.onnx"
    front.write_bytes(with_channels(source.read_bytes(), "x"))
    spec = Input("x", SIZE, "NHWC", order, (120.0, 110.0, 100.0), (60.0, 61.0, 62.0))
    card = replace(find_card("pose_detection"), input=spec, outputs={"boxes": "y"})
    fast = OpenModel(card, open_session(front, "onnxruntime"))
    slow = OpenModel(card, open_session(source, "onnxruntime"))
    assert CHANNELS in [s.name for s in fast.session.inputs]
    matrix = Region(310.5, 240.25, 400, 300, 0.3).image_from_input(SIZE)
    planes = smooth(seed)
    for picture in (planes, planes.bgr()):
        got, expected = (m.run(Picture(picture), matrix, 114)["boxes"] for m in (fast, slow))
        # the slow way rounds to whole levels: half a level of 60
        assert np.abs(got - expected).max() <= 0.51 / 60


@pytest.mark.parametrize("angle", [0.0, 0.7])
@pytest.mark.parametrize("side", [150, 700, 1900])
def test_a_crop_of_planes_is_that_of_the_converted_picture(angle: float, side: int) -> None:
    planes = smooth(1)
    matrix = Region(300, 250, side, side, angle).image_from_input((64, 64))
    inside = Picture(planes).sample(matrix, (64, 64)).astype(int), Picture(planes.bgr()).sample(matrix, (64, 64))
    gap = np.abs(inside[0] - inside[1])
    assert np.percentile(gap, 95) <= 4  # swscale's rounding, 1.2 on average
    if side < 300:
        assert gap.max() <= 8


def test_a_spot_is_where_it_is_at_every_scale_in_every_plane() -> None:
    at = (203.3, 147.8)
    spot = blob((640, 480), at, 24.0)[..., 0]
    half = np.asarray(cv2.resize(spot, (320, 240), interpolation=cv2.INTER_AREA), np.uint8)
    planes = Planes(spot, (half, half), Colour(full=True))
    for pixels in (200, 96, 40):  # the crop lies inside the picture and shrinks by 1, 2 and 5
        matrix = Region(205, 150, 200, 200, 0.4).image_from_input((pixels, pixels))
        for channel in Picture(planes).channels(matrix, (pixels, pixels)).astype(float):
            weight = np.where(channel > 0.3 * channel.max(), channel, 0)
            y, x = np.mgrid[0:pixels, 0:pixels]
            middle = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
            # an offset of half a pixel of U is 1; what is cut off at 0.3 falls by whole pixels of the crop
            assert np.abs(apply_affine(matrix, middle) - at).max() < 0.1 + 0.07 * 200 / pixels


def test_luma_is_the_brightness_of_either_kind() -> None:
    planes = grey_planes(blob((640, 480), (300.0, 200.0), 40.0)[..., 0] // 2 + 20, Colour())
    matrix = Region(300, 200, 300, 300).image_from_input((64, 64))
    of_planes, of_bgr = (Picture(p).luma(matrix, (64, 64)).astype(float) for p in (planes, planes.bgr()))
    # limited range: 219 levels of Y are 255 of grey
    assert np.abs((of_planes - 16) * 255 / 219 - of_bgr).max() <= 3


def test_interleaved_colour_is_the_same_crop() -> None:
    planes = smooth(3)
    both = Planes(planes.y, (np.dstack(planes.chroma),), planes.colour)
    matrix = Region(300, 250, 700, 700, 0.2).image_from_input((64, 64))
    one, other = (Picture(p).channels(matrix, (64, 64), 114) for p in (planes, both))
    np.testing.assert_allclose(one.astype(int), other, atol=2)  # OpenCV rounds two channels otherwise than one
