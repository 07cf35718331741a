"""Kept videos: what is written, what a kill leaves, a full disk."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.files import open_video
from kinecast.capture.latest import Grab
from kinecast.capture.record import RecordedSource, VideoRecorder, free_paths, read_sidecar
from tests.capture.videos import grey, make_video, number_of


def pictures_of(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_of(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


@pytest.mark.parametrize("size_px", [(64, 48), (63, 47)])
def test_frames_are_encoded_with_their_times(tmp_path: Path, size_px: tuple[int, int]) -> None:
    recorder = VideoRecorder(tmp_path / "out" / "a.mkv", tmp_path / "out" / "a.txt", "cam1", block=True)
    stamps = [10**12 + 33_333_333 * n for n in range(20)]
    for n, t in enumerate(stamps):
        recorder.frame(2 * n, Grab(t, partial(grey, n, size_px)))
    recorder.close()
    recorder.close()
    assert recorder.failure == ""
    seqs, times = read_sidecar(tmp_path / "out" / "a.txt")
    assert seqs.tolist() == [2 * n for n in range(20)]
    assert times.tolist() == stamps
    assert pictures_of(tmp_path / "out" / "a.mkv") == list(range(20))


def test_a_file_is_recorded_as_it_is_read(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    recorder = VideoRecorder(tmp_path / "a.mkv", tmp_path / "a.txt", "cam1", encode=True, block=True)
    source = RecordedSource(open_video(str(clip), "cam1", epoch_ns=3, live=False, fps_hz=12.5), recorder)
    stamps = []
    while (frame := source.read(1.0)) is not None:
        stamps.append(frame.t_capture_ns)
    source.close()
    assert read_sidecar(tmp_path / "a.txt")[1].tolist() == stamps
    assert pictures_of(tmp_path / "a.mkv") == list(range(0, 20, 2))


CHILD = """
import os, signal, sys
from functools import partial
from pathlib import Path
from kinecast.capture.latest import Grab
from kinecast.capture.record import VideoRecorder
from tests.capture.videos import grey

written = [0]
class Told(VideoRecorder):
    def _stamp(self, seq, t):
        super()._stamp(seq, t)
        if seq == 99:
            os.kill(os.getpid(), signal.SIGKILL)

recorder = Told(Path(sys.argv[1]), Path(sys.argv[2]), "cam1", block=True)
for n in range(200):
    recorder.frame(n, Grab(n * 40_000_000, partial(grey, n % 20)))
recorder.close()
"""


def test_a_kill_leaves_all_but_the_last_half_second(tmp_path: Path) -> None:
    video, sidecar = tmp_path / "a.mkv", tmp_path / "a.txt"
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(video), str(sidecar)], cwd=root, env=os.environ, timeout=60, check=False
    )
    assert child.returncode == -signal.SIGKILL
    seqs, stamps = read_sidecar(sidecar)
    assert seqs.tolist() == list(range(100))
    kept = pictures_of(video)
    assert kept == [n % 20 for n in range(len(kept))]
    # clusters are closed after half a second, 12.5 frames; the frame that begins the next one closes the last
    assert len(kept) >= 100 - 14
    assert stamps[len(kept) - 1] >= stamps[-1] - 14 * 40_000_000


def test_a_sidecar_cut_anywhere_gives_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    whole = b"".join(b"%d %d\n" % (n, 1000 + n) for n in range(8, 13))
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        seqs, stamps = read_sidecar(path)
        lines = whole[:cut].count(b"\n")
        assert seqs.tolist() == list(range(8, 8 + lines))
        assert stamps.tolist() == [1000 + n for n in range(8, 8 + lines)]


def test_what_is_no_sidecar_says_so(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="cannot read the timestamps"):
        read_sidecar(tmp_path / "missing.txt")
    (tmp_path / "a.txt").write_text("1 2\nthree four\n5 6\n")
    with pytest.raises(KinecastError, match="no list of timestamps"):
        read_sidecar(tmp_path / "a.txt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system: a full disk cannot be shown")
@pytest.mark.parametrize("full", ["video", "sidecar"])
def test_a_full_disk_stops_the_recording_with_one_line(tmp_path: Path, full: str) -> None:
    paths = {"video": tmp_path / "a.mkv", "sidecar": tmp_path / "a.txt"} | {full: Path("/dev/full")}
    recorder = VideoRecorder(paths["video"], paths["sidecar"], "cam1", block=True)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    for n in range(60):
        recorder.frame(n, Grab(n * 40_000_000, lambda: noise))
    recorder.close()
    assert "No space left" in recorder.failure
    assert "cam1" in recorder.failure
    assert "\n" not in recorder.failure


def test_an_encoder_that_is_too_slow_loses_frames_and_says_how_many(tmp_path: Path) -> None:
    import threading

    go = threading.Event()

    def slow(n: int) -> np.ndarray:  # type: ignore[type-arg]
        assert go.wait(20)
        return grey(n)

    recorder = VideoRecorder(tmp_path / "a.mkv", tmp_path / "a.txt", "cam1")
    for n in range(20):
        recorder.frame(n, Grab(n * 40_000_000, partial(slow, n)))
    go.set()
    recorder.close()
    seqs = read_sidecar(tmp_path / "a.txt")[0].tolist()
    assert recorder.lost > 0
    assert len(seqs) + recorder.lost == 20
    assert pictures_of(tmp_path / "a.mkv") == seqs


def test_earlier_recordings_are_never_written_over(tmp_path: Path) -> None:
    first = free_paths(tmp_path, "cam1")
    assert [p.name for p in first] == ["cam1.mkv", "cam1.times.txt"]
    first[0].touch()
    assert free_paths(tmp_path, "cam1")[0].name == "cam1.1.mkv"
    assert free_paths(tmp_path, "cam2")[0].name == "cam2.mkv"
