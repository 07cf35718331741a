"""A parent with a child that hangs, as a renderer in its driver may; prints the child's pid and waits to be killed."""

import multiprocessing
import threading
import time
from typing import Any

from kinecast.nodes.viewer.scene_open3d import die_with_parent


def hang(ready: Any) -> None:
    die_with_parent()
    ready.set()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=hang, args=(ready,), daemon=True)
    child.start()
    ready.wait()
    print(child.pid, flush=True)
    threading.Event().wait()
