"""Imports fall one way, on every storey of the house; the check parses the code and needs no tool.

Floors: capture ◄ calibration ◄ engines ◄ nodes ◄ tests. In ``engines`` a stage never imports a sibling stage. In
``nodes`` the rooms stand in the order of the data, and a file imports only from its own room and those before it. No
two folders import each other, by whatever way round. The poisoned cases prove that each rule bites.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("capture", "calibration", "engines", "nodes", "tests")
STAGES = ("detect", "associate", "triangulate", "lift", "estimate", "body")
SOCKETS = ("zmq", "msgpack", "mcap")  # only nodes may know of sockets and recordings
ROOMS = (
    "graph", "bus", "supervise", "camera", "fusion", "recording", "viewer", "calibrate", "reprocess", "exchange",
    "stream", "web", "dataset", "train", "evaluate", "promote", "demo", "bench", "cli",
)  # fmt: skip
LAST = ("demo", "bench", "cli")  # what reaches the user: no other room imports these, but for the command line


def imported(source: str) -> Iterator[str]:
    """Every module that the code imports, at any depth; ours without ``kinecast.``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("kinecast.") for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = (node.module or "").removeprefix("kinecast.")
            yield module
            yield from (f"{module}.{a.name}" for a in node.names)


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
        if both_stages and words[1] != parts[1] and parts[1:3] != ["body", "make"]:
            found.append(f"{path} imports {name}, a sibling stage")
        if parts[0] == words[0] == "nodes" and len(words) > 1 and path != "nodes/__main__.py":
            found += _room_faults(path, parts[1] if len(parts) > 2 else "", name, words[1])
    return found


def _room_faults(path: str, own: str, name: str, other: str) -> list[str]:
    if own not in ROOMS:
        return [f"{path} stands in no room of {', '.join(ROOMS)}"]
    if other not in ROOMS:
        return []  # a plain name of the package itself; a file that stands in no room is told above
    if other in LAST and own not in (other, "cli"):
        return [f"{path} imports {name}: nothing imports what reaches the user"]
    if ROOMS.index(other) > ROOMS.index(own):
        return [f"{path} imports {name}, a room that comes after its own"]
    return []


def folder_arrows(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Folder → the folders that its files import from. A file beside folders counts as a folder of its own."""
    modules = {p.removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in sources}
    folders = {p.rpartition("/")[0] for p in sources}
    beside = {f for f in folders if any(g.startswith(f + "/") for g in folders)}
    place = {p: p if p.rpartition("/")[0] in beside else p.rpartition("/")[0] for p in sources}
    arrows: dict[str, set[str]] = {unit: set() for unit in place.values()}
    for path, source in sources.items():
        for name in imported(source):
            target = place.get(modules.get(name, ""))
            if target and target != place[path]:
                arrows[place[path]].add(target)
    return arrows


def circle(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """A way that comes back to where it began; [] where there is none."""
    done: set[str] = set()

    def walk(unit: str, way: list[str]) -> list[str]:
        if unit in way:
            return [*way[way.index(unit) :], unit]
        if unit in done:
            return []
        for other in sorted(arrows.get(unit, ())):
            if found := walk(other, [*way, unit]):
                return found
        done.add(unit)
        return []

    return next((found for unit in sorted(arrows) if (found := walk(unit, []))), [])


def product() -> dict[str, str]:
    """Path → text of every file of the product."""
    files = [p for floor in FLOORS[:-1] for p in (ROOT / floor).rglob("*.py")]
    assert len(files) > 20
    return {p.relative_to(ROOT).as_posix(): p.read_text() for p in files}


def test_the_code_imports_downwards_only() -> None:
    tests = {p.relative_to(ROOT).as_posix(): p.read_text() for p in (ROOT / "tests").rglob("*.py")}
    found = [f for path, source in (product() | tests).items() for f in faults(path, source)]
    assert not found, "\n".join(found)


def test_no_folders_import_each_other() -> None:
    found = circle(folder_arrows(product()))
    assert not found, " → ".join(found)


def borrowed(source: str) -> list[str]:
    """Test files that the code imports, or a script that stands in it does: helpers have files of their own."""
    words = [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    scripts = [name for text in words for name in re.findall(r"\n *(?:from|import) (tests\.\S+)", text)]
    return [name for name in (*imported(source), *scripts) if re.search(r"^tests\..*\btest_", name)]


def test_no_test_file_imports_another() -> None:
    found = [f"{p} imports {n}" for p in sorted((ROOT / "tests").rglob("*.py")) for n in borrowed(p.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "lines",
    [
        ["from tests.nodes.fusion.test_core import run"],
        ["import tests.nodes.fusion.test_core"],
        ["from tests.nodes.fusion import test_core"],
        ["def f():", "    from tests.test_children import FAMILY"],
        ["SCRIPT = '''", "from tests.engines.test_a import b", "'''"],
    ],
)
def test_a_borrowed_helper_is_found(lines: list[str]) -> None:
    assert borrowed("\n".join(lines))


def test_the_tests_stand_as_what_they_test() -> None:
    """Every folder of tests below a floor is a folder of the product."""
    files = [p for floor in FLOORS[:-1] for p in (ROOT / "tests" / floor).rglob("test_*.py")]
    folders = {p.parent.relative_to(ROOT / "tests") for p in files}
    assert len(folders) > 20
    assert [str(f) for f in sorted(folders) if not any((ROOT / f).glob("*.py"))] == []


def test_every_room_is_there() -> None:
    assert {p.name for p in (ROOT / "nodes").iterdir() if p.is_dir() and any(p.glob("*.py"))} == set(ROOMS)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("capture/a.py", "import kinecast.calibration.camera"),
        ("calibration/a.py", "from kinecast.engines.records import Poses"),
        ("engines/a.py", "from kinecast.nodes import cli"),
        ("engines/a.py", "def f():\n    import kinecast.nodes.cli"),
        ("engines/detect/a.py", "from kinecast.engines.associate import views"),
        ("engines/detect/a.py", "from kinecast.engines import triangulate"),
        ("engines/body/fit/a.py", "from kinecast.engines.lift.weights import load"),
        ("engines/runtime/a.py", "import zmq"),
        ("capture/a.py", "from msgpack import packb"),
        ("nodes/fusion/core.py", "from kinecast.nodes.viewer import window"),
        ("nodes/fusion/core.py", "from kinecast.nodes.recording.file import Recording"),
        ("nodes/graph/records.py", "from kinecast.nodes.bus import topics"),
        ("nodes/bus/a.py", "import kinecast.nodes.cli"),
        ("nodes/supervise/supervisor.py", "from kinecast.nodes.demo.demo import run_demo"),
        ("nodes/bench/live.py", "from kinecast.nodes.demo import demo"),
        ("nodes/promote/prior_benchmarks.py", "from kinecast.nodes.bench.body import RIG"),
        ("nodes/fusion.py", "from kinecast.nodes.bus import bus"),
        ("nodes/cli/a.py", "import tests.conftest"),
    ],
)
def test_a_poisoned_file_is_found(path: str, source: str) -> None:
    assert faults(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engines/detect/a.py", "from kinecast.engines.records import People2D\nfrom kinecast.engines.detect import b"),
        ("nodes/fusion/core.py", "from kinecast.engines.associate import views\nimport zmq"),
        ("nodes/cli/commands/render.py", "from kinecast.nodes.viewer import overlay"),
        ("nodes/cli/commands/demo.py", "from kinecast.nodes.demo.demo import run_demo"),
    ],
)
def test_a_sound_file_passes(path: str, source: str) -> None:
    assert not faults(path, source)


@pytest.mark.parametrize(
    "sources",
    [
        {"engines/a/x.py": "from kinecast.engines.b.y import f", "engines/b/y.py": "from kinecast.engines.a.z import g",
         "engines/a/z.py": ""},
        {"engines/a/x.py": "from kinecast.engines.b import y", "engines/b/y.py": "from kinecast.engines.c.z import g",
         "engines/c/z.py": "def f():\n    from kinecast.engines.a import x"},
        {"engines/a.py": "from kinecast.engines.b.y import f", "engines/b/y.py": "from kinecast.engines.a import g"},
    ],
)  # fmt: skip
def test_a_circle_of_folders_is_found(sources: dict[str, str]) -> None:
    assert circle(folder_arrows(sources))


def test_a_folder_may_import_itself() -> None:
    inside = {"engines/a/x.py": "from kinecast.engines.a.y import f", "engines/a/y.py": "import kinecast.engines.b.c"}
    sources = inside | {"engines/b/c.py": ""}
    assert not circle(folder_arrows(sources))
