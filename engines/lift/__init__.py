"""Lifting: 2D joints of one view over time → 3D joints, by a causal temporal convolution network. No torch here."""

from engines.lift.config import WIDTHS, LifterConfig
from engines.lift.lifter import Lifter, find_lifter, load_lifter, shipped_lifters
from engines.lift.normalise import Normalised, hold, normalise
from engines.lift.records import Lifted

__all__ = [
    "WIDTHS",
    "Lifted",
    "Lifter",
    "LifterConfig",
    "Normalised",
    "find_lifter",
    "hold",
    "load_lifter",
    "normalise",
    "shipped_lifters",
]
