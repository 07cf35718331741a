"""Processes of one training, as torchrun starts them, watched: where one dies, all end, and its stderr is shown.

A process that waits for a partner waits in C, for minutes, and hears nothing; so none of them is the test's own.
"""

import os
import queue
import socket
import sys
import threading
from pathlib import Path

from tests.children import Start

ROOT = Path(__file__).resolve().parents[3]


def run_together(start: Start, script: str, *arguments: object, size: int = 2, timeout_s: float = 200.0) -> None:
    """Run ``script`` once for each rank; AssertionError with the end of stderr of the first that fails."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    ours = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}  # fmt: skip
    command = [sys.executable, "-c", script, *map(str, arguments)]
    children = [
        start(command, env=os.environ | ours | {"RANK": str(rank)}, cwd=ROOT, stderr=-1, text=True)
        for rank in range(size)
    ]
    ended = queue.SimpleQueue[tuple[int, str]]()  # rank, stderr

    def watch(rank: int) -> None:
        ended.put((rank, children[rank].communicate()[1]))

    for rank in range(size):
        threading.Thread(target=watch, args=(rank,), daemon=True).start()
    try:
        for left in range(size, 0, -1):
            try:
                rank, words = ended.get(timeout=timeout_s)
            except queue.Empty:
                raise AssertionError(f"{left} of {size} processes have not ended after {timeout_s:g} s") from None
            code = children[rank].returncode
            assert code == 0, f"process {rank} of {size} ended with {code}:\n{words[-3000:]}"
    finally:
        for child in children:
            child.kill()
