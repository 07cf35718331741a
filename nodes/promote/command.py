"""``kinecast train promote``: weights of a run, of the lifter or of the pose prior, put in force if they are better."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kinecast.capture.errors import KinecastError
from kinecast.nodes.train.libraries import training_libraries
from kinecast.nodes.train.prior import WEIGHTS

if TYPE_CHECKING:
    from kinecast.nodes.promote.lifter import Promotion


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and what it is judged on."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a retraining, or of `train prior`")
    parser.add_argument("--motion", type=Path, nargs="+", default=[], metavar="DIR", help="instead of the recipe's")
    parser.add_argument("--dataset", type=Path, nargs="+", default=[], metavar="DIR", help="instead of the recipe's")
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="clips never trained on; instead of the recipe's")
    parser.add_argument("--noise", type=Path, metavar="TOML", help="as `kinecast train noise` writes it")
    parser.add_argument("--check", action="store_true", help="judge and report, and leave what is in force")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes on Ray, for held-out sessions")
    parser.add_argument(
        "--ray", default="", metavar="ADDRESS", help="of a Ray cluster whose machines see the same files"
    )


def run(args: argparse.Namespace) -> int:
    """Judge, report, promote; 1 where the candidate is refused. Raises KinecastError."""
    return _promote_prior(args) if (args.run / WEIGHTS).is_file() else _promote(args)


def _promote(args: argparse.Namespace) -> int:
    with training_libraries():
        from kinecast.nodes.promote.lifter import promote

    more = args.held_out, args.noise, args.check, args.workers, args.ray
    return _tell(promote(args.run, args.motion, args.dataset, *more))


def _promote_prior(args: argparse.Namespace) -> int:
    with training_libraries():
        from kinecast.nodes.promote.prior import promote_prior

    if args.noise:
        raise KinecastError("--noise is for a lifter: bodies are fitted to noise that is always the same")
    return _tell(promote_prior(args.run, args.motion, args.dataset, args.held_out, args.check))


def _tell(done: "Promotion") -> int:
    print(done.report)
    for why in done.refused:
        print(f"refused: {why}")
    if done.promoted is not None:
        print(f"in force: {done.promoted.name}; a running graph takes it up with `kinecast reload LAUNCH`")
    return int(bool(done.refused))
