"""Views in one skeleton, without the lens."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.observations import (
    camera_arrays,
    detection_rows,
    distort,
    keypoints_of,
    undistort,
    undistort_detections,
)
from kinecast.engines.records import Keypoints2D, Poses, pack_covariance, unpack_covariance
from kinecast.engines.skeleton import direct_index, skeleton

K = np.array([[900.0, 0, 640], [0, 905, 360], [0, 0, 1]])
LENSES = {
    "none": ([0.0] * 5, "brown"),
    "brown5": ([-0.12, 0.05, -0.0005, 0.0003, -0.004], "brown"),
    "brown8": ([0.2, -0.1, 0.001, -0.0008, 0.01, 0.05, 0.02, 0.001], "brown"),
    "fisheye": ([0.02, -0.01, 0.003, -0.001], "fisheye"),
}


def camera(lens: str) -> Camera:
    coefficients, model = LENSES[lens]
    return Camera("a", (1280, 720), K, np.array(coefficients), np.eye(4), model)  # type: ignore[arg-type]


def message(px: np.ndarray, confidence: np.ndarray, name: str = "halpe26") -> Keypoints2D:
    n = len(px)
    return Keypoints2D(
        "a", 0, 0, (1280, 720), name, px.astype(np.float32), confidence.astype(np.float32),
        np.zeros((n, 4), np.float32), np.ones(n, np.float32), np.full(n, -1, np.int32),
    )  # fmt: skip


@pytest.mark.parametrize("lens", LENSES)
def test_the_compiled_lens_is_that_of_the_camera(lens: str) -> None:
    c = camera(lens)
    a = camera_arrays(Rig((c,)))
    rng = np.random.default_rng(0)
    xy = rng.uniform(-0.6, 0.6, (50, 2))
    bent = np.array([distort(x, y, a.lens[0], a.fisheye[0]) for x, y in xy])
    px = np.c_[bent, np.ones(50)] @ K.T
    np.testing.assert_allclose(px[:, :2], c.distort(xy), atol=1e-6)
    back = np.array([undistort(u, v, a.lens[0], a.fisheye[0], 1e-4) for u, v in bent])
    np.testing.assert_allclose(back, xy, atol=1e-9)


@pytest.mark.parametrize("lens", LENSES)
def test_gather_undistorts_as_the_camera_does(lens: str) -> None:
    c = camera(lens)
    rng = np.random.default_rng(1)
    px = rng.uniform([0, 0], [1279, 719], (3, 26, 2)).astype(np.float32)
    found = undistort_detections(camera_arrays(Rig((c,))), [message(px, np.full((3, 26), 0.8))])
    slow = c.undistort(px.astype(np.float64))
    # OpenCV iterates its fixed point to 1e-10 at most and to 40 steps; near the corners that leaves 1e-7
    np.testing.assert_allclose(found.xy, slow, atol=1e-6)
    assert found.row.tolist() == [0, 1, 2] and found.start.tolist() == [0, 3]


def test_a_picture_folded_by_its_lens_has_no_inverse_there() -> None:
    lens = np.array([-0.5, 0, 0, 0, 0, 0, 0, 0.0])  # x (1 − x²/2) turns back at 0.816, where it reaches 0.544
    assert np.isnan(undistort(0.7, 0.0, lens, False, 1e-4)[0])
    x, _ = undistort(0.5, 0.0, lens, False, 1e-4)
    assert 0 < x < 0.816 and abs(x * (1 - x * x / 2) - 0.5) < 1e-9


def test_what_is_no_number_is_missing_and_counted() -> None:
    px = np.full((1, 26, 2), 300.0)
    conf = np.full((1, 26), 0.9)
    px[0, 0, 0], px[0, 1, 1], conf[0, 2], conf[0, 3] = np.nan, np.inf, np.nan, 0.0
    px[0, 4, 0] = -400.0  # outside the picture
    conf[0, 5] = 0.01  # a guess
    px[0, 3] = np.nan  # honestly missing: confidence 0
    found = undistort_detections(camera_arrays(Rig((camera("none"),))), [message(px, conf)])
    assert np.flatnonzero(found.confidence[0] == 0).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isnan(found.xy[0, :6]).all() and np.isfinite(found.xy[0, 6:]).all()
    assert found.bad.tolist() == [3]


def test_every_skeleton_arrives_in_the_common_one() -> None:
    rng = np.random.default_rng(2)
    for name in ("body25", "coco17", "blazepose33"):
        px = rng.uniform(100, 600, (2, len(skeleton(name)), 2))
        found = undistort_detections(camera_arrays(Rig((camera("none"),))), [message(px, np.ones(px.shape[:2]), name)])
        index = direct_index(name, "halpe26")
        assert (found.confidence[0] > 0).tolist() == (index >= 0).tolist()
        wrist = skeleton("halpe26").index("left_wrist")
        expected = camera("none").undistort(px[1, skeleton(name).index("left_wrist")].astype(np.float32))
        np.testing.assert_allclose(found.xy[1, wrist], expected, atol=1e-7)


def test_a_view_that_is_not_there_has_no_detections() -> None:
    c = camera("none")
    rig = Rig((c, Camera("b", c.size_px, c.K, c.distortion, c.cam_from_world)))
    found = undistort_detections(camera_arrays(rig), [None, message(np.full((1, 26, 2), 9.0), np.ones((1, 26)))])
    assert found.camera.tolist() == [1] and found.start.tolist() == [0, 0, 1]


def poses(detections: list[list[int]], cameras: tuple[str, ...]) -> Poses:
    P, J = len(detections), len(skeleton("halpe26"))
    nothing, flat = np.zeros((P, J, 3), np.float32), np.zeros((P, J), np.float32)
    return Poses(
        0, 0, 0, "halpe26", cameras, np.arange(1, P + 1, dtype=np.int32),
        nothing, np.zeros((P, J, 6), np.float32), flat, flat, flat.astype(np.uint32), flat.astype(np.bool_),
        np.array(detections, np.int32).reshape(P, len(cameras)),
    )  # fmt: skip


def test_the_keypoints_of_a_person_are_those_of_its_detections() -> None:
    rng = np.random.default_rng(0)
    J, K = len(skeleton("halpe26")), len(skeleton("coco17"))
    ours = message(rng.uniform(0, 700, (3, J, 2)), rng.uniform(0.2, 1, (3, J)))
    theirs = message(rng.uniform(0, 700, (1, K, 2)), rng.uniform(0.2, 1, (1, K)), "coco17")
    # a row that its message does not have, and a view that is lost, are nobody's
    said = poses([[2, 0, 0], [-1, 7, -1]], ("a", "b", "gone"))
    px, confidence, known = keypoints_of(said, {"a": ours, "b": theirs})
    assert known.tolist() == [[True, True, False], [False, False, False]]
    np.testing.assert_array_equal(px[0, 0], ours.keypoints_px[2].astype(np.float64))
    np.testing.assert_array_equal(confidence[0, 0], ours.confidence[2].astype(np.float64))
    index = direct_index("coco17", "halpe26")
    has = index >= 0
    assert has.any() and not has.all()
    np.testing.assert_array_equal(px[0, 1][has], theirs.keypoints_px[0][index[has]].astype(np.float64))
    assert np.isnan(px[0, 1][~has]).all() and not confidence[0, 1][~has].any()
    assert np.isnan(px[~known]).all() and not confidence[~known].any()
    # other cameras, in another order, and in a skeleton of the reader's
    px, _, known = keypoints_of(said, {"a": ours, "b": theirs}, ("b", "nobody's", "a"), "coco17")
    assert known.tolist() == [[True, False, True], [False, False, False]] and px.shape == (2, 3, K, 2)
    np.testing.assert_array_equal(px[0, 0], theirs.keypoints_px[0].astype(np.float64))


def test_undistorted_detections_are_found_by_the_same_rows() -> None:
    rng = np.random.default_rng(1)
    J = len(skeleton("halpe26"))
    views = [message(rng.uniform(100, 600, (n, J, 2)), np.ones((n, J))) for n in (2, 3)]
    one = camera("none")
    found = undistort_detections(camera_arrays(Rig((one, replace(one, name="b")))), views)
    said = poses([[1, 2], [0, -1], [5, 0]], ("b", "a"))
    rows = detection_rows(said, ("a", "b"))
    assert rows.tolist() == [[2, 1], [-1, 0], [0, 5]]  # by name, not by place
    xy, confidence = found.of_people(rows)
    np.testing.assert_array_equal(xy[1, 1], found.xy[2])
    np.testing.assert_array_equal(xy[2, 0], found.xy[0])
    for p, c in ((0, 0), (1, 0), (2, 1)):  # rows that are not there
        assert np.isnan(xy[p, c]).all() and not confidence[p, c].any()


def test_covariances_travel_as_their_upper_triangle() -> None:
    A = np.random.default_rng(2).normal(size=(4, 5, 3, 3))
    whole = A @ np.swapaxes(A, -1, -2)
    packed = pack_covariance(whole)
    assert packed.shape == (4, 5, 6) and packed.dtype == np.float32
    np.testing.assert_array_equal(packed[..., 1], whole[..., 0, 1].astype(np.float32))
    np.testing.assert_array_equal(unpack_covariance(packed), whole.astype(np.float32).astype(np.float64))
