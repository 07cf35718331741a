"""Which camera has moved: sessions with a camera turned midway, two, none, and a clock instead."""

import numpy as np
import pytest

from kinecast.calibration.people.camera_poses import camera_poses_of, pose_error
from kinecast.calibration.people.moved_cameras import CLOCK, MOVE, drift
from kinecast.engines.synth import ring_rig
from kinecast.nodes.calibrate.check import lines
from tests.calibration.people.walks import moving, turned

RIG = ring_rig(4, seed=5)
TRUTH = camera_poses_of(RIG)


def test_nothing_moved() -> None:
    assert drift(moving(RIG, 12.0), TRUTH).events == ()


@pytest.mark.parametrize("degrees", [0.5, 2.0])
def test_a_camera_turned_midway(degrees: float) -> None:
    """Turns are told to about 0.08° in 12 s (four σ are asked for) and the moment to a window of half a second."""
    moved = turned(RIG["cam02"], degrees)
    found = drift(moving(RIG, 14.0, {"cam02": (7.0, moved)}), TRUTH)
    (event,) = found.events
    assert (event.camera, event.kind) == (1, MOVE)
    assert abs(np.rad2deg(event.turn_rad) - degrees) < 0.3
    assert abs(event.since_s - 7.0) <= 1.0
    assert event.shift_m < 4 * event.shift_sigma_m
    now = camera_poses_of(RIG.subset(("cam01",)))
    assert np.array_equal(found.places.R[0], now.R[0])  # the others stay as they were
    repaired = camera_poses_of(type(RIG)(tuple(moved if c.name == "cam02" else c for c in RIG)))
    assert pose_error(found.places, repaired)[1].max() < np.deg2rad(0.25)


def test_two_cameras_and_one_of_them_before_the_session() -> None:
    moves = {"cam01": (-1.0, turned(RIG["cam01"], 1.5, 0.04)), "cam03": (8.0, turned(RIG["cam03"], 1.0))}
    found = drift(moving(RIG, 16.0, moves), TRUTH)
    assert sorted((e.camera, e.kind, np.isfinite(e.since_s)) for e in found.events) == [
        (0, MOVE, False),
        (2, MOVE, True),
    ]
    first = next(e for e in found.events if e.camera == 0)
    assert abs(first.shift_m - 0.04) < 4 * first.shift_sigma_m


def test_a_clock_that_jumps_is_no_camera_that_moves() -> None:
    found = drift(moving(RIG, 16.0, jumps={"cam02": (8.0, 40.0)}), TRUTH)
    (event,) = found.events
    assert (event.camera, event.kind) == (1, CLOCK)
    assert abs(1e3 * event.clock_s - 40) < 6
    assert np.array_equal(found.places.t, TRUTH.t)


def test_of_two_cameras_neither_is_blamed() -> None:
    two = RIG.subset(("cam01", "cam02"))
    found = drift(moving(two, 12.0, {"cam02": (6.0, turned(RIG["cam02"], 2.0))}), camera_poses_of(two))
    (event,) = found.events
    assert {event.camera, *event.rivals} == {0, 1}
    (said, _) = lines(found, two.names, 12.0)
    assert said.startswith("cam01 or cam02 has moved") and "cannot tell which" in said
