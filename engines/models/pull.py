"""Pulling models: fetch the origin, verify it, convert it once to ONNX, cache it; all or nothing for each model."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kinecast.capture.atomic_write import atomic_path, atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import sha256_of
from kinecast.capture.guarded import guarded
from kinecast.engines.models.cache import fault, note_path
from kinecast.engines.models.card import TORCH_SUFFIXES, Card, Origin, builtin_names, find_card
from kinecast.engines.models.fetch import extract, fetch_origin, label
from kinecast.engines.models.profiles import load_profile, profile_names
from kinecast.engines.models.tables import read_toml

# Puts what an origin names (a package, or one file) into a folder and returns its path.
Fetch = Callable[[Origin, Path], Path]
LARGEST = 2 << 30  # bytes of a network; protobuf holds no more


def cards_of(names: Sequence[str]) -> list[Card]:
    """The cards that the words mean: names or paths of cards or profiles; none: all that can be fetched."""
    references: list[str] = []
    for name in names or [n for n in builtin_names() if find_card(n).origin.registry != "user"]:
        if name in profile_names() or (name.endswith(".toml") and _is_profile(Path(name))):
            references += load_profile(name).cards
        else:
            references.append(name)
    return [find_card(r) for r in dict.fromkeys(references)]


def _is_profile(path: Path) -> bool:
    return "finder" in read_toml(path, "profile or model card")


def pull(cards: Sequence[Card], fetch: Fetch = fetch_origin, say: Callable[[str], None] = lambda _: None) -> list[Card]:
    """Put into the cache what is not there or is damaged; returns those cards.

    What is there and sound is left alone and nothing is fetched for it. One fetch serves all cards of a package. An
    origin that fails does not keep the others from being pulled: the KinecastError at the end names every failure.
    """
    groups: dict[str, list[Card]] = {}
    failures = []
    for card in cards:
        wrong = fault(card)
        if wrong and card.origin.registry == "user":
            failures.append(f"{wrong}, with the file from {card.origin.url}: its hash is not known here")
        elif wrong and card.in_cache:
            groups.setdefault(f"{card.origin.registry} {_source(card)}", []).append(card)
        elif wrong:
            failures.append(wrong)
    if groups:
        with _work_folder() as work:
            for group in groups.values():
                try:
                    _pull_group(group, work, fetch, say)
                except KinecastError as e:
                    failures.append(str(e))
                except OSError as e:
                    where = e.filename or cache_dir()
                    failures.append(f"cannot write {where}: {e.strerror}: free some space or set KINECAST_CACHE")
    if failures:
        raise KinecastError("; ".join(failures))
    return [card for group in groups.values() for card in group]


def install(card: Card, given: Path, check: Callable[[Path], None]) -> None:
    """Put a file that the user has into the cache as the model of ``card``: the network, or the archive it came in.

    check: raises KinecastError where the network does not fit the card; what was there before then stays, as it does
    where the hash is not the card's.
    """
    if not given.is_file():
        raise KinecastError(f"{given} does not exist")
    with _work_folder() as work:
        source = given
        if zipfile.is_zipfile(given) and not card.is_torch:  # torch's own files are archives too
            source = work / "network.onnx"
            source.write_bytes(_in_archive(given, card.origin.path))
        check(source)
        _make(card, source, given.parent, lambda _: None)
    if wrong := fault(card):
        raise KinecastError(wrong)


def _in_archive(path: Path, name: str) -> bytes:
    """The network in a zip archive: the file of that name, else the only .onnx in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [i for i in archive.infolist() if i.filename.endswith(".onnx")]
            named = [i for i in found if Path(i.filename).name == Path(name).name] or found
            if len(named) != 1:
                raise KinecastError(f"{path}: {len(found)} .onnx files in it, none called {name}: unpack it")
            if named[0].file_size > LARGEST:
                raise KinecastError(f"{path}: {named[0].filename} is too large: {named[0].file_size >> 20} MiB")
            return archive.read(named[0])
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as e:
        raise KinecastError(f"{path} cannot be unpacked: {e}") from None


def _source(card: Card) -> str:
    """What one fetch is for: a package, a url, or a file of the user's own."""
    own = card.origin.registry == "file"
    return str(card.card_path.parent / card.origin.path) if own else label(card.origin)


def _pull_group(cards: list[Card], work: Path, fetch: Fetch, say: Callable[[str], None]) -> None:
    """Fetch once what all these cards come from, then make each of them. The package is gone afterwards."""
    first = cards[0]
    files = work / "files"
    try:
        if first.origin.registry == "file":
            archive = Path(_source(first))
            if not archive.is_file():
                raise KinecastError(f"{first.card_path}: origin.path: {archive} does not exist: correct the card")
        else:
            say(f"fetching {_source(first)} with {'urllib' if first.origin.url else first.origin.registry}")
            archive = fetch(first.origin, work)
        if first.origin.registry in ("pip", "npm"):
            extract(archive, {p for card in cards for p in (card.origin.path, *card.origin.also)}, files)
        for card in cards:
            # paths in a card are inside the package, or from the card
            packed = card.origin.registry in ("pip", "npm")
            _make(
                card, files / card.origin.path if packed else archive, files if packed else card.card_path.parent, say
            )
    finally:
        for left in (files, work / "archive"):
            shutil.rmtree(left, ignore_errors=True)


def _make(card: Card, source: Path, base: Path, say: Callable[[str], None]) -> None:
    """Verify the origin file and those beside it, convert it, and put the result into the cache."""
    pins = [(source, card.sha256), *((base / path, sha) for path, sha in card.origin.also.items())]
    for path, expected in pins:
        if not path.is_file():
            raise KinecastError(f"{card.card_path}: {path} does not exist: correct origin.also")
        if expected and (found := sha256_of(path)) != expected:
            raise KinecastError(
                f"model {card.name}: {path.name} from {_source(card)} has sha256 {found[:12]}…, the card says "
                f"{expected[:12]}…: it was damaged on the way or is another file; nothing was kept: pull again"
            )
    if card.convert.kind != "none":
        say(f"converting {card.name}")
    data = _to_onnx(card, source) if card.convert.kind != "none" else None
    digest = sha256_of(source) if data is None else hashlib.sha256(data).hexdigest()
    if card.expected_sha256 and digest != card.expected_sha256:
        raise KinecastError(
            f"model {card.name}: the conversion gave sha256 {digest[:12]}…, the card says "
            f"{card.expected_sha256[:12]}…: install onnx and numpy at the versions of constraints.txt"
        )
    target = card.onnx_path
    if not card.builtin or not card.expected_sha256:  # `verify` must know the file without the card
        atomic_write(note_path(target), f"{digest}\n")
    with atomic_path(target, overwrite=True) as file:
        if data is not None:
            file.write(data)
        else:  # several GB of some networks: never whole in memory
            with source.open("rb") as given:
                shutil.copyfileobj(given, file, 1 << 24)


@guarded("a network", 1)
def _to_onnx(card: Card, source: Path) -> bytes:
    # the converters import onnx and tflite, which nothing but a pull needs
    keep = list(card.outputs.values())
    if card.convert.kind == "tflite":
        from kinecast.engines.models.convert_tflite import convert_tflite

        return convert_tflite(source, keep)
    from kinecast.engines.models.convert_tfjs import convert_tfjs

    return convert_tfjs(source, card.input.size_px, keep)


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder in the cache that is gone afterwards; what a killed pull left behind is swept first."""
    models = cache_dir() / "models"
    try:
        models.mkdir(parents=True, exist_ok=True)
        _sweep(models)
        work = Path(tempfile.mkdtemp(dir=models, prefix=".pull-"))
    except OSError as e:
        raise KinecastError(f"cannot write {models}: {e.strerror}: set KINECAST_CACHE to a folder of yours") from None
    try:
        with (work / "lock").open("wb") as lock:
            _try_lock(lock.fileno())
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(models: Path) -> None:
    """Remove the work folders that no living pull holds locked (where the system cannot lock: none)."""
    for left in models.glob(".pull-*"):
        with suppress(OSError), (left / "lock").open("rb") as lock:
            if _try_lock(lock.fileno()):
                shutil.rmtree(left, ignore_errors=True)


def _try_lock(fd: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def verify(cards: Sequence[Card]) -> dict[str, str]:
    """Hash every model that is in the cache: file name → what is wrong, empty where it is sound.

    The cards' own files come first, then whatever else lies there with a note of its hash.
    """
    found = {card.onnx_path.name: fault(card) for card in cards if card.onnx_path.is_file()}
    kept = (".onnx", *TORCH_SUFFIXES)
    for path in sorted(p for p in (cache_dir() / "models").glob("*") if p.suffix in kept):
        if path.name in found:
            continue
        note = note_path(path)
        if not note.is_file():
            found[path.name] = f"{path} belongs to no card: delete it"
        elif sha256_of(path) != note.read_text().strip():
            found[path.name] = f"{path} is not what was put there: delete it and pull its card again"
        else:
            found[path.name] = ""
    return found
