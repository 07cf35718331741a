"""Faces that cannot be."""

import numpy as np

from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World
from kinecast.engines.triangulate.face_check import MOST_M, face_joints, reject_implausible_face
from kinecast.engines.triangulate.solve import Solution

H = skeleton("halpe26")
FACE = face_joints("halpe26")


def faces(move: dict[str, tuple[float, float]]) -> tuple[np.ndarray, Solution]:
    """A person whose named joints lie so many metres aside, with standard deviations in m."""
    x = World(people=1, seed=3).points_world(0).copy()
    sd = np.full((1, 26), 0.01)
    for name, (far, s) in move.items():
        x[0, H.index(name), 0] += far
        sd[0, H.index(name)] = s
    J, ones = x.shape[1], np.ones((1, 26))
    covariance = sd[..., None, None] ** 2 * np.eye(3)
    wide = np.ones((1, 4, J))
    return x.copy(), Solution(x, covariance, ones.copy(), ones.copy(), np.full((1, J), 3, np.uint32), wide, wide.copy())


def test_a_face_is_left_alone() -> None:
    before, s = faces({})
    assert reject_implausible_face(s, FACE) == 0
    np.testing.assert_array_equal(s.points_world_m, before)
    wide = np.linalg.norm(before[:, FACE, None] - before[:, None, FACE], axis=-1).max()
    assert wide < MOST_M  # the synthetic head is a head


def test_what_the_others_contradict_is_not_seen() -> None:
    before, s = faces({"right_ear": (0.35, 0.001)})  # however sure it is
    assert reject_implausible_face(s, FACE) == 1
    gone = H.index("right_ear")
    assert np.isnan(s.points_world_m[0, gone]).all() and np.isnan(s.residual_px[0, gone]) and s.views[0, gone] == 0
    assert s.confidence[0, gone] == 0 and not s.chi2[0, :, gone].any() and not s.freedom[0, :, gone].any()
    rest = np.delete(np.arange(26), gone)
    np.testing.assert_array_equal(s.points_world_m[0, rest], before[0, rest])


def test_of_two_the_less_sure_goes() -> None:
    for unsure in ("nose", "left_ear"):
        _, s = faces({"nose": (0.30, 0.01), unsure: (0.30 if unsure == "nose" else 0.0, 0.05)})
        for hidden in ("left_eye", "right_eye", "right_ear"):
            s.points_world_m[0, H.index(hidden)] = np.nan
        assert reject_implausible_face(s, FACE) == 1
        assert np.isnan(s.points_world_m[0, H.index(unsure), 0])
