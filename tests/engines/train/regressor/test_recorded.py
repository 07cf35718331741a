"""The SPIN loop on recordings: drawn scenes, fits that are kept, what TensorBoard gets, runs killed and taken up."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from kinecast.capture.errors import KinecastError  # noqa: E402
from kinecast.engines.body.fit.multi_start import FIRST_STEPS, STEPS, Fits, trace  # noqa: E402
from kinecast.engines.body.fit.regressor import STEP_S, place  # noqa: E402
from kinecast.engines.train.data.shards import Shard, load_manifest, read_shard, write_shard  # noqa: E402
from kinecast.engines.train.data.synthetic_batches import HALPE  # noqa: E402
from kinecast.engines.train.regressor import network, spin_loop  # noqa: E402
from kinecast.engines.train.regressor.checkpoint import CHECKPOINT, FitFiles  # noqa: E402
from kinecast.engines.train.regressor.optimiser import Optimiser, TrainingSet  # noqa: E402
from kinecast.engines.train.regressor.recorded import Recorded, y_up  # noqa: E402
from kinecast.engines.train.regressor.spin_loop import loop  # noqa: E402
from kinecast.engines.train.regressor.synthetic import JOINTS  # noqa: E402
from tests.engines.train.regressor.toys import (  # noqa: E402
    SMALL,
    clip,
    drawn,
    people,
    quiet,
)
from tests.engines.train.toy_sessions import RIG, SIGMA_PX, write_dataset  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sessions of two seconds before three cameras; one is for validation, one for tests."""
    clips = [clip("a", "walking", 1), clip("b", "walking", 2)]
    folder = tmp_path_factory.mktemp("spin") / "data"
    return write_dataset(folder, clips, {"train": 2, "validate": 1, "test": 1}, frames=60)


@pytest.fixture(scope="module")
def optimiser() -> Optimiser:
    return Optimiser()


def test_scenes_are_what_the_views_gave_where_the_body_is(data: Path) -> None:
    source = drawn(data, "test", count=4)
    (group,) = source.draw(0, truth=True)
    s, index = group.scenes, [HALPE.index(n) for n in JOINTS]
    assert s.w.shape[1:] == (SMALL.frames, 3, 26) and len(set(group.keys)) == len(group.keys) <= 4
    cam = np.einsum("scij,stkj->stcki", s.P[..., :3], s.points) + s.P[:, None, :, None, :, 3]
    off = (s.xy[..., index, :] - cam[..., :2] / cam[..., 2:])[s.confidence[..., index] > 0]
    focal = RIG.cameras[0].K[0, 0]
    assert np.abs(off).mean() * focal < 2 * SIGMA_PX  # of a normal distribution the mean is 0.8 σ
    # head above feet: y is up
    assert (s.points[..., JOINTS.index("neck"), 1] > s.points[..., JOINTS.index("left_ankle"), 1]).all()
    assert np.isnan(source.draw(0)[0].scenes.points).all()  # who learns sees no truth


def test_draws_are_bounded_and_a_function_of_the_round(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[Path]()

    def noted(path: Path) -> Shard:
        read.append(path)
        return read_shard(path)

    monkeypatch.setattr("kinecast.engines.train.regressor.recorded.read_shard", noted)
    source = drawn(data)
    a, b, other = (source.draw(n) for n in (0, 0, 1))
    assert a[0].keys == b[0].keys != other[0].keys and len(a[0].keys) <= 3
    np.testing.assert_array_equal(a[0].scenes.xy, b[0].scenes.xy)
    assert len(read) <= 3 * 2  # each shard once a round
    kept = {f.file for s in load_manifest(data).sessions.values() for f in s.shards if f.split != "train"}
    assert not {p.relative_to(data).as_posix() for p in read} & kept


def test_frames_that_a_gate_refused_are_not_seen(data: Path, tmp_path: Path) -> None:
    source = drawn(data).shards[0]
    shard = read_shard(source.folder / source.file.file)
    shard.refused[::6] = 2  # every second frame of those that are a step apart
    t = shard.t_ns / 1e9
    assert np.isclose(t[3] - t[0], STEP_S)
    folder = write_dataset(tmp_path / "other", [clip("a", "walking", 1)], {"train": 1}, frames=60)
    (file,) = (f for s in load_manifest(folder).sessions.values() for f in s.shards)
    write_shard(folder / file.file, shard)
    (group,) = drawn(folder, count=20).draw(0)
    seen = (group.scenes.w > 0).any((-1, -2))
    assert 0.5 <= seen.mean() < 1 and (seen.mean(axis=1) >= 0.5).all()


def test_fits_of_the_shards_begin_only_what_all_views_fit(data: Path, optimiser: Optimiser) -> None:
    (group,) = drawn(data).draw(0)
    assert group.R is None  # the toy's fits are of another body
    source = Recorded(drawn(data).shards, SMALL.frames, 3, 1, frozenset([data]))
    (ours,) = source.draw(0)
    assert ours.R is not None and ours.R.shape == (len(ours.keys), SMALL.frames, 24, 3, 3)
    np.testing.assert_allclose(ours.R[0, 0, 0], y_up(RIG.up_world), atol=1e-9)  # it stands as the world does


def test_a_direction_becomes_up() -> None:
    for up in ([0, 0, 1.0], [0, -1.0, 0], [1.0, 0, 0], [0.3, -0.5, 0.8]):
        turn = y_up(np.array(up))
        np.testing.assert_allclose(turn @ up / np.linalg.norm(up), [0, 1, 0], atol=1e-12)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) > 0


def test_a_batch_has_its_share_of_recordings(data: Path) -> None:
    (group,) = drawn(data).draw(0)
    s = group.scenes
    lessons = TrainingSet([s, s], [False, True], share=0.25)
    rows = lessons._rows(np.random.default_rng(0), 40)
    assert (rows >= s.w[..., 0].size).sum() == 10


def test_the_cost_falls_with_the_steps_to_what_the_fit_has(data: Path, optimiser: Optimiser) -> None:
    s = drawn(data).draw(0)[0].scenes
    R = np.tile(optimiser.ring()[0], (len(s.P), 1, 1, 1))
    betas = np.zeros((len(s.P), 10))
    for i in range(len(s.P)):
        t = place(optimiser.points(R[i : i + 1], betas[:1]), s.P[i], s.xy[i, :1], s.w[i, :1])
        told = trace(optimiser.bones, optimiser.prior, s.P[i], s.xy[i, :1], s.w[i, :1], R[i : i + 1], t, betas[:1])
        assert told.shape == (1, FIRST_STEPS + STEPS + 1)
        assert (np.diff(told[0, FIRST_STEPS + 1 :]) <= 0).all() and told[0, -1] < told[0, 0]
        fit = optimiser._fit(s.P[i], s.xy[i, :1], s.w[i, :1], R[i : i + 1, None], betas[:1, None])
        np.testing.assert_allclose(told[0, -1], fit.cost[0], rtol=1e-9)


def test_the_dictionary_gives_the_newest_and_throws_away_the_rest(tmp_path: Path) -> None:
    def fits(value: float, n: int) -> Fits:
        return Fits(*(np.full((n, *shape), value) for shape in ((24, 3, 3), (3,), (10,), (26, 3), (), ())))

    book = FitFiles(tmp_path, 0)
    book.store(0, [(("a", "b"), fits(1.0, 4)), (("x",), fits(5.0, 6))])
    book.store(1, [(("b", "c"), fits(2.0, 4))])
    known, rows = FitFiles(tmp_path, 2).lookup(("c", "a", "b", "new"), 4)
    assert known.tolist() == [True, True, True, False]
    assert rows["cost"][:3, 0].tolist() == [2.0, 1.0, 2.0] and rows["R"].shape == (4, 2, 24, 3, 3)
    assert FitFiles(tmp_path, 1).lookup(("c",), 1)[0].tolist() == [False]  # round 2 was broken off
    book.store(2, [(("a", "b"), fits(3.0, 4))])
    book.prune()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fits-0000-1.npz", "fits-0001-0.npz", "fits-0002-0.npz"]
    path = tmp_path / "fits-0002-0.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(KinecastError, match="cut short"):
        FitFiles(tmp_path, 3).lookup(("a",), 1)


def test_tensorboard_gets_losses_fits_steps_of_the_optimiser_and_poses(
    data: Path, optimiser: Optimiser, tmp_path: Path
) -> None:
    loop("all-views", optimiser, people(data), SMALL, tmp_path, say=quiet)
    board = EventAccumulator(str(tmp_path)).Reload()
    tags = board.Tags()
    assert {"loss/all", "loss/seen", "rate", "fits/replaced", "fits/cost", "optimiser/cost after"} <= set(
        tags["scalars"]
    )
    assert "validate/all views, mm" in tags["scalars"]
    assert [e.step for e in board.Scalars("fits/replaced")] == [0, 4, 8]
    assert tags["images"] == ["poses/recorded, 3 views"]
    steps = EventAccumulator(str(tmp_path / "optimiser")).Reload()
    curves = steps.Tags()["scalars"]
    assert [t.split("/")[1] for t in curves] == ["round 1", "round 2", "round 3"]
    values = [e.value for e in steps.Scalars(curves[0])]
    assert len(values) == FIRST_STEPS + STEPS + 1 and values[-1] < values[0]


def test_no_number_ends_it_and_the_checkpoint_is_sound(
    data: Path, optimiser: Optimiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loop("all-views", optimiser, people(data), SMALL, tmp_path / "whole", say=quiet)
    asked, real = list[int](), network.losses

    def poisoned(*args: object) -> dict[str, torch.Tensor]:
        asked.append(1)
        terms = real(*args)  # type: ignore[arg-type]
        return terms if len(asked) != 7 else terms | {"points": terms["points"] * float("nan")}

    monkeypatch.setattr(spin_loop, "losses", poisoned)
    out = tmp_path / "poisoned"
    with pytest.raises(KinecastError, match=r"no number at step 6, in round 2 \(points\).*of round 1, is still sound"):
        loop("all-views", optimiser, people(data), SMALL, out, say=quiet)
    said = list[str]()
    again = loop("all-views", optimiser, people(data), SMALL, out, say=said.append)
    assert said[0] == "all-views: goes on after round 1 of 3" and len(asked) == 7 + 8
    for name, value in whole.state.items():
        np.testing.assert_array_equal(again.state[name], value)
    assert again.rounds == whole.rounds
    # what the board was told of the round that was broken off is there once
    board = EventAccumulator(str(out)).Reload()
    assert [e.step for e in board.Scalars("fits/replaced")] == [0, 4, 8]


KILLED = """
import os, signal, sys
from pathlib import Path
from kinecast.engines.train.regressor import spin_loop
from tests.engines.train.regressor.toys import SMALL, people, quiet
asked, real = [], spin_loop.losses
def killed(*args):
    asked.append(1)
    if len(asked) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
spin_loop.losses = killed
spin_loop.loop("one-view", spin_loop.Optimiser(), people(Path(sys.argv[1])), SMALL, Path(sys.argv[2]), say=quiet)
"""


@pytest.mark.timeout(600)  # another process, which imports everything anew
def test_a_killed_run_ends_in_the_same_numbers(data: Path, optimiser: Optimiser, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "killed")]
    died = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (tmp_path / "killed" / CHECKPOINT).exists()
    said = list[str]()
    again = loop("one-view", optimiser, people(data), SMALL, tmp_path / "killed", say=said.append)
    assert said[0] == "one-view: goes on after round 2 of 3"
    whole = loop("one-view", optimiser, people(data), SMALL, tmp_path / "whole", say=quiet)
    # in another process the solver's sums may differ in the last bit of 53, and learning is in 24 bits
    for ours, theirs in zip(again.rounds, whole.rounds, strict=True):
        np.testing.assert_allclose([ours["cost"], ours["loss"]], [theirs["cost"], theirs["loss"]], rtol=1e-6)
    for name, value in whole.state.items():
        np.testing.assert_allclose(again.state[name], value, atol=1e-5)


def test_checkpoints_that_cannot_be_gone_on_with_are_refused(data: Path, optimiser: Optimiser, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(KinecastError, match="no checkpoint that can be read"):
        loop("one-view", optimiser, people(data), SMALL, tmp_path, say=quiet)
    torch.save({"version": 0, "words": "{}"}, tmp_path / CHECKPOINT)
    with pytest.raises(KinecastError, match="a checkpoint of version 0"):
        loop("one-view", optimiser, people(data), SMALL, tmp_path, say=quiet)
