"""A pose prior is made from toy motion and sessions, judged, put in force and rolled back; a spoiled one is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.formats import native
from kinecast.capture.atomic_write import atomic_write
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.pose_prior import find_prior, load_prior, read_prior, rest_directions, save_prior
from kinecast.engines.models.promoted import PRIORS
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.shards import Manifest, Session, ShardFile, load_manifest, read_shard, write_shard
from kinecast.engines.train.prior import poses_of, session_clips, shipped
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion.meshes import find_body
from kinecast.nodes.promote.gate import LogLikelihoods, gate_likelihood
from kinecast.nodes.promote.prior import TOLERANCE
from tests.engines.train import toys
from tests.engines.train.toy_sessions import RIG, shard_of

BODY = load_body()
FRAMES = 30
Y_TO_Z = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # the world of a clip to that of the rig


def write_sessions(folder: Path, clips: list[Clip], splits: list[str]) -> Path:
    """A session of one person of each split, who moves as the clips; every fifth frame is refused."""
    rng = np.random.default_rng(0)
    atomic_write(folder / "rigs/toy.toml", native.dumps(RIG))
    manifest = Manifest(BODY.id, {})
    for k, split in enumerate(splits):
        R = clips[k % len(clips)].local[::2][:FRAMES].astype(np.float64)
        R[:, 0] = Y_TO_Z @ R[:, 0]
        n, key = len(R), f"{k:016x}"
        shard = replace(
            shard_of(np.tile([0.0, 0.0, 1.0], (n, 26, 1)) + rng.normal(0, 0.1, (n, 26, 3)), rng, slice(4, None, 5)),
            rotations_rad=rotvecs(R).astype(np.float32), joints_m=np.tile(np.array([0, 0, 1], np.float32), (n, 24, 1)),
        )  # fmt: skip
        file = f"shards/{key}/person1-0000.npz"
        told = ShardFile(file, *write_shard(folder / file, shard), 1, split, n, int((shard.refused == 0).sum()))
        manifest.sessions[key] = Session(
            key, f"{key}.mcap", key, "toy", RIG.names, "rigs/toy.toml", "", "0", split, (told,), {}
        )
    manifest.save(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Motion and sessions of one toy who stands in a T-pose and sways; an empty cache; short exams."""
    folder = tmp_path_factory.mktemp("prior")
    for i in range(14):
        toys.write_bvh(folder / "motion" / f"clip{i}.bvh", frames=120, seed=i)
    (folder / "held_out.toml").write_text('clips = ["clip[5-9]", "clip1?"]\n')
    clips = list(read_clips(folder / "motion", rest_directions(BODY.J_template), 60.0))
    write_sessions(folder / "data", clips, ["train"] * 3 + ["validate"] + ["test"] * 9)
    with pytest.MonkeyPatch.context() as m:
        m.setenv("KINECAST_CACHE", str(folder / "cache"))
        m.setattr("kinecast.nodes.promote.prior_benchmarks.MAX_FRAMES", 15)
        m.setattr("kinecast.nodes.promote.prior_benchmarks.MIN_FRAMES", 10)
        # nine pieces of half a second tell how far, and how fast, somebody is from one view no better than that
        m.setattr("kinecast.nodes.promote.prior.TOLERANCE", TOLERANCE | {"place": 0.5, "velocity": 0.2})
        yield folder


def kinecast(*words: object) -> int:
    return cli.main([str(w) for w in words])


def train(place: Path, out: Path, *more: object) -> int:
    data = ("--datasets", place / "data", "--held-out", place / "held_out.toml", "--components", 4, 2)
    return kinecast("train", "prior", place / "motion", *data, "-o", out, *more)


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    assert train(place, place / "run", "--share", 0.3) == 0
    return place / "run"


def test_sessions_are_told_as_motion_and_only_what_no_gate_refused(place: Path) -> None:
    found = session_clips([place / "data"], "train", find_body)
    assert [c.name for c in found] == ["0000000000000000/1/0", "0000000000000001/1/1", "0000000000000002/1/2"]
    assert all(c.good.sum() == 24 and len(c.good) == FRAMES for c in found)
    clip = next(c for c in read_clips(place / "motion", rest_directions(BODY.J_template), 60.0) if c.name == "clip0")
    assert np.abs(found[0].local - clip.local[::2][:FRAMES]).max() < 1e-4  # upright again, y up; float32 turns
    assert len(poses_of(found)) == 3 * 8  # of ten in a second at 30 Hz, those that are good


def test_the_run_says_what_it_is_of_and_is_taken_up(
    run: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, figures = (json.loads((run / name).read_text()) for name in ("run.json", "prior.json"))
    assert told["base"] == load_prior().name and told["recipe"]["share"] == 0.3
    # five clips of 2 s, and three sessions, at ten poses a second, mirrored too
    assert figures["poses"] == {"motion": 2 * 5 * 20, "sessions": 2 * 24} and set(figures["nat"]) == {"4", "2"}
    before = (run / "prior.npz").read_bytes()
    assert train(place, run, "--share", 0.3) == 0 and (run / "prior.npz").read_bytes() == before
    assert train(place, run) == 2 and "recipe of this run is another: share" in capsys.readouterr().err
    assert train(place, tmp_path / "again", "--share", 0.3) == 0
    assert (tmp_path / "again/prior.npz").stat().st_size and np.array_equal(
        read_prior(tmp_path / "again/prior.npz").mean, read_prior(run / "prior.npz").mean
    )
    assert train(place, tmp_path / "x", "--share", 1.0) == 2 and "--share" in capsys.readouterr().err
    assert np.all(read_prior(run / "prior.npz").low <= shipped().low + 1e-6)  # limits only widen


def test_the_better_one_is_put_in_force_and_rolled_back(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kinecast("train", "promote", run, "--check") == 0 and PRIORS.read_state().current is None
    assert kinecast("train", "promote", run) == 0
    now = PRIORS.read_state().current
    assert now is not None and now.over == load_prior().name and read_prior(find_prior("default")).name == now.name
    assert f"in force: {now.name}" in capsys.readouterr().out
    told = json.loads((run / "promotion/report.json").read_text())
    main = told["changes"][0]
    assert (main["exam"], main["what"], main["evidence"]) == ("held-out sessions", "nat a pose", 9)
    assert main["low"] > 0 and main["change"] == pytest.approx(main["after"] - main["before"]) and told["promotable"]
    places = {f"held-out {kind}, {views}" for kind in ("sessions", "motion") for views in ("one view", "two views")}
    assert {c["exam"] for c in told["changes"]} == places | {"held-out sessions", "held-out motion"}
    assert set(told["joints_mm"]["held-out motion, one view"]) == set(skeleton("smpl24").joints)
    text = (run / "promotion/report.md").read_text()
    assert "**Better, and nowhere worse.**" in text and "| nat a pose |" in text and "every runtime" not in text
    assert kinecast("train", "promote", run) == 2 and "in force already" in capsys.readouterr().err
    assert kinecast("train", "rollback", "prior") == 0 and find_prior("default") == find_prior("shipped")
    assert kinecast("train", "rollback", "prior") == 2 and "no promoted prior" in capsys.readouterr().err


def test_one_with_knees_and_elbows_exchanged_is_refused_and_nothing_changes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = read_prior(run / "prior.npz")
    names = skeleton("smpl24").joints
    order = list(range(24))
    for side in ("left", "right"):
        a, b = names.index(f"{side}_knee"), names.index(f"{side}_elbow")
        order[a], order[b] = b, a
    at = np.concatenate([[3 * (j - 1) + k for k in range(3)] for j in order[1:]])
    spoiled = replace(good, mean=good.mean[:, at], precision=good.precision[:, at][:, :, at])
    shutil.copytree(run, tmp_path / "run")
    save_prior(spoiled, tmp_path / "run/prior.npz")
    before = find_prior("default")
    # beside the good one, as it would be after a promotion
    PRIORS.install(run / "prior.npz", "test", load_prior().name, "now")
    try:
        assert kinecast("train", "promote", tmp_path / "run") == 1
        told = capsys.readouterr().out
        assert "refused: held-out sessions: nat a pose: not shown to be better" in told
        assert "refused: held-out motion: nat a pose: may be worse" in told
        assert "one view: pose: may be worse" in told
        assert read_prior(find_prior("default")).name.partition("@")[2] == good.name.partition("@")[2]
    finally:
        PRIORS.roll_back()
    assert find_prior("default") == before


def test_what_was_promoted_meanwhile_is_not_replaced(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def examined(*_: object) -> tuple[list[object], dict[str, object], dict[str, str]]:
        PRIORS.install(run / "prior.npz", "another", load_prior().name, "now")
        return [], {}, {}

    monkeypatch.setattr("kinecast.nodes.promote.prior._examined", examined)
    monkeypatch.setattr("kinecast.nodes.promote.prior.write_report", lambda *_: [])
    try:
        assert kinecast("train", "promote", run) == 2
        assert "is not in force any more: promote again" in capsys.readouterr().err
        now = PRIORS.read_state().current
        assert now is not None and now.run == "another"
    finally:
        PRIORS.roll_back()


def test_what_is_missing_is_told_before_the_exams(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kinecast.nodes.promote.prior._examined", lambda *_: pytest.fail("asked"))
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "file"))
    assert kinecast("train", "promote", run) == 2
    told = capsys.readouterr().err
    assert "KINECAST_CACHE" in told and len(told.splitlines()) == 1


def test_likelihoods_are_judged_by_their_difference() -> None:
    """Nine pieces of 10 poses; the candidate gains 0.4 ± 0.1 nat a pose, loses it, or is told by too few pieces."""
    rng = np.random.default_rng(0)
    gain = 10 * rng.normal(0.4, 0.1, 9)
    names, poses, nat = np.array([str(i) for i in range(9)]), np.full(9, 10.0), rng.normal(-50, 30, 9)
    less, more = LogLikelihoods(names, poses, nat), LogLikelihoods(names, poses, nat + gain)
    up, down = gate_likelihood("e", less, more, True), gate_likelihood("e", more, less, True)
    assert not up.verdict and up.low > 0 and up.change == pytest.approx(gain.sum() / 90)
    assert "not shown to be better" in down.verdict and down.change == pytest.approx(-up.change)
    assert not gate_likelihood("e", more, less, False).verdict  # 0.4 is within half a nat
    assert "may be worse" in gate_likelihood("e", LogLikelihoods(names, poses, nat + 2 * gain), less, False).verdict
    few = [LogLikelihoods(w.unit[:3], w.poses[:3], w.nat[:3]) for w in (less, more)]
    assert "3 pieces of evidence" in gate_likelihood("e", few[0], few[1], True).verdict
    none = LogLikelihoods(names, poses, np.full(9, np.nan))
    assert gate_likelihood("e", less, none, False).verdict and gate_likelihood("e", less, none, True).verdict


def test_what_cannot_be_judged_or_learnt_from_is_named(
    run: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def says(*words: object) -> str:
        assert kinecast(*words) == 2
        return capsys.readouterr().err

    clips = list(read_clips(place / "motion", rest_directions(BODY.J_template), 60.0))
    data = write_sessions(tmp_path / "train_only", clips, ["train"])
    assert "no session is kept for promotion" in says("train", "promote", run, "--dataset", data)
    again = write_sessions(tmp_path / "again", clips, ["test"])  # of the key of one that was learnt from
    told = says("train", "promote", run, "--dataset", again)
    assert "session 0000000000000000 (0000000000000000.mcap) is to be judged by, and this run learned from it" in told
    (tmp_path / "none.toml").write_text("clips = []\n")
    assert "no clip is held out" in says("train", "promote", run, "--held-out", tmp_path / "none.toml")
    assert "--noise is for a lifter" in says("train", "promote", run, "--noise", tmp_path / "n.toml")
    nobody = write_sessions(tmp_path / "nobody", clips, ["test"])
    words = ("train", "prior", place / "motion", "--datasets", nobody, "-o", tmp_path / "y")
    assert "no frame of the split train was accepted" in says(*words)
    manifest = load_manifest(data)
    file = data / next(iter(manifest.sessions.values())).shards[0].file
    shard = read_shard(file)
    file.write_bytes(file.read_bytes()[:200])
    words = ("train", "prior", place / "motion", "--datasets", data, "-o", tmp_path / "z")
    assert "cut short or no shard" in says(*words)
    write_shard(file, shard)
    manifest.body_id = "smpl-neutral-0123456789abcdef"
    manifest.save(data)
    assert "which is not at hand" in says("train", "prior", place / "motion", "--datasets", data, "-o", tmp_path / "w")
