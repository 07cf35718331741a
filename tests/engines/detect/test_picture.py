"""Sampling keeps places exact: what a model sees at a pixel is where the map says, at every scale and turn."""

import numpy as np
import pytest

from kinecast.engines.detect.picture import Picture, Region, apply_affine, letterbox, to_input
from kinecast.engines.models.card import Input
from tests.engines.detect.toys import blob


def centroid(image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Mean place of the light."""
    mass = image[:, :, 0].astype(float)
    return (
        np.array([(mass.sum(0) * np.arange(mass.shape[1])).sum(), (mass.sum(1) * np.arange(mass.shape[0])).sum()])
        / mass.sum()
    )


@pytest.mark.parametrize("side", [100, 257, 600, 1030, 1600])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_a_spot_is_where_the_map_says(side: float, angle: float) -> None:
    at = (531.3, 702.8)
    sigma = max(4.0, side / 64)  # four pixels of the input at least
    picture = Picture(blob((1089, 1301), at, sigma))
    region = Region(520, 690, side, side, angle)
    matrix = region.image_from_input((256, 256))
    seen = apply_affine(matrix, centroid(picture.sample(matrix, (256, 256))))
    # rounding to 256 greys leaves ~0.01 σ; warpAffine works in 1/32 of a pixel of the level it samples
    assert np.abs(seen - at).max() < 0.02 * sigma + side / 256 / 32 + 0.02


def test_a_crop_is_the_same_whatever_was_cropped_before() -> None:
    r = np.random.default_rng(0)
    image = r.integers(0, 256, (601, 503, 3)).astype(np.uint8)
    shared = Picture(image)
    for _ in range(40):
        x, y, side, angle = r.uniform(-50, 550), r.uniform(-50, 650), r.uniform(20, 1500), r.uniform(-3, 3)
        matrix = Region(x, y, side, side * 1.2, angle).image_from_input((96, 128))
        whole = Picture(image)
        whole.sample(Region(251, 300, 2000, 2000).image_from_input((64, 64)), (64, 64))  # every row of every level
        got = shared.sample(matrix, (96, 128), 7).astype(int)
        for other in (Picture(image), whole):
            # the same numbers from another origin: the last grey may round otherwise
            assert np.abs(got - other.sample(matrix, (96, 128), 7)).max() <= 1


def test_nothing_aliases() -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    seen = Picture(stripes).sample(Region(511.5, 511.5, 1024, 1024).image_from_input((256, 256)), (256, 256))
    inside = seen[2:-2, 2:-2].astype(int)
    assert np.abs(inside - 127.5).max() <= 1.5


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("size", [(1088, 1920), (1920, 1080), (300, 300)])
def test_a_letterbox_shows_all_of_the_picture_at_one_scale(size: tuple[int, int], centred: bool) -> None:
    matrix = letterbox(size, (288, 512), centred)
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[0, 1] == matrix[1, 0] == 0
    first, last = apply_affine(matrix, np.array([[-0.5, -0.5], [287.5, 511.5]]))
    slack = 1e-9
    assert (first <= -0.5 + slack).all()
    assert (last >= np.array(size) - 0.5 - slack).all()
    tight = np.isclose(first, -0.5) & np.isclose(last, np.array(size) - 0.5)
    assert tight.any(), "one axis fills the input"
    if centred:
        np.testing.assert_allclose(first + last, np.array(size) - 1.0)
    else:
        np.testing.assert_allclose(first, -0.5)


def test_numbers_as_the_model_takes_them() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    mean, std = (123.0, 116.0, 103.0), (58.0, 57.0, 56.0)
    nchw = to_input(bgr, Input("x", (6, 4), "NCHW", "rgb", mean, std))
    nhwc = to_input(bgr, Input("x", (6, 4), "NHWC", "bgr", (127.5,) * 3, (127.5,) * 3))
    assert nchw.shape == (1, 3, 4, 6)
    assert nchw.dtype == nhwc.dtype == np.float32
    assert nchw.flags.c_contiguous
    for c in range(3):
        np.testing.assert_allclose(nchw[0, c], (bgr[:, :, 2 - c] - mean[c]) / std[c], atol=1e-5)
    np.testing.assert_allclose(nhwc[0], bgr / 127.5 - 1.0, atol=1e-6)
