"""Models by card: which file, from where, under which licence, and what goes in and comes out.

``load_profile(name)`` names the cards, ``load_card(name)`` reads one, ``model_path(card)`` gives its verified ONNX
file. Nothing here fetches but ``engines.models.pull``.
"""

from kinecast.engines.models.cache import model_path
from kinecast.engines.models.card import DECODERS, Card, builtin_names, find_card
from kinecast.engines.models.profiles import Profile, load_profile, profile_names

load_card = find_card

__all__ = ["DECODERS", "Card", "Profile", "builtin_names", "find_card", "load_card", "load_profile", "model_path",
           "profile_names"]  # fmt: skip
