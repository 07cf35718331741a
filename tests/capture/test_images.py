"""Folders of pictures."""

from pathlib import Path

import cv2
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.images import open_images
from tests.capture.videos import FakeClock, grey, number_of


def test_natural_order_and_times(tmp_path: Path) -> None:
    for n in (0, 1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"img{n}.png"), grey(n))
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_images(str(tmp_path), "cam1", fps_hz=3.0, epoch_ns=5, live=False)
    assert source.info.frames == 5
    seen = []
    while (frame := source.read(1.0)) is not None:
        seen.append((frame.seq, number_of(frame.image_bgr), frame.t_capture_ns))
    assert seen == [(k, n, 5 + round(k * 1e9 / 3)) for k, n in enumerate((0, 1, 2, 10, 11))]


def test_paced_and_looped(tmp_path: Path) -> None:
    for n in range(3):
        cv2.imwrite(str(tmp_path / f"{n}.png"), grey(n))
    clock = FakeClock(0)
    source = open_images(
        str(tmp_path), "cam1", fps_hz=10.0, epoch_ns=0, live=True, loop="pingpong", frames=8, clock=clock
    )
    seen = []
    while (frame := source.read(1.0)) is not None:
        assert clock.now_ns() >= frame.t_capture_ns == frame.seq * 100_000_000
        seen.append(number_of(frame.image_bgr))
    assert seen == [0, 1, 2, 1, 0, 1, 2, 1]


def test_what_cannot_be_shown_says_so(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="no folder"):
        open_images(str(tmp_path / "missing"), "cam1", fps_hz=None, epoch_ns=0, live=False)
    with pytest.raises(KinecastError, match="no picture in"):
        open_images(str(tmp_path), "cam1", fps_hz=None, epoch_ns=0, live=False)
    (tmp_path / "bad.png").write_bytes(b"broken")
    with pytest.raises(KinecastError, match="cannot read the picture"):
        open_images(str(tmp_path), "cam1", fps_hz=None, epoch_ns=0, live=False)
