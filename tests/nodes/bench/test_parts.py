"""``kinecast bench``: parts run, on little data, and their rows are printed and written. Nothing is said of speed."""

import json
from pathlib import Path

import pytest

from kinecast.nodes.bench import bus, crowd, fusion, prediction, recorder, replay
from kinecast.nodes.cli.main import main


def test_parts_are_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (bus, "PACED", 20), (bus, "FLOOD", 50), (recorder, "MESSAGES", 50), (replay, "SECONDS", 1),
        (fusion, "SIZES", ((3, 1, None),)), (fusion, "WHOLE", ()), (fusion, "FRAMES", 4),
        (crowd, "SCENES", ((3, 1, "cross"),)), (crowd, "SECONDS", 3),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "rows.json"
    parts = ["codec", "bus", "recorder", "replay", "fusion", "crowd"]
    assert main(["bench", "parts", *parts, "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert [p for p in parts if not any(row["name"].startswith(p) for row in rows)] == []
    assert all(row["value"] >= 0 for row in rows)
    shown = capsys.readouterr().out
    assert all(row["name"] in shown for row in rows)
    assert any("bit-identical" in row["note"] for row in rows if row["name"].startswith("replay"))
    assert main(["bench", "codec"]) == 0
    assert "codec: encode poses" in capsys.readouterr().out


def test_rigs_from_people_are_compared_with_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "calibrate-people", "--walk-s", "8", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "4 cameras in a ring" in said and "of 1" in said
    assert main(["bench", "calibrate-people", "--walk-s", "1"]) == 2
    assert "--walk-s is from 2 to 600" in capsys.readouterr().err


def test_poses_carried_ahead_are_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "FRAMES", 150)
    rows = {row.name: row.value for row in prediction.run()}
    assert rows["0 ms ahead, predicted: median"] == pytest.approx(rows["0 ms ahead, as captured: median"], abs=0.01)
    assert rows["50 ms ahead, as captured: p95"] > rows["0 ms ahead, as captured: p95"]
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["bench", "prediction"]) == 0
    assert "50 ms ahead, predicted: p95" in capsys.readouterr().out
