"""USB and other cameras of the system, through OpenCV."""

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.jpeg import JpegDecoder, jpeg_of
from kinecast.capture.latest import Grab, LatestSource, Tap
from kinecast.capture.planes import size_of
from kinecast.capture.plugged_in import backend
from kinecast.capture.source import SourceInfo

# a kernel stamp older than this is on another clock than ours (some drivers use the wall clock) and is not believed
MAX_STAMP_AGE_NS = 1_000_000_000
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
# what is locked, by the key of ``source``: OpenCV's property, the one that ends the camera's own choice, and its value
LOCKS = {
    "exposure": (cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_AUTO_EXPOSURE, 1.0),  # V4L2: 1 is manual, 3 the camera's own
    "gain": (cv2.CAP_PROP_GAIN, None, 0.0),
    "focus": (cv2.CAP_PROP_FOCUS, cv2.CAP_PROP_AUTOFOCUS, 0.0),
    "white_balance": (cv2.CAP_PROP_WB_TEMPERATURE, cv2.CAP_PROP_AUTO_WB, 0.0),
}
MAX_FAILED_GRABS = 5  # a single failed grab happens when a cable is bumped; so many in a row mean that it is gone


def open_device(uri: str) -> Any:
    """The OpenCV device of ``uri``: ``/dev/video2``, or its number."""
    return cv2.VideoCapture(int(uri) if uri.isdigit() else uri, backend())


def lock(device: Any, values: Mapping[str, float], camera: str, uri: str) -> None:
    """Set what is in LOCKS by its key, in the device's own units, and end its own choice of it.

    Raises KinecastError where the device has no such control or takes another value.
    """
    for key, value in values.items():
        prop, own_choice, off = LOCKS[key]
        if own_choice is not None:
            device.set(own_choice, off)
        device.set(prop, value)
        taken = float(device.get(prop))
        if not math.isclose(taken, value, rel_tol=0.02, abs_tol=1.0):
            says = "has no such control" if taken in (-1.0, 0.0) else f"took {taken:g}"
            raise KinecastError(
                f"camera {camera}: {uri} does not take source.{key} {value:g}: it {says}; "
                "`kinecast cameras --modes` prints the ranges"
            )


class UsbGrabber:
    """Frames of a cv2.VideoCapture, stamped by the kernel where its stamp is on our clock, else when it arrived.

    JPEG is handed on as it came, and decoded where a frame is looked at.

    Stamps are of the arrival of the frame, not of mid-exposure: V4L2 does not tell the exposure. Half a frame or so of
    constant offset is left to the session's clock offsets.
    """

    def __init__(self, device: Any, camera: str, uri: str, clock: Clock) -> None:
        self._device, self._camera, self._uri, self._clock = device, camera, uri, clock
        self._last_ns = -1
        self._decode = JpegDecoder()

    def grab(self) -> Grab | None:
        """See :class:`capture.latest.Grabber`."""
        for _ in range(MAX_FAILED_GRABS):
            if not self._device.grab():
                continue
            now_ns = self._clock.now_ns()
            stamp_ns = round(float(self._device.get(cv2.CAP_PROP_POS_MSEC)) * 1e6)
            if not 0 <= now_ns - stamp_ns < MAX_STAMP_AGE_NS:
                stamp_ns = now_ns
            stamp_ns = max(stamp_ns, self._last_ns + 1)
            ok, image = self._device.retrieve()
            if not ok or image is None:
                continue
            if image.ndim == 3 and image.shape[2] == 3:
                self._last_ns = stamp_ns
                return Grab(stamp_ns, partial(np.ascontiguousarray, image))
            if (data := jpeg_of(image)) is not None:
                self._last_ns = stamp_ns
                return Grab(stamp_ns, partial(self._decode, data), jpeg=data)
        raise KinecastError(f"camera {self._camera}: {self._uri} stopped giving frames: check the cable and its power")

    def close(self) -> None:
        """Release the device."""
        self._device.release()


def open_usb(
    uri: str,
    camera: str,
    *,
    fps_hz: float | None = None,
    size_px: tuple[int, int] | None = None,
    clock: Clock | None = None,
    tap: Tap | None = None,
    first_seq: int = 0,
    locked: Mapping[str, float] | None = None,
    device: Callable[[str], Any] = open_device,
) -> LatestSource:
    """Open a camera and ask for size and rate; MJPG is asked for, as raw frames do not fit through USB 2 at 1080p.

    locked: values that stay, see :func:`lock`. Raises KinecastError where there is no such device, it gives
    no frame, or it gives another size than was asked for.
    """
    if uri.startswith("/dev/") and device is open_device and not os.access(uri, os.R_OK | os.W_OK):
        why = "may not be opened by this user (group video)" if os.path.exists(uri) else "does not exist"  # noqa: PTH110
        raise KinecastError(f"camera {camera}: {uri} {why}: see which devices there are with `kinecast cameras`")
    capture = device(uri)
    if not capture.isOpened():
        capture.release()
        raise KinecastError(f"camera {camera}: cannot open the device {uri!r}: is it plugged in, and free?")
    capture.set(cv2.CAP_PROP_FOURCC, MJPG)
    if size_px is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_px[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_px[1])
    if fps_hz is not None:
        capture.set(cv2.CAP_PROP_FPS, fps_hz)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
    if int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPG:
        capture.set(
            cv2.CAP_PROP_CONVERT_RGB, 0
        )  # what is passed over need not be decoded, and what is recorded neither
    grabber = UsbGrabber(capture, camera, uri, clock or MonotonicClock())
    try:
        lock(capture, locked or {}, camera, uri)
        first = grabber.grab()
        assert first is not None
        w, h = size_of(first.load())
        if size_px is not None and (w, h) != tuple(size_px):
            raise KinecastError(
                f"camera {camera}: {uri} gives {w}×{h} and not {size_px[0]}×{size_px[1]}: "
                "set source.size_px to a size that it has"
            )
    except KinecastError:
        grabber.close()
        raise
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS)) or fps_hz or 30.0
    info = SourceInfo("usb", uri, (w, h), rate_hz, True)
    return LatestSource(camera, info, grabber, clock=clock, tap=tap, first_seq=first_seq)
