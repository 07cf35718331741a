"""What is compiled is kept by content: what changed is compiled again, what did not is not, whatever its file says."""

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kinecast.capture import compiled

CALLED = """from kinecast.capture.compiled import kernel

STEP = 2.0

@kernel
def stepped(x):
    return x + STEP
"""
CALLER = """from kinecast.capture.compiled import kernel
from kinecast_called import stepped

@kernel
def twice(x):
    return stepped(stepped(x))
"""


class Code:
    """Two modules, one of which calls the other's kernel, that can be written anew and loaded again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write()

    def write(self, called: str = CALLED, caller: str = CALLER) -> None:
        (self.folder / "kinecast_called.py").write_text(called)
        (self.folder / "kinecast_caller.py").write_text(caller)

    def load(self) -> ModuleType:
        """As a new process would."""
        for name in ("kinecast_called", "kinecast_caller"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("kinecast_caller")

    def twice(self, x: float) -> tuple[float, int]:
        """What it returns, and how many kernels were compiled for it."""
        value = self.load().twice(x)
        return value, sum(
            made._cache.compiled for name, made in compiled.KERNELS.items() if name.startswith("kinecast_call")
        )


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Code]:
    monkeypatch.setenv("KINECAST_KERNELS", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # bytecode is kept by mtime: written twice within a second
    yield Code(tmp_path)
    for name in ("kinecast_called", "kinecast_caller"):
        sys.modules.pop(name, None)
    for name in ("kinecast_called.stepped", "kinecast_caller.twice"):
        compiled.KERNELS.pop(name, None)


def files() -> list[Path]:
    return sorted(compiled.folder().glob("*.kernel"))


def test_what_was_compiled_is_found_again(code: Code) -> None:
    assert code.twice(1.0) == (5.0, 2)
    assert len(files()) == 2
    assert code.twice(1.0) == (5.0, 0)


def test_the_place_and_the_comments_of_a_file_do_not_matter(code: Code) -> None:
    code.twice(1.0)
    code.write(f"# said\n\n{CALLED}".replace("    return", '    """Told."""\n    return'), f"\n\n{CALLER}")
    for path in code.folder.glob("*.py"):
        os.utime(path, (1e9, 1e9))
    assert code.twice(1.0) == (5.0, 0)


@pytest.mark.parametrize("change", [("STEP = 2.0", "STEP = 3.0"), ("x + STEP", "x + STEP + 1.0")])
def test_a_change_in_what_is_called_compiles_the_caller_too(code: Code, change: tuple[str, str]) -> None:
    code.twice(1.0)
    code.write(CALLED.replace(*change))
    assert code.twice(1.0) == (7.0, 2)


def test_options_are_part_of_it(code: Code) -> None:
    code.twice(1.0)
    code.write(CALLED, CALLER.replace("@kernel", '@kernel(error_model="numpy")'))
    assert code.twice(1.0) == (5.0, 1)


def test_both_of_two_versions_stay(code: Code) -> None:
    code.twice(1.0)
    code.write(CALLED.replace("2.0", "3.0"))
    code.twice(1.0)
    code.write()
    assert code.twice(1.0) == (5.0, 0)


def test_a_damaged_file_is_compiled_anew(code: Code, caplog: pytest.LogCaptureFixture) -> None:
    code.twice(1.0)
    whole = {p: p.read_bytes() for p in files()}
    for path, content in whole.items():
        path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        assert code.twice(1.0) == (5.0, 2)
    assert "damaged" in caplog.text
    assert code.twice(1.0) == (5.0, 0)


def test_a_folder_that_takes_nothing_costs_only_the_time(
    code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KINECAST_KERNELS", str(tmp_path / "file"))  # root may write where others may not
    with caplog.at_level(logging.WARNING):
        assert code.twice(1.0) == (5.0, 2)
    assert caplog.text.count("cannot be written") == 1
    assert code.twice(1.0) == (5.0, 2)


def test_listeners_hear_what_is_there(code: Code) -> None:
    heard = []
    with compiled.listening(lambda: heard.append(compiled.ready_names())):
        code.twice(1.0)
    assert len(heard) == 2 and {"kinecast_called.stepped", "kinecast_caller.twice"} <= heard[-1]


def test_what_nobody_used_for_months_goes(code: Code) -> None:
    code.twice(1.0)
    old, fresh = files()
    os.utime(old, (1e9, 1e9))
    assert compiled.forget_unused() == 1
    assert files() == [fresh]


def test_a_mark_says_that_all_is_there(code: Code) -> None:
    code.load()
    assert not compiled.Complete("live")
    compiled.Complete("live").mark()
    assert compiled.Complete("live") and not compiled.Complete("offline")
    code.write(CALLED.replace("2.0", "3.0"))
    code.load()
    assert not compiled.Complete("live")
