"""A synthetic world: rigs in a ring, walking people, noisy detections, clocks that disagree. Product code."""

from kinecast.engines.synth.observe import CROWD, NONE, Noise, frame_rng, messages, observe, observe_points
from kinecast.engines.synth.rigs import ring_rig
from kinecast.engines.synth.world import CameraClock, World

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
