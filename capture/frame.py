"""One picture of one camera, stamped once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.planes import Pixels, Planes, bgr_of, size_of


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame as it left its source.

    camera: name of the camera in the rig.
    seq: number of the frame since its source opened, from 0. Frames that were skipped are counted too, so a gap
        in ``seq`` is a loss that can be seen.
    t_capture_ns: when the light was captured, on the capturing host's monotonic clock (files: session epoch + the
        container's own timestamp). Never restamped.
    t_grab_ns: when this frame was in memory, on the monotonic clock; latency is counted from ``t_capture_ns`` live
        and from here where the source is not live.
    picture: (H, W, 3) uint8 BGR, read-only, or the planes of a video's picture.
    """

    camera: str
    seq: int
    t_capture_ns: int
    t_grab_ns: int
    picture: Pixels

    def __post_init__(self) -> None:
        image = self.picture
        if isinstance(image, Planes):
            return
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"{self.camera}: a frame is (H, W, 3) uint8, not {image.shape} {image.dtype}")
        image.flags.writeable = False

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return size_of(self.picture)

    @property
    def image_bgr(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, read-only; planes are converted each time that it is asked for."""
        image = bgr_of(self.picture)
        image.flags.writeable = False
        return image
