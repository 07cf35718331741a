"""Data sets: built, taken up, refused, checked, exchanged, forgotten; and what the gates judge."""

import json
import os
import signal
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.refusals import sentence
from kinecast.engines.synth import Noise
from kinecast.engines.train.data.published import read_labelled
from kinecast.engines.train.data.shards import (
    MANIFEST,
    REASONS,
    Session,
    Shard,
    iterate,
    load_manifest,
    read_shard,
    write_shard,
)
from kinecast.nodes.cli import main as cli
from kinecast.nodes.dataset.build import build, check, forget
from kinecast.nodes.dataset.export import export
from kinecast.nodes.dataset.gates import Evidence, Gates, apply_gates, bone_off
from kinecast.nodes.dataset.session import Recipe, build_session, content_key, split_of
from kinecast.nodes.evaluate.gate_report import gate_report
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.fit_bodies import fit_recording
from tests.nodes.dataset.toy import record

pytest.importorskip("torch")

RECIPE = Recipe(device="cpu", test=0, validate=0)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sessions")
    return [record(folder / f"walk{seed}.mcap", seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def made(sessions: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert not build(sessions, folder, RECIPE).refused
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A data set of one's own to spoil."""
    for file in made.rglob("*"):
        if file.is_file():
            to = tmp_path / "copy" / file.relative_to(made)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(file.read_bytes())
    return tmp_path / "copy"


def test_a_data_set_says_what_it_holds_and_is_near_the_truth(made: Path, sessions: list[Path]) -> None:
    manifest = load_manifest(made)
    assert manifest.body_id.startswith("free-neutral-") and len(manifest.sessions) == 2
    assert list(check(made)) == []
    for session, file, shard in iterate(made):
        assert len(session.cameras) == 4 and len(shard.t_ns) == file.frames
        assert (made / session.rig).is_file()
        assert np.isfinite(shard.other_px).mean() > 0.9 and np.isfinite(shard.keypoints_px).any()
    assert not [f for f in made.rglob("*") if f.suffix not in (".json", ".npz", ".toml") and f.is_file()]  # no images
    rows = {r.gate: r for r in gate_report(made, sessions)}
    assert rows["none"].refused == 0 and rows["none"].kept == rows["all"].kept + rows["all"].refused
    # 3 px at 4 m are about 12 mm a view; the synthetic body has other proportions than the model
    assert rows["all"].kept_mm < 60 and rows["all"].kept > 0.5 * rows["none"].kept


def test_built_again_nothing_is_made_anew_and_the_bytes_are_the_same(copy: Path, sessions: list[Path]) -> None:
    before = (copy / MANIFEST).read_bytes()
    files = {f: f.stat().st_mtime_ns for f in copy.glob("shards/*/*")}
    build(list(reversed(sessions)), copy, RECIPE)
    assert (copy / MANIFEST).read_bytes() == before
    assert {f: f.stat().st_mtime_ns for f in copy.glob("shards/*/*")} == files


def test_a_shard_cut_short_is_named_and_made_again(copy: Path, sessions: list[Path]) -> None:
    before, file = (copy / MANIFEST).read_bytes(), next(copy.glob("shards/*/*.npz"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert any(file.name in line and "cut short" in line for line in check(copy))
    with pytest.raises(KinecastError, match="cut short"):
        list(iterate(copy))
    build(sessions, copy, RECIPE)
    assert list(check(copy)) == [] and file.read_bytes() == whole and (copy / MANIFEST).read_bytes() == before


def test_the_same_session_is_taken_once_even_from_a_fitted_copy(
    sessions: list[Path], copy: Path, tmp_path: Path
) -> None:
    fitted = tmp_path / "fitted.mcap"
    fit_recording(Recording.open(sessions[0]), fitted, device="cpu")
    built = build([sessions[0], fitted], copy, RECIPE)
    assert built.twice == [str(fitted)] and len(built.manifest.sessions) == 2


def test_another_body_recipe_or_version_is_refused_and_nothing_is_overwritten(copy: Path, sessions: list[Path]) -> None:
    before = (copy / MANIFEST).read_bytes()
    for recipe, word in (
        (replace(RECIPE, body="male"), "rotations of one body are not another's"),
        (replace(RECIPE, gates=Gates(views=3)), "other gates"),
    ):
        with pytest.raises(KinecastError, match=word):
            build(sessions, copy, recipe)
    with pytest.raises(KinecastError, match="data set of body"):
        export(copy, "spin", "train", "male")
    assert (copy / MANIFEST).read_bytes() == before
    table = json.loads(before)
    changes = (({"version": 0}, "version 0"), ({"format": "x"}, "no manifest"), ({"recipe": None}, "recipe|manifest"))
    for change, word in changes:
        (copy / MANIFEST).write_text(json.dumps({**table, **change}))
        with pytest.raises(KinecastError, match=word):
            build(sessions, copy, RECIPE)
    (copy / MANIFEST).write_text(json.dumps({k: v for k, v in table.items() if k != "sessions"}))
    with pytest.raises(KinecastError, match="lacks"):
        load_manifest(copy)


def test_a_recording_that_does_not_fit_is_refused_by_name_and_the_others_are_taken(
    sessions: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.mcap").write_bytes(b"no recording")
    argv = ["dataset", "build", str(tmp_path / "no.mcap"), str(sessions[0]), "-o", str(tmp_path / "set")]
    assert cli.main([*argv, "--device", "cpu", "--test", "0", "--validate", "0"]) == 1
    out = capsys.readouterr().out
    assert "no.mcap: refused" in out and "not an MCAP file" in out and "1 sessions" in out
    assert cli.main(["dataset", "list", str(tmp_path / "set")]) == 0
    assert "walk1.mcap" in capsys.readouterr().out
    assert cli.main(["dataset", "check", str(tmp_path / "set")]) == 0


def test_the_command_reports_exports_and_forgets(
    copy: Path, sessions: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dataset", "report", str(copy), *map(str, sessions)]) == 0
    lines = capsys.readouterr().out.splitlines()
    gates = ["gate", "none", *map(sentence, REASONS), "all"]
    assert len(lines) == len(gates) and all(line.startswith(gate) for line, gate in zip(lines, gates, strict=True))
    assert cli.main(["dataset", "export", str(copy), "--to", "spin"]) == 0
    file = Path(capsys.readouterr().out.strip())
    assert file.is_file()
    assert cli.main(["dataset", "forget", str(copy), "walk1.mcap"]) == 0
    assert "deleted shards/" in capsys.readouterr().out and not file.exists()
    assert [s.name for s in load_manifest(copy).sessions.values()] == ["walk2.mcap"]


def test_a_session_is_forgotten_with_everything_made_of_it(copy: Path) -> None:
    keys = sorted(load_manifest(copy).sessions)
    files = export(copy, "spin", "train")
    gone = forget(copy, keys[0])
    assert f"shards/{keys[0]}" in gone and not (copy / "shards" / keys[0]).exists()
    assert not files[0].exists()  # it held the session too
    left = load_manifest(copy)
    assert list(left.sessions) == [keys[1]] and not left.exports and list(check(copy)) == []
    assert not [f for f in copy.rglob("*") if f.is_file() and keys[0].encode() in f.read_bytes()]
    with pytest.raises(KinecastError, match="no session"):
        forget(copy, keys[0])
    forget(copy, left.sessions[keys[1]].name)
    assert not list(copy.glob("rigs/*"))


def test_spin_and_videopose3d_are_read_by_our_own_readers(copy: Path) -> None:
    spin = export(copy, "spin", "train")[0]
    with np.load(spin, allow_pickle=False) as file:
        assert {"imgname", "center", "scale", "part", "pose", "shape", "S", "openpose"} <= set(file.files)
        n = len(file["imgname"])
        assert file["pose"].shape == (n, 72) and file["part"].shape == (n, 24, 3) and file["S"].shape == (n, 24, 4)
        assert file["openpose"].shape == (n, 25, 3) and file["shape"].shape == (n, 10)
        S, part = file["S"], file["part"]
        assert (S[S[..., 3] > 0][:, 2] > 1).all() and (S[..., 3] > 0).mean() > 0.9  # before the camera, metres away
    assert len(read_labelled([spin])) > 0.9 * n
    assert np.isfinite(part).all()
    session = next(iter(load_manifest(copy).sessions.values()))
    both = export(copy, "videopose3d", "train")
    read = read_labelled(both)
    assert len(read) >= len(session.cameras)
    for view in read:
        # the cameras that the reader solves for from the pairs see the points where the pixels are
        seen = view.points_cam[..., :2] / view.points_cam[..., 2:]
        assert np.nanmedian(np.linalg.norm(seen - view.xy, axis=-1)) < 0.02  # 3 px are 0.004


def _evidence(n: int = 30) -> Evidence:
    rng = np.random.default_rng(0)
    points, zero = rng.normal(size=(26, 3)), np.zeros(n, np.bool_)
    body = np.tile(points, (n, 1, 1))
    return Evidence(
        np.arange(n) / 30, np.full(n, 4), np.full(n, 3.0), np.full(n, 0.95), np.full(n, 6.0), np.full(n, 0.02),
        body.copy(), body, np.zeros((n, 24, 3)), np.zeros(n), np.zeros((n - 1, 24)), zero, zero, zero,
    )  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_each_gate_refuses_its_own_and_nothing_else(reason: str) -> None:
    good, at = _evidence(), 10
    assert not apply_gates(good, Gates()).any()
    spoil = {
        "views": {"seen": 1}, "residual": {"residual_px": 20.0}, "other_views": {"apart_m": 0.3},
        "bones": {"points_m": 2.0 * good.points_m[at]}, "joint_limits": {"beyond_rad": 1.0},
        "speed": {"joints_m": np.ones((24, 3))}, "unseen": {"unseen": True}, "shape": {"shape": True},
    }[reason]  # fmt: skip
    changed = {name: getattr(good, name).copy() for name in spoil}
    for name, value in spoil.items():
        changed[name][at] = value
    refused = apply_gates(replace(good, **changed), Gates())
    bit = 1 << REASONS.index(reason)
    assert refused[at] == bit and set(np.flatnonzero(refused).tolist()) <= {at - 1, at, at + 1}
    assert bone_off(good.points_m, good.body_points_m).max() == 0


def test_splits_are_by_session_and_by_person_and_do_not_depend_on_the_rest() -> None:
    recipe = Recipe(test=20, validate=10)
    keys = [f"{k:016x}" for k in range(2000)]
    whole = [split_of(k, None, recipe) for k in keys]
    assert 0.15 < np.mean([s == "test" for s in whole]) < 0.25
    for key, split in zip(keys, whole, strict=True):
        people = {split_of(key, p, recipe) for p in range(4)}
        assert people == {"test"} if split == "test" else "test" not in people


def test_a_shard_is_checked_when_it_is_written_and_read(made: Path, tmp_path: Path) -> None:
    shard = read_shard(next(made.glob("shards/*/*.npz")))
    with pytest.raises(KinecastError, match="betas holds a number"):
        write_shard(tmp_path / "s.npz", replace(shard, betas=np.full_like(shard.betas, np.nan)))
    with pytest.raises(KinecastError, match="points_m is"):
        write_shard(tmp_path / "s.npz", replace(shard, points_m=shard.points_m[:, :17]))
    write_shard(tmp_path / "s.npz", shard)
    with zipfile.ZipFile(tmp_path / "s.npz") as file:
        assert len(file.namelist()) == len(fields(Shard))
    again = read_shard(tmp_path / "s.npz")
    assert all(np.array_equal(getattr(shard, f.name), getattr(again, f.name), equal_nan=True) for f in fields(Shard))


def _dies_once(path: Path, folder: Path, recipe: Recipe) -> Session:
    """As build_session, but the first worker is killed with a shard half written."""
    mark = folder / "killed"
    if not mark.exists():
        mark.touch()
        half = folder / "shards" / content_key(Recording.open(path)) / "person1-0000.npz"
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(b"PK half a shard")
        os.kill(os.getpid(), signal.SIGKILL)
    return build_session(path, folder, recipe)


@pytest.mark.alone
@pytest.mark.timeout(600)  # Ray and its workers start in seconds, or in a minute where every core is busy
def test_a_worker_killed_under_ray_leaves_the_same_manifest(made: Path, sessions: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'kinecast[ray]'")
    before = signal.getsignal(signal.SIGTERM)
    built = build(sessions, tmp_path / "set", RECIPE, workers=2, function=_dies_once)
    assert (tmp_path / "set" / "killed").exists() and not built.refused
    assert (tmp_path / "set" / MANIFEST).read_bytes() == (made / MANIFEST).read_bytes()
    assert signal.getsignal(signal.SIGTERM) is before, "Ray would keep its own: an ended command says 143"


def test_few_views_have_no_other_half_and_say_so(tmp_path: Path) -> None:
    path = record(tmp_path / "pair.mcap", 4, 15, Noise(2.0), cameras=2)
    build([path], tmp_path / "set", RECIPE)
    shard = next(iterate(tmp_path / "set"))[2]
    assert np.isnan(shard.other_px).all() and np.isnan(shard.apart_m).all()
