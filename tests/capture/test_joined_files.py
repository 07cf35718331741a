"""Files as people have them: joined, cut with an edit list, mirrored, B frames in AVI, begun at different times."""

import struct
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.decode import VideoDecoder
from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.open import open_source
from kinecast.capture.source import Source
from tests.capture.videos import grey, make_video, number_of

FRAME_NS = 40_000_000


def all_of(path: Path, **settings: object) -> list[Frame]:
    """Every frame of a video, read without pace."""
    return read_all(open_source("cam1", "video", str(path), live=False, epoch_ns=0, **settings))  # type: ignore[arg-type]


def read_all(source: Source) -> list[Frame]:
    out = []
    while (frame := source.read(1.0)) is not None:
        out.append(frame)
    assert source.losses == {}
    source.close()
    return out


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(f.image_bgr) for f in frames]


@pytest.mark.parametrize("parts", [[0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 4000.0], [4000.0, 0.0], [9.0, 4000.0, 1.0]])
def test_transport_streams_after_one_another_are_read_whole(tmp_path: Path, parts: list[float]) -> None:
    data = b""
    for k, start_s in enumerate(parts):
        ticks = [round((start_s + n / 25) * 12800) for n in range(20)]
        data += make_video(tmp_path / f"{k}.ts", b_frames=2, pts=ticks).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(data)
    source = open_source("cam1", "video", str(joined), live=False, epoch_ns=0)
    frames = read_all(source)
    assert numbers(frames) == list(range(20)) * len(parts)
    assert f"begin anew {len(parts) - 1} times" in source.info.notes[0]
    assert [f.seq for f in frames] == list(range(20 * len(parts)))
    assert {b.t_capture_ns - a.t_capture_ns for a, b in pairwise(frames)} <= {FRAME_NS, FRAME_NS - 1, FRAME_NS + 1}
    decoder = VideoDecoder(str(joined), "cam1")
    assert decoder.stamps_ns().tolist() == [f.t_capture_ns for f in frames]
    assert sum(1 for _ in decoder.pictures()) == 20 * len(parts)
    assert decoder.notes == [f"its times begin anew {len(parts) - 1} times: each part follows the one before"]


def test_a_file_that_was_joined_plays_backwards_too(tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    joined.write_bytes(make_video(tmp_path / "a.ts", frames=10).read_bytes() * 2)
    there = list(range(10)) * 2
    assert numbers(all_of(joined, loop="pingpong", frames=39)) == there + there[-2::-1]


@pytest.mark.parametrize("container", ["avi", "mkv", "mp4"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_b_frames_are_all_there_in_the_order_of_time(tmp_path: Path, container: str, codec: str) -> None:
    path = tmp_path / f"clip.{container}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames, stream.bit_rate = 2, 4_000_000
        stream.options = {"bf": "2", "b_strategy": "0"} if codec == "libx264" else {"bf": "2"}
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(grey(n), format="bgr24")
            frame.pts = n
            for packet in stream.encode(frame):
                out.mux(packet)
        out.mux(stream.encode(None))
    frames = all_of(path)
    assert numbers(frames) == list(range(20))
    assert [round(f.t_capture_ns / FRAME_NS, 1) for f in frames] == list(range(20))


def with_edit_list(path: Path, start: int, length: int) -> None:
    """Cut an mp4 without touching its pictures: its edit list then begins at ``start`` ticks of the media.

    length: in the ticks of the movie. The list is a box ``elst`` whose one entry holds duration, media time and rate.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 8
    assert struct.unpack(">I", data[at : at + 4])[0] == 1, "one entry is expected"
    _, media_time = struct.unpack(">Ii", data[at + 4 : at + 12])
    data[at + 4 : at + 12] = struct.pack(">Ii", length, media_time + start)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("cut", [3, 7, 10])
def test_what_an_edit_list_cuts_out_is_not_there(tmp_path: Path, cut: int) -> None:
    path = make_video(tmp_path / "clip.mp4", b_frames=2, gop=10)
    with_edit_list(path, cut * 512, 1000 * (20 - cut) // 25)  # 512 of 12800 ticks a picture; the movie counts ms
    frames = all_of(path)
    assert numbers(frames) == list(range(cut, 20))
    assert [f.t_capture_ns for f in frames] == [n * FRAME_NS for n in range(20 - cut)]
    decoder = VideoDecoder(str(path), "cam1")
    assert decoder.frames in (None, 20 - cut)
    assert len(decoder.stamps_ns()) == 20 - cut


MATRICES = {  # x' = a·x + c·y, y' = b·x + d·y
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "half turn": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "counterclockwise": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "clockwise and mirrored": ((0, 1, 1, 0), lambda p: np.rot90(p, -1)[:, ::-1]),
    "counterclockwise and mirrored": ((0, -1, -1, 0), lambda p: np.rot90(p, 1)[:, ::-1]),
}


def corners() -> NDArray[np.uint8]:
    """A picture whose four quarters differ."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = 220, 150, 80
    return picture


def quarters(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which of the four grey levels each quarter has."""
    h, w = image.shape[:2]
    means = image[..., 0].reshape(2, h // 2, 2, w // 2).mean(axis=(1, 3))
    return np.round(means / 73).astype(np.int64)


@pytest.mark.parametrize("how", MATRICES)
def test_a_picture_is_turned_and_mirrored_as_the_file_says(tmp_path: Path, how: str) -> None:
    (a, b, c, d), expected = MATRICES[how]
    path = make_video(tmp_path / "clip.mp4", frames=3, pictures=[corners()] * 3)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))
    source = open_source("cam1", "video", str(path), live=False, epoch_ns=0)
    frame = source.read(1.0)
    assert frame is not None
    assert (quarters(frame.image_bgr) == quarters(np.ascontiguousarray(expected(corners())))).all()
    assert frame.size_px == source.info.size_px
    assert any("mirrored" in n for n in source.info.notes) == (a * d - b * c < 0)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_user_turns_and_mirrors(tmp_path: Path, rotate: int, mirror: bool) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=3, pictures=[corners()] * 3)
    source = open_source("cam1", "video", str(path), live=False, epoch_ns=0, rotate=str(rotate), mirror=mirror)  # type: ignore[arg-type]
    frame = source.read(1.0)
    assert frame is not None
    expected = np.rot90(corners(), -rotate // 90)
    expected = expected[:, ::-1] if mirror else expected
    assert (quarters(frame.image_bgr) == quarters(np.ascontiguousarray(expected))).all()
    assert source.info.size_px == frame.size_px == ((64, 48) if rotate % 180 == 0 else (48, 64))


def test_start_s_lays_files_that_began_apart_over_each_other(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", b_frames=2)
    for start_s, first in ((0.2, 5), (0.21, 6), (-0.1, 0)):
        frames = all_of(path, start_s=start_s)
        assert numbers(frames) == list(range(first, 20))
        assert [f.seq for f in frames] == list(range(20 - first))
        assert [f.t_capture_ns for f in frames] == [n * FRAME_NS - round(start_s * 1e9) for n in range(first, 20)]
        assert numbers(all_of(path, start_s=start_s, preload=True)) == numbers(frames)
    assert numbers(all_of(path, start_s=0.6, loop="repeat", frames=12)) == [15, 16, 17, 18, 19] * 2 + [15, 16]
    assert numbers(all_of(path, start_s=0.6, loop="pingpong", frames=10)) == [15, 16, 17, 18, 19, 18, 17, 16, 15, 16]
    with pytest.raises(KinecastError, match="no picture after start_s 5"):
        all_of(path, start_s=5.0)


def test_hardware_that_does_not_bind_is_said_and_the_processor_decodes(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4")
    source = open_source("cam1", "video", str(path), live=False, epoch_ns=0, hardware="nvdec")
    assert len(source.info.notes) == 1
    assert source.info.notes[0].startswith(("decoded by hardware", "decoded by the processor: "))
    assert numbers(read_all(source)) == list(range(20))


def test_options_reach_ffmpeg(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", gop=10)
    with_edit_list(path, 5 * 512, 600)
    assert len(all_of(path)) == 15
    assert len(all_of(path, options={"ignore_editlist": "1"})) == 20
