"""Files that were cut at any picture, with an edit list, and joined again without being encoded anew."""

import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from kinecast.capture.decode import VideoDecoder
from kinecast.capture.frame import Frame
from kinecast.capture.open import open_source
from tests.capture.videos import make_video, number_of, set_edits

FRAME_NS = 40_000_000
FRAME = 512  # ticks


def read(path: Path, **settings: object) -> tuple[list[Frame], tuple[str, ...]]:
    source = open_source("cam1", "video", str(path), live=False, epoch_ns=0, **settings)  # type: ignore[arg-type]
    out = []
    while (frame := source.read(1.0)) is not None:
        out.append(frame)
    assert source.losses == {}
    source.close()
    return out, source.info.notes


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(f.image_bgr) for f in frames]


def cut(path: Path, first: int, count: int, b_frames: int) -> Path:
    """Pictures ``first`` to ``first + count`` of a clip; all that were before are in the file too, and hidden."""
    return set_edits(
        make_video(path, frames=first + count, b_frames=b_frames, gop=20), [(FRAME * first, FRAME * count)]
    )


TICKS_HZ = {".mkv": 1000, ".ts": 90_000}  # of the others 12800


def join(parts: list[Path], target: Path) -> Path:
    """As ``ffmpeg -f concat -c copy`` does: each part goes on where the one before ends, no time to decode goes back
    by the target's clock, and what the parts hide comes along.
    """
    hz, least = TICKS_HZ.get(target.suffix, 12800), 0 if target.suffix == ".mkv" else 1
    with av.open(str(target), "w") as out:
        stream, offset, last = None, 0, None
        for part in parts:
            with av.open(str(part)) as given:
                if stream is None:
                    stream = out.add_stream_from_template(given.streams.video[0])
                    stream.time_base = Fraction(1, hz)
                packets = [p for p in given.demux(video=0) if p.size]
            end = max(p.pts for p in packets if not p.is_discard) + FRAME
            for packet in packets:
                dts, pts = (round(Fraction(t + offset, 12800) * hz) for t in (packet.dts, packet.pts))
                last = dts if last is None else max(dts, last + least)
                packet.time_base, packet.stream = Fraction(1, hz), stream
                packet.dts, packet.pts = last, max(pts, last)
                out.mux(packet)
            offset += end
    return target


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "mov"])
def test_what_was_cut_and_joined_shows_no_picture_from_before_a_cut(
    tmp_path: Path, b_frames: int, container: str
) -> None:
    parts = [cut(tmp_path / f"{k}.mp4", first, 8, b_frames) for k, first in enumerate((0, 6, 9))]
    joined = join(parts, tmp_path / f"joined.{container}")
    frames, notes = read(joined)
    first, rest = numbers(frames)[:8], numbers(frames)[8:]
    assert first == list(range(8))
    # all that are meant, in order; the last of a pre-roll may last for a while and is then shown
    for begin in (6, 9):
        shown = [n for n in rest if n < begin + 8][: 8 + (rest[0] < begin)]
        assert shown[-8:] == list(range(begin, begin + 8))
        rest = rest[len(shown) :]
    assert rest == []
    assert any("from before the cuts of its parts are left out" in n for n in notes)
    steps = {b.t_capture_ns - a.t_capture_ns for a, b in pairwise(frames)}
    assert min(steps) > FRAME_NS // 4 and [f.seq for f in frames] == list(range(len(frames)))
    decoder = VideoDecoder(str(joined), "cam1")
    assert decoder.stamps_ns().tolist() == [f.t_capture_ns for f in frames]
    decoder.close()
    there_and_back = numbers(read(joined, loop="pingpong", frames=2 * len(frames) - 1)[0])
    assert there_and_back == [*numbers(frames), *numbers(frames)[-2::-1]]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("edits", [[(2, 5), (12, 6)], [(12, 6), (2, 5)], [(0, 4), (0, 4), (7, 3)]])
def test_every_entry_of_an_edit_list_is_shown_in_its_order(
    tmp_path: Path, b_frames: int, edits: list[tuple[int, int]]
) -> None:
    ticks = [(FRAME * first, FRAME * count) for first, count in edits]
    path = set_edits(make_video(tmp_path / "clip.mp4", b_frames=b_frames, gop=10), ticks)
    meant = [n for first, count in edits for n in range(first, first + count)]
    frames, _ = read(path)
    assert numbers(frames) == meant
    assert [f.t_capture_ns for f in frames] == [n * FRAME_NS for n in range(len(meant))]
    assert numbers(read(path, loop="repeat", frames=2 * len(meant))[0]) == meant * 2
    decoder = VideoDecoder(str(path), "cam1")
    assert decoder.stamps_ns().tolist() == [f.t_capture_ns for f in frames]


def test_a_single_picture_a_tick_after_a_key_frame_is_a_picture_like_any_other(tmp_path: Path) -> None:
    ticks = [300, 1301, 2302, 9000, 9001, 9002, 20011]
    path = make_video(tmp_path / "vfr.mp4", frames=7, pts=ticks, gop=5)
    assert numbers(read(path)[0]) == list(range(7))


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_matroska_files_after_one_another_are_read_whole(tmp_path: Path, codec: str) -> None:
    data = make_video(tmp_path / "a.mkv", b_frames=2, codec=codec, gop=10).read_bytes()
    (tmp_path / "b.mkv").write_bytes(data * 2)
    frames, notes = read(tmp_path / "b.mkv")
    assert numbers(frames) == list(range(20)) * 2
    assert np.diff([f.t_capture_ns for f in frames]).tolist() == [FRAME_NS] * 39
    assert notes == ("its times begin anew 1 times: each part follows the one before",)


def test_an_empty_edit_delays_what_follows_and_hides_nothing(tmp_path: Path) -> None:
    path = set_edits(make_video(tmp_path / "clip.mp4"), [(-1, 10 * FRAME), (0, 20 * FRAME)])
    assert numbers(read(path)[0]) == list(range(20))
    assert struct.unpack(">I", path.read_bytes()[path.read_bytes().index(b"elst") + 8 :][:4]) == (2,)
