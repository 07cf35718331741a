"""The one normalisation: where somebody stands and how large, missing joints, strays, and its inverse."""

import numpy as np
import pytest

from kinecast.engines.virtual_camera import (
    BOX_M,
    fill_unseen,
    fill_unseen_from,
    into_virtual,
    normalise,
    out_of_virtual,
    root_code,
    root_from_code,
)
from kinecast.engines.virtual_camera_kernels import normalise_rows
from tests.engines.lift.toy_lifter import project, walker


@pytest.fixture
def points() -> np.ndarray:
    return walker(np.arange(50) / 30)


def test_points_go_through_the_virtual_camera_and_back(points: np.ndarray) -> None:
    seen = normalise(project(points), np.ones((50, 26)))
    virtual = into_virtual(seen.cam_from_virtual, points)
    assert np.allclose(project(virtual) / seen.extent[:, None, None], seen.features[..., :2], atol=1e-12)
    assert np.allclose(out_of_virtual(seen.cam_from_virtual, virtual), points, atol=1e-12)
    assert np.allclose(np.linalg.det(seen.cam_from_virtual), 1)
    root = virtual[:, 19]
    assert np.allclose(root_from_code(root_code(root, seen.extent), seen.extent), root, atol=1e-12)


def test_the_virtual_camera_looks_at_the_person(points: np.ndarray) -> None:
    """A turn of the camera about its centre turns the virtual camera with it, up to a roll about the ray."""
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    here = normalise(project(points), np.ones((50, 26)))
    there = normalise(project(points @ turn.T), np.ones((50, 26)))
    assert np.allclose(there.extent, here.extent, rtol=1e-9)
    radius = [np.linalg.norm(n.features[..., :2], axis=-1) for n in (here, there)]
    assert np.allclose(*radius, atol=1e-9)
    assert np.allclose(there.cam_from_virtual[..., 2], here.cam_from_virtual[..., 2] @ turn.T, atol=1e-9)


def test_twice_as_far_is_half_as_large_and_the_same_pose() -> None:
    flat = walker(np.zeros(1))
    flat[..., 2] = 4.0
    near, far = (normalise(project(flat * scale), np.ones((1, 26))) for scale in ([1, 1, 1], [1, 1, 2]))
    # without depth of its own, twice as far is nearly the same picture at half the size: only the rays' bend differs
    assert np.allclose(near.extent / far.extent, 2, rtol=0.02)
    assert np.allclose(near.features, far.features, atol=0.1)
    assert np.allclose(far.k_m / near.k_m, 2, rtol=0.03)


def test_k_is_rootnets() -> None:
    """A person who fills 2 m of a plane across the axis at 5 m: k is the depth, whatever the focal length."""
    xy = np.zeros((1, 26, 2))
    xy[0, 0], xy[0, 1] = (0, -BOX_M / 2 / 5), (0, BOX_M / 2 / 5)
    assert np.allclose(normalise(xy, np.ones((1, 26))).k_m, 5, rtol=1e-9)


def test_missing_joints(points: np.ndarray) -> None:
    xy, confidence = project(points), np.random.default_rng(0).uniform(0.3, 1, (50, 26))
    confidence[:, ::3] = 0
    clean = normalise(xy, confidence)
    xy[:, ::3] = np.nan
    dirty = normalise(xy, confidence)
    assert np.array_equal(clean.features, dirty.features)
    assert np.isfinite(dirty.features).all()
    assert not dirty.features[:, ::3].any()
    xy[:, 1] = np.nan  # not a number, with confidence: missing as well
    assert not normalise(xy, confidence).features[:, 1].any()
    few = normalise(xy, confidence * (np.arange(26) < 3))
    assert not few.seen.any()
    assert not few.features.any()
    assert not few.context.any()
    assert (few.k_m == 1).all()


def test_one_stray_joint_does_not_move_the_camera(points: np.ndarray) -> None:
    xy, ones = project(points), np.ones((50, 26))
    clean = normalise(xy, ones)
    xy[:, 9] += 0.6  # a wrist found on somebody 2.4 m beside
    strayed = normalise(xy, ones)
    # an average would turn by that over 26 joints, and its extent would grow by a third or more
    turned = np.linalg.norm(strayed.cam_from_virtual[..., 2] - clean.cam_from_virtual[..., 2], axis=-1)
    assert turned.max() < np.hypot(0.6, 0.6) / 26 / 2
    assert np.abs(strayed.extent / clean.extent - 1).max() < 0.15


def test_a_frame_without_anything_keeps_the_camera_of_the_last(points: np.ndarray) -> None:
    confidence = np.ones((2, 50, 26))
    confidence[0, 10:20] = 0
    confidence[1, :5] = 0
    raw = normalise(np.stack([project(points)] * 2), confidence)
    held = fill_unseen(raw)
    for name in ("context", "cam_from_virtual", "extent", "k_m"):
        values, before = getattr(held, name), getattr(raw, name)
        assert (values[0, 10:20] == before[0, 9]).all(), name
        assert np.array_equal(values[1, :6], before[1, :6]), name
        assert np.array_equal(values[0, 20:], before[0, 20:]), name
    assert not held.features[0, 10:20].any()
    # what run time does, frame by frame
    state = normalise(project(points)[:2], confidence[:, 0])
    for t in range(50):
        state = fill_unseen_from(state, normalise(np.stack([project(points)[t]] * 2), confidence[:, t]))
        if t >= 5:
            assert np.array_equal(state.cam_from_virtual, held.cam_from_virtual[:, t])
            assert np.array_equal(state.context, held.context[:, t])


def test_float32_stays_float32(points: np.ndarray) -> None:
    out = normalise(project(points).astype(np.float32), np.ones((50, 26), np.float32))
    exact = normalise(project(points), np.ones((50, 26)))
    for name in ("features", "context", "cam_from_virtual", "extent", "k_m"):
        assert getattr(out, name).dtype == np.float32, name
        assert np.allclose(getattr(out, name), getattr(exact, name), atol=1e-4), name


def test_the_compiled_form_is_the_same() -> None:
    """People near and far, missing, faint and stray joints, rows with hardly anything: what training had is what is."""
    rng = np.random.default_rng(0)
    xy = rng.normal(size=(300, 26, 2)) * rng.uniform(0.001, 0.3, (300, 1, 1)) + rng.normal(size=(300, 1, 2)) / 2
    say = np.where(rng.random((300, 26)) < 0.3, 0, rng.random((300, 26)))
    say[:40, 4:] = 0
    say[40:60] *= 0.05
    xy[60:90, 5] = 8.0
    xy[rng.random(xy.shape) < 0.05] = np.nan
    a, b = normalise(xy, say), normalise_rows(xy, say)
    assert 0 < a.seen[:40].sum() < 40 and a.seen[40:].mean() > 0.9
    for name in a.__slots__:
        assert np.allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9), name
