"""The recipe of a retraining, a TOML file: what to begin with, what to learn from, how, and when to stop."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.train.lifter.config import TrainConfig
from kinecast.engines.train.lifter.losses import Weights
from kinecast.engines.train.old_keys import SECTIONS, renamed_recipe

FORMAT, VERSION = "kinecast_recipe", 1


@dataclass(frozen=True, slots=True)
class Steps:
    """How long and how fast, see :class:`engines.train.lifter.config.TrainConfig`; a tenth of a first training, and
    slower."""

    steps: int = 600
    batch_size: int = 12
    frames: int = 272
    short_frames: int = 64
    short_fraction: float = 0.5
    learning_rate: float = 2e-4
    final_learning_rate: float = 1e-6
    warm_up: int = 50
    decay: float = 0.01
    bf16: bool = False
    eval_every: int = 50
    eval_batches: int = 16


@dataclass(frozen=True, slots=True)
class Pseudo:
    """mix_ratio: share of a batch's sequences that are of the data sets. virtual: of these, before random cameras."""

    mix_ratio: float = 0.5
    virtual: float = 0.3


@dataclass(frozen=True, slots=True)
class SemiSupervised:
    """mix_ratio: share of sequences without truth beside a batch, after so many steps; weights of the two losses on
    them."""

    mix_ratio: float = 0.25
    after: int = 100
    back_projection: float = 0.1
    bones: float = 1.0


@dataclass(frozen=True, slots=True)
class Stop:
    """patience: looks at held-out data without a gain of the share ``min_improvement`` before it
    ends; 0: never early."""

    patience: int = 4
    min_improvement: float = 0.001


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that was read and checked; paths are absolute.

    base: name or path of a lifter, "" to begin with nothing. motion: folders of clips, those that ``held_out`` (a list
    of patterns, "" for ours) names are never learned from. datasets: of ``kinecast dataset build``; their split
    ``validate`` stops the run, ``test`` is for promotion. recordings: sessions without truth. noise: a fitted noise
    model, "" for ours. seeds: one run each; of several the best on ``validate`` is the result.
    """

    base: str = "default"
    motion: tuple[str, ...] = ()
    held_out: str = ""
    datasets: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    noise: str = ""
    seeds: tuple[int, ...] = (1,)
    train: Steps = field(default_factory=Steps)
    pseudo: Pseudo = field(default_factory=Pseudo)
    semi_supervised: SemiSupervised = field(default_factory=SemiSupervised)
    stop: Stop = field(default_factory=Stop)

    def config(self, lifter: LifterConfig, seed: int) -> TrainConfig:
        """The training config of one seed, of a lifter of this architecture."""
        semi = self.semi_supervised
        return replace(
            TrainConfig(lifter=lifter), **asdict(self.train), seed=seed, pseudo=self.pseudo.mix_ratio,
            unlabelled=semi.mix_ratio, unlabelled_after=semi.after, patience=self.stop.patience,
            min_improvement=self.stop.min_improvement,
            weights=replace(Weights(), back_projection=semi.back_projection, bones=semi.bones),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return told


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; KinecastError names the key that is unknown, wrong or missing."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as e:
        raise KinecastError(f"cannot read the recipe {path}: {e.strerror}: check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise KinecastError(f"{path}: not TOML ({e})") from None
    version = table.pop(FORMAT, None)
    if version != VERSION:
        raise KinecastError(
            f"{path}: {FORMAT} is {version}, this Kinecast reads {VERSION}: write `{FORMAT} = {VERSION}`"
        )
    recipe = recipe_of(table, str(path))
    return replace(
        recipe,
        base=_lifter(path, recipe.base),
        motion=tuple(_path(path, p) for p in recipe.motion),
        datasets=tuple(_path(path, p) for p in recipe.datasets),
        recordings=tuple(_path(path, p) for p in recipe.recordings),
        held_out=_path(path, recipe.held_out),
        noise=_path(path, recipe.noise),
    )


def recipe_of(table: Mapping[str, Any], where: str) -> Recipe:
    """From a table, by its keys of now or of before; paths stay as they are. Raises KinecastError."""
    recipe: Recipe = _build(Recipe(), renamed_recipe(table, where), where, "")
    if not (recipe.motion or recipe.datasets):
        raise KinecastError(f"{where}: nothing to learn from: give motion, datasets, or both")
    if not recipe.seeds or len(set(recipe.seeds)) < len(recipe.seeds):
        raise KinecastError(f"{where}: seeds are {list(recipe.seeds)}: give one or more, each once")
    for name in ("motion", "datasets", "recordings"):
        if "" in getattr(recipe, name):
            raise KinecastError(f"{where}: {name} holds an empty path: take it out, or name a file")
    t, s = recipe.train, recipe.semi_supervised
    many, one = (1, 10**9), (0, 1)
    bounds: dict[str, tuple[float, tuple[float, float]]] = {
        "train.steps": (t.steps, many), "train.batch_size": (t.batch_size, many),
        "train.eval_every": (t.eval_every, many), "train.eval_batches": (t.eval_batches, many),
        "train.frames": (t.frames, (2, 10**5)), "train.short_frames": (t.short_frames, (2, 10**5)),
        "train.short_fraction": (t.short_fraction, one), "train.learning_rate": (t.learning_rate, (1e-9, 1)),
        "pseudo.mix_ratio": (recipe.pseudo.mix_ratio, one), "pseudo.virtual": (recipe.pseudo.virtual, one),
        "semi_supervised.mix_ratio": (s.mix_ratio, one), "stop.patience": (recipe.stop.patience, (0, 10**6)),
        "stop.min_improvement": (recipe.stop.min_improvement, one),
        "train.final_learning_rate": (t.final_learning_rate, one), "train.decay": (t.decay, one),
        "train.warm_up": (t.warm_up, (0, 10**9)), "semi_supervised.after": (s.after, (0, 10**9)),
        "semi_supervised.back_projection": (s.back_projection, (0, 10**6)),
        "semi_supervised.bones": (s.bones, (0, 10**6)),
        "seeds": (min(recipe.seeds), (0, 2**63 - 1)), "the highest of seeds": (max(recipe.seeds), (0, 2**63 - 1)),
    }  # fmt: skip
    for name, (value, (low, high)) in bounds.items():
        if not low <= value <= high:
            raise KinecastError(f"{where}: {name} is {value}: expected {low:g} to {high:g}")
    return recipe


def _build(default: Any, told: Mapping[str, Any], where: str, prefix: str) -> Any:
    known = {f.name: getattr(default, f.name) for f in fields(default)}
    out: dict[str, Any] = {}
    for name, value in told.items():
        full = f"{prefix}{name}"
        if name not in known:
            old = SECTIONS.get(prefix.removesuffix("."), {})
            near = difflib.get_close_matches(name, [*known, *old], 1)
            hint = f"did you mean {prefix}{old.get(near[0], near[0])}?" if near else f"known are {', '.join(known)}"
            raise KinecastError(f"{where}: unknown key {full}; {hint}")
        like = known[name]
        if hasattr(like, "__dataclass_fields__"):
            if not isinstance(value, Mapping):
                raise KinecastError(f"{where}: {full} is {value!r}: expected a table [{full}]")
            out[name] = _build(like, value, where, f"{full}.")
            continue
        if isinstance(like, tuple):
            kind = int if name == "seeds" else str
            if not isinstance(value, list) or not all(type(v) is kind for v in value):
                raise KinecastError(f"{where}: {full} is {value!r}: expected a list of {kind.__name__}")
            out[name] = tuple(value)
            continue
        good = type(value) in (int, float) if isinstance(like, float) else type(value) is type(like)
        if not good:
            raise KinecastError(f"{where}: {full} is {value!r}: expected {type(like).__name__}")
        out[name] = float(value) if isinstance(like, float) else value
    return replace(default, **out)


def _path(recipe: Path, told: str) -> str:
    """Absolute, from the folder of the recipe; KinecastError where there is nothing."""
    if not told:
        return ""
    path = (recipe.parent / Path(told).expanduser()).resolve()
    if not path.exists():
        raise KinecastError(f"{recipe}: {told} does not exist: paths begin at the recipe's folder")
    return str(path)


def _lifter(recipe: Path, told: str) -> str:
    """A name stays a name."""
    beside = recipe.parent / Path(told).expanduser()
    return str(beside.resolve()) if told and beside.is_file() else told
