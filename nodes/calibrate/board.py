"""``kinecast calibrate board``: a board at true scale, and what board a picture shows."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""


def run(args: argparse.Namespace) -> int:
    """Run it."""
    return 0
