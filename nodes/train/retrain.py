"""``kinecast train retrain``: weights from a recipe, in a folder that a broken-off run is taken up from.

RUN gets ``run.json`` (the recipe, the weights it began with, the data as they were), ``seed-N/`` for each seed, as
``kinecast train lifter`` writes it, and, once all seeds are done, ``lifter.safetensors``: the best of them.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.lift.lifter import find_lifter
from kinecast.engines.lift.weights import read_lifter
from kinecast.engines.train.data.detector_noise import FITTED, NoiseModel, load_noise
from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler, shard_sources
from kinecast.engines.train.data.shards import Session, load_manifest
from kinecast.engines.train.data.unlabelled_tracks import Unlabelled
from kinecast.engines.train.distributed import ProcessGroup, join_process_group
from kinecast.engines.train.lifter.checkpoint import load_checkpoint
from kinecast.engines.train.lifter.data import Inputs
from kinecast.engines.train.lifter.early_stopping import NoImprovement
from kinecast.engines.train.lifter.train import train
from kinecast.engines.train.old_keys import renamed_recipe
from kinecast.engines.train.recipe import Recipe, read_recipe, recipe_of
from kinecast.nodes.dataset.session import content_and_sketch
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.train import run_manifest
from kinecast.nodes.train.inputs import clips_of, tracks_of

RUN, WEIGHTS = run_manifest.RUN, "lifter.safetensors"
KIND = run_manifest.Kind("kinecast run", "a retraining", "kinecast train retrain", renamed_recipe)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is of. base: name with hash of the lifter it began with, "" for none. data: sha256 by file.

    sessions: keys of those that it learns from, or stops by.
    """

    recipe: Recipe
    base: str
    data: dict[str, str]
    sessions: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {"recipe": self.recipe.to_dict(), "base": self.base, "data": self.data, "sessions": list(self.sessions)}

    def check_sessions(self) -> None:
        """Raise KinecastError where a session that was learned from is in none of the data sets any more."""
        here = {key for folder in self.recipe.datasets for key in load_manifest(Path(folder)).sessions}
        if gone := [key for key in self.sessions if key not in here]:
            raise KinecastError(
                f"{len(gone)} sessions that this run learned from are forgotten ({', '.join(gone[:3])}): "
                "retrain without them, in another folder"
            )


def retrain(path: Path, out: Path, device: str = "cpu", quiet: bool = False) -> Path:
    """Train every seed of the recipe, from where it was left; the path of the best weights.

    Raises KinecastError where the recipe, the data or what is in ``out`` do not allow it; nothing is written over.
    """
    recipe = read_recipe(path)
    base = find_lifter(recipe.base) if recipe.base else None
    lifter = read_lifter(base, "halpe26") if base is not None else None
    config = lifter.config if lifter is not None else LifterConfig()
    found = [s for folder in recipe.datasets for s in load_manifest(Path(folder)).sessions.values()]
    known = tuple(sorted(s.key for s in found if s.split != "test"))
    run = Run(recipe, lifter.name if lifter is not None else "", _data(recipe), known)
    group = join_process_group(device)  # of torchrun: rank 0 begins the folder and ends it
    group.on_rank_zero(lambda: begin(out, run))
    with folder_lock(out, "training") if group.rank == 0 else nullcontext():
        return _retrained(path, recipe, base, config, out, group, device, quiet)


def _retrained(
    path: Path, recipe: Recipe, base: Path | None, config: LifterConfig, out: Path, group: ProcessGroup, device: str,
    quiet: bool,
) -> Path:  # fmt: skip
    if group.broadcast((out / WEIGHTS).exists()):
        group.destroy()
        return out / WEIGHTS
    inputs = _inputs(path, recipe, config.rate_hz)
    failed: list[NoImprovement] = []
    for seed in recipe.seeds:
        folder = out / f"seed-{seed}"
        if group.broadcast((folder / WEIGHTS).exists()):
            continue
        sessions = None if inputs.sessions is None else replace(inputs.sessions, seed=seed)
        try:
            train(
                recipe.config(config, seed), replace(inputs, sessions=sessions), folder, initial=base, quiet=quiet,
                device=device, resume=group.broadcast((folder / "last.pt").exists()),
                about={"recipe": path.name, "data_sets": len(recipe.datasets)},
            )  # fmt: skip
        except NoImprovement as e:  # raised by every process; another seed may have learnt something
            failed.append(e)
    if len(failed) == len(recipe.seeds):
        raise failed[0]
    group.on_rank_zero(lambda: _chosen(recipe, out))
    group.destroy()
    return out / WEIGHTS


def _inputs(path: Path, recipe: Recipe, rate_hz: float) -> Inputs:
    """All that the recipe names, without what is kept for promotion; KinecastError where that is not enough."""
    held_out = Path(recipe.held_out) if recipe.held_out else None
    clips, held = clips_of([Path(p) for p in recipe.motion], held_out) if recipe.motion else ([], [])
    noise = load_noise(Path(recipe.noise) if recipe.noise else FITTED)
    apart = _apart(recipe)
    tracks = [t for p in recipe.recordings for t in tracks_of(_free(Path(p), apart), rate_hz)]
    sessions, sessions_held_out = (_pseudo(recipe, split, noise, rate_hz) for split in ("train", "validate"))
    if recipe.datasets and sessions is None:
        raise KinecastError(f"{path}: no session of the data sets is for training; build them with more sessions")
    if recipe.stop.patience and not held and sessions_held_out is None:
        raise KinecastError(
            f"{path}: nothing is kept to stop by: no clip is held out and no session is of the split validate; "
            "give more, or set stop.patience = 0"
        )
    return Inputs(
        noise, clips, held, sessions=sessions, sessions_held_out=sessions_held_out,
        unlabelled=Unlabelled(tracks) if tracks and recipe.semi_supervised.mix_ratio else None,
    )  # fmt: skip


def _chosen(recipe: Recipe, out: Path) -> None:
    seeds = [seed for seed in recipe.seeds if (out / f"seed-{seed}" / WEIGHTS).exists()]
    best = min(seeds, key=lambda seed: (_gain(out / f"seed-{seed}"), seed))
    atomic_write(out / WEIGHTS, (out / f"seed-{best}" / WEIGHTS).read_bytes())


def begin(out: Path, run: Run) -> None:
    """Make the folder, or see that the run in it is this one; KinecastError names what differs."""
    run_manifest.begin(out, KIND, run.as_dict())


def read_run(out: Path) -> Run:
    """What ``run.json`` says; KinecastError where it is none, damaged, or of another version."""
    manifest = run_manifest.read(out, KIND)
    try:
        return Run(
            recipe_of(manifest["recipe"], str(out / RUN)),
            str(manifest["base"]),
            dict(manifest["data"]),
            tuple(manifest.get("sessions", ())),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise KinecastError(f"{out / RUN} is damaged ({e}): choose another folder") from None


def _data(recipe: Recipe) -> dict[str, str]:
    """What decides the batches beside the recipe."""
    files = (*recipe.recordings, recipe.noise, recipe.held_out)
    return run_manifest.fingerprints(recipe.datasets, files, recipe.motion)


def _apart(recipe: Recipe) -> list[Session]:
    """The sessions that are kept to be judged by."""
    found = (s for folder in recipe.datasets for s in load_manifest(Path(folder)).sessions.values())
    return [s for s in found if s.split == "test"]


def _free(path: Path, apart: list[Session]) -> Path:
    """``path``; KinecastError where it is a session that is kept, a fitted or smoothed copy, or a part of one."""
    if not apart:
        return path
    key, sketch = content_and_sketch(Recording.open(path))
    for s in apart:
        if s.key == key or set(s.sketch) & set(sketch):
            raise KinecastError(
                f"{path} is of session {s.key} ({s.name}), which is kept for promotion: take it from recordings"
            )
    return path


def _pseudo(recipe: Recipe, split: str, noise: NoiseModel, rate_hz: float) -> PseudoLabelSampler | None:
    found = shard_sources([Path(p) for p in recipe.datasets], split)
    config = recipe.config(LifterConfig(), recipe.seeds[0])
    if not found:
        return None
    return PseudoLabelSampler(
        found, noise, config.cameras, config.batch_size, config.frames, rate_hz, config.seed, recipe.pseudo.virtual
    )  # fmt: skip


def _gain(folder: Path) -> float:
    """How good a seed's best was on what was held out, as a share of the start; without looks, the error itself."""
    stopping = load_checkpoint(folder / "last.pt").get("stopping")
    if stopping:
        return float(stopping["best"])
    return float(read_lifter(folder / WEIGHTS).meta["figures"].get("mpjpe_corrected_mm", 0.0))
