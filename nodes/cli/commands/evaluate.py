"""``kinecast evaluate …``: how good results and weights are, with a truth and without. A table of subcommands."""

import argparse

from kinecast.nodes.cli.subcommands import add_subcommands, run_subcommand

SUBCOMMANDS = {
    "truth": ("a recording or an export against ground truth: a data set, a recording", "evaluate.truth"),
    "holdout": ("are covariances calibrated: each camera predicted from the others", "evaluate.camera_holdout"),
    "views": ("fusion of fewer views and hidden joints, with the lifter and without", "evaluate.view_ablation"),
    "body-views": ("bodies fitted to fewer and fewer views", "evaluate.body_view_ablation"),
    "other": ("a recording compared with what another program made of the same keypoints", "evaluate.other_program"),
    "lifter": ("lifters on motion that they were not trained on", "evaluate.lifter"),
    "regressor": ("regressors of body fits on people that they were not trained on", "evaluate.regressor"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every subcommand."""
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    return run_subcommand(SUBCOMMANDS, args)
