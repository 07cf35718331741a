"""The contract that every source of frames keeps."""

from dataclasses import dataclass
from typing import Protocol

from kinecast.capture.frame import Frame


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says of itself once it is open.

    live: True where frames come at their own time and are lost if nobody takes them (USB, RTSP, a paced file);
        False where the next frame waits for the reader (files as fast as possible, image folders).
    frames: how many frames it will give, or None where that is not known. notes: what a user should know of how it is
        read (mirrored, joined from parts, decoded by hardware).
    """

    kind: str
    uri: str
    size_px: tuple[int, int]
    fps_hz: float
    live: bool
    frames: int | None = None
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Where frames come from. Opening may raise ``KinecastError``; a constructor never blocks for ever."""

    @property
    def info(self) -> SourceInfo:
        """What was opened."""
        ...

    @property
    def skipped(self) -> int:
        """How many frames were lost so far because the reader was slow."""
        ...

    @property
    def losses(self) -> dict[str, int]:
        """Frames lost for any other reason so far, by cause of :mod:`capture.refusals`; empty where none."""
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame (live: the newest not yet read), or None at the end of the stream.

        Raises ``SourceStalled`` where nothing came within ``timeout_s``, ``KinecastError`` where the source is gone.
        """
        ...

    def close(self) -> None:
        """Release the device or file; safe to call twice."""
        ...


class SourceStalled(TimeoutError):
    """Nothing came in time; the source may come back."""
