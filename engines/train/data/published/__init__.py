"""Published data sets with 2D and 3D of the same people, in the layouts that others prepared them in."""

from kinecast.engines.train.data.published.labelled import Labelled, LabelledSampler, solve_camera
from kinecast.engines.train.data.published.read import read_labelled

__all__ = ["Labelled", "LabelledSampler", "read_labelled", "solve_camera"]
