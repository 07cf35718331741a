"""Everything that a training of the lifter depends on, beside its data; as JSON it travels in every checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.synthetic_batches import Augment
from kinecast.engines.train.lifter.losses import LossWeights
from kinecast.engines.train.old_keys import STOP, TRAIN, renamed


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that a run depends on, beside the data. It travels in every checkpoint.

    steps: of the optimiser. batch_size: sequences, and frames: of each, in a batch on one machine. short_frames: for
    the first share ``short_fraction`` of the steps a batch is as many frames in shorter sequences, of more people.
    learning_rate: the highest, reached after ``warm_up`` steps, from where it falls as a cosine to
    ``final_learning_rate``. bf16: multiply in bfloat16. unlabelled: share of sequences without truth in a batch, used
    after ``unlabelled_after`` steps. eval_every: steps between looks at held-out data, and checkpoints. eval_batches:
    of held-out motion behind the figures. pseudo: share of sequences with pseudo ground truth in a batch, where there
    is any; all where there is no other motion. patience: looks at held-out data without a gain of the share
    ``min_improvement``, after which a run ends with the best weights so far, or between these and ``initial`` where it
    began there (``engines.train.lifter.weight_interpolation``); 0: all steps, the last weights.
    """

    lifter: LifterConfig = field(default_factory=LifterConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    augment: Augment = field(default_factory=Augment)
    cameras: CameraRanges = field(default_factory=CameraRanges)
    steps: int = 4000
    batch_size: int = 12
    frames: int = 272
    short_frames: int = 64
    short_fraction: float = 0.6
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    warm_up: int = 100
    decay: float = 0.01
    bf16: bool = False
    unlabelled: float = 0.25
    unlabelled_after: int = 1000
    eval_every: int = 250
    eval_batches: int = 16
    seed: int = 1
    pseudo: float = 0.5
    patience: int = 0
    min_improvement: float = 0.001

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """The inverse, of keys of before too; KinecastError names a key that is unknown."""
        config: TrainConfig = _build(cls, renamed(json.loads(text), TRAIN | STOP, "training config: "))
        return config


def _build(cls: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass from nested dicts; lists become tuples, what is not given keeps its default."""
    known = {f.name: f for f in fields(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise KinecastError(f"unknown {', '.join(unknown)} in a training config; known are {', '.join(known)}")
    out: dict[str, Any] = {}
    for name, value in values.items():
        default: Any = known[name].default_factory
        if isinstance(default, type) and is_dataclass(default) and isinstance(value, Mapping):
            out[name] = _build(default, value)
        else:
            out[name] = tuple(value) if isinstance(value, list) else value
    return cls(**out)
