"""Motion and recordings that a regressor of the body learns from, in seconds."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.regressor.optimiser import SpinConfig
from kinecast.engines.train.regressor.recorded import Recorded, recorded
from kinecast.engines.train.regressor.spin_loop import TrainingPeople

SMALL = SpinConfig(rounds=3, steps=4, size=16, frames=3, recorded=3)


def clip(name: str, action: str, seed: int) -> Clip:
    """Two seconds of joints that swing about the mean pose of the body."""
    rng = np.random.default_rng(seed)
    t = np.arange(120)[:, None, None] / 60
    vectors = rng.normal(0, 0.25, (24, 3)) * np.sin(2 * np.pi * rng.uniform(0.3, 0.8, (24, 3)) * t)
    return Clip(
        name, action, 60.0, matrices(vectors).astype(np.float32),
        np.tile(np.array([0, 1.1, 0], np.float32), (120, 1)), np.ones(120, bool),
    )  # fmt: skip


def quiet(_: str) -> None: ...


def drawn(data: Path, split: str = "train", count: int = 3) -> Recorded:
    found = recorded([data], split, SMALL.frames, count, seed=1)
    assert found is not None
    return found


def people(data: Path) -> TrainingPeople:
    return TrainingPeople(None, drawn(data), drawn(data, "validate"))
