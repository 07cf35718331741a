"""``kinecast train rollback``: the weights that the last promotion took the place of are active again."""

import argparse

from kinecast.engines.models.promoted import LIFTERS, PRIORS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of which kind."""
    parser.add_argument("kind", nargs="?", choices=("lifter", "prior"), default="lifter", help="default: lifter")


def run(args: argparse.Namespace) -> int:
    """Put it back; KinecastError where nothing was promoted."""
    gone, now = (PRIORS if args.kind == "prior" else LIFTERS).roll_back()
    print(f"{gone.name} is out; in force: {now}")
    return 0
