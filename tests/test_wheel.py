"""The wheel holds the four floors with all that they read, no tests, and runs without this folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("capture", "calibration", "engines", "nodes")
DATA = (".toml", ".npz", ".safetensors", ".html", ".js", ".css")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left here, and with what is installed, so that nothing is fetched."""
    copy = tmp_path_factory.mktemp("wheel") / "kinecast"
    for floor in FLOORS:
        shutil.copytree(ROOT / floor, copy / floor, ignore=shutil.ignore_patterns("__pycache__", "*.onnx", "*.engine"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    done = subprocess.run([*command, "-w", "dist", "."], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "dist").iterdir()
    return built


def test_it_holds_what_the_folders_hold(wheel: Path) -> None:
    files = [p for floor in FLOORS for p in (ROOT / floor).rglob("*") if p.suffix in (".py", *DATA)]
    wanted = {f"kinecast/{p.relative_to(ROOT).as_posix()}" for p in files}
    assert len(wanted) > 300 and {Path(name).suffix for name in wanted} == {".py", *DATA}
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert wanted <= held
    # the pages that stand beside weights go with them; nothing else does
    assert {Path(name).suffix for name in held - wanted} <= {".md"} and not [n for n in held if "/test" in n]


def test_its_command_runs_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    say = "import kinecast.nodes.cli.main, kinecast.engines; print(kinecast.engines.__file__)"
    for command in (["-c", say], ["-m", "kinecast.nodes", "models", "list"]):
        done = subprocess.run([sys.executable, *command], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        where = str(tmp_path / "site") if command[0] == "-c" else "pose_landmark_heavy"
        assert where in done.stdout
