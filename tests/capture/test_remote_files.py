"""A video file on a web server is a file: whole, numbered, with an end, at any pace."""

from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.open import open_source
from kinecast.capture.source import Source
from kinecast.capture.urls import is_remote_file, kind_and_path
from tests.capture.videos import make_video, number_of
from tests.capture.web import web


def read_all(source: Source) -> list[Frame]:
    out = []
    while (frame := source.read(1.0)) is not None:
        out.append(frame)
    assert source.losses == {}
    source.close()
    return out


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(f.image_bgr) for f in frames]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov"])
@pytest.mark.parametrize("settings", [{}, {"loop": "pingpong", "frames": 39}, {"loop": "repeat", "frames": 39}])
def test_a_video_on_a_web_server_is_read_as_a_file(tmp_path: Path, suffix: str, settings: dict[str, object]) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    make_video(tmp_path / f"clip.{suffix}", codec=codec)
    uri = str(tmp_path / f"clip.{suffix}")
    here = read_all(open_source("cam1", "video", uri, live=False, epoch_ns=0, **settings))  # type: ignore[arg-type]
    with web(tmp_path) as server:
        url = f"{server.replace('://', '://me:s3cret@')}/clip.{suffix}?token=abc"
        with web(tmp_path) as plain:
            source = open_source("cam1", "video", f"{plain}/clip.{suffix}", live=False, epoch_ns=0, **settings)  # type: ignore[arg-type]
            assert source.info.kind == "video" and not source.info.live
            there = read_all(source)
        with pytest.raises(KinecastError) as e:
            open_source("cam1", "video", url.replace(f"clip.{suffix}", f"no.{suffix}"), live=False, epoch_ns=0)
    assert numbers(there) == numbers(here)
    assert [f.t_capture_ns for f in there] == [f.t_capture_ns for f in here]
    assert "s3cret" not in str(e.value) and "abc" not in str(e.value) and "cannot read the video" in str(e.value)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("http://nas/a/clip.MP4", True), ("https://me:pw@nas/clip.mov?x=1", True), ("http://cam/video.mjpg", False),
        ("http://cam/live/index.m3u8", False), ("rtsp://cam/clip.mp4", False), ("http://cam/video", False),
    ],
)  # fmt: skip
def test_addresses_of_files_are_told_from_those_of_cameras(url: str, file: bool) -> None:
    assert is_remote_file(url) == file
    assert kind_and_path("video", url)[0] == ("video" if file else "stream")
    assert kind_and_path("stream", url)[0] == "stream"
