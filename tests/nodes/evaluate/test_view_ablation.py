"""Fusion with fewer views beside fusion with all, with a lifter of stated errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.synth import Noise, World, ring_rig
from kinecast.nodes.bench import replay as session
from kinecast.nodes.cli import main as cli
from kinecast.nodes.evaluate.view_ablation import HIDDEN_S, measure, without_joints
from kinecast.nodes.recording.file import Recording
from tests.engines.lift.toy_lifter import write
from tests.nodes.oracle import Oracle
from tests.nodes.recording.scene import circle_rig, keypoints

CAMERAS, FRAMES = 3, 45
SD_M = (0.02, 0.02, 0.05)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of one person before three cameras, fused without a lifter."""
    return session.record(tmp_path_factory.mktemp("views") / "r.mcap", CAMERAS, 1, FRAMES, 30.0, Noise(2.0))


def test_one_view_with_a_lifter_of_stated_errors(recording: Path) -> None:
    scores = measure(Recording.open(recording), lifter=lambda: Oracle(ring_rig(CAMERAS), World(people=1), SD_M))
    assert scores["lifter"] == "oracle-1" and list(scores["views"]) == ["3", "2", "1"]
    whole, two, one = (scores["views"][n] for n in "321")
    # three views without a lifter are the reference itself; what is triangulated is not touched by the lifter
    assert whole["without"]["joint_median_mm"] == 0 and whole["with"]["measured_median_mm"] < 0.01
    assert two["with"]["measured_median_mm"] < 1.02 * two["without"]["measured_median_mm"]
    assert one["without"]["there"] == 0 and one["with"]["there"] > 0.95
    # 6 % of a depth of 3.4 to 6.6 m, learnt before and let go of within its second
    assert 10 < one["with"]["place_median_mm"] < 1.5 * 60 * 6.6
    assert list(one["with"]["since"]) == ["0-0.25 s", "0.25-0.5 s", "0.5-1 s"]
    assert one["with"]["since"]["0-0.25 s"]["place_median_mm"] < one["with"]["since"]["0.5-1 s"]["place_median_mm"]
    assert one["with"]["person_frames"] == CAMERAS * (FRAMES - 15)
    for part in scores["hidden"].values():
        assert part["without"]["there"] < 0.1 < 0.95 < part["with"]["there"]
        # half a second of hiding and half of showing: sets from 0.5 s to 1 s
        assert part["with"]["person_frames"] == pytest.approx(HIDDEN_S * 30, abs=1)
        assert part["with"]["joint_mean_mm"] < 1e3 * np.linalg.norm(SD_M) < part["carried"]["joint_mean_mm"] * 2


def test_the_command_prints_and_writes(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = write(tmp_path / "toy.safetensors")
    assert cli.main(["evaluate", "views", str(recording), "--lift", str(weights), "--json", "-"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["lifter"].startswith("toy") and set(scores["hidden"]) == {"a wrist", "an ankle", "an arm", "a leg"}
    assert cli.main(["evaluate", "views", str(recording), "--lift", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err


def test_joints_are_taken_out_of_the_detectors_own_skeleton() -> None:
    view = keypoints(circle_rig(), 0, 3, 2)
    less = without_joints(view, [9])
    assert (less.confidence[:, 9] == 0).all() and np.isnan(less.keypoints_px[:, 9]).all()
    others = np.arange(26) != 9
    np.testing.assert_array_equal(less.keypoints_px[:, others], view.keypoints_px[:, others])
    assert (view.confidence[:, 9] > 0).all()
