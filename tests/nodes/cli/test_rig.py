"""``kinecast rig``: convert keeps order and renames, check finds what cannot be right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.align import moved
from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.calibration.rig_check import rig_faults
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


def test_convert_says_what_it_took_for_granted_and_what_is_odd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The world of the first camera, in centimetres, as aniposelib leaves it: unit and axis are guesses, and said."""
    rig = ring_rig(4, (1280, 720), radius_m=3.0, seed=3)
    first = np.linalg.inv(rig.cameras[0].cam_from_world)
    own = Rig(tuple(replace(c, cam_from_world=c.cam_from_world @ first) for c in rig), "own", "-y")
    save_rig(own, tmp_path / "own.toml", "aniposelib", "cm")
    text = (tmp_path / "own.toml").read_text()
    (tmp_path / "own.toml").write_text(text[: text.index("[metadata]")])
    words = ["rig", "convert", str(tmp_path / "own.toml"), str(tmp_path / "out.toml")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "unit: mm, since the widest distance" in said and "up: -y" in said and "--align" in said
    assert "the world is that of camera 'cam01'" in said
    small = [*words[:3], str(tmp_path / "small.toml"), "--units", "mm", "--cameras", *own.names[:3]]
    assert main(small) == 0 and "is the unit of length right?" in capsys.readouterr().out  # 6 m of cm read as mm
    assert main([*words[:3], str(tmp_path / "right.toml"), "--units", "cm", "--align"]) == 0
    assert "aligned: z up" in capsys.readouterr().out
    right = load_rig(tmp_path / "right.toml")
    assert right.up == "z" and not rig_faults(right)
    for a, b in zip(rig, right, strict=True):  # as level as before, but for the ring's own lean
        assert -b.R[1] @ right.up_world == pytest.approx(-a.R[1] @ rig.up_world, abs=0.02)
    gaps = [np.linalg.norm(r.cameras[0].centre_world - r.cameras[2].centre_world) for r in (rig, right)]
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-6)


def test_align_by_a_floor_needs_its_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_rig(ring_rig(4), tmp_path / "rig.toml")
    words = ["rig", "convert", str(tmp_path / "rig.toml"), str(tmp_path / "out.toml"), "--align"]
    assert main([*words, str(tmp_path)]) == 2 and "--board" in capsys.readouterr().err
    assert main([*words, "--up", "x"]) == 2 and "does not go with it" in capsys.readouterr().err
    assert not (tmp_path / "out.toml").exists()


def test_cameras_on_their_side_and_small_rigs_are_named() -> None:
    rig = ring_rig(4)
    roll = np.eye(4)
    roll[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    rolled = replace(rig, cameras=(replace(rig.cameras[0], cam_from_world=roll @ rig.cameras[0].cam_from_world),
                                   *rig.cameras[1:]))  # fmt: skip
    assert [f for f in rig_faults(rolled) if "rolled by about 90°" in f and rig.names[0] in f]
    tenth = replace(rig, cameras=tuple(moved(rig, np.eye(4), 0.05)))
    assert [f for f in rig_faults(tenth) if "is the unit of length right?" in f]
    assert not rig_faults(rig)


def test_check_says_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of four cameras two were in the rig, and `check` found nothing wrong."""
    path = tmp_path / "c.qca.txt"
    assert main(["rig", "synth", "-o", str(path), "--cameras", "4"]) == 0
    text = path.read_text()
    path.write_text(text.replace('serial="cam02"', 'serial="cam02" calibrated="false"'))
    capsys.readouterr()
    assert main(["rig", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "left out: cam02 (calibrated is false)" in out and "3 cameras, nothing wrong found" in out
