"""A recording of the synthetic world."""

from pathlib import Path

from kinecast.engines.synth import CameraClock, Noise
from kinecast.nodes.bench import replay as session

FRAMES = 40


def record(path: Path, cameras: int, noise: Noise, clocks: dict[str, CameraClock] | None = None) -> Path:
    """Two people before so many cameras, fused."""
    return session.record(path, cameras, 2, FRAMES, 30.0, noise, clocks)
