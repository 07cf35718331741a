"""``kinecast bench shape``: a row for each person, told in millimetres of stature."""

from pathlib import Path

import pytest

from kinecast.nodes.bench import shape
from kinecast.nodes.cli import main as cli


def test_shapes_of_people_under_habits_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shape, "SHAPES", shape.SHAPES[:1])
    monkeypatch.setattr(shape, "SECONDS", 12.0)
    monkeypatch.setattr(shape, "RATE_HZ", 4.0)
    assert cli.main(["bench", "shape", "--json", str(tmp_path / "s.json")]) == 0
    assert "shape 0, blazepose-heavy" in (tmp_path / "s.json").read_text()
    assert "white noise" in (tmp_path / "s.json").read_text()
    one = shape.live(0, 1, seconds=12.0, rate_hz=4.0)
    assert abs(float(one.stature_m[-1])) < 0.04 and one.beta < 3.0 and one.flagged == 0 and one.open_s < 12.0
