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
from kinecast.engines.train.lifter.losses import LossWeights
from kinecast.engines.train.old_keys import SECTIONS, renamed_recipe

FORMAT, VERSION = "kinecast_recipe", 1
_MANY, _SHARE = (1, 10**9), (0, 1)
# least and greatest of every number
BOUNDS: dict[str, tuple[float, float]] = {
    "seeds": (0, 2**63 - 1), "train.steps": _MANY, "train.batch_size": _MANY, "train.frames": (2, 10**5),
    "train.short_frames": (2, 10**5), "train.short_fraction": _SHARE, "train.learning_rate": (1e-9, 1),
    "train.final_learning_rate": _SHARE, "train.warm_up": (0, 10**9), "train.decay": _SHARE, "train.eval_every": _MANY,
    "train.eval_batches": _MANY, "pseudo.mix_ratio": _SHARE, "pseudo.virtual": _SHARE,
    "semi_supervised.mix_ratio": _SHARE, "semi_supervised.after": (0, 10**9),
    "semi_supervised.back_projection": (0, 10**6), "semi_supervised.bones": (0, 10**6), "stop.patience": (0, 10**6),
    "stop.min_improvement": _SHARE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Steps:
    """How long and how fast; a tenth of a first training, and slower.

    steps: of the optimiser. batch_size: sequences in a batch, on one machine. frames: of each sequence. short_frames:
    of each at first, when a batch is as many frames in shorter sequences, of more people. short_fraction: share of the
    steps, from the first, that are of those. learning_rate: the highest, after the warm-up. final_learning_rate: to
    which it falls as a cosine. warm_up: steps in which the rate rises. decay: of the weights. bf16: multiply in
    bfloat16. eval_every: steps between looks at held-out data, and checkpoints. eval_batches: of held-out motion behind
    the figures.
    """

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
    """How much is learned from the data sets.

    mix_ratio: share of a batch's sequences that are of the data sets. virtual: of these, before random cameras.
    """

    mix_ratio: float = 0.5
    virtual: float = 0.3


@dataclass(frozen=True, slots=True)
class SemiSupervised:
    """How much is learned from recordings without truth.

    mix_ratio: share of sequences without truth beside a batch. after: steps before there are any.
    back_projection: weight of the loss between what was seen and the pose projected back. bones: weight of the loss
    on the lengths of bones.
    """

    mix_ratio: float = 0.25
    after: int = 100
    back_projection: float = 0.1
    bones: float = 1.0


@dataclass(frozen=True, slots=True)
class Stop:
    """When a run ends before its steps are over.

    patience: looks at held-out data without a gain before it ends; 0: never early. min_improvement: share that counts
    as a gain.
    """

    patience: int = 4
    min_improvement: float = 0.001


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that was read and checked; paths are absolute.

    base: name or path of a lifter, "" to begin with nothing. motion: folders of clips. held_out: file with patterns of
    clips that are never learned from, "" for ours. datasets: of ``kinecast dataset build``; their split
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
            weights=replace(LossWeights(), back_projection=semi.back_projection, bones=semi.bones),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        table: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return table


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
    for name, (low, high) in BOUNDS.items():
        section, _, key = name.rpartition(".")
        value = getattr(getattr(recipe, section) if section else recipe, key)
        for v in value if isinstance(value, tuple) else (value,):
            if not low <= v <= high:
                raise KinecastError(f"{where}: {name} is {v}: expected {low:g} to {high:g}")
    return recipe


def _build(default: Any, table: Mapping[str, Any], where: str, prefix: str) -> Any:
    known = {f.name: getattr(default, f.name) for f in fields(default)}
    out: dict[str, Any] = {}
    for name, value in table.items():
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


def _path(recipe: Path, text: str) -> str:
    """Absolute, from the folder of the recipe; KinecastError where there is nothing."""
    if not text:
        return ""
    path = (recipe.parent / Path(text).expanduser()).resolve()
    if not path.exists():
        raise KinecastError(f"{recipe}: {text} does not exist: paths begin at the recipe's folder")
    return str(path)


def _lifter(recipe: Path, text: str) -> str:
    """A name stays a name."""
    beside = recipe.parent / Path(text).expanduser()
    return str(beside.resolve()) if text and beside.is_file() else text
