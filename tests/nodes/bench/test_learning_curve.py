"""The curve of retraining on toys: staged, built, retrained, asked, and the gate asked about spoiled weights."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.nodes.bench import learning_curve
from kinecast.nodes.bench.learning_curve_report import figures
from kinecast.nodes.cli import main as cli
from kinecast.nodes.promote.lifter_benchmarks import PredictedErrors
from tests.engines.train import toys

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

LIFTER = LifterConfig(widths=(3, 3), channels=16, trajectory_channels=8, gamma_hidden=8, projector_hidden=16)


def test_the_curve_of_one_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kinecast.engines.lift.network import LifterNetwork
    from kinecast.engines.train.lifter.initialise import initialise_small

    for i in range(4):
        toys.write_bvh(tmp_path / f"motion/known/clip{i}.bvh", frames=90, seed=i)
        toys.write_bvh(tmp_path / f"motion/held_out/clip{i}.bvh", frames=90, seed=20 + i)
        toys.write_bvh(tmp_path / f"motion/test/known/clip{i}.bvh", frames=90, seed=40 + i)
    torch.manual_seed(0)
    shipped = tmp_path / "shipped/lifter-causal-243.safetensors"
    shipped.parent.mkdir()
    sigma = {"joints": 0.1, "depth": "trajectory"}
    initialise_small(network := LifterNetwork(LIFTER))
    write_lifter(shipped, network.state_dict(), LIFTER, sigma=sigma)
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kinecast.engines.lift.lifter.FOLDER", shipped.parent)
    monkeypatch.setattr(learning_curve, "SECONDS", 1.2)
    monkeypatch.setattr(learning_curve, "VALIDATE", 1)
    monkeypatch.setattr(learning_curve, "EXAM", 1)
    monkeypatch.setattr(learning_curve, "SPOILED", ("trembling",))
    words = [
        "bench",
        "learning-curve",
        str(tmp_path / "motion"),
        "-o",
        str(tmp_path / "curve"),
        "--sessions",
        "1",
        "--seeds",
    ]
    words += ["1", "--steps", "30", "--rate", "1e-2"]
    assert cli.main(words) == 0
    told = json.loads((tmp_path / "curve/curve.json").read_text())
    new = next(r for r in told["rows"] if r["exam"] == "new sessions" and r["measure"] == "pose")
    assert new["after_m"] != [new["before_m"]] and new["low"] <= new["change"] <= new["high"]
    assert (tmp_path / "curve/curve.png").stat().st_size > 1000
    assert set(told["refused"]) == {"as trained", *learning_curve.SPOILED}
    assert told["refused"]["trembling"], "two people are too little evidence to put anything in force"
    (tmp_path / "curve/curve.png").unlink()
    monkeypatch.setattr(learning_curve, "_spoiled", lambda out, plan: {})  # it takes seconds, and was seen
    weights = (tmp_path / "curve/runs/sessions-01-seed-1/lifter.safetensors").stat().st_mtime_ns
    assert cli.main(words) == 0, "taken up where it was left"
    assert (tmp_path / "curve/curve.png").exists()
    assert (tmp_path / "curve/runs/sessions-01-seed-1/lifter.safetensors").stat().st_mtime_ns == weights
    capsys.readouterr()
    assert cli.main([*words[:-1], "4e-3"]) == 2
    assert "of another plan" in capsys.readouterr().err


def test_seeds_learn_from_other_sessions_as_far_as_there_are_others() -> None:
    plan = learning_curve.Plan(("motion",), (1, 5, 20), (1, 2, 3), 10, 1e-3)
    assert len({tuple(plan.chosen(5, seed)) for seed in plan.seeds}) == 3
    assert plan.chosen(20, 1) == plan.chosen(20, 2) == list(range(20))


def answered(pose_m: list[float]) -> PredictedErrors:
    """Ten pieces of a hundred frames each, all measures alike."""
    frames = np.full(len(pose_m), 100.0)
    sums = np.repeat(np.array(pose_m)[:, None] * 100.0, 4, axis=1)
    names = np.array([f"piece {i}" for i in range(len(pose_m))])
    return PredictedErrors(names, np.full(len(pose_m), "walking"), frames, sums, np.zeros((len(pose_m), 26)), frames)


def test_the_interval_holds_what_pieces_and_seeds_say() -> None:
    before = answered([0.10] * 10)
    rows = figures({"exam": before}, {(1, 1): {"exam": answered([0.08] * 10)}, (1, 2): {"exam": answered([0.06] * 10)}})
    assert [r["change"] for r in rows] == [pytest.approx(-0.3)] * 4
    # every piece says the same, so that only the draw of two seeds is left: both the first, one each, both the second
    assert {(round(r["low"], 6), round(r["high"], 6)) for r in rows} == {(-0.4, -0.2)}
    mixed = figures({"exam": before}, {(1, 1): {"exam": answered([0.05, 0.15] * 5)}})[0]
    assert mixed["change"] == pytest.approx(0) and mixed["low"] < -0.2 and mixed["high"] > 0.2


def test_spoiled_weights_are_others_only_where_they_should_be(tmp_path: Path) -> None:
    from kinecast.engines.lift.network import LifterNetwork

    torch.manual_seed(0)
    write_lifter(tmp_path / "a.safetensors", LifterNetwork(LIFTER).state_dict(), LIFTER)
    file = read_lifter(tmp_path / "a.safetensors")
    changed = [n for n, v in learning_curve.spoil(file, "wrists exchanged").items() if (v != file.tensors[n]).any()]
    assert sorted(changed) == ["pose.shrink.bias", "pose.shrink.weight"]
    assert file.tensors["pose.expand_conv.weight"].any()
    name = "pose.expand_conv.weight"
    assert (learning_curve.spoil(file, "trembling")[name] != file.tensors[name]).any()
