"""``kinecast train retrain``, ``promote`` and ``rollback``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinecast.capture.errors import KinecastError

if TYPE_CHECKING:
    from kinecast.nodes.promote.lifter import Outcome

PRIOR = "prior.npz"  # what tells a run of the pose prior
COMMANDS = ("retrain", "promote", "rollback")


def add_arguments(sub: Any) -> None:
    """One subcommand each, below ``kinecast train``."""
    again = sub.add_parser("retrain", help="train from a recipe: motion, data sets of sessions, recordings")
    again.add_argument("recipe", type=Path, metavar="TOML")
    again.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="taken up where it was left")
    again.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    again.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU; default 1")
    judge = sub.add_parser("promote", help="put the weights of a run in force, if they are better")
    judge.add_argument("run", type=Path, metavar="RUN")
    judge.add_argument("--motion", type=Path, nargs="+", default=[], metavar="DIR", help="instead of the recipe's")
    judge.add_argument("--dataset", type=Path, nargs="+", default=[], metavar="DIR", help="instead of the recipe's")
    judge.add_argument("--held-out", type=Path, metavar="TOML", help="clips never trained on; instead of the recipe's")
    judge.add_argument("--noise", type=Path, metavar="TOML", help="as `kinecast train noise` writes it")
    judge.add_argument("--check", action="store_true", help="judge and report, and leave what is in force")
    judge.add_argument("--workers", type=int, default=1, metavar="N", help="processes on Ray, for held-out sessions")
    judge.add_argument(
        "--ray", default="", metavar="ADDRESS", help="of a Ray cluster whose machines see the same files"
    )
    back = sub.add_parser("rollback", help="put back in force what the last promotion took the place of")
    back.add_argument("kind", nargs="?", choices=("lifter", "prior"), default="lifter", help="of which; default lifter")


def run(args: argparse.Namespace) -> int:
    """Do it; 1 where a candidate is refused. Raises KinecastError."""
    if args.what == "rollback":
        from kinecast.engines.models.promoted import LIFTERS, PRIORS

        gone, now = (PRIORS if args.kind == "prior" else LIFTERS).roll_back()
        print(f"{gone.name} is out; in force: {now}")
        return 0
    try:
        import torch
        import torch.utils.tensorboard
    except ModuleNotFoundError as e:
        raise KinecastError(f"training needs {e.name}: pip install -c constraints.txt -e '.[train]'") from None
    if args.what == "promote":
        return _promote_prior(args) if (args.run / PRIOR).is_file() else _promote(args)
    from kinecast.nodes.train.retrain import retrain

    torch.set_num_threads(max(1, args.threads))
    if args.device == "cuda" and not torch.cuda.is_available():
        raise KinecastError("no CUDA device here: leave --device out, or install a torch with CUDA")
    print(retrain(args.recipe, args.out, args.device))
    return 0


def _promote(args: argparse.Namespace) -> int:
    from kinecast.nodes.promote.lifter import promote

    more = args.held_out, args.noise, args.check, args.workers, args.ray
    return _tell(promote(args.run, args.motion, args.dataset, *more))


def _promote_prior(args: argparse.Namespace) -> int:
    from kinecast.nodes.promote.prior import promote_prior

    if args.noise:
        raise KinecastError("--noise is for a lifter: bodies are fitted to noise that is always the same")
    return _tell(promote_prior(args.run, args.motion, args.dataset, args.held_out, args.check))


def _tell(done: "Outcome") -> int:
    print(done.report)
    for why in done.refused:
        print(f"refused: {why}")
    if done.promoted is not None:
        print(f"in force: {done.promoted.name}; a running graph takes it up with `kinecast reload LAUNCH`")
    return int(bool(done.refused))
