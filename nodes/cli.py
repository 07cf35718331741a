"""The console script: one line a command, each in its own module of ``nodes.commands``, imported when it is called."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from capture.errors import KinecastError

COMMANDS: dict[str, str] = {
    "demo": "run the main job on the real sample clip",
    "run": "run a launch file: cameras, fusion, recorder, viewer",
    "status": "show what every node of a running graph does",
    "models": "list, pull and verify model weights",
    "rig": "show, check and convert calibrated rigs",
    "info": "show what is in a recording",
    "replay": "fuse a recording again from its journal",
    "sync": "find how far each camera's clock is off, from the people's motion",
    "diff": "say where two recordings part",
    "smooth": "smooth the people of a recording with knowledge of the future",
    "recover": "make a recording that was cut short whole again",
    "import": "turn keypoints made elsewhere into a recording",
    "export": "write CSV, TRC or npz from a recording",
    "render": "draw a recording into its videos and a 3D view",
    "evaluate": "score a recording beside a truth",
    "bench": "measure the parts of the system on this machine",
    "doctor": "say what this machine lacks, how to get it and what works without",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the names alone; a command's own arguments are added when it is imported."""
    parser = argparse.ArgumentParser(prog="kinecast", description="Several calibrated cameras in, moving people out.")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub.add_parser(name, help=text, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 it ran and the answer is no, 2 something to put right."""
    args = list(sys.argv[1:] if argv is None else argv)
    name = build_parser().parse_known_args(args[:1])[0].command
    try:
        module = importlib.import_module(f"nodes.commands.{name}" + ("_" if name == "import" else ""))
    except ImportError as e:
        if ".so" not in str(e):
            raise
        print(
            f"kinecast {name}: a system library is missing ({e}): `kinecast doctor` says which and how to get it",
            file=sys.stderr,
        )
        return 2
    parser = argparse.ArgumentParser(prog=f"kinecast {name}", description=COMMANDS[name])
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(args[1:])))
    except KinecastError as e:
        print(f"kinecast {name}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
