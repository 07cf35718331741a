"""Pages of rigs from people: the verdict stands where it must, and every camera with its numbers."""

from pathlib import Path

import pytest

from kinecast.calibration.formats import save_rig
from kinecast.calibration.people.camera_poses import camera_poses_of
from kinecast.calibration.report import figures
from kinecast.engines.synth import World, ring_rig
from kinecast.nodes.cli import main as cli
from tests.calibration.people.walks import kicked, record, views

RIG = ring_rig(4, seed=5)


def test_pages_of_refine_and_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "still.mcap", RIG, views(RIG, 10.0, {}, {}))
    save_rig(RIG, tmp_path / "right.toml")
    save_rig(kicked(camera_poses_of(RIG), 0.02, 0.0035).on(RIG), tmp_path / "off.toml")
    page = tmp_path / "page.html"

    def run(*words: object) -> tuple[int, str]:
        status = cli.main(["calibrate", *map(str, words), "--report", str(page)])
        return status, page.read_text()

    monkeypatch.setattr(figures, "available", lambda: False)
    status, text = run("refine", tmp_path / "right.toml", tmp_path / "still.mcap")
    warned = text.index('class="warn"')
    assert status == 1 and text.index("keep the supplied rig") > warned and "<img" not in text
    assert all(f"<td>{n}</td>" in text for n in RIG.names)
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    status, text = run("refine", tmp_path / "off.toml", tmp_path / "still.mcap")
    assert status == 0 and "speaks against" in text and "use the refined rig" in text
    assert text.count("<img") == 2 and "http" not in text
    stature = f"{float(World(1, 5).height_m[0]):.4f}"
    status, text = run("people", tmp_path / "still.mcap", "--stature", stature)
    assert text.count("<img") == 2 and "a stature of" in text and all(f"<td>{n}</td>" in text for n in RIG.names)
