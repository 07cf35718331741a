"""The command line of ``kinecast bench learning-curve``; what it does is in :mod:`nodes.bench.learning_curve`."""

import argparse
from pathlib import Path

from kinecast.nodes.train.libraries import training_libraries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What of, how much, and where to."""
    parser.add_argument("motion", type=Path, nargs="+", help="folders of motion, as `kinecast train lifter` reads them")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="taken up where it was left")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 5, 20], metavar="N", help="1 5 20")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="1 2 3")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="of the optimiser, each training")
    parser.add_argument(
        "--learning-rate", "--rate", dest="rate", type=float, default=8e-4, metavar="R", help="the highest"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="more than one need Ray")


def run(args: argparse.Namespace) -> int:
    """Measure; KinecastError where the motion does not allow it, or torch is not installed."""
    with training_libraries():
        from kinecast.nodes.bench import learning_curve
    return learning_curve.run(args)
