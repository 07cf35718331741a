"""The algebra of skeletons: parents, mirrors and maps."""

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import SKELETONS, direct_index, skeleton

EACH = pytest.mark.parametrize("name", SKELETONS)
PUBLISHED = {
    "halpe26": 26,
    "coco17": 17,
    "coco133": 133,
    "goliath308": 308,
    "body25": 25,
    "blazepose33": 33,
    "h36m17": 17,
    "smpl24": 24,
    "shelf15": 15,
    "humaneva15": 15,
}
PUBLISHED["body25b"] = 25


def test_every_skeleton_has_as_many_joints_as_its_publication() -> None:
    assert {n: len(s) for n, s in SKELETONS.items()} == PUBLISHED


@EACH
def test_flip_twice_is_identity_and_changes_sides(name: str) -> None:
    s = skeleton(name)
    for j, k in enumerate(s.flip):
        assert s.flip[k] == j
        sided = s.joints[j].startswith(("left_", "right_"))
        assert (k != j) == sided
        if sided:
            assert s.joints[j].split("_", 1)[1] == s.joints[k].split("_", 1)[1]


@EACH
def test_every_chain_ends_at_a_root_and_there_is_one(name: str) -> None:
    s = skeleton(name)
    roots = set()
    for j in range(len(s)):
        seen = [j]
        while s.parents[seen[-1]] >= 0:
            seen.append(s.parents[seen[-1]])
            assert len(seen) <= len(s), f"{name}: a circle through {s.joints[j]}"
        roots.add(seen[-1])
    assert len(roots) == 1
    assert len(s.bones) == len(s) - 1


@EACH
def test_the_tree_is_its_own_mirror_image(name: str) -> None:
    s = skeleton(name)
    for parent, child in s.bones:
        assert s.parents[s.flip[child]] == s.flip[parent]


@EACH
def test_names_are_unique_and_found(name: str) -> None:
    s = skeleton(name)
    assert len(set(s.joints)) == len(s)
    assert [s.index(j) for j in s.joints] == list(range(len(s)))
    with pytest.raises(KeyError, match=name):
        s.index("tail")


@pytest.mark.parametrize("source", SKELETONS)
@pytest.mark.parametrize("target", SKELETONS)
def test_a_map_joins_equal_names_and_says_what_is_absent(source: str, target: str) -> None:
    index = direct_index(source, target)
    assert index.shape == (len(skeleton(target)),)
    for t, s in enumerate(index):
        name = skeleton(target).joints[t]
        assert skeleton(source).joints[s] == name if s >= 0 else name not in skeleton(source).joints
    # a map commutes with the mirror
    mirror = np.array([*skeleton(source).flip, -1])
    assert np.array_equal(index[list(skeleton(target).flip)], mirror[index])


def test_maps_by_hand() -> None:
    assert direct_index("halpe26", "coco17").tolist() == list(range(17))
    absent = [skeleton("halpe26").joints[i] for i in np.flatnonzero(direct_index("body25", "halpe26") < 0)]
    assert absent == ["head_top"]
    with pytest.raises(KinecastError, match="halpe26"):
        skeleton("centaur")
