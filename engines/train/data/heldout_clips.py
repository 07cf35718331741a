"""Held-out motion before random cameras, whole clips, always the same.

One view, a detector's noise. Everything is drawn from the clip's name and the view's number alone, so that every lifter
gets the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.prior.pose_prior import load_prior
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.pinhole_views import before_cameras, detect
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.synthetic_batches import Augment, Batch, MotionClips, batch_of

Bool = NDArray[np.bool_]

HALPE = skeleton("halpe26")
ROOT, NECK = HALPE.index("mid_hip"), HALPE.index("neck")
LONGEST_S = 20.0
LYING_RAD = np.deg2rad(60)
RARE = 0.1  # the least likely tenth of the poses, by the pose prior
PLAIN = Augment(speed=(1.0, 1.0), arms=0.0, upright=1.0, flip=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class HeldoutClip:
    """A stretch of a clip seen by one camera. B is 1. lying, rare: (T,) of the true pose."""

    name: str
    action: str
    batch: Batch
    lying: Bool
    rare: Bool


def heldout_clips(
    clips: Sequence[Clip], noise: NoiseModel, cameras: CameraRanges, rate_hz: float, views: int = 2
) -> Iterator[HeldoutClip]:
    """``views`` cameras for every stretch without a glitch of every clip, up to 20 s of it."""
    motion = MotionClips(clips, PLAIN)
    prior = load_prior()
    stretches = []
    for piece in range(len(motion.share)):
        seconds = float((motion.end[piece] - motion.begin[piece]) / motion.rate_hz[piece])
        frames = int(min(seconds, LONGEST_S) * rate_hz)
        local, _ = motion.rotations(piece, 0.0, frames, rate_hz, 1.0)
        stretches.append((piece, frames, prior.log_likelihood(local)))
    unlikely = np.quantile(np.concatenate([s[2] for s in stretches]), RARE)
    for piece, frames, likely in stretches:
        name = motion.names[motion.clip[piece]]
        for view in range(views):
            part = piece - int(np.flatnonzero(motion.clip == motion.clip[piece])[0])
            rng = np.random.default_rng((crc32(name.encode()), part, view))
            points = motion.sequence(rng, piece, 0.0, frames, rate_hz)
            trunk = points[:, NECK] - points[:, ROOT]
            lying = trunk[:, 1] < np.cos(LYING_RAD) * np.linalg.norm(trunk, axis=-1)
            seen = before_cameras(points[None], rng, cameras, motion.clip[[piece]])
            batch = batch_of(seen, *detect(seen, noise, rng, rate_hz), rate_hz)
            yield HeldoutClip(name, motion.actions[motion.clip[piece]], batch, lying, likely < unlikely)
