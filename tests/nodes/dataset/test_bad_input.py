"""What a careless or unlucky user does to a data set is named or mended, and nothing outside of it is touched."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock
from kinecast.engines.train.data.shards import MANIFEST, load_manifest
from kinecast.nodes.cli import main as cli
from kinecast.nodes.dataset.build import build, check, forget
from kinecast.nodes.dataset.session import SKETCH, Recipe, content_and_sketch, load_finished
from kinecast.nodes.recording.file import About, Recording, RecordingWriter
from tests.nodes.dataset.toy import record

pytest.importorskip("torch")

RECIPE = Recipe(device="cpu", test=0, validate=0)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("walk") / "walk.mcap", 1)


@pytest.fixture(scope="module")
def made(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert not build([walk], folder, RECIPE).refused
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A data set of one's own to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def key_of(folder: Path) -> str:
    return next(iter(load_manifest(folder).sessions))


def part_of(path: Path, out: Path, share: float) -> Path:
    """The first messages of a recording as a whole recording of its own, as one that is damaged further on."""
    recording = Recording.open(path)
    messages = list(recording.raw())
    with out.open("wb") as stream:
        writer = RecordingWriter(stream, About("another", "another"), out.name)
        for name in ("rig.toml", "launch.yaml"):
            writer.attach(name, recording.attachment(name) or b"")
        for stamp, payload in messages[: round(share * len(messages))]:
            writer.write(stamp, payload)
        writer.finish()
    return out


def test_a_recording_without_its_end_waits(walk: Path, tmp_path: Path) -> None:
    """What is recorded now has another key when it is whole: the same people would be there twice."""
    growing = tmp_path / "growing.mcap"
    growing.write_bytes(walk.read_bytes()[:-100])
    built = build([growing], tmp_path / "set", RECIPE)
    assert "it has no end: wait until it is recorded" in built.refused[str(growing)]
    assert not list((tmp_path / "set").rglob("*"))


def test_a_part_of_a_session_is_told_from_its_content(walk: Path, copy: Path, tmp_path: Path) -> None:
    part = part_of(walk, tmp_path / "part.mcap", 0.6)
    (key, sketch), (other, theirs) = (content_and_sketch(Recording.open(p)) for p in (part, walk))
    assert key != other and len(theirs) == SKETCH and set(sketch) & set(theirs)
    assert not set(theirs) & set(content_and_sketch(Recording.open(record(tmp_path / "x.mcap", 2)))[1])
    before = (copy / MANIFEST).read_bytes()
    built = build([part], copy, RECIPE)
    assert f"it shares frames with walk.mcap ({other})" in built.refused[str(part)]
    assert (copy / MANIFEST).read_bytes() == before and list(check(copy)) == []
    assert not (copy / "shards" / key).exists()
    manifest = load_manifest(copy)  # as where both got in before parts were told
    manifest.sessions[key] = replace(manifest.sessions[other], key=key, sketch=sketch, shards=())
    manifest.save(copy)
    assert build([part], copy, RECIPE).refused and (copy / "shards" / key).exists()


def test_two_names_of_a_session_give_the_first_in_any_order(walk: Path, tmp_path: Path) -> None:
    names = [tmp_path / "b.mcap", tmp_path / "a.mcap"]
    for name in names:
        name.write_bytes(walk.read_bytes())
    manifests = []
    for folder, order in (("set", names), ("other", names[::-1])):
        build(order, tmp_path / folder, RECIPE)
        manifests.append((tmp_path / folder / MANIFEST).read_bytes())
    assert manifests[0] == manifests[1] and b'"name": "a.mcap"' in manifests[0]
    with pytest.raises(KinecastError, match=r"no session 'b\.mcap'"):
        forget(tmp_path / "set", "b.mcap")
    forget(tmp_path / "set", str(names[0]))  # by its content
    assert not load_manifest(tmp_path / "set").sessions


@pytest.mark.parametrize("where", ["../walk.mcap", "shards/../../walk.mcap", "/etc/passwd", "shards/KEY/..", "rigs/x"])
def test_a_manifest_that_points_elsewhere_is_refused(copy: Path, where: str) -> None:
    outside = copy.parent / "walk.mcap"
    outside.write_text("mine")
    table, key = json.loads((copy / MANIFEST).read_text()), key_of(copy)
    where = where.replace("KEY", key)

    def spoilt(change: Any) -> None:
        other = json.loads(json.dumps(table))
        change(other)
        (copy / MANIFEST).write_text(json.dumps(other))
        for act in (lambda: load_manifest(copy), lambda: forget(copy, key), lambda: list(check(copy))):
            with pytest.raises(KinecastError, match=r"manifest\.json: the manifest lacks or mistakes .*take it away"):
                act()

    spoilt(lambda t: t["sessions"][key]["shards"][0].update(file=where))
    spoilt(lambda t: t["exports"].update({where: [key]}))
    spoilt(lambda t: t["sessions"].update({where: t["sessions"].pop(key) | {"key": where}}))
    spoilt(lambda t: t["sessions"][key]["shards"][0].update(frames="ten"))
    spoilt(lambda t: t["sessions"][key].update(refused=None))
    assert outside.read_text() == "mine" and list(copy.glob("shards/*/*.npz"))


def test_what_another_body_or_rig_left_is_not_taken(copy: Path, walk: Path) -> None:
    key = key_of(copy)
    assert load_finished(copy, key, RECIPE) is not None
    assert load_finished(copy, key, replace(RECIPE, body="male")) is None
    assert load_finished(copy, key, replace(RECIPE, test=5)) is None
    rig = next(copy.glob("rigs/*"))
    good = rig.read_bytes()
    rig.write_text("x")
    assert any("missing or changed" in line for line in check(copy)) and load_finished(copy, key, RECIPE) is None
    rig.unlink()
    assert any("missing or changed" in line for line in check(copy))
    build([walk], copy, RECIPE)
    assert rig.read_bytes() == good and list(check(copy)) == []
    for spoilt in ("[]", "3", '{"session": {"shards": []}}'):
        (copy / "shards" / key / "session.json").write_text(spoilt)
        assert load_finished(copy, key, RECIPE) is None


def test_one_process_at_a_time_changes_a_data_set(copy: Path, walk: Path) -> None:
    with folder_lock(copy, "building"):
        for act in (lambda: build([walk], copy, RECIPE), lambda: forget(copy, "walk.mcap")):
            with pytest.raises(KinecastError, match="another process is changing the data set there"):
                act()
    assert list(check(copy)) == []


def test_forgetting_takes_what_a_broken_off_build_or_export_left(copy: Path) -> None:
    key = key_of(copy)
    (copy / "exports").mkdir()
    for name in ("exports/.spin_train.npz.abc", "exports/spin_test.npz", f"shards/{key}/.person1-0000.npz.x"):
        (copy / name).write_text("half")
    assert len(list(check(copy))) == 3
    table = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(table | {"sessions": {}}))  # as a build leaves it that never ended
    forget(copy, "walk.mcap")
    assert [p.name for p in copy.rglob("*") if p.is_file()] == [MANIFEST]


def test_what_cannot_be_deleted_stays_in_the_manifest(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as m, pytest.raises(KinecastError, match=r"cannot be deleted .*still in the data set"):
        m.setattr("kinecast.nodes.dataset.build.shutil.rmtree", refuse)
        forget(copy, "walk.mcap")
    assert key_of(copy)
    forget(copy, "walk.mcap")
    assert not load_manifest(copy).sessions


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--test", "200"], "test is 200: give percent"),
        (["--validate", "-5"], "validate is -5"),
        (["--apart-m", "nan"], "the gate apart_m is nan"),
        (["--views", "-1"], "the gate views is -1"),
        (["--workers", "0"], "--workers is 0"),
    ],
)
def test_numbers_that_cannot_be_meant(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    argv = ["dataset", "build", str(walk), "-o", str(tmp_path / "set"), "--device", "cpu", *words]
    assert cli.main(argv) == 2
    assert told in capsys.readouterr().err and not list(tmp_path.rglob("*.npz"))
