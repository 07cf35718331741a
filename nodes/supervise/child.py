"""One node's process: ``python -m nodes.supervise.child NAME --incarnation N --session-start NS``.

The supervisor starts it. The resolved launch file comes on standard input, which stays open after it: the common start
of the session comes by it, and when it closes, the supervisor is gone, and so is this process, cleanly if it can within
five seconds. Nothing is left on disk for the hand-over.
Exit status: 0 done, 2 something to put right (one line on standard error), anything else a fault.
"""

import argparse
import faulthandler
import importlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus import start_barrier, stop_signals
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import NodeContext, kind_of
from kinecast.nodes.supervise.node_process import STACKS

MODULES = {
    "camera": "kinecast.nodes.camera.node",
    "fusion": "kinecast.nodes.fusion.node",
    "recorder": "kinecast.nodes.recording.recorder",
    "viewer": "kinecast.nodes.viewer.node",
    "stream": "kinecast.nodes.stream.node",
    "web": "kinecast.nodes.web.node",
}
GRACE_S = 5.0  # for a clean stop, as house rule 10 has it


def _follow_parent() -> None:
    """Wait for standard input to close; then stop, and leave for certain after the grace time."""
    rest = b""
    while chunk := os.read(0, 4096):  # the bare descriptor: a lock of sys.stdin held here would break the exit
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            start_barrier.take(line)
    stop_signals.STOP.set()
    threading.Event().wait(GRACE_S)
    os._exit(3)


def read_launch() -> str:
    """The launch file from standard input: a line with its length in bytes, then the bytes."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # unbuffered: what follows is for _follow_parent
        left = int(stdin.readline())
        parts = []
        while left and (part := stdin.read(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts).decode()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one node until it is done or told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="kinecast.nodes.supervise.child")
    parser.add_argument("name")
    parser.add_argument("--incarnation", type=int, required=True)
    parser.add_argument("--session-start", type=int, required=True)
    parser.add_argument("--module", help="run main() of this module instead of the kind's own")
    args = parser.parse_args(argv)
    stop_signals.install()
    faulthandler.register(STACKS, all_threads=True)  # the supervisor asks for it where the process hangs
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    text = read_launch()
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
    try:
        graph = launch_file.parse(text, "launch file", Path.cwd())
        if graph.session.private:
            os.umask(0o077)
        module = importlib.import_module(args.module or MODULES[kind_of(graph, args.name)])
        module.main(NodeContext(args.name, graph, args.incarnation, args.session_start))
    except KinecastError as e:
        print(e, file=sys.stderr)
        return 2
    finally:
        stop_signals.deafen()
    return 0


if __name__ == "__main__":
    sys.exit(main())
