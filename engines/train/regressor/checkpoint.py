"""What a run of the SPIN loop is taken up from: the dictionary of best fits, on disk, and a checkpoint a round.

A round writes its fits into a file of its own before its checkpoint. One that is broken off leaves at most a file that
no checkpoint speaks of; it is written anew, and nothing of it is read.
"""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.multi_start import Fits

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

CHECKPOINT, VERSION = "last.pt", 1
_KEPT = tuple(n for n in Fits.__slots__ if n != "points")  # points follow from the others


class FitFiles:
    """The cheapest fits so far of every scene that was ever drawn, by key; memory is that of one round.

    rounds: those that are done. Files of one that was broken off are not looked at.
    """

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder = folder
        self._files = [f for f in sorted(folder.glob("fits-*.npz"), reverse=True) if int(f.name.split("-")[1]) < rounds]

    def lookup(self, keys: Sequence[str], scenes: int) -> tuple[Bool, dict[str, Float]]:
        """(scenes,) which are known, and R, t, betas, cost, explained of each (scenes, rows, ...), NaN for others.

        KinecastError where a file was cut short.
        """
        known, out = np.zeros(scenes, bool), dict[str, Float]()
        place = {k: i for i, k in enumerate(keys)}
        for path in self._files:
            if known.all():
                break
            try:
                with np.load(path, allow_pickle=False) as file:
                    theirs = [(i, place[k]) for i, k in enumerate(file["keys"].tolist()) if k in place]
                    theirs = [(i, j) for i, j in theirs if not known[j]]
                    if not theirs:
                        continue
                    at, to = (np.array(a) for a in zip(*theirs, strict=True))
                    for name in _KEPT:
                        rows = file[name]
                        out.setdefault(name, np.full((scenes, *rows.shape[1:]), np.nan))[to] = rows[at]
                    known[to] = True
            except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as e:
                raise KinecastError(f"{path}: cut short or no fits ({e}): begin the run in another folder") from None
        return known, out

    def store(self, number: int, groups: Sequence[tuple[Sequence[str], Fits]]) -> None:
        """The fits of a round, by the keys of its scenes, a file for each group."""
        for g, (keys, fits) in enumerate(groups):
            arrays: dict[str, Any] = {"keys": np.array(keys)}
            for name in _KEPT:
                rows = getattr(fits, name)
                arrays[name] = rows.reshape(len(keys), -1, *rows.shape[1:])
            path = self._folder / f"fits-{number:04d}-{g}.npz"
            with atomic_path(path, overwrite=True) as file:
                np.savez(file, **arrays)
            self._files.insert(0, path)

    def prune(self) -> None:
        """Delete files in which no scene's fits are the newest. Only once the checkpoint of the last round is there."""
        newer = set[str]()
        for path in list(self._files):
            with np.load(path, allow_pickle=False) as file:
                keys = set(file["keys"].tolist())
            if keys <= newer:
                path.unlink()
                self._files.remove(path)
            newer |= keys


def save(folder: Path, state: dict[str, Any], told: Sequence[dict[str, float]], rng: np.random.Generator) -> None:
    """A checkpoint, whole. state: of network, optimiser and schedule; told: a line for each round that is done."""
    words = json.dumps({"told": list(told), "rng": rng.bit_generator.state})
    with atomic_path(folder / CHECKPOINT, overwrite=True) as file:
        torch.save({"version": VERSION, "words": words, **state}, file)


def load(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint with ``told`` and ``rng``, or None where no round is done. No code in it is run.

    KinecastError where it is damaged or of another version.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        version, words = state.pop("version"), json.loads(state.pop("words"))
    except Exception as e:  # torch raises whatever the damage leads to
        raise KinecastError(
            f"{path}: no checkpoint that can be read ({type(e).__name__}): choose another folder"
        ) from None
    if version != VERSION:
        raise KinecastError(
            f"{path}: a checkpoint of version {version}, this Kinecast goes on with {VERSION}: choose another folder"
        )
    state |= words
    return state
