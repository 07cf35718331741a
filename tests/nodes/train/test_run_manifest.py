"""``run.json`` of before: a run whose recipe was written by its old keys is read, and is the same run."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from kinecast.engines.train.old_keys import SECTIONS
from kinecast.engines.train.recipe import Recipe, Steps
from kinecast.nodes.train.retrain import Run, begin, read_run


def test_a_run_of_before_is_taken_up(tmp_path: Path) -> None:
    run = Run(Recipe(motion=("clips",), train=Steps(learning_rate=3e-4, eval_every=7)), "base@1", {"clips": "0123"})
    begin(tmp_path / "run", run)
    path = tmp_path / "run/run.json"
    told = json.loads(path.read_text())
    for section, keys in SECTIONS.items():
        old = {now: before for before, now in keys.items()}
        told["recipe"][section] = {old.get(key, key): value for key, value in told["recipe"][section].items()}
    assert told["recipe"]["train"]["rate"] == 3e-4 and "learning_rate" not in told["recipe"]["train"]
    path.write_text(json.dumps(told))
    begin(tmp_path / "run", run)  # KinecastError where it is another
    assert read_run(tmp_path / "run") == run
