"""Cameras that are plugged in: what is said of them, and what is locked."""

from collections import namedtuple
from pathlib import Path

import cv2
import pytest
import yaml

from kinecast.capture.errors import KinecastError
from kinecast.capture.plugged_in import (
    Mode,
    PluggedIn,
    backend,
    best_mode,
    modes_of,
    named_by_the_kernel,
    plugged_in,
    stable_name,
)
from kinecast.capture.usb import open_usb
from kinecast.nodes.cli.commands import cameras
from kinecast.nodes.cli.main import main
from tests.capture.devices import FakeCapture

FrameType = namedtuple("FrameType", "type pixel_format width height min_fps max_fps step_fps")
Pixels = namedtuple("Pixels", "name")
HD, SMALL = Mode((1280, 720), (30.0, 15.0), "MJPEG"), Mode((640, 480), (60.0,), "YUYV")


def test_each_platform_has_its_backend() -> None:
    assert [backend(p) for p in ("linux", "darwin", "win32", "plan9")] == [
        cv2.CAP_V4L2, cv2.CAP_AVFOUNDATION, cv2.CAP_DSHOW, cv2.CAP_ANY,
    ]  # fmt: skip


def test_modes_are_gathered_by_size_and_the_best_is_chosen() -> None:
    said = [FrameType(1, Pixels("YUYV"), 640, 480, 60, 60, 0), FrameType(1, Pixels("MJPEG"), 1280, 720, 15, 15, 0),
            FrameType(1, Pixels("MJPEG"), 1280, 720, 30, 30, 0),
            FrameType(1, Pixels("YUYV"), 320, 240, 0, 0, 0)]  # fmt: skip
    modes = modes_of(said)
    assert modes == (HD, SMALL, Mode((320, 240), (), "YUYV"))
    assert best_mode(modes) == HD
    slow = Mode((1920, 1080), (5.0,), "YUYV")
    assert best_mode([slow, SMALL]) == SMALL and best_mode([slow]) is None
    uhd = Mode((3840, 2160), (30.0,), "MJPEG")
    assert best_mode([uhd, Mode((1280, 720), (30.0,), "YUYV"), HD]) == HD


def test_a_name_that_stays_is_taken_and_metadata_nodes_are_no_cameras(tmp_path: Path) -> None:
    for n, index in ((0, "0"), (1, "1"), (2, "0")):
        node = tmp_path / f"sys/video{n}"
        node.mkdir(parents=True)
        (node / "index").write_text(index)
        (node / "name").write_text(f"Camera {n}\n")
    found = named_by_the_kernel(tmp_path / "sys")
    assert [(c.uri, c.name) for c in found] == [("/dev/video0", "Camera 0"), ("/dev/video2", "Camera 2")]
    (tmp_path / "video2").touch()
    (tmp_path / "by-id").mkdir()
    link = tmp_path / "by-id/usb-maker-video-index0"
    link.symlink_to(tmp_path / "video2")
    assert stable_name(tmp_path / "video2", tmp_path / "by-id") == str(link)
    assert stable_name(tmp_path / "video3", tmp_path / "by-id") == str(tmp_path / "video3")


def test_the_command_says_what_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    here = PluggedIn("/dev/v4l/by-id/usb-a", "Maker's [cam]\x1b[2J", (HD, SMALL), (("exposure", (3, 2047, 250)),))
    shut = PluggedIn("/dev/video7", "Other", problem="Permission denied")
    monkeypatch.setattr(cameras, "plugged_in", lambda: (here, shut))
    assert main(["cameras", "--modes"]) == 0
    said = capsys.readouterr().out
    assert (
        "\x1b" not in said
        and "1280×720 at 30 Hz" in said
        and "exposure: 3 to 2047, now 250" in said
        and "Permission denied" in said
    )
    assert main(["cameras", "--launch"]) == 0
    nodes = yaml.safe_load(capsys.readouterr().out)["nodes"]
    assert nodes["cam01"]["source"] == {"kind": "usb", "uri": here.uri, "size_px": [1280, 720], "fps_hz": 30}
    assert nodes["cam02"]["source"] == {"kind": "usb", "uri": "/dev/video7"}
    monkeypatch.setattr(cameras, "plugged_in", lambda: ())
    assert main(["cameras"]) == 1
    assert "no camera is plugged in" in capsys.readouterr().out


def test_this_machine_is_asked_without_a_crash() -> None:
    assert all(isinstance(c, PluggedIn) for c in plugged_in())


class Obedient(FakeCapture):
    """Takes every value but of focus, which it has not, and white balance, which it holds where it was."""

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_FOCUS:
            return -1.0
        return 4600.0 if prop == cv2.CAP_PROP_WB_TEMPERATURE else self.asked.get(prop, super().get(prop))


def test_what_is_locked_is_set_and_read_back() -> None:
    device = Obedient(frames=1)
    source = open_usb("0", "cam1", locked={"exposure": 156, "gain": 20}, device=lambda uri: device)
    assert device.asked[cv2.CAP_PROP_AUTO_EXPOSURE] == 1.0 and device.asked[cv2.CAP_PROP_EXPOSURE] == 156
    assert device.asked[cv2.CAP_PROP_GAIN] == 20 and cv2.CAP_PROP_AUTOFOCUS not in device.asked
    source.close()
    for key, value, why in (("focus", 30.0, "has no such control"), ("white_balance", 3000.0, "took 4600")):
        shut = Obedient(frames=1)
        with pytest.raises(KinecastError, match=f"cam1: 0 does not take source.{key} {value:g}: it {why}"):
            open_usb("0", "cam1", locked={key: value}, device=lambda uri, d=shut: d)  # type: ignore[misc]
        assert shut.released
