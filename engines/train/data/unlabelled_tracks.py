"""2D tracks of recordings, without any truth, for the semi-supervised losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.virtual_camera import fill_unseen, normalise

F32 = NDArray[np.float32]
SHORTEST = 16  # frames


@dataclass(frozen=True, slots=True, eq=False)
class Track2D:
    """One person in one view, at the model's rate. xy: (T, J, 2) undistorted normalised; confidence: (T, J)."""

    xy: F32
    confidence: F32


class Unlabelled:
    """Crops of tracks by number, as :class:`~engines.train.data.synthetic_batches.Sampler` gives labelled ones."""

    def __init__(self, tracks: Sequence[Track2D]) -> None:
        self.tracks = [t for t in tracks if len(t.xy) >= SHORTEST and (t.confidence > 0).any()]
        if not self.tracks:
            raise KinecastError(f"no track of {SHORTEST} frames or more in the recordings without truth")
        length = np.array([len(t.xy) for t in self.tracks], np.float64)
        self.share = length / length.sum()

    def batch(self, seed: int, step: int, rank: int, count: int, frames: int) -> dict[str, F32]:
        """features, context, extent and weight of ``count`` crops; a track that is too short ends in weight 0."""
        rng = np.random.default_rng((seed, step, rank, 7))
        xy, confidence, weight = [], [], np.zeros((count, frames), np.float32)
        for b, i in enumerate(rng.choice(len(self.tracks), count, p=self.share)):
            track = self.tracks[int(i)]
            start = int(rng.integers(0, max(len(track.xy) - frames, 0) + 1))
            seen = np.flatnonzero((track.confidence[start:] > 0).any(-1))
            start += int(seen[0]) if len(seen) else 0  # a track is born with a detection
            index = np.minimum(start + np.arange(frames), len(track.xy) - 1)
            xy.append(track.xy[index])
            confidence.append(track.confidence[index])
            weight[b, : len(track.xy) - start] = 1.0
        n = fill_unseen(normalise(np.stack(xy).astype(np.float32), np.stack(confidence).astype(np.float32)))
        weight *= n.seen
        f4 = np.float32
        return {
            "features": n.features.astype(f4), "context": n.context.astype(f4), "extent": n.extent.astype(f4),
            "weight": weight.astype(f4),
        }  # fmt: skip
