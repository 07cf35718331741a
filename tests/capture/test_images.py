"""Folders of pictures."""

from pathlib import Path

import cv2
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.images import open_images
from tests.capture.videos import FakeClock, grey, number_of


def test_natural_order_and_times(tmp_path: Path) -> None:
    for k, n in enumerate((0, 1, 2, 10, 11)):
        cv2.imwrite(str(tmp_path / f"img{n}.png"), grey(k))
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_images(str(tmp_path), "cam1", fps_hz=3.0, epoch_ns=5, live=False)
    assert source.info.frames == 5
    seen = []
    while (frame := source.read(1.0)) is not None:
        seen.append((frame.seq, number_of(frame.image_bgr), frame.t_capture_ns))
    # numbers keep the gap, in time too: three pictures and two, seven apart
    assert seen == [(n, k, 5 + round(n * 1e9 / 3)) for k, n in enumerate((0, 1, 2, 10, 11))]
    assert source.info.notes == ("7 pictures are missing between img0.png and img11.png",)


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


def names(folder: Path, numbers: list[int], pattern: str) -> list[int]:
    """What frame numbers a folder of pictures with these names has."""
    folder.mkdir()
    for n in numbers:
        cv2.imwrite(str(folder / pattern.format(n)), grey(1))
    source = open_images(str(folder), "cam1", fps_hz=10.0, epoch_ns=0, live=False)
    seqs = []
    while (frame := source.read(1.0)) is not None:
        assert frame.t_capture_ns == frame.seq * 100_000_000
        seqs.append(frame.seq)
    return seqs


def test_a_picture_that_is_missing_leaves_a_gap_and_an_even_step_none(tmp_path: Path) -> None:
    assert names(tmp_path / "a", [7, 8, 10, 11], "frame_{:06d}.png") == [0, 1, 3, 4]
    assert names(tmp_path / "b", [0, 10, 20, 40], "{}.png") == [0, 1, 2, 4]  # every tenth, and one is missing
    assert names(tmp_path / "c", [1, 2, 4], "cam2-take{}_rgb.png") == [0, 1, 3]
    assert names(tmp_path / "d", [1700000000123, 1700000009456, 1700000050001], "{}.png") == [0, 1, 2]  # times of day
