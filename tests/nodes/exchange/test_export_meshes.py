"""Bodies as OBJ, and who is left out is said."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.body.model.load import load_body
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion.meshes import Mesher
from tests.nodes.fusion.toys import bodies
from tests.nodes.viewer import world


def test_an_obj_holds_everybody_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = {1: world.person(), 2: world.person(0.9)}
    path = world.record(tmp_path, [here] * 2, videos=False, bodies=lambda k, t: bodies(people=2 - k, seq=k, t_ns=t))
    assert cli.main(["export", str(path), "--to", "obj"]) == 0
    assert "2 files" in capsys.readouterr().out
    files = sorted((tmp_path / "session_obj").iterdir())
    assert [f.name for f in files] == ["000000.obj", "000001.obj"]
    lines = [line.split() for line in files[0].read_text().splitlines()]
    assert [w[1] for w in lines if w[0] == "o"] == ["person1", "person2"]
    got = np.array([w[1:] for w in lines if w[0] == "v"], float)
    want = Mesher().vertices(bodies(people=2)).reshape(-1, 3)
    np.testing.assert_allclose(got, want, atol=1e-5)  # written to 0.01 mm
    faces = np.array([w[1:] for w in lines if w[0] == "f"], int) - 1
    light = load_body("light").faces
    np.testing.assert_array_equal(faces, np.concatenate([light, light + len(want) // 2]))
    assert cli.main(["export", str(path), "--to", "obj", "--mesh", "full", "-o", str(tmp_path / "full")]) == 0
    assert len((tmp_path / "full/000001.obj").read_text().splitlines()) == 2 + 6898 + len(load_body("neutral").faces)


@pytest.mark.parametrize("kind", ["trc", "smpl"])
def test_nobody_seen_for_long_enough_is_said(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * 2, videos=False, bodies=lambda k, t: bodies(seq=k, t_ns=t))
    assert cli.main(["export", str(path), "--to", kind, "--min-frames", "3"]) == 2
    assert "nobody was seen in 3 frame sets" in capsys.readouterr().err
