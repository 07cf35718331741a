"""``kinecast train``: weights from motion, and the noise model that training puts on top."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import WIDTHS, LifterConfig
from kinecast.engines.skeleton import SKELETONS
from kinecast.engines.train.data.detector_noise import FITTED, load_noise
from kinecast.engines.train.data.detector_noise_fit import fit_noise
from kinecast.nodes.bench import learning_curve
from kinecast.nodes.promote import command
from kinecast.nodes.recording.paths import named
from kinecast.nodes.train import occlusion_model, prior, regressor
from kinecast.nodes.train.inputs import clips_of, labelled_of, tracks_of
from kinecast.nodes.train.noise import residuals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand each for the lifter, for the noise, and for retraining and promotion."""
    sub = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    lifter = sub.add_parser("lifter", help="train the lifter on folders of motion")
    lifter.add_argument("motion", type=Path, nargs="*", help="folders of .bvh, .asf with .amc, or motion archives")
    lifter.add_argument(
        "--labelled", type=Path, nargs="+", default=[], metavar="FILE",
        help="instead: data_2d and data_3d npz as for VideoPose3D, MPI-INF-3DHP's annot.mat, SPIN's npz",
    )  # fmt: skip
    lifter.add_argument("--skeleton", choices=sorted(SKELETONS), help="default: halpe26, or that of the labelled data")
    lifter.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="checkpoints, weights, TensorBoard"
    )
    lifter.add_argument("--config", type=Path, metavar="JSON", help="start from this config.json of another run")
    lifter.add_argument("--steps", type=int, metavar="N", help="steps of the optimiser")
    lifter.add_argument("--batch-size", "--sequences", type=int, metavar="N", help="sequences a batch and process")
    lifter.add_argument("--frames", type=int, metavar="N", help="frames a sequence; the receptive field or more")
    lifter.add_argument("--learning-rate", "--rate", type=float, metavar="R", help="highest learning rate")
    lifter.add_argument("--seed", type=int, metavar="N")
    lifter.add_argument("--channels", type=int, metavar="N", help="of the pose network: 512, or 1024 on a GPU")
    lifter.add_argument("--trajectory-channels", type=int, metavar="N", help="0: no trajectory model")
    lifter.add_argument("--receptive-field", type=int, choices=sorted(WIDTHS), metavar="N", help="1, 27, 81 or 243")
    lifter.add_argument("--symmetric", action="store_true", help="see as far ahead as back; not for live use")
    lifter.add_argument("--no-confidence", action="store_true", help="do not show the network the confidences")
    lifter.add_argument("--dropout", type=float, metavar="P")
    lifter.add_argument("--bf16", action="store_true", help="multiply in bfloat16")
    lifter.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    lifter.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU; default 1")
    lifter.add_argument("--held-out", type=Path, metavar="TOML", help="clips never to be trained on; default: our list")
    lifter.add_argument(
        "--noise", type=Path, default=FITTED, metavar="TOML", help="as `kinecast train noise` writes it"
    )
    lifter.add_argument(
        "--unlabelled", type=Path, nargs="+", default=[], metavar="MCAP", help="recordings for the losses without truth"
    )
    lifter.add_argument(
        "--initial", type=Path, metavar="WEIGHTS", help="weights to begin with, of the same architecture"
    )
    lifter.add_argument("--resume", action="store_true", help="go on from DIR/last.pt, with its config")
    lifter.add_argument("--about", action="append", default=[], metavar="KEY=TEXT", help="kept in the weights file")
    command.add_arguments(sub)
    noise = sub.add_parser("noise", help="fit the noise model to what detectors did in recordings")
    noise.add_argument("recordings", type=Path, nargs="+", metavar="MCAP", help="recordings that were fused")
    noise.add_argument("-o", "--out", type=Path, required=True, metavar="TOML")
    noise.add_argument("--source", metavar="TEXT", help="what they are, for the file; default: their names")
    prior.add_arguments(sub.add_parser("prior", help="make the pose prior anew, from motion and data sets"))
    regressor.add_arguments(sub.add_parser("spin", help="train where body fits begin, from fits, in rounds"))
    occlusion_model.add_arguments(sub.add_parser("hidden", help="measure how to fill joints that no view sees"))
    learning_curve.add_arguments(sub.add_parser("curve", help="measure what retraining on 1, 5, 20 sessions gains"))


def run(args: argparse.Namespace) -> int:
    """Do it; KinecastError where the data or the settings do not allow it."""
    if args.what == "noise":
        return _noise(args)
    if args.what == "curve":
        return learning_curve.run(args)
    if args.what == "hidden":
        return occlusion_model.run(args)
    if args.what == "prior":
        return prior.run(args)
    if args.what == "spin":
        return regressor.run(args)
    if args.what in command.COMMANDS:
        return command.run(args)
    try:
        import torch

        from kinecast.engines.train.data.unlabelled_tracks import Unlabelled
        from kinecast.engines.train.lifter.config import TrainConfig
        from kinecast.engines.train.lifter.data import Inputs
        from kinecast.engines.train.lifter.train import train
    except ModuleNotFoundError as e:
        raise KinecastError(f"training needs {e.name}: pip install -c constraints.txt -e '.[train]'") from None

    torch.set_num_threads(max(1, args.threads))
    if args.device == "cuda" and not torch.cuda.is_available():
        raise KinecastError("no CUDA device here: leave --device out, or install a torch with CUDA")
    config = TrainConfig.from_json(_text(args.config)) if args.config else TrainConfig()
    if bool(args.motion) == bool(args.labelled):
        raise KinecastError("give folders of motion, or --labelled files, and not both")
    known, apart = labelled_of(args.labelled, args.held_out) if args.labelled else ([], [])
    if known and not args.skeleton:
        args.skeleton = known[0].skeleton
    try:
        config = replace(config, lifter=_lifter(args, config.lifter), **_given(args, "steps", "batch_size", "frames",
                         "learning_rate", "seed"), bf16=config.bf16 or args.bf16)  # fmt: skip
    except ValueError as e:
        raise KinecastError(f"these settings do not go together: {e}") from None
    if min(config.steps, config.batch_size) < 1 or config.frames < 2 or not 0 < config.learning_rate < 1:
        raise KinecastError(
            "--steps and --batch-size are 1 or more, --frames 2 or more, --learning-rate between 0 and 1"
        )
    about = dict(_pair(text) for text in args.about)
    clips, held = clips_of(args.motion, args.held_out) if args.motion else ([], [])
    print(f"{len(clips or known)} clips to train on, {len(held or apart)} held out")
    tracks = [t for path in args.unlabelled for t in tracks_of(path, config.lifter.rate_hz)]
    inputs = Inputs(
        load_noise(args.noise), clips, held, known, apart, unlabelled=Unlabelled(tracks) if tracks else None
    )
    print(train(config, inputs, args.out, initial=args.initial, device=args.device, resume=args.resume, about=about))
    return 0


def _noise(args: argparse.Namespace) -> int:
    named(args.out, ".toml")
    found = [r for path in args.recordings for r in residuals(path)]
    model = fit_noise(found, args.source or ", ".join(path.name for path in args.recordings))
    model.save(args.out)
    print(f"{len(found)} people in views: {model.source}")
    print(args.out)
    return 0


def _lifter(args: argparse.Namespace, lifter: LifterConfig) -> LifterConfig:
    told = _given(args, "channels", "trajectory_channels", "dropout", "skeleton")
    if args.receptive_field:
        told["widths"] = WIDTHS[args.receptive_field]
    if args.symmetric:
        told["causal"] = False
    if args.no_confidence:
        told["confidence"] = False
    return replace(lifter, **told)


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise KinecastError(f"--about {text}: expected KEY=TEXT")
    return key, value


def _text(path: Path) -> str:
    try:
        text = path.read_text()
        json.loads(text)
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path}: no config of a training run ({e})") from None
    return text
