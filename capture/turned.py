"""A source whose pictures are turned or mirrored as the user says; what is recorded of it stays as it came."""

from dataclasses import replace

from kinecast.capture.frame import Frame
from kinecast.capture.orientation import Orientation
from kinecast.capture.source import Source, SourceInfo


class TurnedSource:
    """``source``, its frames turned as they are read."""

    def __init__(self, source: Source, orientation: Orientation) -> None:
        self._source, self._orientation = source, orientation

    @property
    def info(self) -> SourceInfo:
        """What was opened, with the size that its frames have."""
        info = self._source.info
        return replace(info, size_px=self._orientation.size(info.size_px))

    @property
    def skipped(self) -> int:
        """Frames lost so far because the reader was slow."""
        return self._source.skipped

    @property
    def losses(self) -> dict[str, int]:
        """Frames lost otherwise, by cause."""
        return self._source.losses

    @property
    def timing(self) -> str:
        """What the stamps are made of, "" where there is nothing to say."""
        return str(getattr(self._source, "timing", ""))

    def read(self, timeout_s: float) -> Frame | None:
        """See :class:`capture.source.Source`."""
        frame = self._source.read(timeout_s)
        return None if frame is None else replace(frame, picture=self._orientation.turn(frame.picture))

    def close(self) -> None:
        """Close the source; safe to call twice."""
        self._source.close()
