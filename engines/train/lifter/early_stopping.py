"""Early stopping: how the error on held-out data goes along a run, and when to end it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinecast.capture.errors import KinecastError


class NoImprovement(KinecastError):
    """No step of a run was better on held-out data than the start: there are no weights."""


MEASURE = "mpjpe_corrected_mm"
ADVICE = "lower the rate, or give more data"


@dataclass(slots=True)
class EarlyStopping:
    """The error on each validation source as a share of its first; their mean is what counts.

    patience: evaluations without a gain of the share ``min_improvement`` before a run is over, 0: never. first: error
    by source. best: the least mean so far, at ``best_step``; 0 is the start. since: evaluations without a gain.
    """

    patience: int
    min_improvement: float
    first: dict[str, float] = field(default_factory=dict)
    best: float = 1.0
    best_step: int = 0
    since: int = 0

    def update(self, step: int, figures: Mapping[str, Mapping[str, float]]) -> bool:
        """Take in one evaluation; whether it is the best so far."""
        if not self.first:
            self.first = {name: values[MEASURE] for name, values in figures.items()}
            return False
        mean = float(np.mean([values[MEASURE] / self.first[name] for name, values in figures.items()]))
        self.since = 0 if mean < self.best * (1 - self.min_improvement) else self.since + 1
        if mean < self.best:
            self.best, self.best_step = mean, step
            return True
        return False

    def is_over(self, step: int) -> bool:
        """Whether the run ends here."""
        return self.patience > 0 and self.since >= self.patience and step > 0

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"first": dict(self.first), "best": self.best, "best_step": self.best_step, "since": self.since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint; of one without any, nothing is known yet."""
        if state:
            self.first, self.best = dict(state["first"]), float(state["best"])
            self.best_step, self.since = int(state["best_step"]), int(state["since"])
