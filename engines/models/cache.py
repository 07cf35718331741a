"""The ONNX files of the cards: where they are, and whether they are what the card says."""

from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import sha256_of
from kinecast.engines.models.card import Card

# files found sound by this process: size, modification time, and the hash that a card asked for
_seen: dict[Path, tuple[int, int, str]] = {}


def note_path(onnx: Path) -> Path:
    """The file beside the model of a user's own card that holds its hash; the card may not know it beforehand."""
    return onnx.with_suffix(".sha256")


def expected_sha256(card: Card) -> str:
    """The hash that the ONNX file must have: from the card, else noted when it was converted, else empty."""
    note = note_path(card.onnx_path)
    if card.expected_sha256 or not card.in_cache:
        return card.expected_sha256
    return note.read_text().strip() if note.exists() else ""


def fault(card: Card) -> str:
    """Empty where the ONNX file is there and sound; else what is wrong and what to do. Hashes the whole file."""
    path, pull = card.onnx_path, f"kinecast models pull {card.reference}"
    if not path.is_file():
        if not card.in_cache:
            return f"model {card.name}: {path} does not exist: correct origin.path in {card.card_path}"
        return f"model {card.name} is not in the cache: run `{pull}`"
    expected = expected_sha256(card)
    if not expected and card.in_cache:
        return f"model {card.name} is damaged: the note of its hash beside {path} is gone: run `{pull}`"
    if expected and (found := sha256_of(path)) != expected:
        say = f"run `{pull}`" if card.in_cache else f"put the right file there or correct sha256 in {card.card_path}"
        return f"model {card.name} is damaged: {path} has sha256 {found[:12]}…, the card says {expected[:12]}…: {say}"
    return ""


def model_path(card: Card) -> Path:
    """The verified ONNX file of the card.

    Hashed once per process (and again when it has changed since); never fetches. Raises KinecastError, saying what to
    run, where the file is not there or is not what the card says.
    """
    path = card.onnx_path
    if path.is_file() and _seen.get(path) == _stamp(path, card):
        return path
    if wrong := fault(card):
        raise KinecastError(wrong)
    _seen[path] = _stamp(path, card)
    return path


def _stamp(path: Path, card: Card) -> tuple[int, int, str]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, card.expected_sha256
