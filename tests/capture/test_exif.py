"""The orientation that a photo notes: read from every layout of it, and 1 where there is none."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinecast.capture.exif import orientation
from tests.capture.photos import noted


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_a_noted_orientation_is_read_as_opencv_turns_it(tmp_path: Path, order: str, value: int) -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[:5, :7] = 255  # the corner tells how it was turned
    noted(tmp_path / "a.jpg", image, value, order)
    assert orientation(tmp_path / "a.jpg") == value
    turned = cv2.imread(str(tmp_path / "a.jpg"))
    assert (turned.shape[:2] == (30, 20)) == (value >= 5)


def test_what_says_nothing_is_as_it_is(tmp_path: Path) -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "plain.jpg"), image)
    cv2.imwrite(str(tmp_path / "plain.png"), image)
    noted(tmp_path / "odd.jpg", image, 9)
    noted(tmp_path / "whole.jpg", image, 6)
    whole = (tmp_path / "whole.jpg").read_bytes()
    for n in (3, 12, 20, 30):  # cut anywhere: no exception
        (tmp_path / f"cut{n}.jpg").write_bytes(whole[:n])
    lying = bytearray(whole)
    struct.pack_into("<I", lying, 16, 2**31)  # the note lies beyond the file
    (tmp_path / "lying.jpg").write_bytes(lying)
    for path in sorted(tmp_path.iterdir()):
        if path.name != "whole.jpg":
            assert orientation(path) == 1, path.name
    assert orientation(tmp_path / "none.jpg") == 1
