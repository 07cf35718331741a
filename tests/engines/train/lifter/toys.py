"""A lifter of 24 channels, and a training of six steps."""

from dataclasses import replace
from pathlib import Path

from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.train.data.detector_noise import load_noise
from kinecast.engines.train.data.motion import read_clips
from kinecast.engines.train.lifter.config import TrainConfig
from kinecast.engines.train.lifter.data import Inputs
from kinecast.engines.train.lifter.train import train

LIFTER = LifterConfig(
    widths=(3, 3, 3), channels=24, trajectory_channels=8, gamma_hidden=8, projector_hidden=16, dropout=0.1
)
CONFIG = TrainConfig(
    lifter=LIFTER, steps=6, batch_size=2, frames=32, short_frames=16, short_fraction=0.5, eval_every=3, warm_up=2,
    unlabelled_after=2, unlabelled=0.5, eval_batches=1,
)  # fmt: skip


def as_one_of_two(folder: Path) -> None:
    """What each process does."""
    found = list(read_clips(folder / "motion", rest_directions(load_body().J_template), 60.0))
    train(replace(CONFIG, steps=2), Inputs(load_noise(), found[:2], found[2:]), folder / "out", quiet=True)
