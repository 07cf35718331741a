"""``kinecast train lifter``: the lifter from folders of motion, or from labelled data sets."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import WIDTHS, LifterConfig
from kinecast.engines.skeleton import SKELETONS
from kinecast.engines.train.data.detector_noise import FITTED, load_noise
from kinecast.nodes.train.inputs import clips_of, labelled_of, tracks_of
from kinecast.nodes.train.libraries import training_libraries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learnt from, by which network, how long, and where it goes."""
    parser.add_argument("motion", type=Path, nargs="*", help="folders of .bvh, .asf with .amc, or motion archives")
    parser.add_argument(
        "--labelled", type=Path, nargs="+", default=[], metavar="FILE",
        help="instead: data_2d and data_3d npz as for VideoPose3D, MPI-INF-3DHP's annot.mat, SPIN's npz",
    )  # fmt: skip
    parser.add_argument("--skeleton", choices=sorted(SKELETONS), help="default: halpe26, or that of the labelled data")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="checkpoints, weights, TensorBoard"
    )
    parser.add_argument("--config", type=Path, metavar="JSON", help="start from this config.json of another run")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of the optimiser")
    parser.add_argument("--batch-size", "--sequences", type=int, metavar="N", help="sequences a batch and process")
    parser.add_argument("--frames", type=int, metavar="N", help="frames a sequence; the receptive field or more")
    parser.add_argument("--learning-rate", "--rate", type=float, metavar="R", help="highest learning rate")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything that is drawn")
    parser.add_argument("--channels", type=int, metavar="N", help="of the pose network: 512, or 1024 on a GPU")
    parser.add_argument("--trajectory-channels", type=int, metavar="N", help="0: no trajectory model")
    parser.add_argument("--receptive-field", type=int, choices=sorted(WIDTHS), metavar="N", help="1, 27, 81 or 243")
    parser.add_argument("--symmetric", action="store_true", help="see as far ahead as back; not for live use")
    parser.add_argument("--no-confidence", action="store_true", help="do not show the network the confidences")
    parser.add_argument("--dropout", type=float, metavar="P", help="of the network")
    parser.add_argument("--bf16", action="store_true", help="multiply in bfloat16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where it is computed")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU; default 1")
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="clips never to be trained on; default: our list")
    parser.add_argument(
        "--noise", type=Path, default=FITTED, metavar="TOML", help="as `kinecast train noise` writes it"
    )
    parser.add_argument(
        "--unlabelled", type=Path, nargs="+", default=[], metavar="MCAP", help="recordings for the losses without truth"
    )
    parser.add_argument(
        "--initial", type=Path, metavar="WEIGHTS", help="weights to begin with, of the same architecture"
    )
    parser.add_argument("--resume", action="store_true", help="go on from DIR/last.pt, with its config")
    parser.add_argument(
        "--metadata", "--about", action="append", default=[], metavar="KEY=TEXT", help="kept in the weights file"
    )


def run(args: argparse.Namespace) -> int:
    """Train; KinecastError where the data or the settings do not allow it."""
    with training_libraries():
        import torch

        from kinecast.engines.train.data.unlabelled_tracks import Unlabelled
        from kinecast.engines.train.lifter.config import TrainConfig
        from kinecast.engines.train.lifter.data import Inputs
        from kinecast.engines.train.lifter.train import train

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
    about = dict(_pair(text) for text in args.metadata)
    clips, held = clips_of(args.motion, args.held_out) if args.motion else ([], [])
    print(f"{len(clips or known)} clips to train on, {len(held or apart)} held out")
    tracks = [t for path in args.unlabelled for t in tracks_of(path, config.lifter.rate_hz)]
    inputs = Inputs(
        load_noise(args.noise), clips, held, known, apart, unlabelled=Unlabelled(tracks) if tracks else None
    )
    print(train(config, inputs, args.out, initial=args.initial, device=args.device, resume=args.resume, about=about))
    return 0


def _lifter(args: argparse.Namespace, lifter: LifterConfig) -> LifterConfig:
    settings = _given(args, "channels", "trajectory_channels", "dropout", "skeleton")
    if args.receptive_field:
        settings["widths"] = WIDTHS[args.receptive_field]
    if args.symmetric:
        settings["causal"] = False
    if args.no_confidence:
        settings["confidence"] = False
    return replace(lifter, **settings)


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise KinecastError(f"--metadata {text}: expected KEY=TEXT")
    return key, value


def _text(path: Path) -> str:
    try:
        text = path.read_text()
        json.loads(text)
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path}: no config of a training run ({e})") from None
    return text
