"""Source of several sources: motion and pseudo ground truth to learn from, or one after another to validate on."""

from dataclasses import dataclass, replace

from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler, concat_batches
from kinecast.engines.train.data.synthetic_batches import Batch, BatchSource, Sampler


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The sequences of one source, and after them some of sessions; ``size`` of both together, of ``frames`` frames."""

    first: BatchSource | None
    sessions: PseudoLabelSampler | None
    size: int
    frames: int

    @classmethod
    def of(
        cls, first: BatchSource | None, sessions: PseudoLabelSampler, size: int, frames: int, share: float
    ) -> "Mixture":
        """share: of the sequences that are of sessions, where there is another source; else all are."""
        count = size if first is None else min(max(round(share * size), 0), size)
        theirs = sessions.resized(count, frames) if count else None
        if isinstance(first, Sampler) and count < size:
            first = replace(first, size=size - count)
        return cls(first if count < size else None, theirs, size, frames)

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step on one of the machines."""
        parts = []
        if self.first is not None:
            kept = self.size - (self.sessions.size if self.sessions is not None else 0)
            parts.append(first_sequences(self.first.batch(step, rank), kept))
        if self.sessions is not None:
            parts.append(self.sessions.batch(step, rank))
        return concat_batches(*parts)


@dataclass(frozen=True, slots=True, eq=False)
class RoundRobin:
    """Several sources in turn."""

    sources: tuple[BatchSource, ...]

    def batch(self, step: int, rank: int = 0) -> Batch:
        """Batch ``step``: every source gives its own in turn."""
        return self.sources[step % len(self.sources)].batch(step // len(self.sources), rank)


def first_sequences(batch: Batch, count: int) -> Batch:
    """The first ``count`` sequences."""
    return Batch(*(getattr(batch, name)[:count] for name in Batch.__slots__))


def mix_sources(
    first: BatchSource | None, sessions: PseudoLabelSampler | None, size: int, frames: int, share: float
) -> BatchSource:
    """What a step draws from: one of the two where the other is not, else a :class:`Mixture`."""
    if sessions is None:
        assert first is not None
        return first
    return Mixture.of(first, sessions, size, frames, share)
