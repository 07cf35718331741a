"""Whatever goes wrong while a lifter is put in force, either all of it is or nothing is. Exams are not asked here."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.folder_lock import folder_lock
from kinecast.engines.lift.lifter import find_lifter, load_lifter
from kinecast.engines.lift.weights import read_lifter
from kinecast.engines.models.promoted import LIFTERS as store
from kinecast.nodes.cli import main as cli
from kinecast.nodes.promote import lifter
from tests.engines.lift.toy_lifter import write

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A candidate that passes every exam; an empty cache, and a toy that is shipped."""
    from kinecast.engines.lift.export import export_onnx

    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kinecast.engines.lift.lifter.FOLDER", tmp_path / "shipped")
    for folder in ("shipped", "run"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "shipped/lifter-causal-243.safetensors", channels=12)
    write(tmp_path / "run/lifter.safetensors", channels=8)
    monkeypatch.setattr(lifter, "_standing_benchmarks", lambda *_: {"toy": ()})
    monkeypatch.setattr(lifter, "gate_errors", lambda *_: [])
    monkeypatch.setattr(lifter, "write_report", lambda *_: [])
    monkeypatch.setattr(lifter, "parity", lambda file, path: [export_onnx(file, path)][:0])
    return tmp_path / "run"


def promoted(run: Path) -> int:
    return cli.main(["train", "promote", str(run)])


def nothing_in_force() -> bool:
    return store.read_state().current is None and find_lifter("default") == find_lifter("shipped")


def test_twice_is_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promoted(run) == 0
    now = store.read_state()
    assert now.current is not None and (cache_dir() / "models" / f"{now.current.name}.onnx").is_file()
    assert load_lifter("default", runtime="onnxruntime").name == now.current.name
    assert promoted(run) == 2 and "in force already" in capsys.readouterr().err
    assert store.read_state() == now and len(list(store.folder().glob("promoted-*"))) == 1


@pytest.mark.parametrize("where", ["/proc/x", "FILE", "FILE/below"])
def test_a_cache_that_cannot_be_written_is_told_before_the_exams(
    run: Path, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.parent / "file").write_text("mine")
    monkeypatch.setenv("KINECAST_CACHE", where.replace("FILE", str(run.parent / "file")))
    monkeypatch.setattr(lifter, "_standing_benchmarks", lambda *_: pytest.fail("asked"))
    assert promoted(run) == 2
    told = capsys.readouterr().err
    assert "KINECAST_CACHE" in told and len(told.splitlines()) == 1 and (run.parent / "file").read_text() == "mine"


def test_without_room_for_the_export_nothing_is_in_force(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache_dir().mkdir()
    (cache_dir() / "models").write_text("a file")
    assert promoted(run) == 2 and "cannot write" in capsys.readouterr().err and nothing_in_force()


def test_what_was_promoted_meanwhile_is_not_replaced(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(run.parent / "other.safetensors", channels=16)
    monkeypatch.setattr(lifter, "gate_errors", lambda *_: [store.install(other, "", "", "")][:0])
    assert promoted(run) == 2 and "is not in force any more: promote again" in capsys.readouterr().err
    assert read_lifter(find_lifter("default")).config.channels == 16


def test_two_do_not_change_what_is_in_force(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "rollback"]) == 2 and "nothing to roll back" in capsys.readouterr().err
    assert promoted(run) == 0
    with folder_lock(store.folder(), "putting a lifter in force"):
        assert cli.main(["train", "rollback"]) == 2
    assert "another process is putting a lifter in force there" in capsys.readouterr().err
    assert store.read_state().current is not None
    assert cli.main(["train", "rollback"]) == 0 and nothing_in_force()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("at", ["promoted-1.safetensors", ".onnx", "current.json"])
def test_a_signal_leaves_nothing_half_in_force(
    run: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int, at: str
) -> None:
    """It comes while one of the three files is about to be written."""

    def interrupted(real: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
        def writing(path: Path, content: bytes) -> None:
            if path.name.endswith(at):
                os.kill(os.getpid(), number)
            real(path, content)

        return writing

    monkeypatch.setattr("kinecast.nodes.promote.lifter.atomic_write", interrupted(atomic_write))
    monkeypatch.setattr("kinecast.engines.models.promoted.atomic_write", interrupted(atomic_write))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        assert promoted(run) == status
    finally:
        signal.signal(signal.SIGINT, before)
    assert nothing_in_force() and not list(cache_dir().rglob(".*"))
