"""Pictures that show nothing are told from dark rooms and green walls."""

import numpy as np
import pytest

from kinecast.capture.blank import blank

SIZE = (240, 320, 3)
RNG = np.random.default_rng(4)


@pytest.mark.parametrize(
    ("bgr", "noise", "expected"),
    [((0, 0, 0), 4, "black"), ((0, 135, 0), 3, "green"), ((0, 77, 0), 3, "green"), ((20, 20, 20), 0, ""),
     ((128, 128, 128), 0, ""), ((70, 150, 60), 4, ""), ((8, 8, 8), 12, "")],
)  # fmt: skip
def test_flat_pictures(bgr: tuple[int, int, int], noise: int, expected: str) -> None:
    image = np.clip(np.array(bgr) + RNG.integers(0, noise + 1, SIZE), 0, 255).astype(np.uint8)
    assert blank(image) == expected


def test_somebody_before_a_black_wall_is_a_picture() -> None:
    image = np.zeros(SIZE, np.uint8)
    image[60:200, 140:190] = 120  # a twelfth of it
    assert blank(image) == ""
