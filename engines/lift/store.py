"""The user's own lifters: those that were promoted, which of them is in force, and the way back.

``lifters/`` in the user's cache holds every lifter that was ever promoted, ``NAME.safetensors`` with its exports beside
it, and ``current.json``: the one in force and those before it. Only that file changes, and it is written whole, so that
somebody who reads meanwhile finds the old or the new. A recording names its lifters, so none is deleted here.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from capture.cache import cache_dir
from capture.errors import KinecastError
from capture.whole import write_whole

FORMAT, VERSION = "kinecast lifters", 1
_log = logging.getLogger("kinecast.lift")


@dataclass(frozen=True, slots=True)
class Promoted:
    """One promotion. file: name below the store. name: the lifter's, with a hash of its bytes. run: where it was made.

    over: name of the lifter that it took the place of. utc: when.
    """

    file: str
    name: str
    run: str
    over: str
    utc: str


@dataclass(frozen=True, slots=True)
class State:
    """promoted: all, oldest first. in_force: index of the one in force, −1: what is shipped."""

    promoted: tuple[Promoted, ...] = ()
    in_force: int = -1

    @property
    def current(self) -> Promoted | None:
        return self.promoted[self.in_force] if self.in_force >= 0 else None


def folder() -> Path:
    """Where the user's own lifters are."""
    return cache_dir() / "lifters"


def read_state() -> State:
    """What is in force; KinecastError where the file is damaged, or of another version."""
    path = folder() / "current.json"
    try:
        told: Any = json.loads(path.read_text())
    except FileNotFoundError:
        return State()
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path} cannot be read ({e}): delete it to go back to the shipped lifter") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT or told.get("version") != VERSION:
        raise KinecastError(
            f"{path}: not a list of lifters of version {VERSION}: delete it to go back to the shipped one"
        )
    try:
        state = State(tuple(Promoted(**p) for p in told["promoted"]), int(told["in_force"]))
        assert -1 <= state.in_force < len(state.promoted)
    except (KeyError, TypeError, ValueError, AssertionError) as e:
        raise KinecastError(f"{path} is damaged ({e}): delete it to go back to the shipped lifter") from None
    return state


def current() -> Path | None:
    """The promoted file in force; None where the shipped one is, or (with a warning) where the promoted one is gone."""
    now = read_state().current
    if now is None:
        return None
    path = folder() / now.file
    if not path.is_file():
        _log.warning(
            "the promoted lifter %s is gone: the shipped one is taken; `kinecast train rollback` ends this", path
        )
        return None
    return path


def install(weights: Path, run: str, over: str, utc: str) -> Promoted:
    """Copy a checked weights file into the store and put it in force: all or nothing."""
    content = weights.read_bytes()
    state = read_state()
    taken = [int(m[1]) for p in state.promoted if (m := re.match(r"promoted-(\d+)", p.file))]
    taken += [int(m[1]) for p in folder().glob("promoted-*") if (m := re.match(r"promoted-(\d+)", p.name))]
    stem = f"promoted-{max(taken, default=0) + 1}"
    write_whole(folder() / f"{stem}.safetensors", content)
    name = f"{stem}@{hashlib.sha256(content).hexdigest()[:12]}"
    new = Promoted(f"{stem}.safetensors", name, run, over, utc)
    _write(State((*state.promoted, new), len(state.promoted)))
    return new


def roll_back() -> tuple[Promoted, str]:
    """Put in force what the present one took the place of; (what was taken out, name of what is in force now).

    KinecastError where nothing promoted is in force.
    """
    state = read_state()
    now = state.current
    if now is None:
        raise KinecastError("no promoted lifter is in force: there is nothing to roll back")
    before = next((i for i in range(state.in_force - 1, -1, -1) if state.promoted[i].name == now.over), -1)
    state = replace(state, in_force=before)
    _write(state)
    return now, now.over if before < 0 else state.promoted[before].name


def by_name(name: str, more: Iterable[Path] = ()) -> Path | None:
    """The file of a lifter that a recording names, ``stem@hash``, in the store or among ``more``; None if not here."""
    stem, _, digest = name.partition("@")
    for path in (folder() / f"{stem}.safetensors", *more):
        here = path.stem == stem and path.is_file()
        if here and hashlib.sha256(path.read_bytes()).hexdigest()[:12] == digest:
            return path
    return None


def _write(state: State) -> None:
    table = {"format": FORMAT, "version": VERSION, **asdict(state)}
    write_whole(folder() / "current.json", json.dumps(table, indent=1) + "\n")
