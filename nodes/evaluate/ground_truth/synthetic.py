"""The synthetic world as a truth: what the cameras of a recording were drawn from is known exactly."""

from pathlib import Path

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.evaluate.ground_truth import staged
from kinecast.nodes.evaluate.ground_truth.truth import Truth
from kinecast.nodes.recording.file import Recording

SKELETON = "halpe26"


def read(recording: Path) -> Truth:
    """Everybody at the time of every frame set of a recording whose cameras are all synthetic and of one world, or that
    has its truth inside.

    Raises KinecastError where they are not.
    """
    opened = Recording.open(recording)
    if (inside := staged.truth_of(opened)) is not None:
        return inside
    sources = opened.sources
    uris = {s.uri for s in sources.values()}
    if not sources or any(s.kind != "synthetic" for s in sources.values()) or len(uris) != 1:
        told = ", ".join(f"{c}: {s.uri}" for c, s in sources.items()) or "no camera says where its pictures come from"
        raise KinecastError(f"{recording}: its cameras are not those of one synthetic world ({told})")
    world, epoch_ns = _world(recording, uris.pop()), _epoch(recording, sources)
    frames, times = {}, {}
    for k, (_, _, poses) in enumerate(opened.messages(("poses",))):
        points = world.points_world(poses.t_set_ns - epoch_ns)
        frames[k] = {p: x for p, x in enumerate(points) if np.isfinite(x).any()}
        times[k] = poses.t_set_ns
    return Truth("synthetic", skeleton(SKELETON).joints, frames, True, (), times)


def _world(recording: Path, uri: str) -> World:
    try:
        _, scenario, seed, people = uri.split(":")
        return World(int(people), int(seed), scenario)
    except ValueError:
        raise KinecastError(f"{recording}: {uri!r} is not a synthetic world's name") from None


def _epoch(recording: Path, sources: dict[str, SourceReport]) -> int:
    epochs = {s.epoch_ns for s in sources.values()}
    if len(epochs) != 1:
        raise KinecastError(f"{recording}: its cameras do not count from one epoch")
    return epochs.pop()
