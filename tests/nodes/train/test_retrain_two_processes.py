"""A retraining by two processes, as torchrun starts them: one folder, one run, the same weights on both."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.engines.train.data.motion import read_clips
from tests.engines.train import toys
from tests.engines.train.toy_sessions import write_dataset
from tests.nodes.promote.toys import LIFTER

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from kinecast.engines.lift.network import LifterNetwork  # noqa: E402
from kinecast.engines.train.lifter import train as loop  # noqa: E402
from kinecast.nodes.train.retrain import retrain  # noqa: E402

RECIPE = """
kinecast_recipe = 1
base = "base.safetensors"
datasets = ["data"]
seeds = [1, 2]
[train]
steps = 6
eval_every = 3
batch_size = 2
frames = 24
short_frames = 12
eval_batches = 1
"""
# the second process: what it is left with goes into a file of its own
OTHER = """
import sys
from pathlib import Path
import torch
from kinecast.engines.train.lifter import train as loop
from kinecast.nodes.train.retrain import retrain
torch.set_num_threads(1)
nets, begin = [], loop.begin_with
loop.begin_with = lambda network, initial: (nets.append(network), begin(network, initial))[1]
retrain(Path(sys.argv[1]), Path(sys.argv[2]), quiet=True)
torch.save(nets[-1].state_dict(), sys.argv[3])
"""


def by_two(recipe: Path, out: Path, mine: Path) -> None:
    """Both, the first in this process."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(recipe), str(out), str(mine)], env=os.environ | env | {"RANK": "1"},
        cwd=Path(__file__).resolve().parents[3], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with pytest.MonkeyPatch.context() as m:
            for key, value in (env | {"RANK": "0"}).items():
                m.setenv(key, value)
            retrain(recipe, out, quiet=True)
        assert other.wait(timeout=200) == 0, other.stderr and other.stderr.read()[-3000:]
    finally:
        other.kill()
        other.communicate()


@pytest.mark.timeout(400)  # two more processes import torch, on cores that may be busy
def test_two_processes_retrain_as_one_run_and_take_it_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2):
        toys.write_bvh(tmp_path / "motion" / f"clip{i}.bvh", frames=120, seed=i)
    clips = list(read_clips(tmp_path / "motion", rest_directions(load_body().J_template), 60.0))
    write_dataset(tmp_path / "data", clips, {"train": 2, "validate": 1}, frames=60)
    torch.manual_seed(0)
    network, sigma = LifterNetwork(LIFTER), {"joints": 0.1, "depth": "trajectory"}
    write_lifter(tmp_path / "base.safetensors", network.state_dict(), LIFTER, sigma=sigma)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE + "[stop]\npatience = 0\n")
    save: Callable[..., None] = loop.save_checkpoint

    def kept(path: Path, config: Any, network: Any, optimiser: Any, step: int, *rest: Any) -> None:
        save(path, config, network, optimiser, step, *rest)
        shutil.copy(path, tmp_path / f"{path.parent.name}-{step}.pt")

    monkeypatch.setattr(loop, "save_checkpoint", kept)
    by_two(recipe, tmp_path / "run", tmp_path / "other.pt")
    run = tmp_path / "run"
    assert {p.name for p in run.iterdir()} == {"run.json", "seed-1", "seed-2", "lifter.safetensors"}
    mine = loop.load_checkpoint(run / "seed-2/last.pt")["network"]
    theirs = torch.load(tmp_path / "other.pt", weights_only=True)
    moved = [k for k in mine if not torch.equal(mine[k], network.state_dict()[k])]
    # running statistics of batch norm are told by the first at the start of every step, and differ after the last
    assert moved and all(torch.equal(mine[k], theirs[k]) for k in mine if "running" not in k and "batches" not in k)

    # broken off in the second seed
    again = shutil.copytree(run, tmp_path / "again")
    for gone in ("lifter.safetensors", "seed-2/lifter.safetensors"):
        (again / gone).unlink()
    shutil.copy(tmp_path / "seed-2-3.pt", again / "seed-2/last.pt")
    before = (again / "run.json").read_bytes()
    by_two(recipe, again, tmp_path / "other2.pt")
    assert (again / "run.json").read_bytes() == before
    for file in ("lifter.safetensors", "seed-2/lifter.safetensors"):
        a, b = read_lifter(run / file), read_lifter(again / file)
        assert all(np.array_equal(a.tensors[k], b.tensors[k]) for k in a.tensors)
