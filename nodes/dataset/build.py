"""A data set made of recordings, taken up where it was left, listed, checked, and sessions forgotten again."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock
from kinecast.capture.refusals import sentences
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.sequence.solver import device_of
from kinecast.engines.train.data.shards import (
    MANIFEST,
    Manifest,
    Session,
    load_manifest,
    read_shard,
    session_of,
    sha256_of,
)
from kinecast.nodes.dataset.gates import advice
from kinecast.nodes.dataset.session import DONE, Recipe, build_session, content_key
from kinecast.nodes.dataset.workers import map_jobs
from kinecast.nodes.recording.file import Recording


@dataclass(slots=True)
class BuildResult:
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
) -> BuildResult:
    """Make or extend the data set in ``folder``. What was built before, whole and by the same recipe, is kept.

    say: called with a line on each session, once done. function: of one recording; a test gives one that dies. Raises
    KinecastError where the data set there is of another body, recipe or version, or another process is at work on it:
    nothing is overwritten.
    """
    device_of(recipe.device)
    recipe.check()
    _open_manifest(folder, recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise KinecastError(f"{folder}: {e.strerror}: choose a folder of yours") from None
    with folder_lock(folder, "changing the data set"):
        return _extend(recordings, folder, recipe, workers, address, say, function)


def _extend(
    recordings: Sequence[Path], folder: Path, recipe: Recipe, workers: int, address: str, say: Callable[[str], None],
    function: Callable[[Path, Path, Recipe], Session],
) -> BuildResult:  # fmt: skip
    manifest = _open_manifest(folder, recipe)
    built = BuildResult(manifest)
    jobs = [(path.absolute(), folder.absolute(), recipe) for path in recordings]
    results = dict(map_jobs(partial(_call, function), jobs, workers, address))
    seen: set[str] = set()
    for i, path in enumerate(recordings):  # in the order asked for, whoever was done first
        result = results[i]
        if isinstance(result, KinecastError):
            built.refused[str(path)] = str(result)
            say(f"{path}: refused: {result}")
            continue
        # the first of two names in the order of names, so that the order of the recordings is nothing
        before = manifest.sessions.get(result.key)
        named = replace(result, name=min({result.name, path.name} | ({before.name} if before else set())))
        if result.key in seen:
            manifest.sessions[result.key] = named
            built.twice.append(str(path))
            say(f"{path.name}: the same session as one before, {named.name}; taken once")
            continue
        if other := next(
            (s for s in manifest.sessions.values() if s.key != result.key and _share_frames(s, result)), None
        ):
            built.refused[str(path)] = (
                f"it shares frames with {other.name} ({other.key}), which is in the data set: give the whole recording "
                f"alone, and forget the other first (`kinecast dataset forget {folder} {other.key}`)"
            )
            say(f"{path}: refused: {built.refused[str(path)]}")
            if result.key not in manifest.sessions:  # as where both got in before parts were told apart
                shutil.rmtree(folder / "shards" / result.key, ignore_errors=True)
            continue
        seen.add(result.key)
        manifest.sessions[result.key] = named
        built.sessions.append(result)
        say(describe(result))
    if built.sessions:
        manifest.save(folder)
    return built


def _share_frames(a: Session, b: Session) -> bool:
    """Whether two sessions are parts of one recording: its people would be learned from and be judged by."""
    return bool(set(a.sketch) & set(b.sketch))


def _call(function: Callable[[Path, Path, Recipe], Session], job: tuple[Path, Path, Recipe]) -> Session:
    return function(*job)


def _open_manifest(folder: Path, recipe: Recipe) -> Manifest:
    body_id, made_by = load_body(recipe.body).id, json.loads(json.dumps(recipe.as_dict()))
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


def describe(s: Session) -> str:
    """One line on a session."""
    frames, good = sum(f.frames for f in s.shards), sum(f.accepted for f in s.shards)
    why = sentences({code: n for code, n in s.refused.items() if n})
    todo = advice(s.refused, frames)
    people = len({f.person for f in s.shards})
    return (
        f"{s.key} {s.name}: {s.split}, {people} people, {frames} person-frames, {good} ground truth"
        + (f"; refused: {why}" if why else "") + (f". What to do: {todo}" if todo else "")
    )  # fmt: skip


def check(folder: Path) -> Iterator[str]:
    """What is wrong with a data set, line by line; nothing where it is whole. Every shard is read."""
    manifest = load_manifest(folder)
    named = {MANIFEST}
    for key, session in sorted(manifest.sessions.items()):
        named |= {session.rig, f"shards/{key}/session.json", *(s.file for s in session.shards)}
        try:
            rig = sha256_of(folder / session.rig)[:16]
        except OSError:
            rig = ""
        if rig != Path(session.rig).stem:
            yield f"{session.rig}: the rig of session {key} is missing or changed; run `kinecast dataset build` again"
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
    for file, keys in sorted(manifest.exports.items()):
        named.add(file)
        if not (folder / file).is_file() or not set(keys) <= set(manifest.sessions):
            yield f"{file}: missing, or of sessions that are not there; run `kinecast dataset export` again"
    for path in sorted(p for pattern in ("shards/*/*", "rigs/*", "exports/*") for p in folder.glob(pattern)):
        if path.relative_to(folder).as_posix() not in named:
            yield f"{path.relative_to(folder)}: of no session in the manifest; what was broken off left it: build again"


def forget(folder: Path, which: str) -> list[str]:
    """Delete a session, by its key, its recording, the name of that file, or what it calls itself, with all made of it.

    Returns what was deleted. The files go before the manifest is written: a deletion that is broken off is done again.
    What no manifest tells of, for a build or an export was broken off, may be of the session and goes too. Raises
    KinecastError where there is no such session, several have the name, or a file cannot be deleted.
    """
    load_manifest(folder)
    with folder_lock(folder, "changing the data set"):
        return _forgotten(folder, which)


def _forgotten(folder: Path, which: str) -> list[str]:
    manifest = load_manifest(folder)
    key = _key_of(folder, manifest, which)
    gone = _Deletion(folder)
    gone.tree(f"shards/{key}")
    left = manifest.sessions.keys() - {key}
    for child in sorted((folder / "shards").glob("*")):
        if child.name not in left and child.name != key:
            gone.tree(f"shards/{child.name}")
    kept = {file for file, sessions in manifest.exports.items() if key not in sessions}
    for child in sorted((folder / "exports").glob("*")):
        if (file := f"exports/{child.name}") not in kept:
            gone.file(file)
    manifest.exports = {file: manifest.exports[file] for file in kept}
    manifest.sessions.pop(key, None)
    rigs = {s.rig for s in manifest.sessions.values()}
    for child in sorted((folder / "rigs").glob("*")):
        if (file := f"rigs/{child.name}") not in rigs:
            gone.file(file)
    manifest.save(folder)
    return gone.files


def _key_of(folder: Path, manifest: Manifest, which: str) -> str:
    known = dict(manifest.sessions)
    for child in sorted((folder / "shards").glob("*")):  # built, but the build was broken off before its end
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            known.setdefault(child.name, session_of(json.loads((child / DONE).read_text())["session"]))
    found = [k for k, s in known.items() if which in (k, s.name, s.recording, s.session) and which]
    if len(found) != 1 and which.endswith(".mcap") and Path(which).is_file():
        found = [k for k in (content_key(Recording.open(Path(which))),) if k in known] or found
    if not found:
        raise KinecastError(f"{folder}: no session {which!r}; `kinecast dataset list {folder}` shows them")
    if len(found) > 1:
        raise KinecastError(f"{folder}: {len(found)} sessions are called {which!r}: use a key: {', '.join(found)}")
    return found[0]


@dataclass(slots=True)
class _Deletion:
    """Deletes below ``folder``, and says what; KinecastError where something stays."""

    folder: Path
    files: list[str] = field(default_factory=list)

    def tree(self, name: str) -> None:
        path = self.folder / name
        if path.is_dir() and not path.is_symlink():
            self._do(name, lambda: shutil.rmtree(path))
        else:
            self.file(name)

    def file(self, name: str) -> None:
        if (path := self.folder / name).exists() or path.is_symlink():
            self._do(name, path.unlink)

    def _do(self, name: str, delete: Callable[[], None]) -> None:
        try:
            delete()
        except OSError as e:
            raise KinecastError(
                f"{e.filename or self.folder / name} cannot be deleted ({e.strerror}), and the session is still in the "
                "data set: put that right and forget it again"
            ) from None
        self.files.append(name)
