"""``run.json``: what a training run is of, so that a folder is taken up by the same run and by no other."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.version import kinecast_version
from kinecast.engines.train.data.shards import MANIFEST, load_manifest

RUN, VERSION = "run.json", 1
# what has to be the same for a run to go on, and what it is called
PARTS = {"recipe": "the recipe", "base": "base", "data": "the data"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of run. format: in its file. what: in words. command: that makes one.

    modern: a stored recipe (and where it stands, for the message) with the keys of now.
    """

    format: str
    what: str
    command: str
    modern: Callable[[dict[str, Any], str], dict[str, Any]] = lambda recipe, where: recipe


def begin(out: Path, kind: Kind, parts: dict[str, Any]) -> None:
    """Make the folder, or see that the run in it is this one; KinecastError names what differs.

    parts: ``PARTS`` by name, as JSON keeps them.
    """
    if not (out / RUN).exists():
        if out.exists() and any(out.iterdir()):
            raise KinecastError(f"{out} holds other files and no {RUN}: choose an empty folder, or that of {kind.what}")
        whole = {"format": kind.format, "version": VERSION, "kinecast": kinecast_version(), **parts}
        atomic_write(out / RUN, json.dumps(whole, indent=1) + "\n")
        return
    before, now = read(out, kind), json.loads(json.dumps(parts))
    for part, name in PARTS.items():
        ours, theirs = now[part], before.get(part)
        if ours != theirs:
            what = f" ({theirs}, now {ours})"
            if isinstance(ours, dict) and isinstance(theirs, dict):
                what = f": {', '.join(_differing(ours, theirs))}"
            raise KinecastError(f"{out}: {name} of this run is another{what}: put it back, or choose another folder")


def read(out: Path, kind: Kind) -> dict[str, Any]:
    """What ``run.json`` says; KinecastError where it is none, damaged, of another kind or version."""
    path = out / RUN
    try:
        manifest: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise KinecastError(f"{out}: no run here (no {RUN}): `{kind.command}` makes one") from None
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path} cannot be read ({e}): choose another folder") from None
    if not isinstance(manifest, dict) or manifest.get("format") != kind.format:
        raise KinecastError(f"{path} is not of {kind.what}: choose another folder")
    if manifest.get("version") != VERSION:
        raise KinecastError(
            f"{path}: a run of version {manifest.get('version')}, this Kinecast goes on with {VERSION}: finish it with "
            f"the Kinecast that began it ({manifest.get('kinecast', 'unknown')}), or begin anew in another folder"
        )
    if isinstance(manifest.get("recipe"), dict):
        manifest["recipe"] = kind.modern(manifest["recipe"], str(path))
    return manifest


def fingerprints(datasets: Iterable[str], files: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """Hashes by name of what decides the batches: manifests of data sets, files, and names and sizes in folders."""
    out = {}
    for folder in datasets:
        load_manifest(Path(folder))
        out[folder] = _short((Path(folder) / MANIFEST).read_bytes())
    for name in files:
        if name:
            out[name] = _short(Path(name).read_bytes())
    for folder in folders:
        found = sorted(
            (p.relative_to(folder).as_posix(), p.stat().st_size) for p in Path(folder).rglob("*") if p.is_file()
        )
        out[folder] = _short(json.dumps(found).encode())
    return out


def check_no_leakage(keys: Iterable[str], learned: Iterable[str], judging: Iterable[str]) -> None:
    """Raise KinecastError where a session to be judged by was learned from, whole or in part.

    keys: of the sessions that a run learned from or chose by; none: all of its data sets ``learned`` but the split
    test. judging: data sets whose split test it is judged by.
    """
    found = [s for folder in learned for s in load_manifest(Path(folder)).sessions.values()]
    known = set(keys) or {s.key for s in found if s.split != "test"}
    frames = {h for s in found if s.key in known for h in s.sketch}
    for folder in judging:
        for s in load_manifest(Path(folder)).sessions.values():
            if s.split == "test" and (s.key in known or frames & set(s.sketch)):
                raise KinecastError(
                    f"{folder}: session {s.key} ({s.name}) is to be judged by, and this run learned from it: build the "
                    "data set with the same --test, or leave it out"
                )


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _differing(a: dict[str, Any], b: dict[str, Any], prefix: str = "") -> list[str]:
    out = []
    for key in sorted({*a, *b}):
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            out += _differing(x, y, f"{prefix}{key}.")
        elif x != y:
            out.append(f"{prefix}{key}")
    return out
