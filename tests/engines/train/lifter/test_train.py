"""A run that is taken up again gives the same numbers; several processes learn as one; what cannot be is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.lift.weights import read_lifter
from kinecast.engines.train.data.detector_noise import load_noise
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.synthetic_batches import Augment, MotionClips, Sampler
from kinecast.engines.train.data.unlabelled_tracks import Track2D, Unlabelled
from kinecast.engines.train.lifter.checkpoint import load_checkpoint
from kinecast.engines.train.lifter.config import TrainConfig
from kinecast.engines.train.lifter.data import Inputs, tensors
from kinecast.engines.train.lifter.losses import PARTS, LossWeights, Objective, root_of
from kinecast.engines.train.lifter.train import train
from kinecast.engines.virtual_camera import normalise, root_from_code
from tests.children import Start
from tests.engines.train import toys
from tests.engines.train.lifter.toys import CONFIG, LIFTER
from tests.engines.train.partners import run_together


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("motion")
    for i in range(3):
        toys.write_bvh(folder / f"clip{i}.bvh", frames=120, seed=i)
    return list(read_clips(folder, rest_directions(load_body().J_template), 60.0))


def tracks(clips: list[Clip]) -> Unlabelled:
    """2D of the toy itself, as a recording would have it."""
    batch = Sampler(MotionClips(clips, Augment()), load_noise(), CONFIG.cameras, 4, 40, 30.0, 3).batch(0)
    xy = batch.features[..., :2] * batch.extent[..., None, None]
    return Unlabelled([Track2D(a, c) for a, c in zip(xy, batch.features[..., 2], strict=True)])


def run(clips: list[Clip], out: Path, config: TrainConfig = CONFIG, resume: bool = False) -> dict[str, torch.Tensor]:
    inputs = Inputs(load_noise(), clips[:2], clips[2:], unlabelled=tracks(clips))
    train(config, inputs, out, quiet=True, resume=resume, about={"licence": "toy"})
    return dict(load_checkpoint(out / "last.pt")["network"])


def test_taken_up_again_it_gives_the_same_numbers(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(clips, tmp_path / "whole")

    def die(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    # killed after the first checkpoint, in the midst of looking at the held-out clips
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr("kinecast.engines.train.lifter.train.validate", die)
        run(clips, tmp_path / "parts")
    assert load_checkpoint(tmp_path / "parts" / "last.pt")["step"] == 3
    assert not (tmp_path / "parts" / "lifter.safetensors").exists()
    parts = run(clips, tmp_path / "parts", resume=True)
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    ours, theirs = (read_lifter(tmp_path / n / "lifter.safetensors") for n in ("whole", "parts"))
    assert all(np.array_equal(ours.tensors[k], theirs.tensors[k]) for k in ours.tensors)
    assert ours.config == LIFTER
    assert ours.meta["training"]["seed"] == CONFIG.seed and ours.meta["data"]["held_out"] == 1
    assert np.array(ours.meta["sigma"]["joints"]).shape == (26, 3)
    assert ours.meta["figures"]["mpjpe_mm"] > 0
    assert (tmp_path / "whole" / "config.json").exists()
    assert list((tmp_path / "whole").glob("events.out.tfevents*"))


def test_another_seed_gives_other_numbers(clips: list[Clip], tmp_path: Path) -> None:
    short = replace(CONFIG, steps=1)
    a, b = run(clips, tmp_path / "a", short), run(clips, tmp_path / "b", replace(short, seed=2))
    assert not torch.equal(a["pose.shrink.weight"], b["pose.shrink.weight"])


def test_an_earlier_run_is_not_written_over(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="no checkpoint to go on from"):
        run(clips, tmp_path / "x", resume=True)
    (tmp_path / "x").mkdir(exist_ok=True)
    (tmp_path / "x" / "last.pt").write_bytes(b"PK not a checkpoint")
    with pytest.raises(KinecastError, match="--resume"):
        run(clips, tmp_path / "x")
    with pytest.raises(KinecastError, match="no checkpoint that can be read"):
        run(clips, tmp_path / "x", resume=True)


def test_the_loss_falls(clips: list[Clip]) -> None:
    torch.manual_seed(0)
    network = LifterNetwork(replace(LIFTER, dropout=0.0))
    objective = Objective(network, LossWeights())
    batch = tensors(
        Sampler(MotionClips(clips, Augment()), load_noise(), CONFIG.cameras, 4, 24, 30.0, 1).batch(0), "cpu"
    )
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    told = []
    for _ in range(60):
        parts = objective(batch, None, False)
        optimiser.zero_grad()
        parts.sum().backward()
        optimiser.step()
        told.append(parts.detach())
    first, last = told[0], torch.stack(told[-5:]).mean(0)
    for name in ("pose", "trajectory", "gamma", "projector"):  # one batch, learned by heart
        assert last[PARTS.index(name)] < 0.7 * first[PARTS.index(name)], name


def test_bf16_is_near_float32(clips: list[Clip]) -> None:
    torch.manual_seed(0)
    objective = Objective(LifterNetwork(replace(LIFTER, dropout=0.0)), LossWeights())
    batch = tensors(
        Sampler(MotionClips(clips, Augment()), load_noise(), CONFIG.cameras, 4, 24, 30.0, 1).batch(0), "cpu"
    )
    exact, short = (objective(batch, None, bf16).detach() for bf16 in (False, True))
    assert torch.allclose(exact, short, rtol=0.03, atol=0.01)  # 8 bits of mantissa, some of it averaged away


def test_unlabelled_losses_vanish_for_the_truth(clips: list[Clip]) -> None:
    """Where pose, root and bones are true, nothing is left of the back-projection but the detector's noise."""
    from kinecast.engines.lift.network import Lift

    sampler = Sampler(MotionClips(clips, Augment()), load_noise(), CONFIG.cameras, 4, 24, 30.0, 1)
    b = tensors(sampler.batch(0), "cpu")
    objective = Objective(LifterNetwork(LIFTER), LossWeights())
    z = b["root_m"][..., 2:].clamp_min(0.3)
    e = b["extent"][..., None]
    code = torch.cat([b["root_m"][..., :2] / (z * e), (z * e).log()], -1)
    true = Lift(b["relative_m"], None, code, None, None)
    clean = dict(b) | {"features": torch.cat([b["clean"], b["features"][..., 2:]], -1)}
    clean["weight"] = b["weight"] * (b["root_m"][..., 2] > 1.0)
    told = objective._unlabelled(true, clean, true, b | {"weight": clean["weight"]})
    assert told["back_projection"] < 1e-3
    assert told["bones"] < 1e-9
    wrong = true._replace(relative_m=true.relative_m * 1.2)
    told = objective._unlabelled(wrong, clean, true, b | {"weight": clean["weight"]})
    assert told["back_projection"] > 0.05 and told["bones"] > 1e-3


def test_the_root_of_a_code_is_numpy_s() -> None:
    code, extent = torch.randn(5, 7, 3), torch.rand(5, 7) + 0.05
    ours = root_of(code, extent).numpy()
    assert np.allclose(ours, root_from_code(code.numpy(), extent.numpy()), rtol=1e-5)


def test_crops_of_tracks_are_normalised_as_in_life(clips: list[Clip]) -> None:
    unlabelled = tracks(clips)
    a, b = (unlabelled.batch(1, 2, 0, 3, 64) for _ in range(2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert a["features"].shape == (3, 64, 26, 3) and a["weight"][:, 40:].sum() == 0  # tracks of 40 frames
    track = unlabelled.tracks[0]
    n = normalise(track.xy, track.confidence)
    assert np.isfinite(n.features).all()
    with pytest.raises(KinecastError, match="no track"):
        Unlabelled([Track2D(track.xy[:5], track.confidence[:5])])


def test_a_config_goes_through_json_and_a_wrong_key_is_named() -> None:
    assert TrainConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(KinecastError, match="unknown stepz"):
        TrainConfig.from_json(json.dumps({"stepz": 3}))


def test_a_config_of_before_is_read_by_its_old_keys() -> None:
    old = {"sequences": 2, "rate": 0.5, "last_rate": 0.25, "every": 3, "examined": 1, "short": 0.75, "least": 0.125}
    now = TrainConfig(
        batch_size=2, learning_rate=0.5, final_learning_rate=0.25, eval_every=3, eval_batches=1, short_fraction=0.75,
        min_improvement=0.125,
    )  # fmt: skip
    assert TrainConfig.from_json(json.dumps(old)) == now
    with pytest.raises(KinecastError, match="rate is the old name of learning_rate, and both are given"):
        TrainConfig.from_json(json.dumps({"rate": 0.5, "learning_rate": 0.5}))


_ONE_OF_TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.engines.train.lifter.toys import as_one_of_two
as_one_of_two(Path(sys.argv[1]))
"""


def test_two_processes_learn_as_one(tmp_path: Path, start_child: Start) -> None:
    for i in range(3):
        toys.write_bvh(tmp_path / "motion" / f"clip{i}.bvh", frames=120, seed=i)
    run_together(start_child, _ONE_OF_TWO, tmp_path)
    told = load_checkpoint(tmp_path / "out" / "last.pt")
    assert told["step"] == 2
    # each step is that of the mean gradient of both batches; the same by hand, in one process
    found = list(read_clips(tmp_path / "motion", rest_directions(load_body().J_template), 60.0))
    by_hand = _by_hand(found[:2], replace(CONFIG, steps=2))
    # running statistics of batch norm are those of the first; weights are shared, sums in another order
    for name, value in by_hand.items():
        if "bn" not in name:
            assert torch.allclose(value, told["network"][name], atol=2e-5), name


def test_a_partner_that_dies_ends_the_other_at_once(start_child: Start) -> None:
    """Rank 0 waits in C for somebody who never comes."""
    script = """
import os
if os.environ["RANK"] == "1":
    raise SystemExit("no such data here")
from kinecast.engines.train.distributed import join_process_group
join_process_group("cpu")
"""
    with pytest.raises(AssertionError, match="process 1 of 2 ended with 1:\nno such data here"):
        run_together(start_child, script, timeout_s=60.0)


def _by_hand(clips: list[Clip], config: TrainConfig) -> dict[str, torch.Tensor]:
    import math

    from kinecast.engines.train.lifter.initialise import initialise_small

    sampler = Sampler(MotionClips(clips, config.augment), load_noise(), config.cameras, 2, 32, 30.0, config.seed)
    shorter = replace(sampler, size=4, frames=16)
    torch.manual_seed(config.seed)
    network = LifterNetwork(config.lifter)
    initialise_small(network)
    objective = Objective(network, config.weights)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.decay)
    for step in range(config.steps):
        warm = min(1.0, (step + 1) / config.warm_up)
        low, high = config.final_learning_rate, config.learning_rate
        rate = low + (high - low) * (1 + math.cos(math.pi * step / config.steps)) / 2
        for group in optimiser.param_groups:
            group["lr"] = warm * rate
        source = shorter if step < config.short_fraction * config.steps else sampler
        optimiser.zero_grad()
        for rank in range(2):
            network.train()
            torch.manual_seed(hash((config.seed, step, rank)) % 2**63)
            (objective(tensors(source.batch(step, rank), "cpu"), None, False).sum() / 2).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return dict(network.state_dict())
