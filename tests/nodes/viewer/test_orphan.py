"""A renderer does not outlive the process that asked for it."""

import subprocess
import sys

from tests.children import ROOT, Start, wait_until_gone


def test_a_killed_parent_leaves_no_renderer(start_child: Start) -> None:
    command = [sys.executable, "-m", "tests.nodes.viewer.orphan"]
    with start_child(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        wait_until_gone([child])
