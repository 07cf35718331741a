"""Imports fall one way: capture ◄ calibration ◄ engines ◄ nodes ◄ tests, and a stage never imports a sibling stage.

The check parses the code and needs no tool; the poisoned cases prove that it bites.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("capture", "calibration", "engines", "nodes", "tests")
STAGES = ("detect", "associate", "triangulate", "lift", "estimate", "body")
SOCKETS = ("zmq", "msgpack", "mcap")  # only nodes may know of sockets and recordings
FACE = ("nodes.cli", "nodes.commands", "nodes.viewer", "nodes.demo")  # nothing else imports what reaches the user


def imported(source: str) -> Iterator[str]:
    """Every module that the code imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{a.name}" for a in node.names)


def faults(path: str, source: str) -> list[str]:
    """What is wrong with the imports of the file at ``path`` (relative, with slashes)."""
    parts = path.removesuffix(".py").split("/")
    floor = FLOORS.index(parts[0])
    found = []
    for name in imported(source):
        words = name.split(".")
        if words[0] in FLOORS and FLOORS.index(words[0]) > floor:
            found.append(f"{path} imports {name}, which stands above it")
        if words[0] in SOCKETS and parts[0] in ("capture", "calibration", "engines"):
            found.append(f"{path} imports {name}: engines know no sockets")
        both_stages = parts[0] == words[0] == "engines" and parts[1] in STAGES and words[1:2] and words[1] in STAGES
        if both_stages and words[1] != parts[1]:
            found.append(f"{path} imports {name}, a sibling stage")
        inside = ".".join(parts)
        if any(name == f or name.startswith(f + ".") for f in FACE) and parts[0] == "nodes":
            own = inside.startswith(FACE) or inside in ("nodes.__main__", "nodes.child")
            if not own:
                found.append(f"{path} imports {name}: nothing imports a viewer or the command line")
    return found


def test_the_code_imports_downwards_only() -> None:
    files = [p for floor in FLOORS for p in (ROOT / floor).rglob("*.py")]
    assert len(files) > 20
    found = [f for p in files for f in faults(p.relative_to(ROOT).as_posix(), p.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("capture/a.py", "import calibration.camera"),
        ("calibration/a.py", "from engines.records import Poses"),
        ("engines/a.py", "from nodes import cli"),
        ("engines/a.py", "def f():\n    import nodes.cli"),
        ("engines/detect/a.py", "from engines.associate import views"),
        ("engines/detect/a.py", "from engines import triangulate"),
        ("engines/runtime/a.py", "import zmq"),
        ("capture/a.py", "from msgpack import packb"),
        ("nodes/fusion.py", "from nodes.viewer import window"),
        ("nodes/bus/a.py", "import nodes.cli"),
        ("nodes/supervisor.py", "from nodes.demo import run_demo"),
        ("nodes/a.py", "import tests.conftest"),
    ],
)
def test_a_poisoned_file_is_found(path: str, source: str) -> None:
    assert faults(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engines/detect/a.py", "from engines.records import People2D\nfrom engines.detect import b"),
        ("nodes/fusion.py", "from engines.associate import views\nimport zmq"),
        ("nodes/commands/render.py", "from nodes.viewer import overlay"),
    ],
)
def test_a_sound_file_passes(path: str, source: str) -> None:
    assert not faults(path, source)
