"""Cameras that send JPEG: handed on as it came, decoded where a frame is looked at, copied where it is recorded."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from kinecast.capture.jpeg import DamagedPicture, JpegDecoder, jpeg_of
from kinecast.capture.planes import Planes
from kinecast.capture.record import VideoRecorder, read_sidecar
from kinecast.capture.source import SourceStalled
from kinecast.capture.usb import MJPG, open_usb
from tests.capture.devices import DEADLINE_S, FakeCapture
from tests.capture.videos import grey, number_of

pytestmark = pytest.mark.alone


def jpeg(number: int, quality: int = 95) -> bytes:
    good, data = cv2.imencode(".jpg", grey(number), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert good
    return bytes(data)


class JpegCamera(FakeCapture):
    """Sends MJPG; ``broken``: pictures that are cut in the middle."""

    def __init__(self, frames: int, broken: tuple[int, ...] = ()) -> None:
        super().__init__(frames)
        self.broken = broken
        self.sent: list[bytes] = []

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FOURCC: float(MJPG)}.get(prop, 0.0)

    def retrieve(self) -> tuple[bool, np.ndarray[Any, Any]]:
        data = jpeg(self.number)
        if self.number in self.broken:
            data = data[: len(data) // 2] + b"\xff\xd9"
        self.sent.append(data)
        filled = data + bytes(64)  # drivers give their whole buffer
        return True, np.frombuffer(filled, np.uint8)[None]


def test_a_jpeg_is_found_in_its_buffer_and_decoded_to_planes() -> None:
    data = jpeg(7)
    assert jpeg_of(np.frombuffer(data + bytes(100), np.uint8)) == data
    assert jpeg_of(np.zeros(100, np.uint8)) is None
    picture = JpegDecoder()(data)
    assert isinstance(picture, Planes) and picture.colour.full
    assert np.abs(picture.bgr().astype(int) - grey(7)).max() <= 4


def test_what_cannot_be_decoded_is_said_to_be_damaged_and_the_next_is_whole() -> None:
    decode = JpegDecoder()
    with pytest.raises(DamagedPicture):
        decode(b"\xff\xd8\xff\xd9")
    assert isinstance(decode(jpeg(3)), Planes)


def test_a_usb_camera_s_jpeg_is_decoded_where_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    real = JpegDecoder.__call__
    monkeypatch.setattr(JpegDecoder, "__call__", lambda self, data: decoded.append(len(data)) or real(self, data))
    device = JpegCamera(frames=8)
    source = open_usb("0", "cam1", device=lambda uri: device)
    assert device.asked[cv2.CAP_PROP_CONVERT_RGB] == 0
    assert source.info.size_px == (64, 48)
    first = len(decoded)
    for _ in range(7):
        device.more.release()
    seen = []
    while not seen or seen[-1] < 7:
        frame = source.read(DEADLINE_S)
        assert frame is not None and isinstance(frame.picture, Planes)
        seen.append(number_of(frame.image_bgr))
    assert len(decoded) - first == len(seen)
    assert source.skipped + len(seen) == 7
    source.close()


def test_a_damaged_picture_is_counted_and_the_camera_goes_on() -> None:
    device = JpegCamera(frames=3)
    source = open_usb("0", "cam1", device=lambda uri: device)
    device.number, device.retrieve = 0, lambda: (True, np.frombuffer(b"\xff\xd8\xff\xd9", np.uint8)[None])  # type: ignore[method-assign]
    device.more.release()
    with pytest.raises(SourceStalled, match=r"cannot be decoded|cut short"):
        source.read(DEADLINE_S)
    assert source.losses == {"damaged": 1}
    source.close()


def test_the_recording_has_the_camera_s_own_bytes(tmp_path: Path) -> None:
    device = JpegCamera(frames=6)
    recorder = VideoRecorder(tmp_path / "cam1.mkv", tmp_path / "cam1.times.txt", "cam1")
    source = open_usb("0", "cam1", device=lambda uri: device, tap=recorder)
    for n in range(1, 6):
        device.more.release()
        frame = source.read(DEADLINE_S)
        assert frame is not None and number_of(frame.image_bgr) == n
    source.close()
    assert recorder.failure == "" and recorder.lost == 0
    with av.open(str(tmp_path / "cam1.mkv")) as container:
        kept = [bytes(p) for p in container.demux(container.streams.video[0]) if p.size]
    numbers, _ = read_sidecar(tmp_path / "cam1.times.txt")
    assert kept == [device.sent[n + 1] for n in numbers.tolist()]
    assert len(kept) == 5
