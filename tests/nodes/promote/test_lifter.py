"""A toy is retrained from a recipe, killed and taken up again, judged and put in force; a spoiled one is refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.lift.lifter import find_lifter, load_lifter
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.engines.models.promoted import LIFTERS as store
from kinecast.engines.train.data.motion import read_clips
from kinecast.engines.train.data.shards import load_manifest, read_shard, write_shard
from kinecast.nodes.cli import main as cli
from tests.engines.train import toys
from tests.engines.train.toy_sessions import write_dataset
from tests.nodes.promote.toys import LIFTER

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

RECIPE = """
kinecast_recipe = 1
motion = ["motion"]
held_out = "held_out.toml"
datasets = ["data"]
[train]
steps = 120
batch_size = 4
frames = 32
short_frames = 16
learning_rate = 3e-3
warm_up = 5
eval_every = 40
eval_batches = 1
[stop]
patience = 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Motion, sessions, a recipe; the shipped lifter is a toy that knows nothing; the cache is empty."""
    folder = tmp_path_factory.mktemp("promote")
    for i in range(13):
        toys.write_bvh(folder / "motion" / f"clip{i}.bvh", frames=120, seed=i)
    (folder / "held_out.toml").write_text('clips = ["clip[4-9]", "clip1?"]\n')
    clips = list(read_clips(folder / "motion", rest_directions(load_body().J_template), 60.0))
    write_dataset(folder / "data", clips, {"train": 3, "validate": 2, "test": 9}, frames=60)
    (folder / "recipe.toml").write_text(RECIPE)
    torch.manual_seed(0)
    from kinecast.engines.lift.network import LifterNetwork

    network = LifterNetwork(LIFTER)
    (folder / "shipped").mkdir()
    sigma = {"joints": 0.1, "depth": "trajectory"}
    write_lifter(folder / "shipped/lifter-causal-243.safetensors", network.state_dict(), LIFTER, sigma=sigma)
    with pytest.MonkeyPatch.context() as m:
        m.setenv("KINECAST_CACHE", str(folder / "cache"))
        m.setattr("kinecast.engines.lift.lifter.FOLDER", folder / "shipped")
        yield folder


def kinecast(*words: object) -> int:
    return cli.main([str(w) for w in words])


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """Retrained, killed while it looked at the second checkpoint, and taken up again."""
    from kinecast.engines.train.lifter import train as loop

    looks, validate = [0], loop.validate

    def die(*args: object, **kwargs: object) -> dict[str, float]:
        looks[0] += 1
        if looks[0] > 4:  # two exams: at the start, after 40 steps, and now
            raise RuntimeError("killed")
        told: dict[str, float] = validate(*args, **kwargs)  # type: ignore[arg-type]
        return told

    with pytest.MonkeyPatch.context() as m, pytest.raises(RuntimeError, match="killed"):
        m.setattr(loop, "validate", die)
        kinecast("train", "retrain", place / "recipe.toml", "-o", place / "run")
    assert loop.load_checkpoint(place / "run/seed-1/last.pt")["step"] == 40
    assert not (place / "run/lifter.safetensors").exists()
    assert kinecast("train", "retrain", place / "recipe.toml", "-o", place / "run") == 0
    return place / "run"


def test_a_broken_off_run_ends_as_one_that_was_not(run: Path, place: Path) -> None:
    assert kinecast("train", "retrain", place / "recipe.toml", "-o", place / "whole") == 0
    ours, theirs = (read_lifter(f / "lifter.safetensors") for f in (run, place / "whole"))
    assert all(np.array_equal(ours.tensors[k], theirs.tensors[k]) for k in ours.tensors)
    shutil.rmtree(place / "whole")
    assert ours.meta["data"]["base"].startswith("lifter-causal-243@") and ours.meta["data"]["pseudo_sessions"] == 3
    assert ours.meta["training"]["best_step"] in (40, 80, 120)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "seed-1"))
    board.Reload()
    tags = board.Tags()
    assert {"poses/held_out", "poses/sessions"} <= set(tags["images"])
    assert {"loss/pose", "sessions/mpjpe_corrected_mm", "held_out/mpjpe_corrected_mm"} <= set(tags["scalars"])


def test_what_does_not_fit_the_run_is_named_and_nothing_changes(
    run: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(recipe: Path, out: Path) -> str:
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        assert kinecast("train", "retrain", recipe, "-o", out) == 2
        assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        return capsys.readouterr().err

    other = place / "other.toml"
    other.write_text(RECIPE.replace("3e-3", "1e-3"))
    assert "the recipe of this run is another: train.learning_rate" in refused(other, run)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    assert "holds other files" in refused(place / "recipe.toml", tmp_path / "full")
    shutil.copytree(run, tmp_path / "old")
    told = json.loads((run / "run.json").read_text())
    (tmp_path / "old/run.json").write_text(json.dumps(told | {"version": 0, "kinecast": "0.0.9"}))
    assert "a run of version 0" in refused(place / "recipe.toml", tmp_path / "old")
    (tmp_path / "old/run.json").write_text(json.dumps(told | {"base": "lifter@0"}))
    assert "base of this run is another" in refused(place / "recipe.toml", tmp_path / "old")


def test_a_number_that_is_none_ends_the_training_and_its_checkpoint_stays(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kinecast.engines.train.lifter.losses import Objective

    forward, calls = Objective.forward, [0]

    def poisoned(self: Objective, *args: object) -> torch.Tensor:  # type: ignore[name-defined]
        calls[0] += 1
        return forward(self, *args) * (float("nan") if calls[0] == 51 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(Objective, "forward", poisoned)
    out = tmp_path / "run"
    assert kinecast("train", "retrain", place / "recipe.toml", "-o", out) == 2
    told = capsys.readouterr().err
    assert "no number at step 50 (pose, velocity" in told and "last.pt is still sound" in told
    state = torch.load(out / "seed-1/last.pt", weights_only=True)
    assert state["step"] == 40 and all(torch.isfinite(v).all() for v in state["network"].values())
    assert not (out / "lifter.safetensors").exists()


def test_numbers_that_are_none_in_the_data_are_named(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    shutil.copytree(place / "data", tmp_path / "data")
    session = next(s for s in load_manifest(tmp_path / "data").sessions.values() if s.split == "train")
    file = tmp_path / "data" / session.shards[0].file
    shard = read_shard(file)
    points = shard.body_points_m.copy()
    points[3, 4] = np.nan
    write_shard(file, replace(shard, body_points_m=points))
    for name in ("motion", "held_out.toml"):
        (tmp_path / name).symlink_to(place / name)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert kinecast("train", "retrain", tmp_path / "recipe.toml", "-o", tmp_path / "run") == 2
    assert f"session {session.key}: a point of the body of person 1 is no number" in capsys.readouterr().err


def test_the_better_one_is_put_in_force_and_rolled_back(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_lifter(find_lifter("default")).name
    assert kinecast("train", "promote", run, "--check") == 0 and store.read_state().current is None
    assert kinecast("train", "promote", run) == 0
    now = store.read_state().current
    assert now is not None and now.over == before and read_lifter(find_lifter("default")).name == now.name
    assert f"in force: {now.name}" in capsys.readouterr().out
    told = json.loads((run / "promotion/report.json").read_text())
    main = told["changes"][0]
    assert (main["exam"], main["what"], main["evidence"]) == ("held-out sessions", "pose", 9)
    assert main["high"] < 0 and main["change"] < -0.1 and told["promotable"]
    assert {c["exam"] for c in told["changes"]} == {"held-out sessions", "held-out motion"}
    assert set(told["joints_mm"]["held-out sessions"]) >= {"left_wrist", "right_ankle"}
    assert [p["runtime"] for p in told["parity"]] == ["torch, whole window", "ONNX Runtime", "TensorRT"]
    assert all(p["off_m"] < 1e-4 for p in told["parity"][:2])
    assert (
        (run / "promotion/report.md").read_text().startswith(f"# lifter@{now.name.partition('@')[2]} beside {before}")
    )
    assert (run / "promotion/lifter.onnx").exists()
    # the export is where a lifter of another runtime looks for it
    assert load_lifter("default", runtime="onnxruntime").name == now.name
    assert kinecast("train", "promote", run) == 2 and "in force already" in capsys.readouterr().err
    assert kinecast("train", "rollback") == 0
    assert read_lifter(find_lifter("default")).name == before


def test_a_spoiled_one_is_refused_and_nothing_changes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights in force, with a wrist and the depth bent a little: better than nothing is not enough."""
    state = store.read_state()
    store.install(run / "lifter.safetensors", "test", read_lifter(find_lifter("default")).name, "now")
    try:
        good = read_lifter(run / "lifter.safetensors")
        spoiled = {k: v.copy() for k, v in good.tensors.items()}
        spoiled["pose.shrink.bias"].reshape(-1, 3)[9] += 0.5
        spoiled["gamma.layers.2.bias"][0] += 0.3
        shutil.copytree(run, tmp_path / "run")
        write_lifter(tmp_path / "run/lifter.safetensors", spoiled, good.config, sigma=good.meta["sigma"])
        before = read_lifter(find_lifter("default")).name
        assert kinecast("train", "promote", tmp_path / "run") == 1
        told = capsys.readouterr().out
        assert "refused: held-out sessions: pose: not shown to be better" in told
        assert "place: may be worse" in told
        assert read_lifter(find_lifter("default")).name == before
        assert "**Refused.**" in (tmp_path / "run/promotion/report.md").read_text()
        # weights that are no better are not put in force either
        write_lifter(
            tmp_path / "run/lifter.safetensors", good.tensors, good.config, sigma=good.meta["sigma"] | {"depth": "k"}
        )
        assert kinecast("train", "promote", tmp_path / "run") == 1
    finally:
        store.roll_back()
    assert store.read_state().in_force == state.in_force


def test_a_run_without_weights_or_evidence_is_named(run: Path, place: Path, tmp_path: Path) -> None:
    from kinecast.nodes.promote.lifter import promote

    with pytest.raises(KinecastError, match=r"no lifter\.safetensors in it"):
        promote(tmp_path)
    clips = list(read_clips(place / "motion", rest_directions(load_body().J_template), 60.0))
    with pytest.raises(KinecastError, match="no session is kept for promotion"):
        promote(run, datasets=[write_dataset(tmp_path / "d", clips, {"train": 1}, frames=40)])
    few = write_dataset(tmp_path / "few", clips, {"test": 2}, frames=40, seed=3)
    told = promote(run, datasets=[few], check=True)
    assert any("2 pieces of evidence" in why for why in told.refused)
