"""Every decoder against its slow twin, on numbers that reach all its branches."""

import numpy as np
import pytest

from kinecast.engines.detect import blazepose, movenet, simcc, yolo
from kinecast.engines.detect.boxes import iou, nms
from kinecast.engines.detect.heatmap import decode_heatmap
from tests.engines.detect import twins

rng = np.random.default_rng


def test_boxes() -> None:
    r = rng(0)
    low = r.uniform(0, 50, (40, 2))
    boxes = np.concatenate([low, low + r.uniform(0, 40, (40, 2))], 1).astype(np.float32)
    boxes[3, 2:] = boxes[3, :2]  # empty
    got = iou(boxes, boxes[:7])
    for i in range(40):
        for j in range(7):
            assert got[i, j] == pytest.approx(twins.iou(boxes[i], boxes[j]), abs=1e-5)
    scores = r.uniform(0, 1, 40).astype(np.float32)
    assert nms(boxes, scores, 0.3).tolist() == twins.nms(boxes, scores, 0.3)
    assert len(nms(boxes[:0], scores[:0], 0.3)) == 0


def test_blazepose_people() -> None:
    r = rng(1)
    assert blazepose.anchors().shape == (2254, 2)
    boxes = r.normal(0, 10, (1, 2254, 12)).astype(np.float32)
    boxes[..., 2:4] = r.uniform(30, 90, (1, 2254, 2))
    scores = np.full((1, 2254, 1), -200, np.float32)  # far below what exp can take
    some = r.choice(2254, 60, replace=False)
    scores[0, some, 0] = r.uniform(-3, 6, 60)
    rows, sure = blazepose.decode_people(boxes, scores, 0.5)
    twin = twins.people(boxes.astype(np.float64), np.maximum(scores, -80), 0.5, 0.3)
    assert 2 < len(twin) == len(rows) < 60
    for row, score, (s, t) in zip(rows, sure, twin, strict=True):
        assert score == pytest.approx(s, abs=1e-6)
        np.testing.assert_allclose(row, t, atol=1e-3)
    assert blazepose.decode_people(boxes, scores, 0.9999)[0].shape == (0, 12)


def test_blazepose_landmarks_and_heatmap() -> None:
    r = rng(2)
    raw = r.normal(0, 2, (39, 5)).astype(np.float32)
    raw[:, :2] = r.uniform(-20, 276, (39, 2))
    raw[0, :2] = (-0.5, 100)  # just outside
    raw[1, :2] = (255.9, 255.9)  # the last cell
    raw[2, :2] = (0, 0)
    heat = r.normal(-4, 2, (1, 64, 64, 39)).astype(np.float32)
    heat[..., 5] = -9  # no peak: the landmark stays
    heat[..., :3] += 6
    xy, confidence = blazepose.decode_landmarks(raw.reshape(1, 195), heat)
    np.testing.assert_allclose(xy, twins.refine(raw[:, :2], heat[0], 256), atol=1e-3)
    np.testing.assert_array_equal(xy[[0, 5]], raw[[0, 5], :2])
    assert np.abs(xy[1:3] - raw[1:3, :2]).max() > 1
    twin = [twins.sigmoid(float(a)) * twins.sigmoid(float(b)) for a, b in raw[:, 3:]]
    np.testing.assert_allclose(confidence, twin, atol=1e-6)
    np.testing.assert_array_equal(blazepose.decode_landmarks(raw.reshape(1, 195))[0], raw[:, :2])


def test_a_region_stands_upright_along_the_body() -> None:
    for angle in np.deg2rad([0, 30, 90, 170, -90, -135]):
        up = np.array([np.sin(angle), -np.cos(angle)])
        region = blazepose.region(np.array([50.0, 60.0]), np.array([50.0, 60.0]) + 20 * up)
        assert region.width_px == region.height_px == pytest.approx(50)
        matrix = region.image_from_input((256, 256))
        # the circle's point lies straight above the middle, at 1 / 1.25 of the half side
        seen = matrix[:, :2] @ [127.5, 127.5 - 128 / 1.25] + matrix[:, 2]
        np.testing.assert_allclose(seen, np.array([50, 60]) + 20 * up, atol=1e-9)


def test_multipose() -> None:
    r = rng(3)
    raw = r.uniform(0, 1, (1, 6, 56)).astype(np.float32)
    xy, confidence, boxes, scores = movenet.decode_multipose(raw, (288, 512), 0.4)
    twin = twins.multipose(raw, (288, 512), 0.4)
    assert 0 < len(twin) == len(scores) < 6
    for n, t in enumerate(twin):
        np.testing.assert_allclose(np.column_stack([xy[n], confidence[n]]), t["joints"], rtol=1e-6)
        np.testing.assert_allclose(boxes[n], t["box"], rtol=1e-6)
        assert scores[n] == t["score"]


def test_simcc() -> None:
    r = rng(4)
    x, y = (r.normal(-0.5, 0.5, (3, 17, n)).astype(np.float32) for n in (96, 128))
    x[1, 4] = -1  # never seen
    xy, confidence = simcc.decode_simcc(x, y, 2.0)
    twin = twins.simcc(x, y, 2.0)
    np.testing.assert_allclose(np.concatenate([xy, confidence[..., None]], 2), twin, rtol=1e-6)
    assert np.isnan(xy[1, 4]).all()
    assert confidence[1, 4] == 0


def test_yolox() -> None:
    r = rng(5)
    cells = sum((64 // s) * (96 // s) for s in (8, 16, 32))
    raw = r.uniform(0, 1, (1, cells, 8)).astype(np.float32)
    raw[..., 2:4] = r.normal(0.5, 0.4, (1, cells, 2))
    boxes, scores = yolo.decode_yolox(raw, None, (64, 96), 0.5, 1)
    twin = twins.yolox(raw, (64, 96), 0.5, 1)
    assert 3 < len(twin) == len(boxes)
    for box, score, (s, t) in zip(boxes, scores, twin, strict=True):
        assert score == pytest.approx(s, rel=1e-6)
        np.testing.assert_allclose(box, t, atol=1e-3)


def test_yolox_with_suppression_inside() -> None:
    rows = np.array([[[0, 0, 9, 9, 0.9], [50, 50, 60, 60, 0.8], [20, 20, 30, 30, 0.7], [0, 0, 0, 0, 0]]], np.float32)
    boxes, scores = yolo.decode_yolox(rows, np.array([[0, 2, 0, 0]]), (64, 64), 0.3, 0)
    np.testing.assert_array_equal(boxes, rows[0, [0, 2], :4])
    np.testing.assert_array_equal(scores, np.float32([0.9, 0.7]))


def test_rtmo_keeps_one_of_a_person() -> None:
    r = rng(6)
    boxes = np.array(
        [[[10, 10, 50, 90, 0.6], [11, 10, 50, 91, 0.9], [60, 10, 90, 90, 0.5], [0, 0, 5, 5, 0.1]]], np.float32
    )
    joints = r.uniform(0, 1.2, (1, 4, 17, 3)).astype(np.float32)
    xy, confidence, kept, scores = yolo.decode_rtmo(boxes, joints, 0.3)
    np.testing.assert_array_equal(xy, joints[0, [1, 2], :, :2])
    np.testing.assert_array_equal(confidence, np.minimum(joints[0, [1, 2], :, 2], 1))
    np.testing.assert_array_equal(kept, boxes[0, [1, 2], :4])
    np.testing.assert_array_equal(scores, np.float32([0.9, 0.5]))


@pytest.mark.parametrize("depth", [1, 4])
def test_heatmaps(depth: int) -> None:
    r = rng(7)
    heat = r.normal(0, 2, (2, 3 * depth, 6, 5)).astype(np.float32)
    xy, confidence, z = decode_heatmap(heat, 3, (20, 24))
    twin = twins.soft_argmax(heat, 3, (20, 24))
    np.testing.assert_allclose(xy, twin[..., :2], atol=1e-4)
    assert (z is None) == (depth == 1)
    if z is not None:
        np.testing.assert_allclose(z, twin[..., 2], atol=1e-4)
    assert ((confidence > 0) & (confidence <= 1)).all()


def test_a_joint_between_two_hills_is_not_sure() -> None:
    heat = np.zeros((1, 2, 32, 32), np.float32)
    heat[0, 0, 8, 8] = 30
    heat[0, 1, 4, 4] = heat[0, 1, 28, 28] = 30
    _, confidence, _ = decode_heatmap(heat, 2, (128, 128))
    assert confidence[0, 0] > 0.99
    assert confidence[0, 1] < 0.01
    with pytest.raises(ValueError, match="does not divide"):
        decode_heatmap(heat, 3, (128, 128))
