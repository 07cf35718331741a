"""The console script as a shell sees it: one line and a status, whatever becomes of its output or of the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import Start

ROOT = Path(__file__).parents[3]


def start(start_child: Start, *args: str, **env: str) -> "subprocess.Popen[str]":
    return start_child(
        [sys.executable, "-m", "kinecast.nodes", *args],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_reader_that_has_enough_is_no_fault(start_child: Start) -> None:
    kinecast = start(start_child, "rig", "show", "--help")
    assert kinecast.stdout is not None and kinecast.stderr is not None
    kinecast.stdout.close()
    assert kinecast.stderr.read() == ""
    kinecast.wait(60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_said(tmp_path: Path, start_child: Start) -> None:
    rig = tmp_path / "rig.toml"
    assert start(start_child, "rig", "synth", "-o", str(rig)).wait(60) == 0
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "kinecast.nodes", "rig", "check", str(rig)]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "kinecast rig: the output: No space left on device: free some space, or write elsewhere"
    ]


def test_an_ascii_terminal_gets_the_rest(start_child: Start) -> None:
    kinecast = start(start_child, "info", "ä/ö.mcap", PYTHONIOENCODING="ascii")
    assert kinecast.communicate(timeout=60)[1].splitlines() == ["kinecast info: ?/?.mcap: no such recording"]
    assert kinecast.returncode == 2


SLEEPER = """
import sys, types
from pathlib import Path
from kinecast.nodes.cli import main as cli
from kinecast.capture.atomic_write import atomic_path as whole

def run(args):
    with whole(Path(sys.argv[1]), overwrite=False):
        print("writing", flush=True)
        sys.stdin.read()

sys.modules["kinecast.nodes.cli.commands.info"] = types.SimpleNamespace(add_arguments=lambda p: None, run=run)
sys.exit(cli.main(["info"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_written(tmp_path: Path, start_child: Start, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SLEEPER, str(tmp_path / "x.bin")]
    writing = start_child(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writing.stdout is not None and writing.stdout.readline() == b"writing\n"
    writing.send_signal(number)
    errors = writing.communicate(timeout=60)[1]
    assert (writing.returncode, errors) == (128 + number, b"")
    assert list(tmp_path.iterdir()) == []
