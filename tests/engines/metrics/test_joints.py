"""Errors of joints against cases worked by hand."""

import numpy as np
import pytest

from kinecast.calibration.rigid import similarity
from kinecast.engines.metrics import auc, joint_errors, mpjpe, mrpe, n_mpjpe, p_mpjpe, pck, velocity_error

# a person of four joints; the root is joint 0
TRUTH = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]])
NAN = [np.nan] * 3


def moved(*offsets: tuple[int, list[float]]) -> np.ndarray:
    p = TRUTH.copy()
    for j, offset in offsets:
        p[0, j] += offset
    return p


def test_mpjpe_by_hand() -> None:
    p = moved((1, [0.03, 0, 0.04]), (2, [0.1, 0, 0]))  # errors 0, 50, 100, 0 mm
    assert joint_errors(p, TRUTH)[0] == pytest.approx([0, 0.05, 0.1, 0])
    score = mpjpe(p, TRUTH)
    assert (score.value, score.n, score.of) == (pytest.approx(0.0375), 4, 4)
    shifted = p + np.array([5.0, 0, 0])
    assert mpjpe(shifted, TRUTH).value > 4.9
    assert mpjpe(shifted, TRUTH, root=0).value == pytest.approx(0.0375)


def test_a_joint_that_is_not_given_is_left_out_and_counted() -> None:
    p = moved((1, [0.3, 0, 0]))
    p[0, 1] = NAN
    score = mpjpe(p, TRUTH)
    assert (score.value, score.n, score.of, score.share) == (0, 3, 4, 0.75)
    truth = TRUTH.copy()
    truth[0, 2] = NAN
    assert mpjpe(p, truth).of == 3
    assert np.isnan(mpjpe(np.full_like(TRUTH, np.nan), TRUTH).value)


def test_p_mpjpe_is_blind_to_place_size_and_turn_and_nothing_else() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert p_mpjpe(2.5 * TRUTH @ turn.T + [1, 2, 3], TRUTH).value == pytest.approx(0, abs=1e-12)
    mirrored = TRUTH * [1, 1, -1]  # a mirror image is not a turn
    assert p_mpjpe(mirrored, TRUTH).value > 0.1
    # a square against a 2 × 1 rectangle: best scale s = Σp·g / Σp² = (0.5 + 0.25) / 0.5 = 1.5,
    # each corner then is off by (1 − 0.75, 0.5 − 0.75) = 0.25 √2
    square = np.array([[[x, y, 0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]])
    assert p_mpjpe(square, square * [2, 1, 1]).value == pytest.approx(0.25 * np.sqrt(2))


def test_similarity_needs_three_points_off_a_line() -> None:
    line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    assert np.isnan(similarity(line[:0], line[:0])[0]).all()
    for points in (TRUTH[0, :1], TRUTH[0, :2], line):
        T, s = similarity(points, points)
        assert np.isnan(T).all() and np.isnan(s)
        assert p_mpjpe(points[None], points[None]).n == 0


def test_n_mpjpe_takes_the_scale_out_but_not_the_turn() -> None:
    assert n_mpjpe(0.5 * TRUTH + [3, 0, 0], TRUTH, 0).value == pytest.approx(0, abs=1e-12)
    # joint 1 along the wrong axis: p = (0, x), g = x; s = (0·1 + 1 + 1) / 3 = 2/3; errors 0, √(1 + 4/9), 1/3, 1/3
    p = TRUTH.copy()
    p[0, 1] = [0, -1, 0]
    s = (0 + 1 + 1) / 3
    assert n_mpjpe(p, TRUTH, 0).value == pytest.approx((np.hypot(1, s) + 2 * (1 - s)) / 4)


def test_velocity_error_by_hand() -> None:
    truth = np.repeat(TRUTH, 4, axis=0)
    p = truth.copy()
    p[2] += [0.01, 0, 0]  # 10 mm there and back at 100 Hz: 1 m/s twice, then 0
    score = velocity_error(p, truth, 0.01)
    assert score.value == pytest.approx((0 + 1 + 1) / 3) and score.n == 12
    p[3] = np.nan
    assert velocity_error(p, truth, 0.01).n == 8 and velocity_error(p, truth, 0.01).of == 12


def test_pck_counts_what_is_missing_as_wrong() -> None:
    p = moved((0, [0.1, 0, 0]), (1, [0.149, 0, 0]), (2, [0.2, 0, 0]))
    p[0, 3] = NAN
    assert pck(p, TRUTH).value == 0.5  # joints 0 and 1 of 4
    relative = pck(p, TRUTH, root=0)  # the root does not count: errors 49, √2 · 100 < 150 (0.1, 0 → 0.2): 100, missing
    assert (relative.value, relative.of) == (pytest.approx(2 / 3), 3)


def test_auc_by_hand() -> None:
    p = moved(*[(j, [0.075, 0, 0]) for j in range(4)])
    assert auc(p, TRUTH).value == pytest.approx(16 / 31)  # right at 75, 80, …, 150 mm: 16 of 31 thresholds
    assert auc(TRUTH, TRUTH).value == 1.0


def test_mrpe_is_the_roots_alone() -> None:
    p = moved((0, [0, 0.3, 0.4]), (1, [9, 9, 9]))
    score = mrpe(p, TRUTH, 0)
    assert (score.value, score.n, score.of) == (0.5, 1, 1)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        mpjpe(TRUTH, TRUTH[:, :2])
