"""``kinecast doctor``: it looks for what is really there, and says what is missing with its remedy."""

import ast
import importlib

import pytest

from kinecast.nodes.cli.commands import doctor
from kinecast.nodes.cli.commands.doctor import CHECKS, Check, look
from kinecast.nodes.cli.main import main
from kinecast.nodes.viewer import scene_open3d


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.name)
def test_what_a_check_imports_of_ours_is_there(check: Check) -> None:
    for node in ast.walk(ast.parse(check.code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kinecast"):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_probe_says_why_open3d_does_not_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("No module named 'open3d'")

    monkeypatch.setattr(scene_open3d, "RemoteOpen3D", refuse)
    assert scene_open3d.probe().startswith("Open3D is not to be had here (No module named 'open3d')")
    monkeypatch.setattr(scene_open3d, "RemoteOpen3D", lambda scene, size_px: scene_open3d.LineRenderer(scene))
    assert scene_open3d.probe() == ""


def test_what_is_missing_is_said_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    numba = next(c for c in CHECKS if c.name == "numba")
    extra = Check("extra", "import no_such_library", False, "pip install it", "the rest works")
    monkeypatch.setattr(doctor, "CHECKS", (numba, extra))
    monkeypatch.setenv("COLUMNS", "200")
    assert look(numba)[0] and not look(extra)[0]
    assert main(["doctor"]) == 0  # nothing that is needed is missing
    said = capsys.readouterr().out
    assert "No module named 'no_such_library'" in said and "pip install it" in said and "numba" in said
    monkeypatch.setattr(doctor, "CHECKS", (numba, Check("extra", extra.code, True, "pip install it")))
    assert main(["doctor", "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "nothing works" in said and "numba" not in said
