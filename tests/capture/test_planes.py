"""Planes: what Y, U and V stand for is what FFmpeg takes them for, of any standard, range and subsampling."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.blank import blank
from kinecast.capture.decode import VideoDecoder
from kinecast.capture.files import open_video
from kinecast.capture.latest import Grab
from kinecast.capture.orientation import Orientation
from kinecast.capture.planes import Colour, Matrix, Planes, planes_of, to_rgb
from kinecast.capture.record import VideoRecorder
from tests.capture.videos import make_video

NUMBERS: dict[Matrix, int] = {"bt601": 5, "bt709": 1}


def smooth(size_px: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A picture whose colours change slowly, so that subsampling loses nothing that matters."""
    x, y = np.meshgrid(np.linspace(0, 1, size_px[0]), np.linspace(0, 1, size_px[1]))
    return np.stack([40 + 170 * x, 60 + 150 * y, 210 - 160 * x * y], 2).astype(np.uint8)


def as_frame(bgr: NDArray[np.uint8], name: str, matrix: Matrix, full: bool) -> Any:
    """FFmpeg's own conversion, with flags that say how it was done."""
    frame = av.VideoFrame.from_ndarray(bgr, format="bgr24")
    made = frame.reformat(format=name, dst_colorspace=NUMBERS[matrix], dst_color_range=2 if full else 1)
    made.colorspace, made.color_range = NUMBERS[matrix], 2 if full else 1
    return made


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "nv12"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [False, True])
def test_colours_come_back_by_the_flags_of_the_frame(name: str, matrix: Matrix, full: bool) -> None:
    bgr = smooth()
    planes = planes_of(as_frame(bgr, name, matrix, full))
    assert planes is not None
    assert planes.colour == Colour(matrix, full) and planes.size_px == (64, 48)
    # swscale's own rounding, down and twice, and half a step of subsampled colour at the border
    assert np.abs(planes.bgr().astype(int) - bgr).max() <= 8
    assert abs((planes.bgr().astype(int) - bgr).mean()) < 3  # 1.2 levels down, both ways
    across, down = planes.subsampling
    few = planes.sparse(16).reshape(3, 4, 3)
    assert np.abs(few.astype(int) - bgr[8::16, 8::16]).max() <= 4 + 2 * across + 2 * down


def test_the_wrong_standard_would_be_seen() -> None:
    frame = as_frame(smooth(), "yuv420p", "bt709", False)
    planes = planes_of(frame)
    assert planes is not None
    wrong = Planes(planes.y, planes.chroma, Colour("bt601", False))
    assert np.abs(wrong.bgr().astype(int) - planes.bgr()).max() > 15


def test_black_is_black_and_grey_is_grey_in_every_range() -> None:
    for colour in (Colour("bt601"), Colour("bt709", True)):
        for level in (0, 114, 255):
            assert np.abs(to_rgb(np.array([colour.grey(level)], np.uint8), colour).astype(int) - level).max() <= 1


def test_planes_are_read_only_looks_into_the_decoders_memory(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4")
    decoder = VideoDecoder(str(path), "cam")
    picture = next(iter(decoder.pictures()))
    planes = planes_of(picture.decoded)
    assert planes is not None and not planes.y.flags.writeable and not planes.y.flags.owndata
    decoder.close()


def test_what_is_kept_stays_as_it_was_though_the_decoder_goes_on(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", b_frames=2)
    source = open_video(str(path), "cam", epoch_ns=0, live=False)
    held = []
    while (frame := source.read(1.0)) is not None:
        assert isinstance(frame.picture, Planes)
        held.append((frame.picture, frame.picture.y.copy()))
    source.close()
    assert len(held) == 20
    assert all((planes.y == then).all() for planes, then in held)


def test_turned_planes_are_the_turned_picture() -> None:
    planes = planes_of(as_frame(smooth(), "yuv420p", "bt601", False))
    assert planes is not None
    for orientation in (Orientation(True, True, False), Orientation(False, True, True)):
        turned = orientation.turn(planes)
        assert isinstance(turned, Planes) and turned.size_px == orientation.size(planes.size_px)
        assert np.abs(turned.bgr().astype(int) - orientation.apply(planes.bgr())).max() <= 4


def test_black_and_green_planes_are_told() -> None:
    zero, grey = np.zeros((48, 64), np.uint8), np.full((24, 32), 128, np.uint8)
    assert blank(Planes(zero + np.uint8(16), (grey, grey), Colour())) == "black"
    assert blank(Planes(zero, (zero[::2, ::2].copy(), zero[::2, ::2].copy()), Colour())) == "green"
    assert blank(Planes(zero + np.uint8(120), (grey, grey), Colour())) == ""


def test_the_loop_filter_can_be_left_out_and_it_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(6)]
    path = make_video(tmp_path / "clip.mp4", frames=6, pictures=pictures, options={"crf": "40"})
    means = {}
    for how in ("exact", "fast"):
        decoder = VideoDecoder(str(path), "cam", decode=how)  # type: ignore[arg-type]
        means[how] = [planes_of(p.decoded).y.astype(int) for p in decoder.pictures()]  # type: ignore[union-attr]
        assert ("decoded without the loop filter" in decoder.notes) == (how == "fast")
    assert len(means["exact"]) == len(means["fast"]) == 6
    gaps = [np.abs(a - b).mean() for a, b in zip(means["exact"], means["fast"], strict=True)]
    assert max(gaps) > 0 and max(gaps) < 20


@pytest.mark.parametrize("colour", [Colour("bt709", False), Colour("bt601", True)])
def test_a_recording_is_seen_as_its_source_was(tmp_path: Path, colour: Colour) -> None:
    planes = planes_of(as_frame(smooth(), "yuv420p", colour.matrix, colour.full))
    assert planes is not None
    recorder = VideoRecorder(tmp_path / "cam.mkv", tmp_path / "cam.times.txt", "cam", encode=True, block=True)
    for n in range(3):
        recorder.frame(n, Grab(n * 40_000_000, lambda: planes))
    recorder.close()
    assert recorder.failure == ""
    again = open_video(str(tmp_path / "cam.mkv"), "cam", epoch_ns=0, live=False).read(1.0)
    assert again is not None and isinstance(again.picture, Planes)
    assert again.picture.colour == colour
    assert np.abs(again.image_bgr.astype(int) - planes.bgr()).mean() < 3
