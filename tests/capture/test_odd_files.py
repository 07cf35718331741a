"""Files that are not what a camera gives: a broken end, pixels that are not square, several streams, a new size."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinecast.capture.files import open_video
from kinecast.capture.playback import PlayedSource
from tests.capture.videos import FakeClock, grey, make_video


def opened(path: Path) -> PlayedSource:
    return open_video(str(path), "cam1", epoch_ns=0, live=False, clock=FakeClock())


def count(source: PlayedSource) -> int:
    n = 0
    while source.read(1.0) is not None:
        n += 1
    source.close()
    return n


@pytest.mark.parametrize("garbage", ["noise", "zeros"])
def test_the_corrupt_end_of_a_transport_stream_is_counted(tmp_path: Path, garbage: str) -> None:
    """The last quarter gave nothing, and nothing was said."""
    noise = np.random.default_rng(1)
    pictures = [noise.integers(0, 255, (96, 128, 3)).astype(np.uint8) for _ in range(50)]
    path = make_video(tmp_path / "clip.ts", frames=50, pictures=pictures, gop=10)
    whole = opened(path)
    assert count(whole) == 50 and not whole.losses and not whole.info.notes
    data = bytearray(path.read_bytes())
    begin = len(data) * 3 // 4
    data[begin:] = noise.bytes(len(data) - begin) if garbage == "noise" else bytes(len(data) - begin)
    path.write_bytes(bytes(data))
    source = opened(path)
    given = count(source)
    # one is cut in two, and packets around the cut may fail as well
    assert 36 <= given <= 39 and 50 - 2 <= given + source.losses["damaged"] <= 50 + 4
    assert any("of the file cannot be read: about 1" in note for note in source.info.notes)


def written(path: Path, sizes_px: list[tuple[int, int]], shape: Fraction | None = None) -> Path:
    """A file of five pictures of each stream."""
    with av.open(str(path), "w") as container:
        streams = []
        for w, h in sizes_px:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
            if shape:
                stream.codec_context.sample_aspect_ratio = shape
            streams.append(stream)
        for n in range(5):
            for stream, size_px in zip(streams, sizes_px, strict=True):
                frame = av.VideoFrame.from_ndarray(grey(n, size_px), format="bgr24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_pixels_that_are_not_square_are_said_and_stay(tmp_path: Path, suffix: str) -> None:
    source = opened(written(tmp_path / f"clip.{suffix}", [(64, 48)], Fraction(4, 3)))
    assert source.info.size_px == (64, 48)
    assert [n for n in source.info.notes if "not square (4/3)" in n and "as stored, 64×48" in n]
    source.close()
    square = opened(written(tmp_path / f"square.{suffix}", [(64, 48)], Fraction(1)))
    assert not square.info.notes
    square.close()


def test_of_two_streams_the_first_is_taken_and_said(tmp_path: Path) -> None:
    source = opened(written(tmp_path / "clip.mkv", [(64, 48), (32, 24)]))
    assert source.info.size_px == (64, 48)
    assert "it has 2 video streams: the first is taken, 64×48" in source.info.notes
    assert count(source) == 5


def test_a_size_that_changes_midway_is_said_when_it_is_met(tmp_path: Path) -> None:
    first = make_video(tmp_path / "a.h264", frames=5).read_bytes()
    second = make_video(tmp_path / "b.h264", frames=5, pictures=[grey(n, (96, 64)) for n in range(5)]).read_bytes()
    (tmp_path / "c.h264").write_bytes(first + second)
    source = opened(tmp_path / "c.h264")
    assert count(source) == 10
    assert [n for n in source.info.notes if "change their size midway, from 64×48 to 96×64" in n]
