"""``kinecast bench parts``: the parts of the system one by one, those that take seconds where none is named."""

import argparse
import importlib

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit

# name, and module of nodes.bench with ``run() -> list[Row]`` → what is measured
QUICK = {
    "codec": "messages to bytes and back",
    "bus": "messages between processes",
    "recorder": "recording to disk",
    "fusion": "keypoints to poses",
    "replay": "a recording fused again",
    "body": "fits of bodies: time and accuracy",
    "lifter": "the lifter, a step and a window",
    "prediction": "poses carried ahead to the moment of display",
}
SLOW = {
    "crowd": "crossing people, against an ideal estimator",
    "calibration": "a rig from a board",
    "shape": "shapes of six people under a detector's habits, for ten minutes each",
}
PARTS = QUICK | SLOW


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which parts."""
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; default: {' '.join(QUICK)}")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table. Always 0: a benchmark measures, it does not judge."""
    parts = args.part or list(QUICK)
    if unknown := [p for p in parts if p not in PARTS]:
        raise KinecastError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    check_json(args)
    rows: list[Row] = []
    for part in parts:
        rows += importlib.import_module(f"kinecast.nodes.bench.{part}").run()
    emit(args, rows)
    return 0
