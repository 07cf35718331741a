"""Who is who in each view, against the truth of a synthetic scene."""

import itertools

import numpy as np

from kinecast.engines.associate.kernels import distances
from kinecast.engines.associate.match import JOINTS_TO_MATCH, Matches, compose, match
from kinecast.engines.observations import Detections, undistort_detections
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import Noise
from tests.engines.associate.scene import CAMERAS, scene

FLIP = np.array(skeleton("halpe26").flip)


def gated(X: np.ndarray, found: Detections, gate_m: float = 0.28) -> Matches:
    return match(CAMERAS, found, X, np.full(len(X), gate_m), FLIP)


def test_everybody_is_found_in_every_view() -> None:
    X, found, who = scene(noise=Noise(3.0, outliers=0.1, missing=0.15))
    got = gated(X, found)
    np.testing.assert_array_equal(got.owner, who)
    for p, c in itertools.product(range(4), range(4)):
        n = got.assigned[p, c]
        assert n >= 0 and found.camera[n] == c and who[n] == p


def test_exchanged_left_and_right_is_still_the_same_person() -> None:
    X, found, who = scene(noise=Noise(3.0, swaps=1.0))
    np.testing.assert_array_equal(gated(X, found).owner, who)


def test_ghosts_belong_to_nobody() -> None:
    X, found, who = scene(noise=Noise(3.0, ghosts=6.0))
    assert (who < 0).sum() > 10
    assert np.all(gated(X, found).owner[who < 0] == -1)


def test_somebody_too_far_from_the_expectation_is_not_matched() -> None:
    X, found, _ = scene(people=1)
    assert np.all(gated(X + np.array([0, 0, 0.6]), found).assigned == -1)


def test_the_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    X, found, _ = scene(people=4)
    X = X[:3] * [0.1, 0.1, 1] + rng.normal(0, 0.08, (3, 1, 3))  # three people in one another, four detections
    gate = 0.45
    got = gated(X, found, gate)
    cost, flipped = np.empty((3, len(found))), np.empty((3, len(found)), bool)
    distances(CAMERAS.P, X, found.xy, found.confidence, found.camera, FLIP, 0.45, JOINTS_TO_MATCH, cost, flipped)
    gain = np.minimum(cost - gate, 0)
    for c in range(4):
        a, b = found.start[c], found.start[c + 1]
        best = min(sum(gain[p, n] for p, n in enumerate(ns)) for ns in itertools.permutations(range(a, b), 3))
        mine = sum(gain[p, got.assigned[p, c]] for p in range(3) if got.assigned[p, c] >= 0)
        assert abs(mine - best) < 1e-9


def doubled(found: Detections, keep: slice, camera: int = 1) -> Detections:
    """The first person of a view cut in two: one detection with the joints of ``keep``, one with the others."""
    a = int(found.start[camera])
    other = np.ones(26, bool)
    other[keep] = False
    confidence = np.insert(found.confidence, a, found.confidence[a], axis=0)
    confidence[a, other], confidence[a + 1, keep] = 0, 0
    start = found.start + (np.arange(len(found.start)) > camera)
    cams = np.insert(found.camera, a, camera)
    return Detections(np.insert(found.xy, a, found.xy[a], axis=0), confidence, cams, np.arange(len(cams)) - start[cams],
                      start, found.bad)  # fmt: skip


def test_two_halves_of_a_person_make_a_whole() -> None:
    X, found, who = scene(people=2)
    halves = doubled(found, slice(0, 9))
    got = gated(X, halves)
    xy, confidence = compose(CAMERAS, halves, X, got.assigned, got.owner)
    p = who[found.start[1]]
    np.testing.assert_array_equal(xy[p, 1], found.xy[found.start[1]])
    np.testing.assert_array_equal(confidence[p, 1], found.confidence[found.start[1]])
    assert got.duplicate.sum() == 1


def test_a_persons_wrong_joint_is_taken_from_the_detection_that_has_it() -> None:
    X, found, who = scene(people=2)
    a = int(found.start[1])
    mine, other = who[a], who[a + 1]
    wrist = skeleton("halpe26").index("left_wrist")
    xy = found.xy.copy()
    xy[[a, a + 1], wrist] = xy[[a + 1, a], wrist]  # each detection has the wrist of the other person
    mixed = Detections(xy, found.confidence, found.camera, found.row, found.start, found.bad)
    got = gated(X, mixed)
    out, _ = compose(CAMERAS, mixed, X, got.assigned, got.owner)
    np.testing.assert_array_equal(out[mine, 1, wrist], found.xy[a, wrist])
    np.testing.assert_array_equal(out[other, 1, wrist], found.xy[a + 1, wrist])


def test_nobody_and_nothing() -> None:
    X, found, _ = scene(people=2)
    assert gated(X[:0], found).owner.tolist() == [-1] * len(found)
    empty = undistort_detections(CAMERAS, [None] * 4)
    assert gated(X, empty).assigned.tolist() == [[-1] * 4] * 2
