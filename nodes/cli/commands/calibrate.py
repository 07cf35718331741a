"""``kinecast calibrate …``: from cameras to a rig that can be believed. A table of subcommands, each in its module."""

import argparse
import importlib

# name → what it does; the module is nodes.calibrate.NAME
SUBCOMMANDS: dict[str, str] = {
    "board": "print a board at true scale, or say which board a picture shows",
    "live": "while the board is filmed: lamps of cameras and pairs, and what is missing",
    "intrinsics": "the lens of each camera, from videos or photos of a board",
    "rig": "all cameras from a board that was moved before them",
    "world": "origin, floor and upward axis of a rig",
    "compare": "two rigs of the same cameras beside each other",
    "people": "find where cameras stand from somebody who walks, without a board",
    "check": "say which camera of a rig has moved, by how much and since when",
    "refine": "refine a rig from the people of a recording, and say whether to believe it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every subcommand."""
    sub = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in SUBCOMMANDS.items():
        module = importlib.import_module(f"kinecast.nodes.calibrate.{name}")
        module.add_arguments(sub.add_parser(name, help=text, description=text))


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    return int(importlib.import_module(f"kinecast.nodes.calibrate.{args.action}").run(args))
