"""A data set made of recordings, taken up where it was left, listed, checked, and sessions forgotten again."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from capture.errors import KinecastError
from engines.body.files import load_body
from engines.body.sequence import device_of
from engines.train.shards import MANIFEST, Manifest, Session, load_manifest, read_shard, sha256_of
from nodes.dataset.session import Recipe, build_session
from nodes.dataset.workers import each


@dataclass(slots=True)
class Built:
    """What came of a build. refused: recording → why nothing of it was taken. twice: recordings of the same session."""

    manifest: Manifest
    sessions: list[Session] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)


def build(
    recordings: Sequence[Path],
    folder: Path,
    recipe: Recipe,
    workers: int = 1,
    address: str = "",
    say: Callable[[str], None] = lambda _: None,
    function: Callable[[Path, Path, Recipe], Session] = build_session,
) -> Built:
    """Make or extend the data set in ``folder``. What was built before, whole and by the same recipe, is kept.

    say: told of each session when it is done. function: of one recording; a test gives one that dies. Raises
    KinecastError where the data set there is of another body, recipe or version: nothing is overwritten.
    """
    device_of(recipe.device)
    manifest = _begun(folder, recipe)
    built = Built(manifest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise KinecastError(f"{folder}: {e.strerror}: choose a folder of yours") from None
    jobs = [(path.absolute(), folder.absolute(), recipe) for path in recordings]
    results = dict(each(partial(_spread, function), jobs, workers, address))
    seen: set[str] = set()
    for i, path in enumerate(recordings):  # in the order asked for, whoever was done first
        result = results[i]
        if isinstance(result, KinecastError):
            built.refused[str(path)] = str(result)
            say(f"{path}: refused: {result}")
            continue
        if result.key in seen:
            built.twice.append(str(path))
            say(f"{path.name}: the same session as one before; taken once")
            continue
        seen.add(result.key)
        # the first of two names in the order of names, so that the order of the recordings is nothing
        manifest.sessions[result.key] = replace(result, name=min(result.name, path.name))
        built.sessions.append(result)
        say(told(result))
    if built.sessions:
        manifest.save(folder)
    return built


def _spread(function: Callable[[Path, Path, Recipe], Session], job: tuple[Path, Path, Recipe]) -> Session:
    return function(*job)


def _begun(folder: Path, recipe: Recipe) -> Manifest:
    body_id, made_by = load_body(recipe.body).id, json.loads(json.dumps(recipe.told()))
    if not (folder / MANIFEST).exists():
        return Manifest(body_id, made_by)
    manifest = load_manifest(folder)
    if manifest.body_id != body_id:
        raise KinecastError(
            f"{folder}: a data set of body {manifest.body_id}, not {body_id}: rotations of one body are not another's; "
            "use that body, or another folder"
        )
    if manifest.recipe != made_by:
        raise KinecastError(f"{folder}: built with other gates or splits; use the same, or another folder")
    return manifest


def told(s: Session) -> str:
    """One line on a session."""
    frames, good = sum(f.frames for f in s.shards), sum(f.accepted for f in s.shards)
    why = ", ".join(f"{reason} {n}" for reason, n in s.refused.items() if n)
    people = len({f.person for f in s.shards})
    return (
        f"{s.key} {s.name}: {s.split}, {people} people, {frames} person-frames, {good} ground truth"
        + (f"; refused: {why}" if why else "")
    )  # fmt: skip


def check(folder: Path) -> Iterator[str]:
    """What is wrong with a data set, line by line; nothing where it is whole. Every shard is read."""
    manifest = load_manifest(folder)
    named = {MANIFEST}
    for key, session in sorted(manifest.sessions.items()):
        named |= {session.rig, f"shards/{key}/session.json", *(s.file for s in session.shards)}
        if not (folder / session.rig).is_file():
            yield f"{session.rig}: the rig of session {key} is missing"
        for shard in session.shards:
            try:
                read = read_shard(folder / shard.file)
            except KinecastError as e:
                yield str(e)
                continue
            if sha256_of(folder / shard.file) != shard.sha256:
                yield f"{shard.file}: not the file that was built; run `kinecast dataset build` again"
            elif len(read.t_ns) != shard.frames or int((read.refused == 0).sum()) != shard.accepted:
                yield f"{shard.file}: other frames than the manifest says; run `kinecast dataset build` again"
    for file in (*folder.glob("shards/*/*"), *folder.glob("rigs/*")):
        if file.relative_to(folder).as_posix() not in named:
            yield f"{file.relative_to(folder)}: of no session in the manifest; a build that was broken off left it"


def forget(folder: Path, which: str) -> list[str]:
    """Delete a session, by its key, the name of its file, or what the recording called it, with all that came of it.

    Returns what was deleted. The files go before the manifest is written: a deletion that is broken off is done again.
    Raises KinecastError where there is no such session or several have the name.
    """
    manifest = load_manifest(folder)
    found = [k for k, s in manifest.sessions.items() if which in (k, s.name, s.recording, s.session) and which]
    if not found:
        raise KinecastError(f"{folder}: no session {which!r}; `kinecast dataset list {folder}` shows them")
    if len(found) > 1:
        raise KinecastError(f"{folder}: {len(found)} sessions are called {which!r}: use a key: {', '.join(found)}")
    key = found[0]
    gone = [f"shards/{key}"]
    shutil.rmtree(folder / "shards" / key, ignore_errors=True)
    for file, sessions in list(manifest.exports.items()):
        if key in sessions:
            (folder / file).unlink(missing_ok=True)
            gone.append(file)
            del manifest.exports[file]
    rig = manifest.sessions.pop(key).rig
    if all(s.rig != rig for s in manifest.sessions.values()):
        (folder / rig).unlink(missing_ok=True)
        gone.append(rig)
    manifest.save(folder)
    return gone
