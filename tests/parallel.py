"""Several tests at once, and those marked ``alone`` with nobody beside them.

Each worker of pytest-xdist takes whole files (``--dist loadfile``: what a module sets up is set up once), each with one
thread. A test that asserts how long something takes, or that starts a graph of processes, a Ray cluster or a live
camera, is marked ``pytest.mark.alone``: its neighbour would slow it down.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

try:
    import fcntl
except ImportError:  # a system without it runs its tests one after the other
    fcntl = None  # type: ignore[assignment]

# files that take longest come first, so that no worker is left with one of them at the end; alone ones come last
SLOW = ("engines/train/", "nodes/promote/", "nodes/train/", "nodes/dataset/", "nodes/bench/", "nodes/reprocess/",
        "nodes/fusion/", "calibration/people/", "engines/body/")  # fmt: skip


@contextmanager
def held(path: Path, how: int) -> Iterator[None]:
    """The file locked; let go at the end, and by the system where this process dies."""
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


@contextmanager
def turn(folder: Path, alone: bool) -> Iterator[None]:
    """Waits until a test may run: one that is alone until no other runs, the others until no such one does or waits."""
    with ExitStack() as mine:
        # whoever waits stands in the door, or the others would pass by it for ever
        with held(folder / "door", fcntl.LOCK_EX):
            mine.enter_context(held(folder / "room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


class FileByFile(LoadFileScheduling):
    """``--dist loadfile``, but a test that killed its worker has failed, and is not tried again by the next one."""

    def remove_node(self, node: WorkerController) -> str | None:
        files = self.assigned_work[node]
        crashed = None
        if left := [(tests, name) for tests in files.values() for name, done in tests.items() if not done]:
            tests, crashed = left[0]
            tests[crashed] = True
        for file in [f for f, tests in files.items() if all(tests.values())]:
            del files[file]  # a worker that was given a file without a test would wait for ever
        super().remove_node(node)
        return crashed


class Workers:
    """What pytest-xdist asks of its plugins."""

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> FileByFile | None:
        return FileByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_configure(config: pytest.Config) -> None:
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(Workers())
    config.addinivalue_line("markers", "alone: no other test runs beside it, however many workers there are")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order of SLOW, those of which every test is alone last; the tests of a file stay as they are."""
    shared = {item.path for item in items if item.get_closest_marker("alone") is None}

    def place(item: pytest.Item) -> tuple[bool, int]:
        path = item.nodeid.removeprefix("tests/")
        slow = next((i for i, folder in enumerate(SLOW) if path.startswith(folder)), len(SLOW))
        return item.path not in shared, slow

    items.sort(key=place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Outside of everything else, so that waiting is no part of a test's time."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None or fcntl is None:
        return (yield)
    folder = Path(item.config._tmp_path_factory.getbasetemp()).parent / f"turns-{run}"  # type: ignore[attr-defined]
    folder.mkdir(exist_ok=True)
    with turn(folder, item.get_closest_marker("alone") is not None):
        return (yield)
