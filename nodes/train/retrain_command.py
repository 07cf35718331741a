"""The command line of ``kinecast train retrain``; what it does is in :mod:`nodes.train.retrain`, which needs torch."""

import argparse
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.nodes.train.libraries import training_libraries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recipe, where the run goes, and on what it runs."""
    parser.add_argument("recipe", type=Path, metavar="TOML", help="see docs/reference/recipe.md")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="taken up where it was left")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where it is computed")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU; default 1")


def run(args: argparse.Namespace) -> int:
    """Train every seed and print the path of the best weights. Raises KinecastError."""
    with training_libraries():
        import torch

        from kinecast.nodes.train.retrain import retrain
    torch.set_num_threads(max(1, args.threads))
    if args.device == "cuda" and not torch.cuda.is_available():
        raise KinecastError("no CUDA device here: leave --device out, or install a torch with CUDA")
    print(retrain(args.recipe, args.out, args.device))
    return 0
