"""Video files: stamps, order, pace, loops, damage."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinecast.capture.decode import ticks_to_ns
from kinecast.capture.errors import KinecastError
from kinecast.capture.files import open_video
from kinecast.capture.frame import Frame
from kinecast.capture.playback import PlayedSource, Step
from kinecast.capture.source import SourceInfo, SourceStalled
from tests.capture.videos import FakeClock, grey, make_video, number_of, rotate_header, spoil

EPOCH = 7_000_000_000
FRAME_NS = 40_000_000  # 25 Hz


def read_all(source: PlayedSource) -> list[Frame]:
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append(frame)
    source.close()
    return frames


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(f.image_bgr) for f in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4")


def lossless(path: Path, **settings: object) -> list[Frame]:
    return read_all(open_video(str(path), "cam1", epoch_ns=EPOCH, live=False, clock=FakeClock(), **settings))  # type: ignore[arg-type]


def test_every_frame_comes_once_with_its_own_time(clip: Path) -> None:
    frames = lossless(clip)
    assert numbers(frames) == list(range(20))
    assert [f.seq for f in frames] == list(range(20))
    assert [f.t_capture_ns for f in frames] == [EPOCH + n * FRAME_NS for n in range(20)]
    assert not frames[0].image_bgr.flags.writeable


def test_uneven_times_are_kept_exactly(tmp_path: Path) -> None:
    ticks = [300, 1301, 2302, 9000, 9001, 20011]  # the first is not 0: the epoch is the first frame's time
    path = make_video(tmp_path / "vfr.mp4", frames=6, pts=ticks, time_base=Fraction(1, 30000), fps=30)
    expected = [EPOCH + ticks_to_ns(t - ticks[0], Fraction(1, 30000)) for t in ticks]
    assert [f.t_capture_ns for f in lossless(path)] == expected


def test_ticks_are_rounded_without_floating_point() -> None:
    ntsc = Fraction(1001, 30000)
    for ticks in (0, 1, 2, 3, 10**9, 10**12 + 7):
        exact = ticks * ntsc * 10**9
        assert abs(ticks_to_ns(ticks, ntsc) - exact) <= Fraction(1, 2)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi", "h264"])
def test_containers_agree(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = make_video(tmp_path / f"clip.{suffix}", codec=codec, time_base=Fraction(1, 25))
    frames = lossless(path)
    assert numbers(frames) == list(range(20))
    assert [f.t_capture_ns for f in frames] == [EPOCH + n * FRAME_NS for n in range(20)]


@pytest.mark.parametrize("preload", [False, True])
def test_repeat_goes_on_one_interval_after_the_last_frame(clip: Path, preload: bool) -> None:
    frames = lossless(clip, loop="repeat", frames=45, preload=preload)
    assert numbers(frames) == [n % 20 for n in range(45)]
    assert [f.t_capture_ns for f in frames] == [EPOCH + n * FRAME_NS for n in range(45)]


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize(("gop", "b_frames"), [(5, 0), (7, 2), (50, 0), (1, 0)])
def test_pingpong_shows_the_ends_once(tmp_path: Path, gop: int, b_frames: int, preload: bool) -> None:
    path = make_video(tmp_path / "clip.mp4", gop=gop, b_frames=b_frames)
    frames = lossless(path, loop="pingpong", frames=60, preload=preload)
    there_and_back = [*range(20), *range(18, 0, -1)]
    assert numbers(frames) == [there_and_back[n % 38] for n in range(60)]
    assert [f.seq for f in frames] == list(range(60))
    assert [f.t_capture_ns for f in frames] == [EPOCH + n * FRAME_NS for n in range(60)]


def test_pingpong_of_open_groups_loses_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "open.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        x264 = "keyint=6:min-keyint=6:open-gop=1:bframes=3:b-adapt=0:scenecut=0"
        stream.options = {"x264-params": x264, "crf": "5"}
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(grey(n), format="bgr24")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = lossless(path, loop="pingpong", frames=39)
    assert numbers(frames) == [*range(20), *range(18, -1, -1)]


def test_pingpong_of_one_picture_stands_still(tmp_path: Path) -> None:
    path = make_video(tmp_path / "one.mp4", frames=1)
    frames = lossless(path, loop="pingpong", frames=4)
    assert numbers(frames) == [0] * 4
    assert [f.t_capture_ns for f in frames] == [EPOCH + n * FRAME_NS for n in range(4)]


def test_groups_too_long_to_hold_are_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # two groups of five pictures of 64×48 in 4:2:0
    monkeypatch.setattr("kinecast.capture.playback.MAX_HELD_BYTES", 2 * 5 * 64 * 48 * 3 // 2)
    assert len(lossless(clip, loop="pingpong", frames=30)) == 30
    monkeypatch.setattr("kinecast.capture.playback.MAX_HELD_BYTES", 2 * 5 * 64 * 48 * 3 // 2 - 1)
    with pytest.raises(KinecastError, match="5 frames between two key frames"):
        lossless(clip, loop="pingpong", frames=30)


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("loop", ["off", "repeat", "pingpong"])
def test_resampling_drops_evenly(clip: Path, loop: str, preload: bool) -> None:
    frames = lossless(clip, fps_hz=12.5, loop=loop, frames=25, preload=preload)
    kept = list(range(0, 20, 2))
    expected = {"off": kept, "repeat": (kept * 3)[:25], "pingpong": (kept + kept[-2:0:-1] + kept)[:25]}[loop]
    assert numbers(frames) == expected
    assert [f.seq for f in frames] == list(range(len(expected)))
    assert [f.t_capture_ns for f in frames] == [EPOCH + 2 * n * FRAME_NS for n in range(len(expected))]


def test_resampling_between_rates_and_never_up(clip: Path) -> None:
    # 25 → 15 Hz: of every five frames three are kept
    assert numbers(lossless(clip, fps_hz=15.0)) == [0, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19]
    assert numbers(lossless(clip, fps_hz=60.0)) == list(range(20))


def paced(path: Path, clock: FakeClock, **settings: object) -> PlayedSource:
    return open_video(str(path), "cam1", epoch_ns=EPOCH, live=True, clock=clock, **settings)  # type: ignore[arg-type]


def test_paced_frames_are_never_early(clip: Path) -> None:
    clock = FakeClock(EPOCH)
    source = paced(clip, clock)
    seen = []
    while (frame := source.read(1.0)) is not None:
        assert clock.now_ns() >= frame.t_capture_ns
        assert frame.t_grab_ns - frame.t_capture_ns < 1_000_000  # the fake clock stands still while decoding
        seen.append(frame)
    assert numbers(seen) == list(range(20))
    assert source.skipped == 0
    assert source.losses == {}


@pytest.mark.parametrize("loop", ["off", "pingpong"])
def test_a_slow_reader_skips_to_the_newest_and_counts(clip: Path, loop: str) -> None:
    clock = FakeClock(EPOCH)
    source = paced(clip, clock, loop=loop, frames=20)
    seen = []
    while (frame := source.read(1.0)) is not None:
        seen.append(frame)
        clock.t_ns += 5 * FRAME_NS // 2  # the reader takes two and a half frames for each
    assert [f.seq for f in seen] == [0, 2, 5, 7, 10, 12, 15, 17, 19]
    assert numbers(seen) == [f.seq for f in seen]
    assert [f.t_capture_ns for f in seen] == [EPOCH + f.seq * FRAME_NS for f in seen]
    assert len(seen) + source.skipped == 20


def decoding(clock: FakeClock, cost_ns: int, frames: int = 10_000) -> PlayedSource:
    """A paced 25 Hz source whose every frame takes ``cost_ns`` to decode."""

    def steps() -> Iterator[Step]:
        for n in range(frames):
            clock.t_ns += cost_ns
            yield Step(n, n * FRAME_NS, lambda: grey(0))

    info = SourceInfo("video", "costly", (64, 48), 25.0, True)
    return PlayedSource("cam1", info, steps(), clock, EPOCH)


def test_a_reader_that_comes_late_gets_what_is_new_when_decoding_is_done() -> None:
    clock = FakeClock(EPOCH)
    source = decoding(clock, FRAME_NS // 4)
    source.read(1.0)
    clock.t_ns += 20 * FRAME_NS  # while these are decoded, five more become due, and one more while those are
    frame = source.read(1.0)
    assert frame is not None
    assert clock.t_ns - frame.t_capture_ns <= FRAME_NS + FRAME_NS // 4


def test_decoding_slower_than_the_video_still_gives_frames() -> None:
    clock = FakeClock(EPOCH)
    source = decoding(clock, 2 * FRAME_NS)
    seen = []
    for _ in range(5):
        before_ns = clock.t_ns
        frame = source.read(1.0)
        assert frame is not None
        # what was due already, decoded at half the speed, then half a second, then what fell due in it
        assert clock.t_ns - before_ns <= 2 * (before_ns - EPOCH) + 4 * 500_000_000
        seen.append(frame.seq)
    assert seen == sorted(set(seen))
    assert source.skipped + len(seen) + source.losses.get("before_start", 0) == seen[-1] + 1


def test_skipped_frames_are_not_converted(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kinecast.capture.decode import Converter

    clock = FakeClock(EPOCH)
    source = paced(clip, clock)
    converted = []
    real = Converter.__call__
    monkeypatch.setattr(Converter, "__call__", lambda self, d: converted.append(d.pts) or real(self, d))
    source.read(1.0)
    clock.t_ns += 10 * FRAME_NS
    source.read(1.0)
    assert len(converted) == 2
    assert source.skipped == 9


def test_before_the_epoch_nothing_comes(clip: Path) -> None:
    clock = FakeClock(EPOCH - 3_000_000_000)
    source = paced(clip, clock)
    with pytest.raises(SourceStalled):
        source.read(1.0)
    assert clock.t_ns == EPOCH - 2_000_000_000  # it waited for the whole timeout and no longer
    frame = source.read(5.0)
    assert frame is not None
    assert (frame.seq, clock.t_ns) == (0, EPOCH)


def test_frames_due_before_the_first_read_are_no_drops(clip: Path) -> None:
    clock = FakeClock(EPOCH + 6 * FRAME_NS + 1)
    source = paced(clip, clock)
    frame = source.read(1.0)
    assert frame is not None
    assert frame.seq == 6
    assert source.skipped == 0
    assert source.losses == {"before_start": 6}


def test_a_damaged_packet_is_counted_and_survived(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mkv", codec="mjpeg")
    spoil(path, 7)
    source = open_video(str(path), "cam1", epoch_ns=EPOCH, live=False)
    frames = read_all(source)
    assert numbers(frames) == [n for n in range(20) if n != 7]
    assert [f.seq for f in frames] == numbers(frames)  # the lost frame keeps its number, so the gap can be seen
    assert source.losses == {"damaged": 1}


def test_a_damaged_packet_spoils_no_more_than_its_group(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", gop=5)
    spoil(path, 7)
    source = open_video(str(path), "cam1", epoch_ns=EPOCH, live=False)
    frames = {f.seq: number_of(f.image_bgr) for f in read_all(source)}
    assert source.losses["damaged"] >= 1
    assert all(frames[n] == n for n in range(20) if not 7 <= n < 10)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, 1)), (180, (1, 1)), (270, (1, 0))])
def test_a_picture_held_sideways_is_turned(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 200  # bright top left; turned clockwise it goes to the top right
    path = make_video(tmp_path / "turned.mp4", frames=3, pictures=[picture] * 3)
    rotate_header(path, degrees)
    source = open_video(str(path), "cam1", epoch_ns=EPOCH, live=False)
    frame = source.read(1.0)
    assert frame is not None
    assert frame.size_px == source.info.size_px == ((64, 48) if degrees == 180 else (48, 64))
    h, w = frame.image_bgr.shape[:2]
    quarters = frame.image_bgr[..., 0].reshape(2, h // 2, 2, w // 2).mean(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner


def test_fast_colours_agree_with_swscale(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((8, 8, 1), np.uint8)).astype(np.uint8)
    path = make_video(tmp_path / "colours.mp4", frames=1, pictures=[picture])
    source = open_video(str(path), "cam1", epoch_ns=EPOCH, live=False)
    frame = source.read(1.0)
    assert frame is not None
    with av.open(str(path)) as container:
        slow = next(container.decode(video=0)).to_ndarray(format="bgr24")
    # inside the blocks, away from edges where the two upsample chroma differently, rounding alone differs
    inner = np.s_[3::8, 3::8]
    assert np.abs(frame.image_bgr[inner].astype(int) - slow[inner]).max() <= 3


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    for name, word in (("missing", "no video file"), ("text", "cannot read"), ("empty", "cannot read")):
        with pytest.raises(KinecastError, match=word) as caught:
            open_video(str(tmp_path / f"{name}.mp4"), "cam1", epoch_ns=0, live=False)
        assert f"{name}.mp4" in str(caught.value)
        assert "cam1" in str(caught.value)
    with pytest.raises(KinecastError, match="no video stream"):
        open_video(str(tmp_path / "sound.mkv"), "cam1", epoch_ns=0, live=False)
