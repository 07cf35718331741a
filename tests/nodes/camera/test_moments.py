"""Which frames belong to the moments that all cameras take: the same ones whatever each camera lost before."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kinecast.nodes.bus.messages import CommonRate
from kinecast.nodes.camera.loop import CameraCore, CameraLoop
from kinecast.nodes.camera.moments import Moments
from kinecast.nodes.camera.node import opener
from kinecast.nodes.graph.records import SourceSettings
from kinecast.nodes.supervise.common_rate import STEPS
from tests.capture.videos import FakeClock, make_video
from tests.nodes.camera.toys import CAMERA, EPOCH, FakeBus, GreyDetector, context_of

FULL_HZ = 30.0
PERIOD_NS = 1e9 / FULL_HZ


def order(part: float | Fraction) -> CommonRate:
    part = Fraction(part)
    return CommonRate(float(part * 30), round(-PERIOD_NS / 2 / part.numerator), FULL_HZ, "slow")


def taken(moments: Moments, times_ns: np.ndarray) -> list[int]:
    return [k for k, t in enumerate(times_ns) if moments.takes(round(t), 0)]


@pytest.mark.parametrize("part", STEPS[1:])
def test_cameras_whose_stamps_jitter_take_the_same_frames(part: Fraction) -> None:
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(3):
        moments = Moments()
        moments.ask(order(part))
        chosen.append(taken(moments, np.arange(300) * PERIOD_NS + rng.uniform(-2e6, 2e6, 300)))
        assert moments.left_out == 300 - len(chosen[-1])
    assert chosen[0] == chosen[1] == chosen[2]
    assert abs(len(chosen[0]) - 300 * part) <= 1 and np.ptp(np.diff(chosen[0])) <= 1


def test_a_moment_that_was_missed_is_a_loss_and_frames_between_are_none() -> None:
    moments = Moments()
    moments.ask(order(1 / 2))
    assert moments.takes(0, 0)
    assert moments.takes(round(4 * PERIOD_NS), 3)  # frame 2 was wanted, 1 and 3 were not
    assert (moments.left_out, moments.passed_over) == (2, 2)
    assert not moments.takes(round(5 * PERIOD_NS), 3)
    assert (moments.left_out, moments.passed_over) == (3, 2)


def test_without_an_order_every_frame_is_taken_and_another_begins_anew() -> None:
    moments = Moments()
    assert taken(moments, np.arange(10) * PERIOD_NS) == list(range(10)) and moments.note == ""
    moments.ask(order(Fraction(1, 3)))
    assert taken(moments, np.arange(10, 22) * PERIOD_NS) == [0, 2, 5, 8, 11] and moments.note == "slow"
    moments.ask(CommonRate(0.0, 0, FULL_HZ))
    assert taken(moments, np.arange(22, 30) * PERIOD_NS) == list(range(8)) and moments.note == ""


def test_a_slow_detector_takes_the_moments_on_time(tmp_path: Path) -> None:
    """A file of 25 Hz and a detector that takes 1.5 frames: at half the rate nothing that is wanted is missed."""
    frames = 24
    make_video(tmp_path / "v.mp4", frames, fps=25)
    settings = SourceSettings(kind="video", uri=str(tmp_path / "v.mp4"))
    clock = FakeClock(EPOCH)
    bus, detector = FakeBus(), GreyDetector(clock, 60_000_000)
    bus.orders = [CommonRate(12.5, EPOCH - 20_000_000, 25.0, "slow")]
    context = context_of(tmp_path, settings, "realtime")
    core = CameraCore("left", detector, CAMERA, clock)
    CameraLoop(context, bus, core, detector, opener(context, CAMERA, clock), clock).run()  # type: ignore[arg-type]
    assert [k.frame_seq for k in bus.of("keypoints/left")] == list(range(0, frames, 2))
    health = bus.meter.snapshot(clock.t_ns)
    assert health.drops == {"left_out": frames // 2} and "slow" in bus.notes
