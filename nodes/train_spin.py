"""``kinecast train spin FOLDER``: regressors that learn from fits, one weights file for each way of learning."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from capture.errors import KinecastError
from engines.train.motion import Clip
from engines.train.noise import FITTED, NoiseModel, load_noise
from engines.train.samples import Augment, Motion
from nodes.train_data import clips_of

if TYPE_CHECKING:
    from engines.train.spin import SpinConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learnt from, how long, and where it goes."""
    parser.add_argument("motion", type=Path, nargs="+", help="folders of .bvh, .asf with .amc, or motion archives")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="one weights file a way")
    parser.add_argument("--scenes", type=int, metavar="N", help="people, each before cameras of their own; default 200")
    parser.add_argument("--views", type=int, metavar="N", help="cameras of each; default 3")
    parser.add_argument("--rounds", type=int, metavar="N", help="of training and fitting again; default 4")
    parser.add_argument("--steps", type=int, metavar="N", help="of the network a round; default 400")
    parser.add_argument("--rate", type=float, metavar="R", help="highest learning rate; default 0.001")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="clips never to be trained on; default: our list")
    parser.add_argument(
        "--noise", type=Path, default=FITTED, metavar="TOML", help="as `kinecast train noise` writes it"
    )


def run(args: argparse.Namespace) -> int:
    """Train every way; KinecastError where the data or the settings do not allow it."""
    try:
        import torch

        from engines.train.spin import SpinConfig
    except ModuleNotFoundError as e:
        raise KinecastError(f"training needs {e.name}: pip install -c constraints.txt -e '.[train]'") from None

    torch.set_num_threads(1)
    names = ("scenes", "views", "rounds", "steps", "rate", "seed")
    config = replace(SpinConfig(), **{n: getattr(args, n) for n in names if getattr(args, n) is not None})
    if min(config.scenes, config.views, config.rounds, config.steps) < 1 or not 0 < config.rate < 1:
        raise KinecastError("--scenes, --views, --rounds and --steps are 1 or more, --rate between 0 and 1")
    clips, held = clips_of(args.motion, args.held_out)
    for path in train(clips, held, load_noise(args.noise), args.out, config):
        print(path)
    return 0


def train(
    clips: Sequence[Clip],
    held: Sequence[Clip],
    noise: NoiseModel,
    out: Path,
    config: "SpinConfig",
) -> list[Path]:
    """Weights of every way of learning in the folder ``out``. held: only so that its classes are kept apart."""
    from engines.body.files import load_body
    from engines.train.spin import card, train_all
    from engines.train.spin_people import scenes, split

    learnt, _ = split(clips, held)
    s = scenes(Motion(learnt, Augment()), noise, config.scenes, config.frames, config.views, config.seed)
    data = f"{len(learnt)} clips of {', '.join(sorted({c.action for c in learnt}))}"
    print(f"{data}: {config.scenes} people before {config.views} cameras, {config.frames} frames each")
    out.mkdir(parents=True, exist_ok=True)
    about, body = card(config, data), load_body().id
    return [t.write(out / f"{way}.safetensors", body, about) for way, t in train_all(s, config).items()]
