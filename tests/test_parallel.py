"""A test that is alone has nobody beside it; one that hangs is killed, named, and the others go on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import PATHS

ROOT = Path(__file__).resolve().parent.parent

# each test notes when it begins and ends; those of one file stay in one worker
NOTED = """
import time
from pathlib import Path
import pytest

@pytest.mark.parametrize("n", range(6))
def test_shared(n): note("shared")

@pytest.mark.alone
@pytest.mark.parametrize("n", range(3))
def test_alone(n): note("alone")

def note(kind):
    with (Path(__file__).parent / "notes.txt").open("a") as file:
        file.write(f"begin {kind} {time.monotonic_ns()}\\n")
        file.flush()
        time.sleep(0.05)
        file.write(f"end {kind} {time.monotonic_ns()}\\n")
"""
HANGS = """
import ctypes

def lock_twice(library):
    mutex = ctypes.create_string_buffer(256)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)  # for ever; a signal does not end it

def test_in_c(): lock_twice(ctypes.CDLL(None))
def test_in_c_that_lets_no_python_run(): lock_twice(ctypes.PyDLL(None))
def test_behind(): pass
"""


def pytest_in(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Another pytest, with this project's settings and two workers."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"PYTHONPATH": PATHS}
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "tests.parallel"]
    workers = ["-n", "2", "--dist", "loadfile", "--max-worker-restart", "4"]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *settings, *workers, *words, str(folder)]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=400)


@pytest.mark.timeout(450)
def test_nobody_runs_beside_a_test_that_is_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"test_{name}.py").write_text(NOTED)
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    notes = [line.split() for line in (tmp_path / "notes.txt").read_text().splitlines()]
    inside: list[str] = []
    most = 0
    for what, kind, _ in sorted(notes, key=lambda n: int(n[2])):
        if what == "begin":
            assert not inside or (kind == "shared" and "alone" not in inside)
            inside.append(kind)
        else:
            inside.remove(kind)
        most = max(most, len(inside))
    assert len(notes) == 2 * 2 * 9 and most == 2, "and the others do run beside each other"


@pytest.mark.timeout(450)  # five processes, each of which starts anew
def test_a_test_that_hangs_is_killed_and_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    (tmp_path / "test_other.py").write_text("def test_elsewhere(): pass\n")
    done = pytest_in(tmp_path, "--timeout", "1", "-o", "faulthandler_timeout=2")
    assert done.returncode == 1, done.stdout + done.stderr
    for test in ("test_in_c", "test_in_c_that_lets_no_python_run"):
        assert f"crashed while running 'test_hangs.py::{test}'" in done.stdout
    assert "2 failed, 2 passed" in done.stdout.splitlines()[-1]
