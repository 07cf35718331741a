"""``kinecast bench …``: measure the parts of the system on this machine. A table of subcommands."""

import argparse

from kinecast.nodes.bench.parts import PARTS
from kinecast.nodes.bench.report import add_json
from kinecast.nodes.cli.subcommands import add_subcommands, run_subcommand

SUBCOMMANDS = {
    "parts": ("the parts that take seconds, or those that are named; what `kinecast bench` alone does", "bench.parts"),
    "picture": ("what one picture costs a camera by step, and what comes of it: ways in turns", "bench.picture"),
    "hour": ("all that fusion learns over time, for an hour, with a detector's habits and without", "bench.hour"),
    "live": ("the whole graph, from pictures to poses, and what was lost on the way", "bench.live"),
    "start": ("how long a start takes, cold, warm and after a kill, to the first pose", "bench.start"),
    "sigma": ("whether stated deviations are as large as errors, under detectors with habits", "bench.sigma"),
    "machine": ("which rate this machine holds with each profile, and which to take", "bench.machine"),
    "calibrate-people": ("rigs from people on synthetic walks, against the truth", "bench.calibration_from_people"),
    "learning-curve": ("what retraining on 1, 5, 20 sessions gains", "bench.learning_curve_command"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every subcommand; each part of the system is one too."""
    sub = add_subcommands(parser, SUBCOMMANDS, required=False)
    parser.set_defaults(subcommand="parts", part=[], json=None)
    for name, text in PARTS.items():
        one = sub.add_parser(name, help=text, description=text)
        one.set_defaults(subcommand="parts", part=[name])
        add_json(one)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    return run_subcommand(SUBCOMMANDS, args)
