"""Skeletons as data, and the maps between them."""

from engines.skeleton.maps import direct_index
from engines.skeleton.tables import SKELETONS, Skeleton, skeleton

__all__ = ["SKELETONS", "Skeleton", "direct_index", "skeleton"]
