"""``kinecast rig``: convert keeps order and renames, check finds what cannot be right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.cli.main import main


def test_synth_show_check_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig, other = str(tmp_path / "rig.toml"), str(tmp_path / "other.qca.txt")
    assert main(["rig", "synth", "--cameras", "3", "-o", rig]) == 0
    assert main(["rig", "show", rig]) == 0
    assert "cam03" in capsys.readouterr().out
    assert main(["rig", "check", rig]) == 0
    assert main(["rig", "convert", rig, other, "--rename", "cam01=north", "--cameras", "cam03", "north"]) == 0
    assert load_rig(other).names == ("cam03", "north")
    assert main(["rig", "convert", rig, other, "--rename", "cam9=north"]) == 2
    assert "cam9=north" in capsys.readouterr().err
    assert main(["rig", "convert", rig, other, "--cameras", "cam9"]) == 2


@pytest.mark.parametrize("words", [["--size", "640x480"], ["--size", "640", "480"], ["--size=640×480"]])
def test_a_size_is_one_word_or_two(tmp_path: Path, words: list[str]) -> None:
    rig = str(tmp_path / "rig.toml")
    assert main(["rig", "synth", *words, "-o", rig]) == 0
    assert load_rig(rig).cameras[0].size_px == (640, 480)
    assert main(["rig", "show", *words, rig]) == 0


def broken(kind: str, rig: Rig) -> Rig:
    a, *rest = rig
    T = np.array(a.cam_from_world)
    if kind == "one place":
        a = replace(a, cam_from_world=rest[0].cam_from_world)
    elif kind == "upside down":
        a = replace(a, cam_from_world=np.diag([-1.0, -1, 1, 1]) @ T)
    elif kind == "look away":
        a = replace(a, cam_from_world=np.diag([-1.0, 1, -1, 1]) @ T)
    elif kind == "principal point":
        a = replace(a, K=a.K + np.array([[0, 0, 500.0], [0, 0, 0], [0, 0, 0]]))
    elif kind == "no inverse":
        a = replace(a, distortion=np.array([-0.5, 0.0, 0.0, 0.0]))
    elif kind == "unit":

        def far(c: Camera) -> Camera:
            M = np.array(c.cam_from_world)
            M[:3, 3] *= 1000
            return replace(c, cam_from_world=M)

        return Rig(tuple(far(c) for c in rig))
    return Rig((a, *rest))


@pytest.mark.parametrize("kind", ["one place", "upside down", "look away", "principal point", "no inverse", "unit"])
def test_check_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path / "rig.toml"
    save_rig(broken(kind, ring_rig(4)), path)
    assert main(["rig", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert kind in out and ("cam01" in out or kind == "unit")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\\\\b", ".hidden", "a\\u0000b"])
def test_a_name_that_would_be_a_path_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rig = tmp_path / "rig.toml"
    assert main(["rig", "synth", "-o", str(rig)]) == 0
    rig.write_text(rig.read_text().replace('"cam01"', f'"{name}"'))
    assert main(["rig", "check", str(rig)]) == 2
    assert "cannot name a camera" in capsys.readouterr().err
