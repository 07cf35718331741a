"""Lifting: 2D joints of one view over time → 3D joints, by a causal temporal convolution network. No torch here."""

from kinecast.engines.lift.config import WIDTHS, LifterConfig
from kinecast.engines.lift.lifter import Lifter, find_lifter, load_lifter, shipped_lifters
from kinecast.engines.lift.records import Lifted
from kinecast.engines.virtual_camera import Normalised, fill_unseen, normalise

__all__ = [
    "WIDTHS",
    "Lifted",
    "Lifter",
    "LifterConfig",
    "Normalised",
    "fill_unseen",
    "find_lifter",
    "load_lifter",
    "normalise",
    "shipped_lifters",
]
