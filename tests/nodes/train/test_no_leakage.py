"""What is kept for promotion is not learned from, in whatever shape it comes; what was forgotten is not promoted."""

from dataclasses import replace
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock
from kinecast.engines.train.data.shards import MANIFEST, Manifest, Session, load_manifest
from kinecast.engines.train.recipe import Recipe
from kinecast.nodes.cli import main as cli
from kinecast.nodes.dataset.session import content_and_sketch
from kinecast.nodes.recording.derive import derived_recording
from kinecast.nodes.recording.file import LAUNCH, RIG, Recording
from tests.nodes.dataset.toy import record

pytest.importorskip("torch")


def copied(path: Path, out: Path, share: float) -> Path:
    """As `kinecast smooth` and `fit` make one: of another id, with the keypoints of the first."""
    recording = Recording.open(path)
    messages = list(recording.raw())
    with out.open("wb") as stream:
        writer = derived_recording(
            stream, recording, "smooth", (recording.attachment(LAUNCH) or b"").decode(), out.name
        )
        for stamp, payload in messages[: round(share * len(messages))]:
            writer.write(stamp, payload)
        writer.finish()
    assert Recording.open(out).attachment(RIG)
    return out


def data_set(folder: Path, recording: Path, split: str) -> Path:
    key, sketch = content_and_sketch(Recording.open(recording))
    told = Session(key, "kept.mcap", "", "", (), "rigs/r.toml", "", "0", split, (), {}, (), sketch)
    folder.mkdir(exist_ok=True)
    Manifest("toy", {}, sessions={key: told}).save(folder)
    return folder


def test_a_kept_session_among_the_recordings_is_refused_also_as_a_copy_or_a_part(tmp_path: Path) -> None:
    from kinecast.nodes.train.retrain import _apart, _free

    walk, other = record(tmp_path / "walk.mcap", 1), record(tmp_path / "other.mcap", 2)
    recipe = Recipe(datasets=(str(data_set(tmp_path / "data", walk, "test")),))
    for path in (walk, copied(walk, tmp_path / "smooth.mcap", 1.0), copied(walk, tmp_path / "part.mcap", 0.6)):
        with pytest.raises(KinecastError, match=r"\(kept\.mcap\), which is kept for promotion: take it from"):
            _free(path, _apart(recipe))
    assert _free(other, _apart(recipe)) == other
    data_set(tmp_path / "data", walk, "train")
    assert _free(walk, _apart(recipe)) == walk


def test_a_run_knows_when_a_session_of_it_was_forgotten(tmp_path: Path) -> None:
    from kinecast.nodes.train.retrain import RUN, Run, begin, read_run

    data = data_set(tmp_path / "data", record(tmp_path / "walk.mcap", 1), "train")
    key = next(iter(load_manifest(data).sessions))
    run = Run(Recipe(datasets=(str(data),)), "", {}, (key,))
    begin(tmp_path / "run", run)
    assert read_run(tmp_path / "run").sessions == (key,)
    read_run(tmp_path / "run").check_sessions()
    Manifest("toy", {}).save(data)
    with pytest.raises(KinecastError, match=f"1 sessions that this run learned from are forgotten .{key}.: retrain"):
        read_run(tmp_path / "run").check_sessions()
    text = (tmp_path / "run" / RUN).read_text().replace('"sessions"', '"older"')
    (tmp_path / "run" / RUN).write_text(text)  # as runs were written before
    read_run(tmp_path / "run").check_sessions()
    assert replace(run, sessions=()) == read_run(tmp_path / "run")


def test_a_session_learned_from_is_not_judged_by_also_as_a_part(tmp_path: Path) -> None:
    from kinecast.nodes.promote.lifter import promote
    from kinecast.nodes.train.retrain import RUN, Run, begin

    walk, other = record(tmp_path / "walk.mcap", 1), record(tmp_path / "other.mcap", 2)
    data, run = data_set(tmp_path / "data", walk, "train"), tmp_path / "run"
    begin(run, Run(Recipe(datasets=(str(data),)), "", {}, tuple(load_manifest(data).sessions)))
    whole = data_set(tmp_path / "whole", walk, "test")
    part = data_set(tmp_path / "part", copied(walk, tmp_path / "part.mcap", 0.6), "test")
    fine = data_set(tmp_path / "fine", other, "test")
    for sessions in ("sessions", "older"):  # the second as runs were written before
        (run / RUN).write_text((run / RUN).read_text().replace('"sessions"', f'"{sessions}"'))
        for folder in (whole, part):
            key = next(iter(load_manifest(folder).sessions))
            with pytest.raises(KinecastError, match=rf"session {key} \(kept\.mcap\) is to be judged by, and this"):
                promote(run, datasets=[fine, folder], check=True)
        with pytest.raises(KinecastError, match=r"no lifter\.safetensors in it"):  # what is asked after it
            promote(run, datasets=[fine], check=True)
    data_set(data, walk, "test")  # built anew with another --test
    (run / RUN).write_text((run / RUN).read_text().replace('"older"', '"sessions"'))
    with pytest.raises(KinecastError, match="build the data set with the same --test, or leave it out"):
        promote(run, check=True)


def test_two_do_not_train_in_one_folder(tmp_path: Path) -> None:
    from kinecast.nodes.train.retrain import retrain

    data = data_set(tmp_path / "data", record(tmp_path / "walk.mcap", 1), "train")
    (tmp_path / "recipe.toml").write_text(f'kinecast_recipe = 1\nbase = ""\ndatasets = ["{data}"]\n')
    (tmp_path / "run").mkdir()
    with (
        folder_lock(tmp_path / "run", "training"),
        pytest.raises(KinecastError, match="another process is training there"),
    ):
        retrain(tmp_path / "recipe.toml", tmp_path / "run")


def test_a_data_set_of_another_version_is_refused_by_every_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    Manifest("toy", {}).save(data)
    old = (data / MANIFEST).read_text().replace('"version": 1', '"version": 0')
    (data / MANIFEST).write_text(old)
    (tmp_path / "recipe.toml").write_text(f'kinecast_recipe = 1\nbase = ""\ndatasets = ["{data}"]\n')
    out, motion = tmp_path / "run", tmp_path / "motion"
    motion.mkdir()
    for words in (
        ["retrain", tmp_path / "recipe.toml"],
        ["regressor", "--datasets", data],
        ["prior", motion, "--datasets", data],
    ):
        assert cli.main(["train", *map(str, words), "-o", str(out)]) == 2
        told = capsys.readouterr().err
        assert "manifest.json: version 0, but this Kinecast reads version 1; build the data set again" in told
        assert not (out / "lifter.safetensors").exists() and (data / MANIFEST).read_text() == old
