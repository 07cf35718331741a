"""A camera that never agreed with the others is named, and a sound rig names nobody."""

from collections.abc import Callable

import numpy as np
import pytest

from kinecast.calibration.camera import Camera
from kinecast.engines.synth import CROWD, CameraClock, World, messages, ring_rig
from kinecast.engines.timing.rig_watch import RigState
from kinecast.nodes.bus.messages import RigHealth
from kinecast.nodes.fusion import rig_health
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode
from tests.nodes.fusion.scene import with_camera, wrong_lens

RIG = ring_rig(5)
SECONDS, RATE_HZ = 14, 10.0  # longer than the window of a state


def told(change: Callable[[Camera], Camera] | None = None, late_ns: int = 0) -> str:
    """The last line about the rig, cam03 being changed or a second late."""
    rig = RIG if change is None else with_camera(RIG, "cam03", change)
    core = FusionCore(rig, FusionNode(estimate_offsets=False))
    clocks = {"cam03": CameraClock(late_ns)}
    lines = [""]
    for view in messages(
        World(people=2), RIG, frames=round(SECONDS * RATE_HZ), fps_hz=RATE_HZ, noise=CROWD, clocks=clocks
    ):
        for out in core.handle(0, f"keypoints/{view.camera}", view):
            if isinstance(out.record, RigHealth):
                lines.append(rig_health.line(out.record))
    assert len(lines) > 3
    return lines[-1]


def test_a_camera_with_another_lens_is_named() -> None:
    assert told(wrong_lens).startswith("camera cam03 does not agree with the others")


def test_a_camera_of_another_moment_is_named() -> None:
    assert told(late_ns=1_000_000_000).startswith("camera cam03 does not agree with the others")


def test_a_sound_rig_names_nobody() -> None:
    assert told() == ""


def clocks(offset_ms: float, sigma_ms: float) -> RigState:
    """Two cameras, of which the second is so far off and so sure, in milliseconds."""
    none = np.full(2, np.nan)
    return RigState(
        0, none, none, none, none, np.zeros(2, np.int64), np.array([0.0, 1e-3 * offset_ms]),
        np.array([0.1e-3, 1e-3 * sigma_ms]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("offset_ms", "sigma_ms", "moved_ms"),
    [
        (50, 0.1, 2),
        (-50, 0.1, -2),
        (1.5, 0.1, 1.5),
        (0.4, 0.1, 0),
        (1.5, 1.6, 0),
        (2, 1, 0),
        (3, 1, 2),
        (50, 2.1, 0),
        (50, np.nan, 0),
    ],
)
def test_a_clock_is_put_right_slowly_and_where_it_is_sure(offset_ms: float, sigma_ms: float, moved_ms: float) -> None:
    before = np.array([0, 7_000_000], np.int64)
    after = rig_health.ClockSteering(2).steered(before, clocks(7 + offset_ms, sigma_ms))
    np.testing.assert_allclose(after - before, [0, 1e6 * moved_ms], atol=1)


def test_a_clock_that_is_put_right_is_put_right_to_the_end_and_then_left_alone() -> None:
    steering, offsets = rig_health.ClockSteering(2), np.zeros(2, np.int64)
    in_force = []
    for _ in range(5):
        offsets = steering.steered(offsets, clocks(5.0, 1.0))
        in_force.append(float(offsets[1]) / 1e6)
    np.testing.assert_allclose(in_force, [2, 4, 5, 5, 5])
    np.testing.assert_array_equal(steering.steered(offsets, clocks(7.0, 1.0)), offsets)  # 2 σ: it may be a habit
