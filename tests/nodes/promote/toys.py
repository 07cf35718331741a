"""A lifter that learns in seconds."""

from kinecast.engines.lift.config import LifterConfig

LIFTER = LifterConfig(
    widths=(3, 3), channels=24, trajectory_channels=8, gamma_hidden=8, projector_hidden=16, dropout=0.1
)
