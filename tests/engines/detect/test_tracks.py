"""Who is who from picture to picture, on bodies of coco17 whose likeness is known."""

import numpy as np
import pytest

from kinecast.engines.detect.oks import as_coco, oks
from kinecast.engines.detect.person_detectors import PersonDetections, coco_axes
from kinecast.engines.detect.picture import Region
from kinecast.engines.detect.pose_models import EstimatedPose
from kinecast.engines.detect.tracks import Track, in_picture, match, without_duplicates
from kinecast.engines.skeleton import skeleton
from tests.engines.detect.toys import BODY, SURE, at

FLIP = list(skeleton("coco17").flip)
HERE = Region(0, 0, 200, 200)


def track(local_id: int, xy: np.ndarray, t_ns: int = 0, born: int = 0) -> Track:  # type: ignore[type-arg]
    """A person just begun."""
    return Track.begin(local_id, "coco17", EstimatedPose(xy, SURE, 0.9, HERE), t_ns, born)


def found(*bodies: np.ndarray) -> PersonDetections:  # type: ignore[type-arg]
    """A finder's answer, best first."""
    xy = np.stack(bodies)
    confidence = np.stack([SURE] * len(bodies))
    boxes = np.concatenate([xy.min(1), xy.max(1)], 1)
    return PersonDetections(
        boxes, np.linspace(0.9, 0.5, len(bodies), dtype=np.float32), xy, confidence, coco_axes(xy, confidence)
    )


def test_likeness_is_cocos_and_forgives_exchanged_sides() -> None:
    a, b = at(0)[None], at(6, 3)[None]
    c = SURE[None]
    s2 = 0.25 * float(max(np.ptp(BODY, axis=0))) ** 2
    kappa = 2 * np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
    assert oks(a, c, b, c)[0, 0] == pytest.approx(np.exp(-45 / (2 * s2 * kappa**2)).mean(), rel=1e-5)
    assert oks(a, c, a, c)[0, 0] == 1
    assert oks(a, c, a[:, FLIP], c)[0, 0] == 1
    assert oks(a, c, at(200)[None], c)[0, 0] < 1e-6
    few = np.zeros((1, 17), np.float32)
    few[0, :3] = 0.9
    assert oks(a, few, a, few)[0, 0] == 0, "three joints say nothing"


def test_joints_are_taken_out_by_name() -> None:
    names = skeleton("blazepose33").joints
    xy = np.arange(66, dtype=np.float32).reshape(1, 33, 2)
    coco, confidence = as_coco("blazepose33", xy, np.ones((1, 33), np.float32))
    for j, name in enumerate(skeleton("coco17").joints):
        np.testing.assert_array_equal(coco[0, j], xy[0, names.index(name)])
    assert (confidence == 1).all()


def test_people_are_matched_all_in_all() -> None:
    tracks = [track(0, at(100)), track(1, at(130)), track(2, at(500))]
    seen = found(at(132), at(300), at(103))
    assert match(tracks, seen, "coco17") == {0: 2, 1: 0}
    assert match([], seen, "coco17") == {}
    boxes_only = PersonDetections(
        seen.boxes_px, seen.scores, np.zeros((3, 0, 2), np.float32), np.zeros((3, 0), np.float32), seen.axes_px
    )
    assert match(tracks, boxes_only, "") == {0: 2, 1: 0}


def test_of_two_on_one_body_the_younger_goes() -> None:
    tracks = [track(3, at(100), born=7), track(5, at(103), born=2), track(6, at(160), born=8)]
    assert [t.local_id for t in without_duplicates(tracks)] == [5, 6]


def test_of_two_on_one_body_the_one_that_slid_there_goes() -> None:
    frame_ns = 16_666_667
    old, young = track(0, at(100), born=0), track(1, at(160), born=50)
    for k in (1, 2):
        old = old.follow(EstimatedPose(at(100), SURE, 0.9, HERE), k * frame_ns)
        young = young.follow(EstimatedPose(at(160 + 2 * k), SURE, 0.9, HERE), k * frame_ns)
    old = old.follow(EstimatedPose(at(150), SURE, 0.9, HERE), 3 * frame_ns)  # 50 px in one frame: on the other's body
    young = young.follow(EstimatedPose(at(166), SURE, 0.9, HERE), 3 * frame_ns)
    assert young.steady == pytest.approx(1)
    assert [t.local_id for t in without_duplicates([old, young])] == ([1] if oks_of(old, young) >= 0.6 else [0, 1])
    old = old.follow(EstimatedPose(at(167), SURE, 0.9, HERE), 4 * frame_ns)
    young = young.follow(EstimatedPose(at(168), SURE, 0.9, HERE), 4 * frame_ns)
    assert [t.local_id for t in without_duplicates([old, young])] == [1]


def oks_of(a: Track, b: Track) -> float:
    """Likeness of two tracks."""
    return float(oks(a.keypoints_px[None], a.confidence[None], b.keypoints_px[None], b.confidence[None])[0, 0])


def test_speed_is_of_the_time_that_passed_between_pictures() -> None:
    """A camera that skips pictures: the body keeps its speed, and stands where it is expected."""
    ms, speed_px_s = 1_000_000, 300.0
    person, t_ns = track(0, at(100)), 0
    for step_ms in (40, 10, 100, 16):
        t_ns += step_ms * ms
        person = person.follow(EstimatedPose(at(100 + speed_px_s * t_ns * 1e-9), SURE, 0.9, HERE), t_ns)
        # float32 pixels are known to 4e-6: over 10 ms that is 8e-4 of a pixel in a second, per rounding
        np.testing.assert_allclose(person.velocity_px_s, np.broadcast_to([speed_px_s, 0], (17, 2)), atol=0.02)
        if step_ms != 40:  # before, nothing told that it moves
            assert person.steady > 0.9999


def test_a_leap_is_no_movement_unless_time_has_passed() -> None:
    person = track(0, at(100), t_ns=0)
    near, far = EstimatedPose(at(112), SURE, 0.9, HERE), EstimatedPose(at(260), SURE, 0.9, HERE)
    turned = EstimatedPose(at(103)[FLIP], SURE, 0.9, HERE)
    assert not person.leapt(near, 16_000_000)
    assert not person.leapt(turned, 16_000_000)
    assert person.leapt(far, 16_000_000)
    assert not person.leapt(far, 200_000_000)


def test_what_is_outside_the_picture_is_missing() -> None:
    xy = np.array([[-0.5, 0], [-0.6, 0], [99.5, 49.5], [99.6, 10], [5, 5], [np.nan, 3]], np.float32)
    confidence = np.array([0.5, 0.5, 0.5, 0.5, 0, 0.5], np.float32)
    got, sure = in_picture(xy, confidence, (100, 50))
    assert np.isnan(got).all(1).tolist() == [False, True, False, True, True, True]
    np.testing.assert_array_equal(sure, np.float32([0.5, 0, 0.5, 0, 0, 0]))
    np.testing.assert_array_equal(got[[0, 2]], xy[[0, 2]])


def test_axes_need_hips_and_shoulders() -> None:
    xy = np.stack([at(50, 100), at(50, 100)])
    confidence = np.stack([SURE, SURE])
    confidence[1, 5:7] = 0
    axes = coco_axes(xy, confidence)
    np.testing.assert_allclose(axes[0, 0], [50, 100])
    assert axes[0, 1, 0] == pytest.approx(50)
    assert axes[0, 1, 1] < 100 - np.hypot(12, 80), "upwards, beyond the farthest joint"
    assert np.isnan(axes[1]).all()
