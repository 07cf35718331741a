"""The console script: one line a command, each in its own module of ``nodes.cli.main.commands``, imported when it is
called."""

import argparse
import errno
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.capture.urls import redacted
from kinecast.capture.version import kinecast_version
from kinecast.nodes.cli.old_words import translated
from kinecast.nodes.cli.sizes import split_sizes

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # what the user has set stands

COMMANDS: dict[str, str] = {
    "demo": "run the main job on the real sample clip",
    "run": "run a launch file: cameras, fusion, recorder, viewer",
    "status": "show what every node of a running graph does",
    "reload": "make a running graph take up the lifter that is in force now",
    "models": "list, pull and verify model weights",
    "cameras": "list the cameras that are plugged in, their modes and what can be locked",
    "rig": "show, check and convert calibrated rigs",
    "calibrate": "from a board before the cameras to a rig, and how good it is",
    "info": "show what is in a recording",
    "replay": "fuse a recording again from its journal",
    "fit": "fit bodies to a recording, the future known",
    "sync": "find how far each camera's clock is off, from the people's motion",
    "diff": "say where two recordings part",
    "smooth": "smooth the people of a recording with knowledge of the future",
    "clean": "trim, fill, filter, rename, join, part and leave out people, in steps that can be repeated",
    "recover": "make a recording that was cut short whole again",
    "import": "turn keypoints made elsewhere into a recording",
    "export": "write TRC, C3D, BVH, GLB, MOT, tables and more from a recording",
    "render": "draw a recording into its videos and a 3D view",
    "evaluate": "score recordings and weights, with a truth and without",
    "dataset": "make recordings into data for training, list, check, forget",
    "train": "weights from motion and recordings, promoted where they are better",
    "bench": "measure the parts of the system on this machine",
    "compile": "compile what live fusion runs, once, so that a first session starts at once",
    "doctor": "say what this machine lacks, how to get it and what works without",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the names alone; a command's own arguments are added when it is imported."""
    parser = argparse.ArgumentParser(prog="kinecast", description="Several calibrated cameras in, moving people out.")
    parser.add_argument("--version", action="version", version=f"kinecast {kinecast_version()}")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub.add_parser(name, help=text, add_help=False)
    return parser


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command, whole, its subcommands too."""
    parser = argparse.ArgumentParser(prog=f"kinecast {name}", description=COMMANDS[name])
    _module(name).add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 it ran and the answer is no, 2 something to put right.

    130 where it was interrupted, 128 + n where another signal n ended it, 141 where nobody reads the output any more.
    """
    args = split_sizes(translated(list(sys.argv[1:] if argv is None else argv)))
    for name in THREADS:  # before a numeric library is loaded: their pools spin, and small arrays gain nothing
        # the live nodes have one; sums of several threads may end in another last bit, which a replay must not
        os.environ[name] = "1" if args[:1] == ["replay"] else os.environ.get(name, "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ° and × still gets the rest
    try:
        with _tidy_end():
            status = _run(args)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
    except BrokenPipeError:
        _forget_output()
        return 141
    except KeyboardInterrupt as e:
        return e.args[0] if e.args else 130


def _run(args: list[str]) -> int:
    name = build_parser().parse_known_args(args[:1])[0].command
    try:
        module = _module(name)
    except ImportError as e:
        if ".so" not in str(e):
            raise
        return _say(name, f"a system library is missing ({e}): `kinecast doctor` says which and how to get it")
    try:
        status = int(module.run(command_parser(name).parse_args(args[1:])))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KinecastError as e:
        return _say(name, str(e))
    except BrokenPipeError:
        raise
    except OSError as e:
        if e.errno == errno.ENOSPC:
            _forget_output()
            return _say(name, f"{e.filename or 'the output'}: {e.strerror}: free some space, or write elsewhere")
        if e.filename is None:
            raise
        return _say(name, f"{e.filename}: {e.strerror}")


def _module(name: str) -> Any:
    return importlib.import_module(f"kinecast.nodes.cli.commands.{name}" + ("_" if name == "import" else ""))


def _say(name: str, what: str) -> int:
    print(f"kinecast {name}: {redacted(what)}", file=sys.stderr)
    return 2


def _forget_output() -> None:
    """What could not be written is not tried again when the interpreter ends, which would be a second complaint."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def _tidy_end() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that what is half written is removed. Main thread only."""
    before = {}

    def unwind(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(128 + number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, unwind)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
