"""Each camera foretold from the others."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.records import FrameSet
from kinecast.engines.synth import CameraClock, Noise, ring_rig
from kinecast.nodes.cli.main import main
from kinecast.nodes.evaluate.camera_holdout import HONEST, figures, hold_out, without
from kinecast.nodes.recording.file import Recording
from tests.nodes.evaluate.scene import FRAMES, record


@pytest.mark.parametrize("sigma_px", [1.0, 5.0])
def test_gaussian_noise_of_any_size_is_honest(
    tmp_path: Path, sigma_px: float, capsys: pytest.CaptureFixture[str]
) -> None:
    file = record(tmp_path / "r.mcap", 5, Noise(sigma_px))
    assert main(["evaluate", "holdout", str(file), "--json", "-"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert list(scores["cameras"]) == list(ring_rig(5).names)
    # errors of one joint in five views are not independent; the first tenth of the frames learn the noise
    np.testing.assert_allclose(scores["all"]["inside_1_2_3_sigma"], HONEST, atol=0.07)
    assert scores["all"]["n"] > 0.9 * 5 * 2 * 26 * FRAMES * 0.9
    # the noise of the view and that of the joint, seen from four others: between 1 and 1.7 times the first
    assert 1.18 * sigma_px < scores["all"]["median_px"] < 2.1 * sigma_px


def test_views_of_another_time_are_counted_and_left_out(tmp_path: Path) -> None:
    late = {"cam02": CameraClock(10_000_000)}
    held = figures(hold_out(Recording.open(record(tmp_path / "r.mcap", 4, Noise(2.0), late))))
    row = held["cameras"]["cam02"]
    assert row["n"] == 0 and row["views_of_another_time"] >= FRAMES - 2
    assert held["cameras"]["cam01"]["n"] > 0


def test_two_cameras_cannot_do_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = record(tmp_path / "r.mcap", 2, Noise(2.0))
    assert main(["evaluate", "holdout", str(file)]) != 0
    assert "there must be three" in capsys.readouterr().err


def test_a_frame_set_without_a_camera() -> None:
    n = np.arange(3, dtype=np.int64)
    frameset = FrameSet(0, 0, 5, ("a", "b", "c"), n, "complete", 10 * n, arrivals_ns=100 * n)
    less = without(frameset, "b")
    assert less.cameras == ("a", "c") and less.frame_seqs.tolist() == [0, 2]
    assert less.offsets_ns.tolist() == [0, 20] and less.arrivals_ns.tolist() == [0, 200]
