"""What a training of the lifter learns from and what it is validated on, as batches by number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.mixture import RoundRobin, mix_sources
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler
from kinecast.engines.train.data.published import Labelled, LabelledSampler
from kinecast.engines.train.data.synthetic_batches import Augment, Batch, BatchSource, MotionClips, Sampler
from kinecast.engines.train.data.unlabelled_tracks import Unlabelled
from kinecast.engines.train.lifter.config import TrainConfig

Tensors = dict[str, torch.Tensor]

VALIDATION_SEQUENCES = 16  # of a batch
VALIDATION_SEED = 10**6  # of no training
UNCHANGED = Augment(speed=(1.0, 1.0), arms=0.0, upright=1.0, flip=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """All that there is; what is held out is looked at and never learned from.

    noise: what a detector does to keypoints of clips. clips: motion before random cameras. labelled: of published data
    sets, instead of clips. sessions: people with pseudo ground truth, beside either or alone. unlabelled: 2D tracks of
    recordings, for the semi-supervised losses.
    """

    noise: NoiseModel
    clips: Sequence[Clip] = ()
    clips_held_out: Sequence[Clip] = ()
    labelled: Sequence[Labelled] = ()
    labelled_held_out: Sequence[Labelled] = ()
    sessions: PseudoLabelSampler | None = None
    sessions_held_out: PseudoLabelSampler | None = None
    unlabelled: Unlabelled | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The batches of a run. Each is a function of (seed, step, rank).

    short: source of the first share of the steps, full: of the rest. validation: by name, of held-out data. about:
    counts, for the weights' metadata.
    """

    config: TrainConfig
    short: BatchSource
    full: BatchSource
    validation: Mapping[str, BatchSource]
    unlabelled: Unlabelled | None
    about: Mapping[str, Any]

    @classmethod
    def of(cls, config: TrainConfig, inputs: Inputs) -> "Data":
        """The sources that the inputs allow; KinecastError where there is nothing to learn from."""
        truth = _Truth()
        if inputs.labelled:
            truth = _of_labelled(config, inputs)
        elif inputs.clips or inputs.sessions is None:
            truth = _of_motion(config, inputs)
        validation = {} if truth.held_out is None else {"held_out": truth.held_out}
        if inputs.sessions_held_out is not None:
            theirs = inputs.sessions_held_out.resized(VALIDATION_SEQUENCES, config.frames)
            validation["sessions"] = replace(theirs, virtual=0.0, flip=0.0, seed=VALIDATION_SEED)
        short = mix_sources(truth.short, inputs.sessions, *short_size(config), config.pseudo)
        full = mix_sources(truth.full, inputs.sessions, config.batch_size, config.frames, config.pseudo)
        about = dict(truth.about)
        if inputs.sessions is not None:
            about["pseudo_sessions"] = len({s.session.key for s in inputs.sessions.shards})
        return cls(config, short, full, validation, inputs.unlabelled, about)

    def batch(self, step: int, rank: int, device: str) -> tuple[Tensors, Tensors | None]:
        """A labelled batch, and an unlabelled one from the step on that wants one."""
        config = self.config
        is_short = step < config.short_fraction * config.steps
        labelled = tensors((self.short if is_short else self.full).batch(step, rank), device)
        if self.unlabelled is None or step < config.unlabelled_after or not config.lifter.trajectory_channels:
            return labelled, None
        sequences, frames = short_size(config) if is_short else (config.batch_size, config.frames)
        count = max(1, round(config.unlabelled * sequences))
        return labelled, tensors(self.unlabelled.batch(config.seed, step, rank, count, frames), device)

    @property
    def all_validation(self) -> BatchSource | None:
        """The validation sources in turn; None where nothing is held out."""
        return RoundRobin(tuple(self.validation.values())) if self.validation else None


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """Sources of exact ground truth, where there are any."""

    short: Sampler | LabelledSampler | None = None
    full: Sampler | LabelledSampler | None = None
    held_out: BatchSource | None = None
    clips: int = 0
    clips_held_out: int = 0
    seconds: float = 0.0

    @property
    def about(self) -> dict[str, Any]:
        """As the metadata of weights has it."""
        minutes = round(self.seconds / 60, 1)
        return {"clips": self.clips, "held_out": self.clips_held_out, "minutes_of_motion": minutes}


def short_size(config: TrainConfig) -> tuple[int, int]:
    """Sequences and frames of a batch of short sequences: about as many frames as of a full one, of more people."""
    frames = min(config.short_frames, config.frames)
    return max(1, config.batch_size * config.frames // frames), frames


def _of_motion(config: TrainConfig, inputs: Inputs) -> _Truth:
    motion = MotionClips(inputs.clips, config.augment)
    rate_hz, (many, frames) = config.lifter.rate_hz, short_size(config)
    full = Sampler(motion, inputs.noise, config.cameras, config.batch_size, config.frames, rate_hz, config.seed)
    apart: Sampler | None = None
    if inputs.clips_held_out:
        held = MotionClips(inputs.clips_held_out, UNCHANGED)
        apart = replace(full, motion=held, size=VALIDATION_SEQUENCES, seed=VALIDATION_SEED)
    short = replace(full, size=many, frames=frames)
    return _Truth(short, full, apart, len(inputs.clips), len(inputs.clips_held_out), motion.seconds)


def _of_labelled(config: TrainConfig, inputs: Inputs) -> _Truth:
    name, rate_hz, seed = config.lifter.skeleton, config.lifter.rate_hz, config.seed
    known, apart = inputs.labelled, inputs.labelled_held_out
    full = LabelledSampler(known, name, config.batch_size, config.frames, rate_hz, seed)
    short = LabelledSampler(known, name, *short_size(config), rate_hz, seed)
    held_out: LabelledSampler | None = None
    if apart:
        held_out = LabelledSampler(apart, name, VALIDATION_SEQUENCES, config.frames, rate_hz, VALIDATION_SEED)
    return _Truth(short, full, held_out, len(known), len(apart), full.seconds)


def tensors(batch: Batch | Mapping[str, Any], device: str) -> Tensors:
    """The float arrays of a batch, by name."""
    arrays = batch if isinstance(batch, Mapping) else {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {k: torch.from_numpy(v).to(device) for k, v in arrays.items() if v.dtype == np.float32}
