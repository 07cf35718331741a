"""``kinecast dataset habits``: from recordings to a table of what a detector does wrong all the time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.habits.limb_frames import KINDS
from kinecast.engines.habits.table import load_habits
from kinecast.engines.synth.habitual import HabitualDetector
from kinecast.engines.synth.lasting import SHAPES, lasting_scene
from kinecast.nodes.cli.main import main
from tests.nodes.dataset import toy


def test_habits_are_fitted_from_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ankles that are seen 4 cm too high are found to be: over the heels, as a shorter leg would explain the rest."""
    k = len(KINDS)
    offset = np.zeros((k, 3, 5))
    offset[KINDS.index("ankle"), 2, 0] = 0.04
    none, ones = (0.0,) * k, (1.0,) * k
    table = replace(
        load_habits("blazepose-heavy"), offset_m=tuple(tuple(map(tuple, o)) for o in offset.tolist()),
        offset_sd_m=((0.0,) * 3,) * k, view_m=none, slow_m=(0.004,) * k, fast_m=(0.004,) * k, tails=0.0,
        hidden_other=none, hidden_slow=ones, swap_hz=0.0,
    )  # fmt: skip
    life = lasting_scene(HabitualDetector(table), seconds=10, people=1, seed=4)
    session = toy.record_messages(tmp_path / "a.mcap", life.rig, life.messages(), "synthetic:daily", fps_hz=25.0)
    assert main(["dataset", "habits", str(session), "-o", str(tmp_path / "toy.toml")]) == 0
    told = capsys.readouterr().out
    assert "a person 1: 250 frames, stature" in told and "round 4" in told
    found = load_habits(tmp_path / "toy.toml")
    assert found.detector == "toy" and found.source.startswith("a.mcap: ")
    up = np.array(found.offset_m)[:, 2, 0]
    assert up[KINDS.index("ankle")] - up[KINDS.index("heel")] == pytest.approx(0.04, abs=0.01)
    assert up[KINDS.index("ankle")] > 0.01
    others = [i for i, n in enumerate(KINDS) if n in ("hip", "shoulder", "elbow", "nose")]
    assert np.abs(up[others]).max() < 0.015
    stature = life.body.stature_m(SHAPES[0])
    assert abs(float(told.split("stature ")[1].split(" m")[0]) - stature) < 0.05


def test_nobody_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = toy.record(tmp_path / "short.mcap", 1, frames=10)
    assert main(["dataset", "habits", str(session), "-o", str(tmp_path / "b.toml")]) == 2
    assert "nobody was fused for 40 frames" in capsys.readouterr().err
    assert main(["dataset", "habits", str(session), "-o", str(tmp_path / "b.json")]) == 2
