"""``kinecast train …``: weights from motion and recordings, and which are active. A table of subcommands."""

import argparse

from kinecast.nodes.cli.subcommands import add_subcommands, run_subcommand

SUBCOMMANDS = {
    "lifter": ("train the lifter on folders of motion", "train.lifter"),
    "retrain": ("train from a recipe: motion, data sets of sessions, recordings", "train.retrain_command"),
    "promote": ("put the weights of a run in force, if they are better", "promote.command"),
    "rollback": ("put back in force what the last promotion took the place of", "promote.rollback"),
    "noise": ("fit the noise model to what detectors did in recordings", "train.noise"),
    "prior": ("make the pose prior anew, from motion and data sets", "train.prior"),
    "regressor": ("train where body fits begin, from fits, in rounds (SPIN)", "train.regressor"),
    "occlusion": ("measure how to fill joints that no view sees", "train.occlusion_model"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every subcommand."""
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; 1 where a candidate is refused."""
    return run_subcommand(SUBCOMMANDS, args)
