"""Several seeds: one that learns nothing leaves the choice to the others."""

from pathlib import Path

import pytest

from kinecast.engines.train.lifter.early_stopping import NoImprovement
from tests.engines.train import toys

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

RECIPE = """
kinecast_recipe = 1
base = ""
motion = ["motion"]
seeds = [1, 2]
"""


def test_a_seed_that_learns_nothing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kinecast.nodes.train import retrain

    for name in ("a", "held_out/b"):
        toys.write_bvh(tmp_path / f"motion/{name}.bvh", frames=60)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    learn = {1: False, 2: True}

    def train(config: object, inputs: object, folder: Path, **_: object) -> None:
        seed = int(folder.name.rpartition("-")[2])
        if not learn[seed]:
            raise NoImprovement(f"{folder}: nothing was learnt")
        folder.mkdir()
        (folder / retrain.WEIGHTS).write_bytes(f"seed {seed}".encode())

    monkeypatch.setattr(retrain, "train", train)
    monkeypatch.setattr(retrain, "_gain", lambda folder: 0.9)
    assert retrain.retrain(tmp_path / "recipe.toml", tmp_path / "run").read_bytes() == b"seed 2"
    learn[2] = False
    with pytest.raises(NoImprovement, match="seed-1: nothing was learnt"):
        retrain.retrain(tmp_path / "recipe.toml", tmp_path / "other")
    assert not (tmp_path / "other" / retrain.WEIGHTS).exists()
