"""``kinecast calibrate …``: from cameras to a rig that can be believed. A table of subcommands, each in its module."""

import argparse

from kinecast.nodes.cli.subcommands import add_subcommands, run_subcommand

SUBCOMMANDS = {
    "board": ("print a board at true scale, or say which board a picture shows", "calibrate.board"),
    "live": ("while the board is filmed: lamps of cameras and pairs, and what is missing", "calibrate.live"),
    "intrinsics": ("the lens of each camera, from videos or photos of a board", "calibrate.intrinsics"),
    "rig": ("all cameras from a board that was moved before them", "calibrate.rig"),
    "world": ("origin, floor and upward axis of a rig", "calibrate.world"),
    "compare": ("two rigs of the same cameras beside each other", "calibrate.compare"),
    "people": ("find where cameras stand from somebody who walks, without a board", "calibrate.people"),
    "check": ("say which camera of a rig has moved, by how much and since when", "calibrate.check"),
    "refine": ("refine a rig from the people of a recording, and say whether to believe it", "calibrate.refine"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every subcommand."""
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    return run_subcommand(SUBCOMMANDS, args)
