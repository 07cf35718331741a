"""The user's own weights: those that were promoted, which of them is in force, and the way back.

A store is a folder in the user's cache. It holds every file of its kind that was ever promoted, ``promoted-N``, and
``current.json``: the one in force and those before it. Only that file changes, and it is written whole, so that
somebody who reads meanwhile finds the old or the new. A recording names its weights, so none is deleted here.
"""

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock

VERSION = 1
_log = logging.getLogger("kinecast.promoted")


@dataclass(frozen=True, slots=True)
class Promoted:
    """One promotion. file: name below the store. name: its stem, with a hash of its bytes. run: where it was made.

    over: name of what it took the place of. utc: when.
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


@dataclass(frozen=True)
class Store:
    """kind: what it holds, ``lifter`` or ``prior``; its folder is that in plural. suffix: of the files. command: that
    rolls back.
    """

    kind: str
    suffix: str
    command: str = "kinecast train rollback"

    def folder(self) -> Path:
        """Where the user's own are."""
        return cache_dir() / f"{self.kind}s"

    def read_state(self) -> State:
        """What is in force; KinecastError where the file is damaged, or of another version."""
        path = self.folder() / "current.json"
        try:
            payload: Any = json.loads(path.read_text())
        except FileNotFoundError:
            return State()
        except NotADirectoryError:
            raise KinecastError(f"{cache_dir()} is no folder: let KINECAST_CACHE name one, or take it away") from None
        except (OSError, ValueError) as e:
            raise KinecastError(
                f"{path} cannot be read ({e}): delete it to go back to the shipped {self.kind}"
            ) from None
        if not isinstance(payload, dict) or payload.get("format") != self._format or payload.get("version") != VERSION:
            raise KinecastError(
                f"{path}: not a list of {self.kind}s of version {VERSION}: delete it to go back to the shipped one"
            )
        try:
            state = State(tuple(Promoted(**p) for p in payload["promoted"]), int(payload["in_force"]))
            assert -1 <= state.in_force < len(state.promoted)
        except (KeyError, TypeError, ValueError, AssertionError) as e:
            raise KinecastError(f"{path} is damaged ({e}): delete it to go back to the shipped {self.kind}") from None
        return state

    def current(self) -> Path | None:
        """The promoted file in force; None where the shipped one is, or (with a warning) the promoted one is gone.

        KinecastError where it is not the file that was promoted any more.
        """
        now = self.read_state().current
        if now is None:
            return None
        path = self.folder() / now.file
        if not path.is_file():
            _log.warning(
                "the promoted %s %s is gone: the shipped one is taken; `%s` ends this", self.kind, path, self.command
            )
            return None
        try:
            whole = named(path.stem, path.read_bytes()) == now.name
        except OSError as e:
            raise KinecastError(f"{path} cannot be read ({e.strerror}): put that right, or `{self.command}`") from None
        if not whole:
            raise KinecastError(
                f"{path} is damaged, it is not what was promoted: `{self.command}` goes back to the {self.kind} before "
                f"it; then promote {now.run or 'it'} again"
            )
        return path

    def check_writable(self) -> None:
        """Make the folder; KinecastError where nothing can be written into it."""
        try:
            self.folder().mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder()).close()
        except OSError as e:
            raise KinecastError(
                f"cannot write {self.folder()}: {e.strerror}: let KINECAST_CACHE name a folder of yours"
            ) from None

    def install(
        self, weights: Path, run: str, over: str, utc: str, before: Callable[[Promoted], None] = lambda _: None
    ) -> Promoted:
        """Copy a checked file into the store and put it in force: all or nothing, by one process at a time.

        before: called once the file is in the store and is not in force yet; what it raises leaves things as they were.
        """
        self.check_writable()
        with folder_lock(self.folder(), f"putting a {self.kind} in force"):
            return self._installed(weights, run, over, utc, before)

    def _installed(self, weights: Path, run: str, over: str, utc: str, before: Callable[[Promoted], None]) -> Promoted:
        content = weights.read_bytes()
        state = self.read_state()
        taken = [int(m[1]) for p in state.promoted if (m := re.match(r"promoted-(\d+)", p.file))]
        taken += [int(m[1]) for p in self.folder().glob("promoted-*") if (m := re.match(r"promoted-(\d+)", p.name))]
        stem = f"promoted-{max(taken, default=0) + 1}"
        atomic_write(self.folder() / f"{stem}{self.suffix}", content)
        new = Promoted(f"{stem}{self.suffix}", named(stem, content), run, over, utc)
        before(new)
        self._write(State((*state.promoted, new), len(state.promoted)))
        return new

    def roll_back(self) -> tuple[Promoted, str]:
        """Put in force what the present one took the place of; (what was taken out, name of what is in force now).

        KinecastError where nothing promoted is in force, or another process is putting something in force.
        """
        self._in_force()  # where nothing is, there may be no folder to hold
        with folder_lock(self.folder(), f"putting a {self.kind} in force"):
            return self._rolled_back(*self._in_force())

    def _in_force(self) -> tuple[State, Promoted]:
        state = self.read_state()
        if state.current is None:
            raise KinecastError(f"no promoted {self.kind} is in force: there is nothing to roll back")
        return state, state.current

    def _rolled_back(self, state: State, now: Promoted) -> tuple[Promoted, str]:
        before = next((i for i in range(state.in_force - 1, -1, -1) if state.promoted[i].name == now.over), -1)
        state = replace(state, in_force=before)
        self._write(state)
        return now, now.over if before < 0 else state.promoted[before].name

    def by_name(self, name: str, more: Iterable[Path] = ()) -> Path | None:
        """The file that a recording names, ``stem@hash``, in the store or among ``more``; None if it is not here."""
        stem = name.partition("@")[0]
        for path in (self.folder() / f"{stem}{self.suffix}", *more):
            if path.stem == stem and path.is_file() and named(stem, path.read_bytes()) == name:
                return path
        return None

    @property
    def _format(self) -> str:
        return f"kinecast {self.kind}s"

    def _write(self, state: State) -> None:
        table = {"format": self._format, "version": VERSION, **asdict(state)}
        atomic_write(self.folder() / "current.json", json.dumps(table, indent=1) + "\n")


def named(stem: str, content: bytes) -> str:
    """Name of weights: the file's, with a hash of its bytes."""
    return f"{stem}@{hashlib.sha256(content).hexdigest()[:12]}"


LIFTERS = Store("lifter", ".safetensors")
PRIORS = Store("prior", ".npz", "kinecast train rollback prior")
