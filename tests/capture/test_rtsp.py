"""Streams from a real RTSP server on loopback: stamps, what is recorded, transports, passwords, outages."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.files import open_video
from kinecast.capture.frame import Frame
from kinecast.capture.latest import LatestSource
from kinecast.capture.record import VideoRecorder, read_sidecar
from kinecast.capture.source import SourceInfo
from kinecast.capture.stream import RefusedLogin, open_stream
from tests.capture.rtsp import RtspServer, made_ms

FPS = 30
READ_S = 10.0
STREAMS: dict[str, dict[str, Any]] = {
    "plain": {}, "b": {"b_frames": 2}, "sound": {"audio": True}, "udp": {"udp": True}, "rare": {"gop": 60},
}  # fmt: skip
USER, PASSWORD = "admin", "s3cret!pass"
# sending, encoding and waking up of a machine that does much else; a stamp without a model is late by seconds
JITTER_MS = 100.0


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with RtspServer(STREAMS, fps=FPS) as running:
        yield running


def frames_of(source: LatestSource, seconds: float) -> list[Frame]:
    """What is read in so many seconds from the first frame on."""
    out: list[Frame] = []
    until = float("inf")
    while time.monotonic() < until:
        frame = source.read(READ_S)
        assert frame is not None
        out.append(frame)
        until = min(until, time.monotonic() + seconds)
    return out


def lags_ms(frames: list[Frame]) -> list[float]:
    """How much later than the picture each stamp is."""
    return [f.t_capture_ns / 1e6 - made_ms(f.image_bgr) for f in frames]


def test_stamps_are_right_a_second_after_opening(server: RtspServer) -> None:
    with ThreadPoolExecutor() as pool:  # all at once, as cameras are
        watched = dict(zip(STREAMS, pool.map(lambda name: watch(server.url(name)), STREAMS), strict=True))
    for name, (frames, info, timing) in watched.items():
        assert info.size_px == (320, 240)
        settled = [f for f in frames if f.t_grab_ns > frames[0].t_grab_ns + 1e9]
        lag = np.array(lags_ms(settled))
        encoder_ms = 4e3 / FPS if name == "b" else 0  # B pictures wait for those that they lean on
        assert len(settled) > FPS / 2  # of 45, less what a slow reader skips
        assert lag.min() > -1000 / FPS, name
        assert np.median(lag) <= 1000 / FPS + encoder_ms + JITTER_MS, name
        # jitter is out of the stamps: beside a straight line, as a machine that is busy for a moment grabs late
        numbers, stamps = np.array([(f.seq, f.t_capture_ns * 1e-6) for f in settled]).T
        beside = stamps - np.polyval(np.polyfit(numbers, stamps, 1), numbers)
        assert np.percentile(beside, 90) - np.percentile(beside, 10) <= 1000 / FPS, name
        assert timing == "stream time"
        assert (np.diff([f.t_capture_ns for f in frames]) > 0).all()
        assert ("over UDP" in info.notes) == (name == "udp")


def watch(url: str) -> tuple[list[Frame], SourceInfo, str]:
    """Frames of a stream for two and a half seconds, and what it says of itself."""
    source = open_stream(url, "cam1")
    try:
        return frames_of(source, 2.5), source.info, source.timing
    finally:
        source.close()


def test_the_first_group_of_pictures_is_recorded_at_each_opening(server: RtspServer, tmp_path: Path) -> None:
    for k in range(2):
        video, sidecar = tmp_path / f"{k}.mkv", tmp_path / f"{k}.times.txt"
        source = open_stream(server.url("rare"), "cam1", recorder=VideoRecorder(video, sidecar, "cam1"), first_seq=7)
        try:
            first = source.read(READ_S)
            assert first is not None
            frames_of(source, 0.3)
        finally:
            source.close()
        seqs, stamps = read_sidecar(sidecar)
        assert seqs[0] == 7  # the very first picture, not the next key frame two seconds later
        assert (np.diff(seqs) == 1).all()
        assert (np.diff(stamps) > 0).all()
        kept = open_video(str(video), "cam1", epoch_ns=0, live=False)
        pictures = []
        while (frame := kept.read(READ_S)) is not None:
            pictures.append(made_ms(frame.image_bgr))
        assert len(pictures) == len(seqs)
        assert pictures == sorted(pictures)
        assert first.seq > 7 or pictures[0] == made_ms(first.image_bgr)


def test_transport_that_a_camera_has_not_is_said(server: RtspServer) -> None:
    with pytest.raises(KinecastError, match="cannot open the stream"):
        open_stream(server.url("udp"), "cam1", transport="tcp")
    source = open_stream(server.url("plain"), "cam1", transport="udp")
    assert len(frames_of(source, 0.2)) > 1
    source.close()


def test_a_wrong_password_is_said_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with RtspServer({"live": {}}, fps=FPS, user=USER, password=PASSWORD) as server:
        with pytest.raises(RefusedLogin, match="user or password is wrong") as caught:
            open_stream(server.url("live", f"{USER}:wr0ng"), "cam1")
        assert "wr0ng" not in str(caught.value) and USER not in str(caught.value)
        with pytest.raises(RefusedLogin, match="asks for a user and a password"):
            open_stream(server.url("live"), "cam1")
        monkeypatch.setenv("CAMERA_PASSWORD", PASSWORD)
        for login in (f"{USER}:{PASSWORD}", f"{USER}:${{CAMERA_PASSWORD}}"):
            source = open_stream(server.url("live", login), "cam1")
            assert source.read(READ_S) is not None
            assert source.info.uri == server.url("live")
            source.close()


def test_a_killed_server_is_told_and_one_that_hangs_goes_on_where_it_was() -> None:
    with RtspServer({"live": {}}, fps=FPS) as server:
        source = open_stream(server.url("live"), "cam1", read_timeout_s=2.0)
        frames_of(source, 1.2)
        server.freeze()
        time.sleep(0.7)
        server.thaw()
        thawed_ns = time.monotonic_ns()
        later = [f for f in frames_of(source, 1.5) if f.t_capture_ns > thawed_ns + 3e8]
        assert np.median(lags_ms(later)) <= 1000 / FPS + JITTER_MS
        server.kill()
        began = time.monotonic()
        with pytest.raises(KinecastError, match="is gone"):
            while source.read(READ_S) is not None:
                pass
        assert time.monotonic() - began < 5.0
        source.close()
        server.start()
        again = open_stream(server.url("live"), "cam1")
        settled = [f for f in frames_of(again, 2.0) if f.t_grab_ns > thawed_ns]
        assert np.median(lags_ms(settled[len(settled) // 2 :])) <= 1000 / FPS + JITTER_MS
        again.close()


def test_nobody_there_is_said_without_the_password() -> None:
    with pytest.raises(KinecastError, match="cannot open the stream") as caught:
        open_stream(f"rtsp://{USER}:{PASSWORD}@127.0.0.1:9/none", "cam1", open_timeout_s=2.0)
    assert PASSWORD not in str(caught.value)
