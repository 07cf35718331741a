"""Refining a rig from people: what is believed, what is refused, and why."""

import numpy as np

from kinecast.calibration.people.camera_poses import camera_poses_of, pose_error
from kinecast.calibration.people.refine import faults, refine_rig
from tests.calibration.people.walks import RIG4, kicked, walk

TRUTH = camera_poses_of(RIG4)


def test_a_rig_that_is_off_is_refined_and_believed() -> None:
    """2 cm and 0.2° an axis are ten times what 16 s of walking leave open (about 2 mm)."""
    supplied = kicked(TRUTH, 0.02, 0.0035)
    done = refine_rig(walk(), supplied)
    assert done.verdict == "better", done.advice
    assert pose_error(done.places, TRUTH)[0].max() < 0.3 * pose_error(supplied, TRUTH)[0].max()
    assert all(a < b for a, b in zip(done.refined.held_px, done.held_before_px, strict=True))
    assert "agree within" in done.advice


def test_a_rig_that_is_right_is_kept() -> None:
    done = refine_rig(walk(), TRUTH)
    assert done.verdict == "keep" and done.places is TRUTH and "keep the supplied rig" in done.advice
    assert done.after_px <= done.before_px * 1.02  # it fits its own data no worse: that alone says nothing


def test_too_short_a_recording_is_refused_although_the_residual_falls() -> None:
    short = walk().rows(walk().t_s < 2.0)
    done = refine_rig(short, kicked(TRUTH, 0.01, 0.0012))
    assert done.verdict == "refused" and "cannot tell" in done.advice
    assert done.after_px < done.before_px


def test_a_clock_is_named_as_the_rival_explanation() -> None:
    done = refine_rig(walk(late_ms=40.0), TRUTH)
    assert done.verdict == "refused" and "kinecast sync" in done.advice and "cam02" in done.advice
    clocks = done.models["both"].whole.places.delta_s
    # against the mean of four clocks, cam02 is 30 ms ahead and the others 10 ms behind; σ is about 1 ms
    assert np.abs(1e3 * clocks - [-10, 30, -10, -10]).max() < 5


def test_faults_name_camera_and_remedy() -> None:
    w = walk()
    assert "half a minute" in faults(w.rows(w.t_s < 0.5))[0]
    blind = w.sigma.copy()
    blind[:, 2] = np.inf
    from dataclasses import replace

    assert any("cam03" in line for line in faults(replace(w, sigma=blind)))
    still = w.rows(w.t_s < 0.0)
    assert faults(still)
