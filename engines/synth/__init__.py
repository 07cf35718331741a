"""A synthetic world: cameras, people who move, detectors that err, clocks that disagree; see ``scene``."""

from kinecast.engines.synth.detector import CROWD, NONE, Detections, Detector, Noise, TrueView, WhiteNoise
from kinecast.engines.synth.rigs import ring_rig
from kinecast.engines.synth.scene import SampledPeople, Scene, Trajectories, frame_rng, message, messages, observe
from kinecast.engines.synth.world import CameraClock, World

__all__ = [
    "CROWD",
    "NONE",
    "CameraClock",
    "Detections",
    "Detector",
    "Noise",
    "SampledPeople",
    "Scene",
    "Trajectories",
    "TrueView",
    "WhiteNoise",
    "World",
    "frame_rng",
    "message",
    "messages",
    "observe",
    "ring_rig",
]
