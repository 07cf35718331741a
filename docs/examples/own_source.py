"""A source of your own: frames from a numpy file (T, H, W, 3), handed out as any camera hands out its own.

python docs/examples/own_source.py frames.npy --fps 30
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.source import Source, SourceInfo


class ArraySource:
    """Keeps the contract of `kinecast.capture.source.Source`. A file is not live: nothing is ever skipped."""

    def __init__(self, path: Path, camera: str, fps_hz: float, epoch_ns: int = 0) -> None:
        self._frames: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        if self._frames.ndim != 4 or self._frames.shape[3] != 3 or self._frames.dtype != np.uint8:
            raise KinecastError(f"camera {camera}: {path} is not (T, H, W, 3) uint8")
        count, height, width, _ = self._frames.shape
        self.info = SourceInfo("array", str(path), (width, height), fps_hz, live=False, frames=count)
        self.skipped, self.losses = 0, dict[str, int]()
        self._camera, self._epoch_ns, self._next = camera, epoch_ns, 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, stamped once, or None at the end."""
        if self._next == self.info.frames:
            return None
        seq, self._next = self._next, self._next + 1
        t_capture_ns = self._epoch_ns + round(seq * 1e9 / self.info.fps_hz)
        return Frame(self._camera, seq, t_capture_ns, time.monotonic_ns(), np.array(self._frames[seq]))

    def close(self) -> None:
        """Nothing is held open."""


def main() -> None:
    """Print the stamp and the mean brightness of every frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--fps", type=float, default=30.0)
    args = parser.parse_args()
    source: Source = ArraySource(args.file, "cam01", args.fps)
    while (frame := source.read(timeout_s=1.0)) is not None:
        print(f"frame {frame.seq} at {frame.t_capture_ns} ns: {frame.size_px} px, mean {frame.image_bgr.mean():.0f}")
    source.close()


if __name__ == "__main__":
    main()
