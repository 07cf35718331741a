"""People in the views of a ring of cameras, and whose each detection is."""

import numpy as np

from kinecast.engines.observations import Detections, camera_arrays, undistort_detections
from kinecast.engines.synth import Noise, World, frame_rng, message, observe, ring_rig

RIG = ring_rig(4)
CAMERAS = camera_arrays(RIG)


def scene(people: int = 4, noise: Noise = Noise(3.0), seed: int = 0) -> tuple[np.ndarray, Detections, np.ndarray]:  # noqa: B008
    """Joints (P, 26, 3), detections of all views, and whose each is (−1: a ghost)."""
    X = World(people=people, seed=seed).points_world(1_000_000_000)
    messages, who = [], []
    for camera in RIG:
        seen, whose = observe(X, camera, noise, frame_rng(seed, camera.name, 0))
        who.append(whose)
        messages.append(message(camera, 0, 0, seen))
    return X.copy(), undistort_detections(CAMERAS, messages), np.concatenate(who)
