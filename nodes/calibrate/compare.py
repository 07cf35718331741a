"""``kinecast calibrate compare``: two rigs of the same cameras, laid over one another."""

import argparse
from pathlib import Path

from kinecast.calibration.formats import load_rig
from kinecast.capture.console import plain_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    parser.add_argument("rig", type=Path, help="the rig that is judged")
    parser.add_argument("reference", type=Path, help="the rig that it is held against")
    parser.add_argument("--units", choices=("m", "cm", "mm"), help="unit of length of an aniposelib file")


def run(args: argparse.Namespace) -> int:
    """Print the table."""

    from kinecast.nodes.calibrate.report import show_beside

    show_beside(
        load_rig(args.rig, args.units), load_rig(args.reference, args.units), plain_console(), args.reference.name
    )
    return 0
