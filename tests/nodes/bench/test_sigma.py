"""Stated deviations are as large as errors, with white noise and with habits: then the systematic part is needed."""

import numpy as np
import pytest

from kinecast.engines.synth.lasting import lasting_scene
from kinecast.nodes.bench.sigma import Errors, fused, shares
from kinecast.nodes.cli.main import main
from kinecast.nodes.graph.records import FusionNode

SETTINGS = FusionNode(body="off", lift="off")


def joints(detector: str) -> Errors:
    return fused(lasting_scene(detector, seconds=17, people=1, seed=3), SETTINGS)[0]


def test_white_noise_is_all_in_the_covariance() -> None:
    error, covariance, *_ = joints("white").arrays()
    one, two, three = shares(error, covariance)
    assert one == pytest.approx(0.683, abs=0.05) and two == pytest.approx(0.954, abs=0.05) and three > 0.98


@pytest.mark.parametrize("detector", ["blazepose-heavy", "openpose-body25"])
def test_habits_are_in_the_systematic_part(detector: str) -> None:
    """Alone the covariance is far from honest; with bias_sd_m it is within 6 points (one person's habits, 12 s)."""
    error, covariance, bias, *_ = joints(detector).arrays()
    assert (bias > 0.005).all() and len(error) > 3000
    assert shares(error, covariance)[0] < 0.6
    one, two, three = shares(error, covariance + bias[:, None, None] ** 2 * np.eye(3))
    assert one == pytest.approx(0.683, abs=0.06) and two == pytest.approx(0.954, abs=0.05) and three > 0.98


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sigma", "--seconds", "4", "--detectors", "blazepose-full"]) == 0
    told = capsys.readouterr().out
    assert "honest is 68, 95, 99.7 %" in told and "with" in told
    assert main(["bench", "sigma", "--seconds", "4", "--detectors", "eagle"]) == 2
