"""Measures of several people against cases worked by hand."""

import numpy as np
import pytest

from kinecast.engines.metrics import ap_root, assign, average_precision, distances, identities, pcp
from kinecast.engines.metrics.multi_person import pcp_limbs
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World

SHELF = skeleton("shelf15")


def person(x: float = 0.0) -> np.ndarray:
    """A plausible person in the joints of the Shelf protocol, standing at x."""
    points = World(1, seed=0).points_world(0)[0]
    halpe = skeleton("halpe26")
    out = points[[halpe.index(j) for j in SHELF.joints]]
    return out - [*out[SHELF.index("mid_hip")][:2], 0] + [x, 0, 0]


def test_distances_and_assignment() -> None:
    truth = np.stack([person(0), person(2)])
    predicted = np.stack([person(2.1), person(0.1), person(9)])
    d = distances(predicted, truth)
    assert d[0] == pytest.approx([2.1, 0.1]) and d[1] == pytest.approx([0.1, 1.9])
    assert sorted(assign(d)) == [(0, 1), (1, 0)]
    assert assign(np.zeros((0, 2))) == []
    empty = np.full_like(predicted[:1], np.nan)
    assert np.isinf(distances(empty, truth)).all() and assign(distances(empty, truth)) == []


def test_assignment_prefers_two_pairs_over_one_good_pair() -> None:
    cost = np.array([[0.1, 0.3], [0.3, 9.0]])
    assert sorted(assign(cost, 0.5)) == [(0, 1), (1, 0)]


def test_pcp_limb_is_right_while_both_errors_together_are_below_its_length() -> None:
    truth = person()
    elbow, wrist = SHELF.index("left_elbow"), SHELF.index("left_wrist")
    length = np.linalg.norm(truth[elbow] - truth[wrist])
    p = truth.copy()
    p[wrist] += [0.99 * length, 0, 0]
    assert pcp_limbs(p, truth)["lower arms"] == [True, True]
    p[elbow] += [0, 0.02 * length, 0]
    assert pcp_limbs(p, truth)["lower arms"] == [False, True]
    p[elbow] = np.nan  # a joint that is not given makes its limbs wrong
    assert pcp_limbs(p, truth)["upper arms"] == [False, True]
    truth[elbow] = np.nan  # one that the truth lacks is not counted
    assert pcp_limbs(p, truth)["upper arms"] == [True]
    assert sum(len(v) for v in pcp_limbs(None, person()).values()) == 10
    assert not any(f for v in pcp_limbs(None, person()).values() for f in v)


def test_pcp_of_people_over_their_annotated_frames() -> None:
    a, b = person(0), person(2)
    wrong = b.copy()
    wrong[SHELF.index("head_top")] += [0, 0, 1.0]
    frames = [
        (np.stack([b, a]), {0: a, 1: b}),  # all right
        (np.stack([wrong]), {1: b, 0: a}),  # 1 lacks its head, 0 is not found
        (np.stack([a, b]), {1: b}),  # somebody there without a truth does no harm
        (np.zeros((0, 15, 3)), {}),
    ]
    scores = pcp(frames)
    assert scores[0].frames == 2 and scores[0].value == pytest.approx(10 / 20)
    assert scores[1].frames == 3 and scores[1].value == pytest.approx(29 / 30)
    assert scores[1].right["head"] == 2 and scores[1].total["head"] == 3


def test_average_precision_by_hand() -> None:
    """By falling score: right, far off, a second one of the first person, right: precision 1, ½, ⅓, ½."""
    a, b = person(0), person(2)
    predicted = np.stack(
        [a + np.array([0.01, 0, 0]), person(5), a + np.array([0.02, 0, 0]), b + np.array([0.01, 0, 0])]
    )
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    result = average_precision([(predicted, scores, np.stack([a, b]))])
    assert result.ap[0.025] == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert result.recall[0.025] == 1.0 and result.recall_500 == 1.0
    assert result.mpjpe_m == pytest.approx(0.01) and result.people == 2


def test_average_precision_depends_on_the_threshold_and_on_empty_frames() -> None:
    a = person()
    far = (np.stack([a + np.array([0.06, 0, 0])]), np.array([0.5]), np.stack([a]))
    nothing = (np.zeros((0, 15, 3)), np.zeros(0), np.stack([a]))
    ghost = (np.stack([a]), np.array([0.9]), np.zeros((0, 15, 3)))
    result = average_precision([far, nothing])
    assert result.ap[0.05] == 0 and result.ap[0.075] == 0.5 and result.recall_500 == 0.5
    assert average_precision([far, ghost]).ap[0.075] == pytest.approx(0.5)  # the ghost scores higher: precision 1/2
    assert average_precision([ghost]).people == 0 and np.isnan(average_precision([ghost]).ap[0.05])


def test_ap_root_looks_at_the_root_alone() -> None:
    a = person()
    p = a + np.array([0, 3.0, 0])
    root = SHELF.index("mid_hip")
    p[root] = a[root] + [0.2, 0, 0]
    frames = [(p[None], np.array([1.0]), a[None])]
    assert ap_root(frames, root) == 1.0 and ap_root(frames, root, 0.1) == 0.0


def ids(*names: int) -> np.ndarray:
    return np.array(names, np.int32)


def test_switches_fragmentations_missed_and_ghosts() -> None:
    a, b, ghost = person(0), person(2), person(7)
    both = np.stack([a, b])
    frames = [
        (both, ids(1, 2), both, [10, 20]),
        (np.stack([a, b, ghost]), ids(1, 2, 3), both, [10, 20]),  # one ghost
        (a[None], ids(1), both, [10, 20]),  # 20 is missed
        (both, ids(1, 2), both, [10, 20]),  # and found again: a fragmentation, no switch
        (both, ids(2, 1), both, [10, 20]),  # exchanged: two switches
        (both, ids(2, 1), both, [10, 20]),  # which are counted once
        (b[None], ids(5), b[None], [20]),  # 10 left the truth; 20 goes on as 5
    ]
    out = identities(frames)
    assert (out.truth, out.predicted, out.matched) == (13, 13, 12)
    assert (out.switches, out.fragmentations, out.missed, out.ghosts) == (3, 1, 1, 1)
    assert out.switched_at[0][:2] == (4, 10) and out.switched_at[-1] == (6, 20, 1, 5)


def test_people_who_touch_have_not_switched() -> None:
    """The other one's pose is nearer for a moment, but one's own is still within the gate."""
    a, b = person(0), person(0.3)
    frames = [
        (np.stack([person(-1), person(1)]), ids(1, 2), np.stack([person(-1), person(1)]), [10, 20]),
        (np.stack([a + np.array([0.2, 0, 0]), b - [0.2, 0, 0]]), ids(1, 2), np.stack([a, b]), [10, 20]),
    ]
    assert identities(frames).switches == 0


def test_an_identity_that_two_people_had_in_turn_goes_to_the_nearer_one() -> None:
    a, b = person(0), person(0.2)
    frames = [
        (a[None], ids(1), a[None], [10]),
        (b[None], ids(1), b[None], [20]),
        (np.stack([b, a]), ids(1, 2), np.stack([a, b]), [10, 20]),
    ]
    out = identities(frames)
    assert out.matched == 4 and out.switches == 1 and out.switched_at == [(2, 10, 1, 2)]


def test_no_truth_and_no_prediction() -> None:
    none = np.zeros((0, 15, 3))
    out = identities([(none, ids(), none, []), (person()[None], ids(1), none, []), (none, ids(), person()[None], [3])])
    assert (out.ghosts, out.missed, out.switches) == (1, 1, 0)
