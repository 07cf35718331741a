"""Decoding by hardware that is asked for: what does not bind is said, and the processor decodes all the same."""

from pathlib import Path
from typing import Any

import av
import pytest

from kinecast.capture import hardware
from kinecast.capture.hardware import DEVICES, opened
from kinecast.capture.open import open_source
from tests.capture.videos import make_video, number_of


def refuses(why: Exception) -> Any:
    def bind(**settings: Any) -> None:
        raise why

    return bind


@pytest.mark.parametrize("asked", ["nvdec", "vaapi", "qsv", "auto"])
@pytest.mark.parametrize(
    ("available", "bind", "said"),
    [
        ((), None, "{} is not in this FFmpeg"),
        (tuple(DEVICES.values()), refuses(RuntimeError("no device /dev/dri")), "{}: no device /dev/dri"),
        (tuple(DEVICES.values()), refuses(OSError(5, "Input/output error")), "{}: Input/output error"),
    ],
)
def test_a_device_that_is_not_there_is_said_and_every_picture_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, available: tuple[str, ...], bind: Any, said: str
) -> None:
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: list(available))
    if bind is not None:
        monkeypatch.setattr(hardware, "HWAccel", bind)
    path = make_video(tmp_path / "clip.mp4")
    source = open_source("cam1", "video", str(path), live=False, epoch_ns=0, hardware=asked)  # type: ignore[arg-type]
    names = list(DEVICES) if asked == "auto" else [asked]
    assert source.info.notes == ("decoded by the processor: " + "; ".join(said.format(n) for n in names),)
    seen = []
    while (frame := source.read(1.0)) is not None:
        seen.append(number_of(frame.image_bgr))
    assert seen == list(range(20)) and source.losses == {}


def test_a_device_that_refuses_the_file_is_left_and_the_file_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first device binds and fails when its decoder opens; the container that it had is closed."""
    path = str(make_video(tmp_path / "clip.mp4"))
    given: list[Any] = []
    really = av.open

    def open_it(file: str, hwaccel: Any = None, **how: Any) -> Any:
        given.append(hwaccel)
        if hwaccel is not None:
            raise av.error.InvalidDataError(1094995529, "this profile is not decoded", file)
        return really(file, **how)

    monkeypatch.setattr(hardware, "hwdevices_available", lambda: list(DEVICES.values()))
    monkeypatch.setattr(hardware, "HWAccel", lambda device_type, **_: device_type)
    monkeypatch.setattr(hardware.av, "open", open_it)
    container, why = opened(path, "auto")
    assert given[-1] is None and given[-4:-1] == list(DEVICES.values())
    assert why == "; ".join(f"{n}: this profile is not decoded" for n in DEVICES)
    container.close()
