"""The camera node's loop: what it publishes, how it takes stalls, losses and pictures of the wrong size."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.camera import Camera
from kinecast.capture.errors import KinecastError
from kinecast.capture.open import open_source
from kinecast.capture.record import VideoRecorder, read_sidecar
from kinecast.capture.source import Source
from kinecast.engines.records import Keypoints2D
from kinecast.nodes.bus.messages import End, SourceReport
from kinecast.nodes.camera.loop import CameraCore, CameraLoop
from kinecast.nodes.camera.node import open_detector, opener
from kinecast.nodes.graph.records import (
    SourceSettings,
)
from tests.capture.videos import FakeClock, make_video, number_of
from tests.nodes.camera.toys import (
    CAMERA,
    EPOCH,
    FRAME_NS,
    SECOND,
    FakeBus,
    GreyDetector,
    ScriptedSource,
    context_of,
    numbers,
    run_device,
    run_file,
)


def test_lossless_publishes_every_frame_and_then_the_end(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    bus = run_file(tmp_path, SourceSettings(uri=str(clip)), "lossless", FakeClock(), cost_ns=10 * SECOND)
    assert numbers(bus) == list(range(20))
    sent = bus.of("keypoints/left")
    assert [k.t_capture_ns for k in sent] == [n * FRAME_NS for n in range(20)]
    assert [t for topic, _, t in bus.sent if topic == "keypoints/left"] == [k.t_capture_ns for k in sent]
    for k in sent:
        k.check()
        assert k.skipped == 0
        assert (k.camera, k.skeleton, k.size_px) == ("left", "coco17", (64, 48))
        assert k.t_detect_ns - k.t_grab_ns == 10 * SECOND
    assert bus.sent[0][0] == "source/left"
    assert bus.sent[-1][0] == "end/cam"
    end = bus.sent[-1][1]
    assert isinstance(end, End)
    assert (end.frames, end.skipped, end.reason) == (20, 0, "end of the source")
    assert bus.state == "ended"
    assert bus.meter.drops == {}


def test_realtime_takes_the_newest_and_counts_what_it_passed_over(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    clock = FakeClock(EPOCH - SECOND)
    bus = run_file(tmp_path, SourceSettings(uri=str(clip)), "realtime", clock, cost_ns=5 * FRAME_NS // 2)
    assert numbers(bus) == [0, 2, 5, 7, 10, 12, 15, 17, 19]
    sent = bus.of("keypoints/left")
    assert [k.t_capture_ns for k in sent] == [EPOCH + k.frame_seq * FRAME_NS for k in sent]
    assert [k.skipped for k in sent] == [k.frame_seq - n for n, k in enumerate(sent)]
    assert bus.meter.drops == {"skipped_at_source": 11}
    assert bus.of("end/cam")[0].skipped == 11


def test_frames_due_before_the_node_was_ready_are_counted_apart(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    bus = run_file(tmp_path, SourceSettings(uri=str(clip)), "realtime", FakeClock(EPOCH + 6 * FRAME_NS))
    assert numbers(bus) == list(range(6, 20))
    assert bus.meter.drops == {"before_start": 6}
    assert bus.of("end/cam")[0].skipped == 0


def test_two_cameras_of_a_session_share_their_zero(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    settings = SourceSettings(uri=str(clip), loop="pingpong", frames=50)
    early = run_file(tmp_path, settings, "realtime", FakeClock(EPOCH - 3 * SECOND))
    late = run_file(tmp_path, settings, "realtime", FakeClock(EPOCH + SECOND + 1))
    shown = {k.t_capture_ns: int(k.keypoints_px[0, 0, 0]) for k in early.of("keypoints/left")}
    assert len(shown) == 50
    late_shown = {k.t_capture_ns: int(k.keypoints_px[0, 0, 0]) for k in late.of("keypoints/left")}
    assert len(late_shown) == 25
    assert late_shown.items() <= shown.items()


def test_waiting_for_the_epoch_is_no_stall(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    bus = run_file(tmp_path, SourceSettings(uri=str(clip), stall_s=1.0), "realtime", FakeClock(EPOCH - 30 * SECOND))
    assert bus.states == ["running", "ended"]
    assert len(bus.of("source/left")) >= 6  # told again every five seconds, for readers that came late


def test_the_report_says_what_looks_at_what(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    report = run_file(tmp_path, SourceSettings(uri=str(clip)), "lossless", FakeClock()).of("source/left")[0]
    assert isinstance(report, SourceReport)
    assert (report.camera, report.kind, report.video, report.timestamps) == ("left", "video", str(clip), "")
    assert (report.size_px, report.fps_hz, report.live) == ((64, 48), 25.0, False)
    assert report.models == {"grey": "0" * 64}
    assert report.runtime == {"grey": "by hand"}


def test_another_picture_size_names_camera_and_both_sizes(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    other = Camera("left", (1920, 1080), np.diag([900.0, 900.0, 1.0]), np.zeros(5), np.eye(4))
    with pytest.raises(KinecastError, match="left") as caught:
        run_file(tmp_path, SourceSettings(uri=str(clip)), "lossless", FakeClock(), camera=other)
    assert "64×48" in str(caught.value)
    assert "1920×1080" in str(caught.value)


def test_what_an_encoder_cuts_from_its_blocks_is_accepted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    for size_px, fits in (((79, 48), True), ((64, 33), True), ((80, 48), False), ((64, 64), False)):
        camera = Camera("left", size_px, np.diag([60.0, 60.0, 1.0]), np.zeros(5), np.eye(4))
        caplog.clear()
        if fits:
            bus = run_file(tmp_path, SourceSettings(uri=str(clip)), "lossless", FakeClock(), camera=camera)
            assert len(numbers(bus)) == 20
            assert caplog.text.count("cut or padded") == 1
        else:
            with pytest.raises(KinecastError, match="the rig was calibrated"):
                run_file(tmp_path, SourceSettings(uri=str(clip)), "lossless", FakeClock(), camera=camera)


def test_a_missing_file_ends_the_node(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match=r"none\.mp4"):
        run_file(tmp_path, SourceSettings(uri=str(tmp_path / "none.mp4")), "lossless", FakeClock())


def test_a_stall_is_said_and_gone_when_frames_come_again(tmp_path: Path) -> None:
    settings = SourceSettings(kind="usb", stall_s=2.0)
    bus, detector, _, opened = run_device(tmp_path, [[0, 1, 3.0, 2, None]], settings)
    assert numbers(bus) == [0, 1, 2]
    assert bus.states == ["running", "stalled", "running", "ended"]
    assert any("nothing for 2 s" in note for note in bus.notes)
    assert bus.notes[-1] == ""
    assert len(opened) == 1
    assert detector.resets == 0


def test_a_vanished_device_is_opened_again_with_backoff_and_its_numbers_go_on(tmp_path: Path) -> None:
    gone = KinecastError("the camera is gone")
    scripts = [[0, 1, gone], gone, gone, gone, [5, 6, None]]
    bus, detector, _, opened = run_device(tmp_path, scripts, SourceSettings(kind="usb", retry_s=1.0))
    assert numbers(bus) == [0, 1, 5, 6]
    assert [k.frame_seq for k in bus.of("keypoints/left")] == [0, 1, 2, 3]
    stamps = [k.t_capture_ns for k in bus.of("keypoints/left")]
    assert stamps == sorted(set(stamps))
    waits_ns = [b - a for a, b in pairwise(opened)]
    assert waits_ns == [2 * FRAME_NS + SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert detector.resets == 1
    assert bus.states == ["running", "stalled", "running", "ended"]
    assert bus.notes == ["", "the camera is gone", ""]
    assert len(bus.of("source/left")) == 2
    assert bus.of("end/cam")[0].frames == 4


def test_losses_add_up_over_openings_and_those_before_the_start_are_apart(tmp_path: Path) -> None:
    gone = KinecastError("the camera is gone")
    first = [(7, {}), 0, (9, {"damaged": 2}), 1, gone]
    second = [(3, {"damaged": 1}), 2, None]
    bus, *_ = run_device(tmp_path, [first, second], SourceSettings(kind="usb"))
    assert [k.skipped for k in bus.of("keypoints/left")] == [0, 2, 2]
    assert bus.meter.drops == {"skipped_at_source": 2, "damaged": 3, "before_start": 10}


def test_a_device_that_stays_silent_is_opened_again(tmp_path: Path) -> None:
    bus, _, _, opened = run_device(tmp_path, [[0, 600.0], [7, None]], SourceSettings(kind="usb", stall_s=2.0))
    assert numbers(bus) == [0, 7]
    assert len(opened) == 2
    assert 6 * SECOND <= opened[1] - opened[0] <= 8 * SECOND


def test_asked_to_stop_while_the_device_is_away(tmp_path: Path) -> None:
    asked = [0]

    def until(bus: FakeBus) -> bool:
        asked[0] += bus.state == "stalled"
        return asked[0] > 3

    gone = KinecastError("the camera is gone")
    bus, _, clock, _ = run_device(tmp_path, [gone, gone], SourceSettings(kind="usb", retry_s=60.0), until)
    assert clock.t_ns - EPOCH < 2 * SECOND
    assert bus.of("end/cam")[0].reason == "stopped"


def test_asked_to_stop_between_frames(tmp_path: Path) -> None:
    bus, *_ = run_device(
        tmp_path, [[0, 1, 2, 3, 4]], SourceSettings(kind="usb"), lambda bus: len(bus.of("keypoints/left")) == 3
    )
    end = bus.of("end/cam")[0]
    assert (end.frames, end.reason) == (3, "stopped")


def test_a_device_stops_after_so_many_frames(tmp_path: Path) -> None:
    bus, *_ = run_device(tmp_path, [list(range(10))], SourceSettings(kind="usb", frames=4))
    assert numbers(bus) == [0, 1, 2, 3]
    assert bus.of("end/cam")[0].reason == "frame limit"


def test_a_restarted_process_uses_no_number_twice(tmp_path: Path) -> None:
    clock = FakeClock(EPOCH + 10 * SECOND)
    context = context_of(tmp_path, SourceSettings(kind="usb", fps_hz=30.0), "realtime", incarnation=1)
    bus, detector, asked = FakeBus(), GreyDetector(clock), list[int]()

    def open_it(recorder: VideoRecorder | None, first_seq: int) -> Source:
        asked.append(first_seq)
        return ScriptedSource([0], clock, first_seq)

    CameraLoop(context, bus, CameraCore("left", detector, CAMERA, clock), detector, open_it, clock).run()
    assert asked[0] >= 300


def test_the_video_is_kept_and_linked(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    settings = SourceSettings(uri=str(clip), fps_hz=12.5, record="encode")
    bus = run_file(tmp_path, settings, "lossless", FakeClock())
    report = bus.of("source/left")[0]
    seqs, stamps = read_sidecar(Path(report.timestamps))
    sent: list[Keypoints2D] = bus.of("keypoints/left")
    assert seqs.tolist() == [k.frame_seq for k in sent]
    assert stamps.tolist() == [k.t_capture_ns for k in sent]
    kept = open_source("left", "video", report.video, live=False, epoch_ns=0)
    again = []
    while (frame := kept.read(1.0)) is not None:
        again.append(number_of(frame.image_bgr))
    assert again == numbers(bus)


def test_a_recording_that_cannot_be_written_does_not_stop_the_camera(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "video").write_text("a file where the folder should be")
    # one frame more than the encoder's queue holds, so that the node learns of the failure before its end
    settings = SourceSettings(uri=str(clip), record="encode", loop="repeat", frames=60)
    bus = run_file(tmp_path, settings, "lossless", FakeClock())
    assert len(numbers(bus)) == 60
    assert "video recording stopped" in bus.notes[-1]
    assert caplog.text.count("video recording stopped") == 1


def test_the_synthetic_world_is_wired(tmp_path: Path) -> None:
    settings = SourceSettings(kind="synthetic", fps_hz=25.0, frames=5, people=1)
    context = context_of(tmp_path, settings)
    clock, bus = FakeClock(), FakeBus()
    detector = open_detector(context, CAMERA)
    core = CameraCore("left", detector, CAMERA, clock)
    CameraLoop(context, bus, core, detector, opener(context, CAMERA, clock), clock).run()
    sent = bus.of("keypoints/left")
    assert [k.t_capture_ns for k in sent] == [n * FRAME_NS for n in range(5)]
    for k in sent:
        k.check()
    assert bus.of("end/cam")[0].frames == 5


def test_the_synthetic_world_has_a_detector_with_habits(tmp_path: Path) -> None:
    """In the skeleton of the detector whose habits they are, and elsewhere than without them."""
    settings = SourceSettings(kind="synthetic", fps_hz=25.0, frames=3, people=1)
    sent = {}
    for profile in ("synthetic", "synthetic:blazepose-heavy"):
        context = context_of(tmp_path, settings, profile=profile)
        clock, bus = FakeClock(), FakeBus()
        detector = open_detector(context, CAMERA)
        core = CameraCore("left", detector, CAMERA, clock)
        CameraLoop(context, bus, core, detector, opener(context, CAMERA, clock), clock).run()
        sent[profile] = bus.of("keypoints/left")
        for k in sent[profile]:
            k.check()
    plain, habitual = (k[0] for k in sent.values())
    assert (plain.skeleton, habitual.skeleton) == ("halpe26", "blazepose33")
    with pytest.raises(KinecastError, match="known are blazepose-full"):
        open_detector(context_of(tmp_path, settings, profile="synthetic:eagle"), CAMERA)
