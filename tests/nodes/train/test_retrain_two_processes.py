"""A retraining by two processes, as torchrun starts them: one folder, one run, the same weights on both."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.engines.train.data.motion import read_clips
from tests.children import Start
from tests.engines.train import toys
from tests.engines.train.partners import run_together
from tests.engines.train.toy_sessions import write_dataset
from tests.nodes.promote.toys import LIFTER

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from kinecast.engines.lift.network import LifterNetwork  # noqa: E402
from kinecast.engines.train.lifter.checkpoint import load_checkpoint  # noqa: E402

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
# rank 0 keeps a copy of every checkpoint; of rank 1 it is written down what it is left with
PROCESS = """
import os, shutil, sys
from pathlib import Path
import torch
from kinecast.engines.train.lifter import train as loop
from kinecast.nodes.train.retrain import retrain
torch.set_num_threads(1)
recipe, out, theirs, copies = map(Path, sys.argv[1:])
nets, load, save = [], loop.load_initial, loop.save_checkpoint

def load_initial(network, initial):
    nets.append(network)
    load(network, initial)

def save_checkpoint(path, config, network, optimiser, step, *rest):
    save(path, config, network, optimiser, step, *rest)
    shutil.copy(path, copies / f"{path.parent.name}-{step}.pt")

loop.load_initial, loop.save_checkpoint = load_initial, save_checkpoint
retrain(recipe, out, quiet=True)
if os.environ["RANK"] == "1":
    torch.save(nets[-1].state_dict(), theirs)
"""


@pytest.mark.timeout(400)  # two more processes import torch, on cores that may be busy
def test_two_processes_retrain_as_one_run_and_take_it_up_again(tmp_path: Path, start_child: Start) -> None:
    for i in range(2):
        toys.write_bvh(tmp_path / "motion" / f"clip{i}.bvh", frames=120, seed=i)
    clips = list(read_clips(tmp_path / "motion", rest_directions(load_body().J_template), 60.0))
    write_dataset(tmp_path / "data", clips, {"train": 2, "validate": 1}, frames=60)
    torch.manual_seed(0)
    network, sigma = LifterNetwork(LIFTER), {"joints": 0.1, "depth": "trajectory"}
    write_lifter(tmp_path / "base.safetensors", network.state_dict(), LIFTER, sigma=sigma)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE + "[stop]\npatience = 0\n")
    run_together(start_child, PROCESS, recipe, tmp_path / "run", tmp_path / "other.pt", tmp_path)
    run = tmp_path / "run"
    assert {p.name for p in run.iterdir()} == {"run.json", "seed-1", "seed-2", "lifter.safetensors"}
    mine = load_checkpoint(run / "seed-2/last.pt")["network"]
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
    run_together(start_child, PROCESS, recipe, again, tmp_path / "other2.pt", tmp_path)
    assert (again / "run.json").read_bytes() == before
    for file in ("lifter.safetensors", "seed-2/lifter.safetensors"):
        a, b = read_lifter(run / file), read_lifter(again / file)
        assert all(np.array_equal(a.tensors[k], b.tensors[k]) for k in a.tensors)
