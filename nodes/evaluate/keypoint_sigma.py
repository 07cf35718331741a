"""Is the σ that is stated of keypoints honest, by who made them: a model, or optical flow since its last look?"""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.observations import camera_arrays
from kinecast.nodes.evaluate.camera_holdout import errors_of, per_axis
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets
from kinecast.nodes.reprocess.run_fusion import fuse_sets, fusion_settings

Float = NDArray[np.float64]


def inside_two_sigma(recording: Recording) -> dict[str, tuple[float, int]]:
    """Kind of keypoint → share of its distances to the people of all views, axis by axis, that are within 2 σ, and how
    many there are. σ: the noise that fusion takes it to have, and the covariance of the joint."""
    cameras = {c.name: camera_arrays(recording.rig.subset((c.name,))) for c in recording.rig}
    found = []
    for fused in fuse_sets(recording, fusion_settings(recording), sets=list(iter_frame_sets(recording))):
        for number, (name, camera) in enumerate(cameras.items()):
            view = fused.recorded.keypoints.get(name)
            if view is not None and len(fused.poses.person_ids):
                found.append(errors_of(camera, fused.poses, view, fused.noise_factor[number])[:3])
    if not found:
        return {}
    error, covariance, followed = (np.concatenate(part) for part in zip(*found, strict=True))
    return per_axis(error, covariance, followed)
