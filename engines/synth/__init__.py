"""A synthetic world: rigs in a ring, walking people, noisy detections, clocks that disagree. Product code."""

from engines.synth.observe import CROWD, NONE, Noise, frame_rng, messages, observe, observe_points
from engines.synth.rigs import ring_rig
from engines.synth.world import CameraClock, World

__all__ = [
    "CROWD",
    "NONE",
    "CameraClock",
    "Noise",
    "World",
    "frame_rng",
    "messages",
    "observe",
    "observe_points",
    "ring_rig",
]
