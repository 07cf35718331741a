"""Live devices: a thread that always drains the device, so that a slow reader skips frames and never delays them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.jpeg import DamagedPicture
from kinecast.capture.planes import Pixels
from kinecast.capture.source import SourceInfo, SourceStalled


@dataclass(frozen=True, slots=True, eq=False)
class Grab:
    """One frame as a device gave it.

    load: makes the picture, called only for frames that are read or encoded. pts: its time in the ticks of the stream
    that it came in, where it came in one. jpeg: the picture as it came, where it came so.
    """

    t_capture_ns: int
    load: Callable[[], Pixels]
    pts: int | None = None
    jpeg: bytes | None = None


class Grabber(Protocol):
    """A device. ``grab`` blocks; it is called from one thread only."""

    def grab(self) -> Grab | None:
        """The next frame, None at the end; KinecastError where the device is gone, SourceStalled to try again."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Tap(Protocol):
    """Something that wants every frame, read or not: the video recorder. It must not raise."""

    def frame(self, seq: int, grab: Grab) -> None:
        """Take a frame; called from the draining thread."""
        ...

    def close(self) -> None:
        """No more frames come."""
        ...


class LatestSource:
    """A Source that keeps only the newest frame of a grabber. ``first_seq`` numbers the first frame."""

    def __init__(
        self,
        camera: str,
        info: SourceInfo,
        grabber: Grabber,
        *,
        clock: Clock | None = None,
        tap: Tap | None = None,
        first_seq: int = 0,
    ) -> None:
        self._camera, self._info, self._grabber, self._tap = camera, info, grabber, tap
        self._clock = clock or MonotonicClock()
        self._changed = threading.Condition()
        self._newest: tuple[int, int, Grab] | None = None  # seq, t_grab_ns, grab
        self._next_seq = first_seq
        self._skipped = 0
        self._damaged = 0
        self._ended = False
        self._error: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._drain, name=f"drain-{camera}", daemon=True)
        self._thread.start()

    @property
    def info(self) -> SourceInfo:
        """What was opened."""
        return self._info

    @property
    def skipped(self) -> int:
        """Frames lost so far because the reader was slow."""
        return self._skipped

    @property
    def losses(self) -> dict[str, int]:
        """Frames that the device gave damaged, where it can tell."""
        damaged = self._damaged + int(getattr(self._grabber, "damaged", 0))
        return {"damaged": damaged} if damaged else {}

    @property
    def timing(self) -> str:
        """What the stamps are made of, where the device can tell; "" where there is nothing to say."""
        return str(getattr(self._grabber, "timing", ""))

    def _drain(self) -> None:
        """Grab until the end, an error or ``close``; an error is handed to the reader."""
        try:
            while not self._closing:
                try:
                    grab = self._grabber.grab()
                except SourceStalled:
                    continue
                if grab is None:
                    break
                with self._changed:
                    seq, self._next_seq = self._next_seq, self._next_seq + 1
                    if self._newest is not None:
                        self._skipped += 1
                    self._newest = (seq, self._clock.now_ns(), grab)
                    self._changed.notify_all()
                if self._tap is not None:
                    self._tap.frame(seq, grab)
        except Exception as e:
            self._error = e
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def read(self, timeout_s: float) -> Frame | None:
        """See :class:`capture.source.Source`."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, timeout_s)
            newest, self._newest = self._newest, None
        if newest is not None:
            seq, t_grab_ns, grab = newest
            try:
                return Frame(self._camera, seq, grab.t_capture_ns, t_grab_ns, grab.load())
            except DamagedPicture as e:
                self._damaged += 1
                raise SourceStalled(f"camera {self._camera}: {self._info.uri}: {e}") from None
        if not self._ended:
            raise SourceStalled(f"camera {self._camera}: {self._info.uri} gave nothing for {timeout_s:g} s")
        if isinstance(self._error, KinecastError):
            raise self._error
        if self._error is not None:
            raise KinecastError(
                f"camera {self._camera}: {self._info.uri} failed: {self._error}; check the device or the network"
            ) from self._error
        return None

    def close(self) -> None:
        """Stop the thread and release the device; safe to call twice.

        A device that hangs inside a read is left to its daemon thread after 2 s: nothing can interrupt it.
        """
        self._closing = True
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._grabber.close()
        if self._tap is not None:
            self._tap.close()
