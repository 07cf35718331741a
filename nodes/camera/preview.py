"""Small pictures for the page, made only while somebody looks."""

import cv2
import numpy as np

from kinecast.capture.frame import Frame
from kinecast.engines.records import Keypoints2D
from kinecast.nodes.bus.messages import Preview, PreviewWish

QUALITY = 70


class Previews:
    """Takes wishes, and makes a picture of a frame where one is due."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._wish: PreviewWish | None = None
        self._next_ns = 0

    def ask(self, wish: PreviewWish) -> None:
        """Somebody looks, or still does."""
        self._wish = wish

    def of(self, frame: Frame, seen: Keypoints2D, now_ns: int) -> Preview | None:
        """The picture of this frame and who was seen in it; None where nobody looks, or the last is fresh enough."""
        wish = self._wish
        if wish is None or now_ns >= wish.until_ns or now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + round(1e9 / wish.rate_hz)
        image = frame.image_bgr
        h, w = image.shape[:2]
        scale = wish.longest_px / max(h, w)
        if scale < 1:
            size = (max(1, round(w * scale)), max(1, round(h * scale)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        ok, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        if not ok:
            return None
        return Preview(self._camera, frame.seq, frame.t_capture_ns, data.tobytes(), seen.skeleton, seen.keypoints_px)
