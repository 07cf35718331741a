"""The views of one frame set as all stages of fusion take them: fit for the rig, undistorted once, with their times."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.observations import CameraArrays, Detections, undistort_detections
from kinecast.engines.records import FrameSet, Keypoints2D

Float = NDArray[np.float64]

SKELETON = "halpe26"


@dataclass(frozen=True, slots=True, eq=False)
class SetViews:
    """C views, in the order of the cameras.

    messages: None where there is none, or its pictures are not those that the rig was calibrated for. found: their
    detections, undistorted, in fusion's skeleton. dt_to_set_s: (C,) time of the set minus that of each view, clock
    corrections applied, seconds; 0 where there is none. misfits: cameras whose message was refused for its size.
    """

    messages: tuple[Keypoints2D | None, ...]
    found: Detections
    dt_to_set_s: Float
    misfits: tuple[str, ...]


def set_views(rig: Rig, cameras: CameraArrays, frameset: FrameSet, views: Mapping[str, Keypoints2D]) -> SetViews:
    """The views of the cameras of ``rig``, which ``cameras`` are the arrays of. views: camera → message."""
    given = [(camera, views.get(camera.name)) for camera in rig]
    misfits = tuple(c.name for c, v in given if v is not None and not c.fits(v.size_px))
    messages = tuple(None if c.name in misfits else v for c, v in given)
    offsets = dict(zip(frameset.cameras, frameset.offsets_ns.tolist(), strict=True))
    dt_to_set_s = np.array(
        [0.0 if m is None else (frameset.t_set_ns - m.t_capture_ns + offsets.get(m.camera, 0)) / 1e9 for m in messages]
    )
    return SetViews(messages, undistort_detections(cameras, messages, SKELETON), dt_to_set_s, misfits)
