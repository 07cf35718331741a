"""Addresses: told from files, filled in, and never spoken with their secrets."""

import sys
import types

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.urls import filled_in, is_url, kind_and_path, redacted, redacted_options, unset

SECRETS = ("s3cret", "adm1n")


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://adm1n:s3cret@10.0.0.2/h264",
        "RTSP://adm1n:s3cret@10.0.0.2:554/h264?channel=1",
        "rtsp://adm1n:s3cret@x@10.0.0.2/h264",  # an @ in the password
        "rtsp://adm1n@10.0.0.2/h264",
        "http://10.0.0.2/cgi-bin/mjpg?user=adm1n&password=s3cret&fps=5",
        "http://10.0.0.2/video?token=s3cret",
        "http://10.0.0.2/video?usr=adm1n&pwd=s3cret",
        "rtsp://10.0.0.2:554/user=adm1n_password=s3cret_channel=1_stream=0.sdp",
        "rtsps://adm1n:s3cret@[fe80::1]:322/a",
    ],
)
def test_no_user_and_no_password_is_spoken(url: str) -> None:
    for text in (
        url,
        f"camera cam1: the stream {url} is gone: Connection reset; check the camera's network",
        f"'{url}'",
    ):
        told = redacted(text)
        assert not any(s in told for s in SECRETS), told
        assert "10.0.0.2" in told or "fe80::1" in told
        assert redacted(told) == told
    assert (
        redacted_options({"headers": "Authorization: s3cret", "rtsp_flags": "prefer_tcp", "x": url})["headers"] == "***"
    )


@pytest.mark.parametrize("text", ["clips/cam1.mp4", "/dev/video0", "mail me@home: rtsp is on", "C:\\clips\\a.mp4", "0"])
def test_what_holds_no_secret_is_left_alone(text: str) -> None:
    assert redacted(text) == text
    assert not is_url(text)


def test_an_address_is_a_stream_wherever_a_file_is_expected() -> None:
    assert kind_and_path("video", "rtsp://h/a") == ("stream", "rtsp://h/a")
    assert kind_and_path("images", "http://h/a") == ("stream", "http://h/a")
    assert kind_and_path("usb", "udp://h:1") == ("stream", "udp://h:1")
    assert kind_and_path("video", "file:///clips/a.mp4") == ("video", "/clips/a.mp4")
    assert kind_and_path("stream", "file:///clips/a.mp4") == ("video", "/clips/a.mp4")
    assert kind_and_path("video", "a.mp4") == ("video", "a.mp4")


def test_the_environment_fills_in_and_quotes_what_stands_before_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAM_PASSWORD", "p@ss/w:rd")
    monkeypatch.setenv("CAM_PATH", "live/1")
    template = "rtsp://me:${CAM_PASSWORD}@host/${CAM_PATH}"
    assert filled_in(template, "camera a") == "rtsp://me:p%40ss%2Fw%3Ard@host/live/1"
    assert unset(template, "${NOT_THERE}") == ["NOT_THERE"]
    with pytest.raises(KinecastError, match=r"camera a: \$\{NOT_THERE\} is not set"):
        filled_in("rtsp://${NOT_THERE}@host/a", "camera a")


def test_a_keyring_fills_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = types.ModuleType("keyring")
    ring.get_password = lambda service, user: {("hall", "me"): "s3cret"}.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    assert filled_in("rtsp://me:${keyring:hall/me}@host/a", "camera a") == "rtsp://me:s3cret@host/a"
    with pytest.raises(KinecastError, match="keyring set hall you"):
        filled_in("rtsp://you:${keyring:hall/you}@host/a", "camera a")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KinecastError, match="pip install keyring"):
        filled_in("rtsp://me:${keyring:hall/me}@host/a", "camera a")
