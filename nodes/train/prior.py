"""``kinecast train prior``: the pose prior of the body fit from motion and the accepted frames of data sets.

RUN gets ``run.json`` (settings and data, as they were), ``prior.npz`` and ``prior.json``, what it is worth on held-out
poses. It is a command of its own and no part of a lifter's recipe: it takes a minute, needs no torch, and is promoted
and rolled back for itself.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import find_prior, read_prior, retargeted, save_prior
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.shards import load_manifest
from kinecast.engines.train.prior import PriorConfig, session_clips, train_prior
from kinecast.nodes.fusion.meshes import find_body
from kinecast.nodes.train import run_manifest
from kinecast.nodes.train.inputs import clips_of

KIND = run_manifest.Kind("kinecast prior run", "a training of the pose prior", "kinecast train prior")
WEIGHTS, FIGURES = "prior.npz", "prior.json"
DEFAULT = PriorConfig()
MOTION_HZ = 30.0  # poses are taken at 10, and bodies fitted at 30


@dataclass(frozen=True, slots=True)
class PriorRecipe:
    """motion: folders of clips. datasets: folders. held_out: a list of clips, "" for ours. Paths are absolute."""

    motion: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    held_out: str = ""
    share: float = DEFAULT.share
    keep: float = DEFAULT.keep
    components: tuple[int, ...] = DEFAULT.components
    seed: int = DEFAULT.seed

    @property
    def paths(self) -> tuple[list[Path], list[Path], Path | None]:
        """Folders of motion, data sets, list of clips."""
        held_out = Path(self.held_out) if self.held_out else None
        return [Path(p) for p in self.motion], [Path(p) for p in self.datasets], held_out

    def clips(self) -> tuple[list[Clip], list[Clip]]:
        """Motion to learn from, and held out."""
        folders, _, held_out = self.paths
        return clips_of(folders, held_out, MOTION_HZ)

    def sessions(self, split: str) -> list[Clip]:
        """Fitted bodies of a split; in the order of the manifests."""
        return session_clips(self.paths[1], split, lambda body_id: find_body(body_id, "a data set"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learnt from, in which shares, and where it goes."""
    parser.add_argument("motion", type=Path, nargs="+", help="folders of .bvh, .asf with .amc, or motion archives")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="folder that is promoted later")
    parser.add_argument(
        "--datasets", type=Path, nargs="+", default=[], metavar="DIR", help="of `kinecast dataset build`"
    )
    parser.add_argument("--share", type=float, default=DEFAULT.share, help="of the data sets; default %(default)s")
    parser.add_argument(
        "--keep", type=float, default=DEFAULT.keep, metavar="SHARE",
        help="of the rest, drawn from the prior in force, so that it is not forgotten; default %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--components", type=int, nargs="+", default=list(DEFAULT.components), metavar="N",
        help="Gaussians; of several the number that held-out poses like best; default 12",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=DEFAULT.seed, metavar="N", help="of everything that is drawn")
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="clips never to be trained on; default: our list")


def run(args: argparse.Namespace) -> int:
    """Train and tell; KinecastError where the data or the settings do not allow it."""
    if not (0 <= args.share < 1 and 0 <= args.keep < 1) or min(args.components) < 1:
        raise KinecastError("--share and --keep are 0 or more and below 1, --components are 1 or more")
    for path in (*args.motion, *args.datasets, *([args.held_out] if args.held_out else [])):
        if not path.exists():
            raise KinecastError(f"{path} does not exist")
    recipe = PriorRecipe(
        tuple(str(p.resolve()) for p in args.motion), tuple(str(p.resolve()) for p in args.datasets),
        str(args.held_out.resolve()) if args.held_out else "", args.share, args.keep,
        tuple(args.components), args.seed,
    )  # fmt: skip
    train(recipe, args.out)
    figures = json.loads((args.out / FIGURES).read_text())
    poses = figures["poses"]
    print(f"{poses['motion']} poses of motion, {poses['sessions']} of sessions, mirrored ones included")
    for count, (motion, sessions) in figures["nat"].items():
        more = "" if sessions is None else f", {sessions:.2f} of the split validate"
        print(f"{count} components: {_nat(motion)} a held-out pose{more}")
    print(args.out / WEIGHTS)
    return 0


def train(recipe: PriorRecipe, out: Path) -> Path:
    """The prior of a recipe, in the folder ``out``; what is done already stays."""
    data = run_manifest.fingerprints(recipe.datasets, [recipe.held_out], recipe.motion)
    base = read_prior(find_prior("default"))
    found = [s for folder in recipe.datasets for s in load_manifest(Path(folder)).sessions.values()]
    known = sorted(s.key for s in found if s.split != "test")
    run_manifest.begin(out, KIND, {"recipe": asdict(recipe), "base": base.name, "data": data, "sessions": known})
    if (out / WEIGHTS).exists():
        return out / WEIGHTS
    learnt = recipe.sessions("train")
    if recipe.datasets and not learnt:
        raise KinecastError(
            f"{', '.join(recipe.datasets)}: no frame of the split train was accepted: build with more sessions"
        )
    motion, held = recipe.clips()
    config = PriorConfig(recipe.share, recipe.keep, recipe.components, recipe.seed)
    done = train_prior(config, retargeted(base, load_body()), motion, learnt, held, recipe.sessions("validate"))
    poses = dict(zip(("motion", "sessions"), done.poses, strict=True))
    nat = {str(n): [v if v == v else None for v in pair] for n, pair in done.nat.items()}
    atomic_write(out / FIGURES, json.dumps({"poses": poses, "nat": nat}, indent=1) + "\n")
    save_prior(done.prior, out / WEIGHTS)
    return out / WEIGHTS


def read_recipe(out: Path) -> PriorRecipe:
    """The recipe of a run; KinecastError where there is none."""
    manifest: dict[str, Any] = run_manifest.read(out, KIND)
    try:
        recipe = dict(manifest["recipe"])
        for name in ("motion", "datasets", "components"):
            recipe[name] = tuple(recipe[name])
        return PriorRecipe(**recipe)
    except (KeyError, TypeError, ValueError) as e:
        raise KinecastError(f"{out / run_manifest.RUN} is damaged ({e}): choose another folder") from None


def read_sessions(out: Path) -> tuple[str, ...]:
    """Keys of the sessions that a run learned from or chose by; none for a run of before they were written."""
    return tuple(run_manifest.read(out, KIND).get("sessions", ()))


def _nat(value: float | None) -> str:
    return "no pose is held out" if value is None else f"{value:.2f} nat"
