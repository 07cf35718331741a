"""Where torch is not installed every command is there, and what needs it says so in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
from kinecast.nodes.cli.main import COMMANDS, command_parser, main
for name in COMMANDS:
    command_parser(name)
for line in sys.argv[1:]:
    print(line, main(line.split()))
"""
NEED = (
    "train lifter motion -o out", "train retrain recipe.toml -o out", "train promote run", "train regressor m -o out",
    "train occlusion m -o o.toml", "bench learning-curve motion -o out", "evaluate lifter motion",
    "evaluate regressor motion",
)  # fmt: skip


@pytest.mark.timeout(240)
def test_what_needs_torch_says_so_in_a_line(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, *NEED]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines() == [f"{line} 2" for line in NEED], done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(NEED)
    assert all("training needs t" in line and "pip install -c constraints.txt -e" in line for line in said)
    assert list(tmp_path.iterdir()) == []
