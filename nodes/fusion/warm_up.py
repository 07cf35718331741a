"""Everything that fusion compiles, compiled before frames flow: at a first start by two processes, and said.

What the bodies' solver needs is half of it and needs little of the other half: a second process compiles that into
the cache meanwhile. Later starts load everything in this process.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kinecast.capture import compiled
from kinecast.capture.progress import progress
from kinecast.engines.synth import CameraClock, Noise, World, messages, ring_rig
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[int, int], None]  # kernels that are there, of how many


def warm_up(cameras: int, body: str = "off", lift: str = "off", say: Say | None = None) -> None:
    """Compile, or load from the cache, everything that a core runs: a second of a synthetic scene of two people.

    say: called whenever one more kernel was compiled, and not at all where all were in the cache.
    """
    done = _complete(body, lift)
    if done:
        _run(cameras, body, lift)
        return
    with ExitStack() as stack:
        if say is not None:
            say(*compiled.ready())
            stack.enter_context(compiled.listening(lambda: say(*compiled.ready())))
        if body != "off" and _cores() > 1:
            with _elsewhere(body):
                _run(cameras, "off", lift)
        _run(cameras, body, lift)
    compiled.forget_unused()
    done.mark()


def note(there: int, of: int) -> str:
    """What is being waited for."""
    return f"compiling {there} of {of} kernels, first start only"


def warm_up_shown(cameras: int, body: str = "off", lift: str = "off", console: "Console | None" = None) -> None:
    """The same for a command: a bar, or lines, where there is something to compile."""
    if _complete(body, lift):
        warm_up(cameras, body, lift)
        return
    with progress("compiling kernels, first start only", console) as show:
        warm_up(cameras, body, lift, lambda there, of: show("", there, of))


def _complete(body: str, lift: str) -> compiled.Complete:
    return compiled.Complete(f"fusion {body != 'off'} {lift != 'off'}")


def _run(cameras: int, body: str, lift: str) -> None:
    noise = Noise(outliers=0.1, missing=0.2, missed_people=0.1, swaps=0.1, ghosts=0.5)
    rig = ring_rig(max(cameras, 3))
    core = FusionCore(rig, FusionNode(smooth=True, body=body, body_prior="shipped", lift=lift))
    clocks = {rig.names[0]: CameraClock(offset_ns=5_000_000)}
    for view in messages(World(people=2), rig, frames=30, noise=noise, clocks=clocks):
        core.handle(0, f"keypoints/{view.camera}", view)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _elsewhere(body: str) -> Iterator[None]:
    """A second process compiles what bodies need while the block runs, and is waited for; where it fails, nothing is
    lost: what is not in the cache is compiled here."""
    command = [sys.executable, "-m", "kinecast.nodes.fusion.compile_bodies", body]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def listen() -> None:
            assert process.stdout is not None
            for name in process.stdout:
                compiled.note_ready(name.strip())

        listener = threading.Thread(target=listen, name="kernels", daemon=True)
        listener.start()
        try:
            yield
            listener.join()
        finally:
            process.kill()
