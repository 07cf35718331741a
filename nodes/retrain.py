"""``kinecast train retrain``: weights from a recipe, in a folder that a broken-off run is taken up from.

RUN gets ``run.json`` (the recipe, the weights it began with, the data as they were), ``seed-N/`` for each seed, as
``kinecast train lifter`` writes it, and, once all seeds are done, ``lifter.safetensors``: the best of them.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capture.errors import KinecastError
from capture.whole import write_whole
from engines.lift.config import LifterConfig
from engines.lift.lifter import find_lifter
from engines.lift.weights import read_lifter
from engines.train.lifter import load_checkpoint, train
from engines.train.noise import FITTED, NoiseModel, load_noise
from engines.train.pseudo import PseudoTruth, sources
from engines.train.recipe import Recipe, read_recipe, recipe_of
from engines.train.shards import MANIFEST, load_manifest
from engines.train.unlabelled import Unlabelled
from nodes.dataset.session import content_key
from nodes.recording import Recording, kinecast_version
from nodes.train_data import clips_of, tracks_of

RUN, FORMAT, VERSION = "run.json", "kinecast run", 1
WEIGHTS = "lifter.safetensors"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is of. base: name with hash of the lifter it began with, "" for none. data: sha256 by file."""

    recipe: Recipe
    base: str
    data: dict[str, str]

    def told(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {"recipe": self.recipe.to_dict(), "base": self.base, "data": self.data}


def retrain(path: Path, out: Path, device: str = "cpu", quiet: bool = False) -> Path:
    """Train every seed of the recipe, from where it was left; the path of the best weights.

    Raises KinecastError where the recipe, the data or what is in ``out`` do not allow it; nothing is written over.
    """
    recipe = read_recipe(path)
    base = find_lifter(recipe.base) if recipe.base else None
    lifter = read_lifter(base, "halpe26") if base is not None else None
    config = lifter.config if lifter is not None else LifterConfig()
    run = Run(recipe, lifter.name if lifter is not None else "", _data(recipe))
    begin(out, run)
    if (out / WEIGHTS).exists():
        return out / WEIGHTS
    held_out = Path(recipe.held_out) if recipe.held_out else None
    clips, held = clips_of([Path(p) for p in recipe.motion], held_out) if recipe.motion else ([], [])
    noise = load_noise(Path(recipe.noise) if recipe.noise else FITTED)
    apart = _apart(recipe)
    tracks = [t for p in recipe.recordings for t in tracks_of(_free(Path(p), apart), config.rate_hz)]
    pseudo, pseudo_held = (_pseudo(recipe, split, noise, config.rate_hz) for split in ("train", "validate"))
    if recipe.datasets and pseudo is None:
        raise KinecastError(f"{path}: no session of the data sets is for training; build them with more sessions")
    if recipe.stop.patience and not held and pseudo_held is None:
        raise KinecastError(
            f"{path}: nothing is kept to stop by: no clip is held out and no session is of the split validate; "
            "give more, or set stop.patience = 0"
        )
    for seed in recipe.seeds:
        folder = out / f"seed-{seed}"
        if (folder / WEIGHTS).exists():
            continue
        train(
            recipe.config(config, seed), clips, held, noise, folder, initial=base, quiet=quiet, device=device,
            unlabelled=Unlabelled(tracks) if tracks and recipe.semi_supervised.share else None,
            pseudo=None if pseudo is None else replace(pseudo, seed=seed), pseudo_held=pseudo_held,
            resume=(folder / "last.pt").exists(), about={"recipe": path.name, "data_sets": len(recipe.datasets)},
        )  # fmt: skip
    best = min(recipe.seeds, key=lambda seed: (_gain(out / f"seed-{seed}"), seed))
    write_whole(out / WEIGHTS, (out / f"seed-{best}" / WEIGHTS).read_bytes())
    return out / WEIGHTS


def begin(out: Path, run: Run) -> None:
    """Make the folder, or see that the run in it is this one; KinecastError names what differs."""
    if not (out / RUN).exists():
        if out.exists() and any(out.iterdir()):
            raise KinecastError(
                f"{out} holds other files and no {RUN}: choose an empty folder, or that of a retraining"
            )
        told = {"format": FORMAT, "version": VERSION, "kinecast": kinecast_version(), **run.told()}
        write_whole(out / RUN, json.dumps(told, indent=1) + "\n")
        return
    before = read_run(out)
    for name, ours, theirs in (
        ("the recipe", run.recipe.to_dict(), before.recipe.to_dict()), ("base", run.base, before.base),
        ("the data", run.data, before.data),
    ):  # fmt: skip
        if ours != theirs:
            what = f" ({theirs}, now {ours})"
            if isinstance(ours, dict) and isinstance(theirs, dict):
                what = f": {', '.join(_differing(ours, theirs))}"
            raise KinecastError(f"{out}: {name} of this run is another{what}: put it back, or choose another folder")


def read_run(out: Path) -> Run:
    """What ``run.json`` says; KinecastError where it is none, damaged, or of another version."""
    path = out / RUN
    try:
        told: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise KinecastError(f"{out}: no run here (no {RUN}): `kinecast train retrain` makes one") from None
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path} cannot be read ({e}): choose another folder") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise KinecastError(f"{path} is of no retraining: choose another folder")
    if told.get("version") != VERSION:
        raise KinecastError(
            f"{path}: a run of version {told.get('version')}, this Kinecast goes on with {VERSION}: finish it with the "
            f"Kinecast that began it ({told.get('kinecast', 'unknown')}), or begin anew in another folder"
        )
    try:
        return Run(recipe_of(told["recipe"], str(path)), str(told["base"]), dict(told["data"]))
    except (KeyError, TypeError, ValueError) as e:
        raise KinecastError(f"{path} is damaged ({e}): choose another folder") from None


def _differing(a: dict[str, Any], b: dict[str, Any], prefix: str = "") -> list[str]:
    out = []
    for key in sorted({*a, *b}):
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            out += _differing(x, y, f"{prefix}{key}.")
        elif x != y:
            out.append(f"{prefix}{key}")
    return out


def _data(recipe: Recipe) -> dict[str, str]:
    """What decides the batches beside the recipe: the manifests, and sizes of the other files."""
    out = {}
    for folder in recipe.datasets:
        load_manifest(Path(folder))
        out[folder] = hashlib.sha256((Path(folder) / MANIFEST).read_bytes()).hexdigest()[:16]
    for name in (*recipe.recordings, recipe.noise, recipe.held_out):
        if name:
            out[name] = hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16]
    for folder in recipe.motion:
        files = sorted(
            (p.relative_to(folder).as_posix(), p.stat().st_size) for p in Path(folder).rglob("*") if p.is_file()
        )
        out[folder] = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    return out


def _apart(recipe: Recipe) -> dict[str, str]:
    """Name by key of the sessions that are kept to be judged by."""
    found = (s for folder in recipe.datasets for s in load_manifest(Path(folder)).sessions.values())
    return {s.key: s.name for s in found if s.split == "test"}


def _free(path: Path, apart: dict[str, str]) -> Path:
    if apart and (key := content_key(Recording.open(path))) in apart:
        raise KinecastError(
            f"{path} is session {key} ({apart[key]}), which is kept for promotion: take it from recordings"
        )
    return path


def _pseudo(recipe: Recipe, split: str, noise: NoiseModel, rate_hz: float) -> PseudoTruth | None:
    found = sources([Path(p) for p in recipe.datasets], split)
    config = recipe.config(LifterConfig(), recipe.seeds[0])
    if not found:
        return None
    return PseudoTruth(
        found, noise, config.cameras, config.sequences, config.frames, rate_hz, config.seed, recipe.pseudo.virtual
    )  # fmt: skip


def _gain(folder: Path) -> float:
    """How good a seed's best was on what was held out, as a share of the start; without looks, the error itself."""
    stopping = load_checkpoint(folder / "last.pt").get("stopping")
    if stopping:
        return float(stopping["best"])
    return float(read_lifter(folder / WEIGHTS).meta["figures"].get("mpjpe_corrected_mm", 0.0))
