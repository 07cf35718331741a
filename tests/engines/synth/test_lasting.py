"""People who live for minutes: bodies whose feet carry them, the same in every order; and their messages."""

from itertools import pairwise

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.daily_motion import ACTIVITIES, FEET, timetable
from kinecast.engines.synth.lasting import SHAPES, LastingScene, lasting_scene

HALPE, SMPL = skeleton("halpe26"), skeleton("smpl24")


@pytest.fixture(scope="module")
def life() -> LastingScene:
    return lasting_scene("blazepose-heavy", seconds=40, people=2, seed=1)


def test_limbs_keep_their_length_and_feet_their_place(life: LastingScene) -> None:
    for motion, betas in zip(life.people.motions, SHAPES, strict=False):
        assert np.array_equal(motion.betas, betas)
        for a, b in (("left_hip", "left_knee"), ("right_elbow", "right_wrist")):
            bone = np.linalg.norm(motion.joints[:, SMPL.index(a)] - motion.joints[:, SMPL.index(b)], axis=1)
            assert bone.std() < 1e-9
        feet = motion.points[:, [HALPE.index(f) for f in FEET]]
        assert feet[..., 2].min() > -0.03
        lower = feet[..., 2].argmin(axis=1)
        slid = np.linalg.norm(np.diff(feet[..., :2], axis=0), axis=-1)[np.arange(len(feet) - 1), lower[1:]]
        assert np.median(slid) < 0.002 and np.quantile(slid, 0.8) < 0.02  # in 40 ms; steps change feet at once
        walked = np.linalg.norm(np.diff(motion.joints[:, 0, :2], axis=0), axis=-1).sum()
        assert walked > 5.0


def test_people_keep_to_their_parts_of_the_room(life: LastingScene) -> None:
    a, b = (m.joints[:, 0, :2] for m in life.people.motions)
    assert np.linalg.norm(a - b, axis=1).min() > 0.3
    assert max(np.abs(a).max(), np.abs(b).max()) < 3.0


def test_the_timetable_has_everything_and_its_parts_add_to_one() -> None:
    shares = timetable(25 * 600, 25.0, np.random.default_rng(0))
    assert np.allclose(shares.sum(axis=1), 1.0)
    assert (shares.mean(axis=0) > 0.01).all() and shares.shape[1] == len(ACTIVITIES)
    assert shares.mean(axis=0).argmax() == list(ACTIVITIES).index("walk")


def test_times_between_frames_lie_between_them(life: LastingScene) -> None:
    t = life.people.t_ns[50:54]
    half = life.people.points_at((t[1:] + t[:-1]) // 2)
    near = life.people.points_at(t)
    assert np.allclose(half, (near[1:] + near[:-1]) / 2, atol=0.012)  # 40 m/s² bend a path by 8 mm in 20 ms
    assert np.array_equal(life.people.points_world(int(t[0])), near[0])


def test_messages_come_in_order_and_again_the_same(life: LastingScene) -> None:
    first, again = list(life.messages(30)), list(life.messages(30))
    assert [m.camera for m in first[:4]] == list(life.rig.names) and len(first) == 120
    assert all(a.t_capture_ns <= b.t_capture_ns for a, b in pairwise(first))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.keypoints_px, b.keypoints_px, equal_nan=True)
    other = next(lasting_scene("blazepose-heavy", seconds=40, people=2, seed=2).messages(1))
    assert not np.array_equal(other.keypoints_px, first[0].keypoints_px, equal_nan=True)


def test_observations_are_of_one_person(life: LastingScene) -> None:
    seen = life.observations(1, seconds=(2.0, 4.0))
    assert len(seen) == 50 and seen[0].xy.shape == (1, 4, 26, 2)
    truth = life.people.motions[1].points[50]
    for c, camera in enumerate(life.rig):
        local = truth @ camera.R.T + camera.t
        off = seen[0].xy[0, c] - local[:, :2] / local[:, 2:]
        assert np.nanmedian(np.abs(off)) < 0.03


def test_white_noise_is_a_detector_too() -> None:
    assert len(list(lasting_scene("white", seconds=2, people=1).messages())) == 200


def test_more_people_than_shapes_are_refused() -> None:
    with pytest.raises(KinecastError, match="7 people need 7 shapes"):
        lasting_scene(people=7, seconds=1)
