"""Keys that recipes and training configs had before: read as ever, never written."""

from collections.abc import Mapping
from typing import Any

from kinecast.capture.errors import KinecastError

# old → new, of a recipe's section [train] and of a training config
TRAIN = {
    "rate": "learning_rate", "last_rate": "final_learning_rate", "sequences": "batch_size", "every": "eval_every",
    "examined": "eval_batches", "short": "short_fraction",
}  # fmt: skip
STOP = {"least": "min_improvement"}
SECTIONS: dict[str, dict[str, str]] = {
    "train": TRAIN, "pseudo": {"share": "mix_ratio"}, "semi_supervised": {"share": "mix_ratio"}, "stop": STOP,
}  # fmt: skip


def renamed(table: Mapping[str, Any], old: Mapping[str, str], where: str) -> dict[str, Any]:
    """``told`` with new keys for old ones; KinecastError where both are given. where: for the message."""
    for before, now in old.items():
        if before in table and now in table:
            raise KinecastError(f"{where}{before} is the old name of {now}, and both are given: keep {now}")
    return {old.get(key, key): value for key, value in table.items()}


def renamed_recipe(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A whole recipe, with new keys in its sections."""
    return {
        name: renamed(value, SECTIONS.get(name, {}), f"{where}: {name}.") if isinstance(value, Mapping) else value
        for name, value in table.items()
    }
