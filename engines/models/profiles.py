"""Profiles: which model finds people, which one gives their joints, and how often people are looked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded
from kinecast.engines.models.card import CARDS, DECODERS, PROFILES, Card, builtin_names, find_card, read_card
from kinecast.engines.models.tables import nearest, read_table, read_toml

_FINDER, _FINDER_PORTRAIT = "movenet_multipose_512x288", "movenet_multipose_288x512"


@dataclass(frozen=True, slots=True)
class Profile:
    """finder, pose: references of cards (a name or an absolute path). pose is empty where the finder gives the joints.

    finder_portrait: the finder for pictures that are higher than wide, empty: the same. find_every_s: seconds between
    looks for new people; those that are known are tracked in between. find_every: the same in frames, 0: by
    find_every_s. refine: move joints to the centroid of their
    heatmaps. find_min_score: of a person that is found; pose_min_score: under it a tracked person is looked for again.
    """

    name: str
    summary: str
    finder: str
    finder_portrait: str = ""
    pose: str = ""
    find_every: int = 0
    find_every_s: float = 1 / 3
    refine: bool = False
    find_min_score: float = 0.3
    pose_min_score: float = 0.5

    def finder_for(self, size_px: tuple[int, int]) -> str:
        """Reference of the finder for pictures of that (width, height)."""
        return self.finder_portrait if self.finder_portrait and size_px[1] > size_px[0] else self.finder

    @property
    def cards(self) -> tuple[str, ...]:
        """References of every card that the profile may use, in a fixed order, each once."""
        return tuple(dict.fromkeys(c for c in (self.finder, self.finder_portrait, self.pose) if c))


def profile_names() -> list[str]:
    """Names of the built-in profiles, in the order of the file."""
    return list(read_toml(PROFILES, "profiles file"))


@guarded("a profile")
def load_profile(name_or_path: str | Path) -> Profile:
    """A built-in profile, a profile file of the user's own, or one made around a built-in card or the card at a path.

    A card whose decoder finds people and gives joints stands alone and looks at every frame; a card that needs a crop
    gets the built-in finder. Raises KinecastError where there is no such profile or the card only finds people.
    """
    text = str(name_or_path)
    if not (isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text):
        return _builtin(text)
    path = Path(text)
    table = read_toml(path, "profile or model card")
    if "finder" in table:
        return _checked(table, path, path.resolve().parent)
    return _around(read_card(path))


def _builtin(name: str) -> Profile:
    tables = read_toml(PROFILES, "profiles file")
    if name not in tables:
        cards = builtin_names()
        if name in cards:
            return _around(find_card(name))
        raise KinecastError(
            f"no profile {name!r}{nearest(name, [*tables, *cards])}: known are {', '.join(tables)}; or name a card "
            "(`kinecast models list`), or give the path of one"
        )
    return _checked({"name": name, **tables[name]}, PROFILES, CARDS)


def _checked(table: dict[str, Any], path: Path, folder: Path) -> Profile:
    profile = read_table(Profile, table, str(path))
    named = {key: getattr(profile, key) for key in ("finder", "finder_portrait", "pose")}
    # a path in the file is meant from the file
    found = {key: str(folder / ref) if ref.endswith(".toml") else ref for key, ref in named.items()}
    profile = replace(profile, finder=found["finder"], finder_portrait=found["finder_portrait"], pose=found["pose"])
    for key in ("finder", "finder_portrait"):
        if found[key] and not DECODERS[find_card(found[key]).decoder].finds:
            raise KinecastError(f"{path}: {key} is {named[key]!r}, which does not find people in a whole picture")
    gives_joints = profile.pose or profile.finder
    if not DECODERS[find_card(gives_joints).decoder].poses:
        raise KinecastError(f"{path}: {gives_joints!r} gives no joints: name a pose card under 'pose'")
    if profile.find_every < 1 and "find_every" in table:
        raise KinecastError(f"{path}: find_every is {profile.find_every}: expected 1 (every frame) or more")
    if not 0 < profile.find_every_s <= 60:
        raise KinecastError(f"{path}: find_every_s is {profile.find_every_s}: expected seconds, above 0 and at most 60")
    for key in ("find_min_score", "pose_min_score"):
        if not 0 <= getattr(profile, key) <= 1:
            raise KinecastError(f"{path}: {key} is {getattr(profile, key)}: expected a number from 0 to 1")
    return profile


def _around(card: Card) -> Profile:
    decoder, ref = DECODERS[card.decoder], card.reference
    if not decoder.poses:
        raise KinecastError(
            f"{ref}: {card.decoder} finds people but gives no joints: write a profile file with finder and pose"
        )
    if decoder.finds:
        return Profile(card.name, card.summary, finder=ref, find_every=1)
    refine = "heatmap" in card.outputs and card.decoder == "blazepose_landmark"
    return Profile(card.name, card.summary, _FINDER, _FINDER_PORTRAIT, pose=ref, refine=refine)
