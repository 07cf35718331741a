"""``kinecast train occlusion``: the table of a lifter is measured, written and read again."""

import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from kinecast.engines.train.lifter import occlusion_model
from kinecast.nodes.cli.main import main
from tests.engines.train import toys


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a cell of few cases has knots without any
def test_the_table_of_a_lifter_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occlusion_model, "FEWEST", 1)  # ten stretches hide few heads
    toys.write_bvh(tmp_path / "motion/walking/a.bvh", frames=100, seed=1)
    for seed in range(5):
        toys.write_bvh(tmp_path / f"motion/held_out/{seed}.bvh", frames=700, seed=2 + seed)
    small = ["--steps", "2", "--batch-size", "2", "--frames", "32", "--channels", "16", "--trajectory-channels", "8"]
    lifter = ["train", "lifter", str(tmp_path / "motion"), "-o", str(tmp_path / "run"), *small]
    assert main([*lifter, "--receptive-field", "27"]) == 0
    out = tmp_path / "occlusion.toml"
    words = ["train", "occlusion", str(tmp_path / "motion"), "--rounds", "2"]
    words += ["--lifter", str(tmp_path / "run/lifter.safetensors")]
    assert main([*words, "-o", str(tmp_path / "occlusion.json")]) == 2
    assert "must end in .toml" in capsys.readouterr().err
    assert main([*words, "-o", str(out)]) == 0
    assert "joints hidden in" in capsys.readouterr().out
    assert tomllib.loads(out.read_text())
