"""The helper that other tests start processes with: signals reach the child, and nothing is left of it."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import Any

import pytest

from tests.children import Start, start_child, wait_until_gone

FAMILY = """
import subprocess, sys
apart = sys.argv[1] == "apart"
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=apart)
print(child.pid, flush=True)
sys.stdin.read()
"""


def piped(start: Start, *command: str) -> "subprocess.Popen[Any]":
    pipe = subprocess.PIPE
    return start([sys.executable, "-c", *command], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_child_hears_signals_that_this_process_ignores(start_child: Start, number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        child = piped(start_child, "import sys; print('on', flush=True); sys.stdin.read()")
        assert child.stdout is not None and child.stdout.readline() == "on\n"
        child.send_signal(number)
        assert child.wait(60) == -number
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("where", ["beside", "apart"])
@pytest.mark.parametrize("killed", [False, True])
def test_nothing_is_left_of_a_family_when_the_test_is_over(where: str, killed: bool) -> None:
    with contextmanager(start_child.__wrapped__)() as start:  # type: ignore[attr-defined]
        child = piped(start, FAMILY, where)
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        if killed:
            child.kill()
            child.wait()
    wait_until_gone([child.pid, grandchild])
