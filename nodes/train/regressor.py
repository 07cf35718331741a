"""``kinecast train regressor``: regressors that learn from fits, of synthetic people, of recordings, or of both.

The folder gets ``run.json`` (what the run is of), a folder for each way of learning (checkpoint, dictionary of fits,
TensorBoard's events), and a weights file for each way that is done. The same command goes on with a run that was
broken off.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.regressor import PATH, Regressor, read_regressor
from kinecast.engines.train.data.detector_noise import FITTED, NoiseModel, load_noise
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.synthetic_batches import HELD_OUT, Augment, MotionClips
from kinecast.nodes.train import run_manifest
from kinecast.nodes.train.inputs import clips_of
from kinecast.nodes.train.libraries import training_libraries

if TYPE_CHECKING:
    from kinecast.engines.train.regressor.optimiser import SpinConfig
    from kinecast.engines.train.regressor.spin_loop import TrainingPeople

KIND = run_manifest.Kind("kinecast spin run", "a SPIN loop", "kinecast train regressor")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learnt from, how long, and where it goes."""
    parser.add_argument("motion", type=Path, nargs="*", help="folders of .bvh, .asf with .amc, or motion archives")
    parser.add_argument(
        "--datasets", type=Path, nargs="+", default=[], metavar="DIR",
        help="of `kinecast dataset build`: people as their views recorded them, beside motion or alone",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="one weights file a way")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="fixed, one-view, all-views, truth; default: all")
    parser.add_argument("--base", metavar="FILE", help="weights to begin with; default is the shipped file; else none")
    parser.add_argument("--scenes", type=int, metavar="N", help="people, each before cameras of their own; default 200")
    parser.add_argument("--views", type=int, metavar="N", help="cameras of each; default 3")
    parser.add_argument("--recorded", type=int, metavar="N", help="scenes of recordings a round; default 200")
    parser.add_argument(
        "--mix-ratio",
        "--share",
        dest="share",
        type=float,
        metavar="P",
        help="of a batch that is recorded, beside motion; 0.5",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="of training and fitting again; default 4")
    parser.add_argument("--steps", type=int, metavar="N", help="of the network a round; default 400")
    parser.add_argument(
        "--learning-rate", "--rate", dest="rate", type=float, metavar="R", help="the highest; default 0.001"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of everything that is drawn")
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="clips never to be trained on; default: our list")
    parser.add_argument(
        "--noise", type=Path, default=FITTED, metavar="TOML", help="as `kinecast train noise` writes it"
    )


def run(args: argparse.Namespace) -> int:
    """Train every way; KinecastError where the data or the settings do not allow it."""
    with training_libraries():
        import tensorboard  # noqa: F401
        import torch

        from kinecast.engines.train.regressor.optimiser import WAYS, SpinConfig

    torch.set_num_threads(1)
    names = ("scenes", "views", "rounds", "steps", "rate", "seed", "recorded", "share")
    config = replace(SpinConfig(), **{n: getattr(args, n) for n in names if getattr(args, n) is not None})
    if min(config.scenes, config.views, config.rounds, config.steps) < 1 or not 0 < config.rate < 1:
        raise KinecastError("--scenes, --views, --rounds and --steps are 1 or more, --learning-rate between 0 and 1")
    if config.recorded < 1 or not 0 < config.share < 1:
        raise KinecastError("--recorded is 1 or more, --mix-ratio between 0 and 1")
    if not args.motion and not args.datasets:
        raise KinecastError("nothing to learn from: give folders of motion, --datasets, or both")
    ways = tuple(args.ways or [w for w in WAYS if w != "truth" or not args.datasets])
    if unknown := [w for w in ways if w not in WAYS]:
        raise KinecastError(f"--ways {unknown[0]}: known are {', '.join(WAYS)}")
    if "truth" in ways and args.datasets:
        raise KinecastError("--ways truth: recordings have no truth; leave it out, or --datasets")
    base = read_regressor(PATH if args.base == "default" else Path(args.base)) if args.base else None
    clips, held = clips_of(args.motion, args.held_out) if args.motion else ([], [])
    noise = load_noise(args.noise)
    people, data = people_of(clips, held, noise, args.datasets, config)
    recipe = asdict(config) | {"ways": list(ways), "motion": bool(args.motion), "data sets": len(args.datasets)}
    files = [str(p) for p in (args.noise, args.held_out or HELD_OUT)]
    known = run_manifest.fingerprints(map(str, args.datasets), files, map(str, args.motion))
    # a folder that is moved is the same data
    sources = {Path(name).name: value for name, value in known.items()}
    run_manifest.begin(args.out, KIND, {"recipe": recipe, "base": base.name if base else "", "data": sources})
    print(data)
    for path in train(people, args.out, config, data, ways, base):
        print(path)
    return 0


def people_of(
    clips: Sequence[Clip], held: Sequence[Clip], noise: NoiseModel, datasets: Sequence[Path], config: "SpinConfig"
) -> tuple["TrainingPeople", str]:
    """Who is learnt from, and that in words. held: only so that the exam's classes of motion are kept apart."""
    from kinecast.engines.train.regressor.recorded import recorded
    from kinecast.engines.train.regressor.spin_loop import TrainingPeople
    from kinecast.engines.train.regressor.synthetic import scenes, split

    sources, synthetic = [], None
    if clips:
        learnt, _ = split(clips, held)
        if not learnt:
            raise KinecastError("all of this motion is kept for the exam: give other classes of motion too")
        synthetic = scenes(
            MotionClips(learnt, Augment()), noise, config.scenes, config.frames, config.views, config.seed
        )
        sources.append(
            f"{len(learnt)} clips of {', '.join(sorted({c.action for c in learnt}))}: {config.scenes} people before "
            f"{config.views} cameras, {config.frames} frames each"
        )
    own = recorded(datasets, "train", config.frames, config.recorded, config.seed) if datasets else None
    if datasets and own is None:
        raise KinecastError(
            f"{', '.join(map(str, datasets))}: no session is for training: build it with more, or a lower --test"
        )
    kept = recorded(datasets, "validate", config.frames, config.recorded, 10**6) if datasets else None
    if own is not None:
        sessions = len({s.session.key for s in own.shards})
        sources.append(
            f"{sessions} recorded sessions, up to {config.recorded} scenes of {config.frames} frames a round"
        )
    return TrainingPeople(synthetic, own, kept), "; ".join(sources)


def train(
    people: "TrainingPeople",
    out: Path,
    config: "SpinConfig",
    data: str,
    ways: tuple[str, ...],
    base: Regressor | None = None,
) -> list[Path]:
    """Weights of every way of learning in the folder ``out``; a way whose file is there is done."""
    from kinecast.engines.body.model.load import load_body
    from kinecast.engines.train.regressor.optimiser import Optimiser
    from kinecast.engines.train.regressor.spin_loop import card, loop

    optimiser, begun = Optimiser(), dict[bool, Any]()  # all ways begin with the same fits
    about, body = card(config, data, base.name if base else ""), load_body().id
    for way in ways:
        path = out / f"{way}.safetensors"
        if not path.exists():
            trained = loop(way, optimiser, people, config, out / way, base=base, first_round_fits=begun)
            trained.write(path, body, about)
    return [out / f"{way}.safetensors" for way in ways]
