"""What a command may write over, and what it may not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kinecast.calibration.formats import save_rig
from kinecast.capture.atomic_write import atomic_path, atomic_write, require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.cli.main import main


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(KinecastError, match="no file that could be replaced"), atomic_path(pipe, overwrite=True):
        pass
    with pytest.raises(KinecastError, match="no file that could be replaced"):
        atomic_write(pipe, "x")
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_an_output_is_named_as_what_it_is() -> None:
    assert require_suffix(Path("a/x.PNG"), ".png", ".pdf") == Path("a/x.PNG")
    with pytest.raises(KinecastError, match=r"session.mcap: the name must end in .png or .pdf"):
        require_suffix(Path("session.mcap"), ".png", ".pdf")


def test_a_folder_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(KinecastError, match=r"cannot write .*choose a folder of yours")
    with refused, atomic_path(tmp_path / "file" / "x", overwrite=True):
        pass


@pytest.mark.parametrize("word", ["--size 0 0", "--radius-m nan", "--radius-m -5", "--seed -1", "--cameras 1"])
def test_a_synthetic_rig_that_cannot_be(tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rig.toml"
    assert main(["rig", "synth", "-o", str(out), *word.split()]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not out.exists()


def test_an_unknown_part_of_the_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "parts", "nope"]) == 2
    assert "there are codec" in capsys.readouterr().err


def test_run_says_what_cannot_be_right_with_the_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = ring_rig(2, (320, 240))
    twin = replace(rig["cam01"], name="cam02")
    save_rig(replace(rig, cameras=(rig["cam01"], twin)), tmp_path / "rig.toml")
    nodes = "".join(f"  {n}: {{kind: camera, source: {{kind: synthetic}}}}\n" for n in rig.names)
    file = tmp_path / "launch.yaml"
    file.write_text(f"version: 1\nsession: {{out: launch.yaml}}\nnodes:\n{nodes}  fusion: {{kind: fusion}}\n")
    assert main(["run", str(file)]) == 2  # the folder cannot be made, so nothing is started
    assert "cameras 'cam01' and 'cam02' stand at one place" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["evaluate x synthetic --gate-m nan", "evaluate x synthetic --fps 0", "render x --height 0"]
)
def test_a_number_that_cannot_be_is_refused_before_the_work(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert "from 0 to" in (said := capsys.readouterr().err) or "expected 120 to 4320" in said
