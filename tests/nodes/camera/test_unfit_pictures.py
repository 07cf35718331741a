"""A live camera that refuses, or gives pictures nobody can use: said, counted, tried again."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.record import VideoRecorder
from kinecast.capture.source import Source
from kinecast.capture.stream import RefusedLogin
from kinecast.nodes.camera.loop import CameraCore, CameraLoop
from kinecast.nodes.graph.records import (
    SourceSettings,
)
from tests.capture.videos import FakeClock, grey
from tests.nodes.camera.toys import (
    CAMERA,
    EPOCH,
    SECOND,
    FakeBus,
    GreyDetector,
    ScriptedSource,
    context_of,
    numbers,
    run_device,
)


def test_a_stream_is_tried_at_an_even_pace_and_one_that_refuses_the_login_less_and_less(tmp_path: Path) -> None:
    gone, refused = KinecastError("the camera is gone"), RefusedLogin("user or password is wrong")
    settings = SourceSettings(kind="stream", uri="rtsp://a/b", retry_s=1.0)
    bus, _, _, opened = run_device(tmp_path, [[0, gone], *[gone] * 4, refused, refused, refused, [1, None]], settings)
    assert [b - a for a, b in pairwise(opened)] == [n * SECOND for n in (1, 1, 1, 1, 1, 1, 2, 4)]
    assert numbers(bus) == [0, 1]
    assert "user or password is wrong" in bus.notes


@pytest.mark.parametrize(
    ("bad", "cause"), [("black", "black_picture"), ("green", "green_picture"), ("size", "other_size")]
)
def test_a_bad_picture_is_counted_and_one_that_stays_bad_stalls_the_camera(
    tmp_path: Path, bad: str, cause: str
) -> None:
    image = {"black": np.zeros((48, 64, 3), np.uint8), "green": np.full((48, 64, 3), (0, 135, 0), np.uint8),
             "size": grey(3, (320, 240))}[bad]  # fmt: skip
    settings = SourceSettings(kind="usb", stall_s=1.0)
    moment, long = [0, 1, image, 2], [3, *[image] * 200, 4]
    bus, *_ = run_device(tmp_path, [[*moment, None]], settings)
    assert numbers(bus) == [0, 1, 2]
    assert bus.states == ["running", "ended"]
    assert bus.meter.drops == {cause: 1}
    bus, _, _, opened = run_device(tmp_path, [long, [5, None]], settings)
    assert numbers(bus) == [3, 5]  # opened anew before it came back by itself
    assert len(opened) == 2
    assert bus.states == ["running", "stalled", "running", "ended"]
    assert any({"size": "320×240"}.get(bad, f"{bad} pictures") in note for note in bus.notes)


def test_a_device_that_opens_with_another_size_is_tried_again(tmp_path: Path) -> None:
    clock = FakeClock(EPOCH)
    sizes = [(0, 0), (320, 240), (64, 48)]
    context = context_of(tmp_path, SourceSettings(kind="usb"), "realtime")
    bus, detector = FakeBus(), GreyDetector(clock)

    def open_it(recorder: VideoRecorder | None, first_seq: int) -> Source:
        return ScriptedSource([7, None], clock, first_seq, sizes.pop(0))

    CameraLoop(context, bus, CameraCore("left", detector, CAMERA, clock), detector, open_it, clock).run()
    assert numbers(bus) == [7]
    assert bus.states == ["stalled", "running", "ended"]
    assert "320×240" in bus.notes[1] and "64×48" in bus.notes[1]


def test_what_a_stream_says_of_its_stamps_is_in_note_and_report(tmp_path: Path) -> None:
    clock = FakeClock(EPOCH)
    context = context_of(tmp_path, SourceSettings(kind="stream", uri="rtsp://a/b"), "realtime")
    bus, detector = FakeBus(), GreyDetector(clock)
    source = ScriptedSource([*range(8), 2.0, *range(8), None], clock, 0)
    source.timing = "arrival (its own times stand still)"  # type: ignore[attr-defined]
    CameraLoop(context, bus, CameraCore("left", detector, CAMERA, clock), detector, lambda r, n: source, clock).run()
    assert "stamped by arrival (its own times stand still)" in bus.notes
    assert bus.of("source/left")[0].timing == "arrival (its own times stand still)"
