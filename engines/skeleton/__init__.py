"""Skeletons as data, and the maps between them."""

from kinecast.engines.skeleton.maps import direct_index
from kinecast.engines.skeleton.tables import SKELETONS, Skeleton, skeleton

__all__ = ["SKELETONS", "Skeleton", "direct_index", "skeleton"]
