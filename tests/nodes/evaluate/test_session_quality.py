"""Figures of a session against recordings whose errors, losses and mix-ups were put in by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.engines.records import BODY_FLAGS
from kinecast.nodes.evaluate import session_keys
from kinecast.nodes.evaluate.session_quality import KEYS, measure, table
from kinecast.nodes.recording.file import Recording
from tests.nodes.viewer import world

FRAMES = 10


def _swapped(points: np.ndarray) -> np.ndarray:
    return points[list(world.BODY.flip)]


@pytest.mark.parametrize("off_px", [0.0, 3.0])
def test_reprojection_is_the_error_that_was_put_in(off_px: float, tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, videos=False, off_px=off_px)
    plain = measure(Recording.open(path)).plain()
    error = plain["reprojection_px"]
    for key in ("median", "mean", "p90"):
        assert error[key] == pytest.approx(off_px, abs=0.01)  # keypoints travel as float32
    assert error["kept"] == 1.0 and error["keypoints"] == 12 * 2 * FRAMES and error["views_per_person"] == 2.0
    assert plain["bones"]["std_over_mean"] == pytest.approx(0.0, abs=1e-4)
    assert (plain["people"], plain["identities"], plain["identity_changes"], plain["left_right_flips"]) == (1, 1, 0, 0)


def test_joints_without_a_point_count_as_not_kept(tmp_path: Path) -> None:
    half = world.person()
    half[[world.BODY.index(j) for j in ("left_knee", "left_ankle", "left_wrist")]] = np.nan
    path = world.record(tmp_path, [{1: half}] * FRAMES, videos=False)
    error = measure(Recording.open(path)).plain()["reprojection_px"]
    assert error["kept"] == pytest.approx(9 / 12)
    # somebody who is not there in a third of the sets leaves a third of the joint-frames unkept
    frames = [{1: world.person()} if k % 3 else {2: np.full_like(half, np.nan)} for k in range(9)]
    error = measure(Recording.open(world.record(tmp_path, frames, videos=False))).plain()["reprojection_px"]
    assert error["kept"] == pytest.approx(6 / 9, abs=1e-4)


def test_bones_that_breathe(tmp_path: Path) -> None:
    # lengths 1 ± a in turn: std / mean is a
    frames = [{1: world.person() * np.float32(1 + 0.05 * (-1) ** k)} for k in range(FRAMES)]
    plain = measure(Recording.open(world.record(tmp_path, frames, videos=False))).plain()
    assert plain["bones"]["std_over_mean"] == pytest.approx(0.05, abs=1e-4)


def test_identities_that_change_are_counted(tmp_path: Path) -> None:
    a, b = world.person(-0.6), world.person(0.6)
    renamed = [{1: a}] * 5 + [{2: a}] * 5
    exchanged = [{1: a, 2: b}] * 5 + [{1: b, 2: a}] * 5
    steady = [{1: a, 2: b}] * 5 + [{2: b}] * 2 + [{1: a, 2: b}] * 3
    for frames, identities, changes in ((renamed, 2, 1), (exchanged, 2, 2), (steady, 2, 0)):
        plain = measure(Recording.open(world.record(tmp_path, frames, videos=False))).plain()
        assert (plain["identities"], plain["identity_changes"]) == (identities, changes)


def test_a_swap_of_sides_is_counted_for_each_pair_of_limb_joints(tmp_path: Path) -> None:
    frames = [{1: world.person()}] * 5 + [{1: _swapped(world.person())}] * 5
    plain = measure(Recording.open(world.record(tmp_path, frames, videos=False))).plain()
    assert plain["left_right_flips"] == 6


def test_frames_that_were_lost_are_counted_where_they_were_lost(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, videos=False, skipped=3)
    cameras = measure(Recording.open(path)).plain()["cameras"]
    none = {"frames": FRAMES, "dropped": 0, "before_start": 0, "skipped_at_source": 0, "unused": 0}
    assert cameras == {
        "cam1": none | {"dropped": 3, "skipped_at_source": 3},
        "cam2": none | {"dropped": 3, "skipped_at_source": 3},
    }


def test_numbers_that_are_missing_are_drops_that_nobody_reported(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, videos=False, every=3)  # 0 3 6 9
    cameras = measure(Recording.open(path)).plain()["cameras"]
    assert cameras["cam1"] == {"frames": 4, "dropped": 6, "before_start": 0, "skipped_at_source": 6, "unused": 0}


def test_what_a_camera_gave_before_the_node_was_ready_is_told_apart(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, videos=False, first=4)
    cameras = measure(Recording.open(path)).plain()["cameras"]
    assert cameras["cam2"] == {"frames": 6, "dropped": 4, "before_start": 4, "skipped_at_source": 0, "unused": 0}


def test_latencies_are_those_of_the_stamps(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, videos=False)
    plain = measure(Recording.open(path)).plain()
    # stamps of the recording, ms after the grab: detected 8, published 9, arrived 10, closed 11, solved 13, out 14
    expected = {"detect": 8, "publish": 1, "arrival": 1, "close": 1, "solve": 2, "pose_publish": 1, "total": 14}
    assert {k: v["p50"] for k, v in plain["latency_ms"].items()} == expected
    assert set(expected) == set(KEYS) - {"grab"}  # without a camera's clock there is no time before the grab
    assert plain["latency_from"] == "grab"
    assert plain["fps"] == pytest.approx(20) and plain["rate_hz"] == pytest.approx(20)


def test_the_summary_is_plain_json_even_where_nobody_was_seen(tmp_path: Path) -> None:
    nobody = {1: np.full_like(world.person(), np.nan)}
    figures = measure(Recording.open(world.record(tmp_path, [nobody] * FRAMES, videos=False)))
    plain = json.loads(json.dumps(figures.plain(), allow_nan=False))
    assert plain["reprojection_px"]["median"] is None and plain["reprojection_px"]["kept"] == 0
    assert table(figures).row_count > 0


def _keys(plain: dict[str, Any], prefix: str = "") -> set[str]:
    """Every key of the figures; names of this session's as their kind."""
    kinds = {"cameras.": "<name>", "latency_ms.": "<step>", "body.stature_m.": "<id>", "body.flags.": "<flag>"}
    kinds |= {"runtime.": "<model>", "models.": "<model>", "versions.": "<library>"}
    out: set[str] = set()
    for name, value in plain.items():
        key = f"{prefix}{kinds.get(prefix, name)}"
        out |= _keys(value, f"{key}.") if isinstance(value, dict) else {key}
    return out


def test_every_figure_has_a_key_that_is_documented(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, videos=False)
    figures = measure(Recording.open(path))
    figures.body.ids.add("free-neutral-0")
    figures.body.flags.update(BODY_FLAGS)
    figures.body.stature_m[1] = [1.7]
    found = _keys(figures.plain() | {"runtime": {"m": ""}, "models": {"m": ""}})
    of_the_demo = {key for key in session_keys.KEYS if key.startswith(("seconds.", "refinement."))}
    assert found == set(session_keys.KEYS) - of_the_demo - {"body"}
