"""Processes that tests start: with signals as a shell in the foreground leaves them, and none outlives its test.

A background job and ``nohup`` ignore SIGINT or SIGHUP, and what they start inherits that: a child that a test asks to
stop would go on for ever.
"""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
# children import the tests too, and the product from where this process has it
PATHS = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
MARK = "KINECAST_STARTED_BY_TEST"  # whatever a child starts has it too, be it in a session of its own, or an orphan
Start = Callable[..., "subprocess.Popen[Any]"]


def as_in_the_foreground() -> None:
    """In the child, before its program begins."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def marked(mark: str) -> list[int]:
    """Processes with that mark; none where the system has no /proc."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found


def end(child: "subprocess.Popen[Any]", mark: str) -> None:
    """Kill a child, its group and whatever has its mark; close its pipes."""
    child.kill()  # does nothing where it has been waited for
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture
def start_child() -> Iterator[Start]:
    """Starts a process as ``subprocess.Popen`` does, in a group of its own; whatever becomes of the test, it ends."""
    mark, started = uuid.uuid4().hex, list["subprocess.Popen[Any]"]()

    def start(command: list[str], env: dict[str, str] | None = None, **settings: Any) -> "subprocess.Popen[Any]":
        env = (dict(os.environ) if env is None else env) | {MARK: mark}
        child = subprocess.Popen(command, env=env, preexec_fn=as_in_the_foreground, start_new_session=True, **settings)
        started.append(child)
        return child

    yield start
    for child in started:
        end(child, mark)


def wait_until_gone(pids: list[int]) -> None:
    """Every process is gone, or only waits to be reaped by whoever inherited it."""
    until = time.monotonic() + 8  # 5 s of grace, and a loaded machine
    for pid in pids:
        while True:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                break
            if state == "Z":
                break
            assert time.monotonic() < until, f"process {pid} is left"
            os.sched_yield()
