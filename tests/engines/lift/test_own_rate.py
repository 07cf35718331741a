"""A lifter at its own rate: the numbers of one frame after the other, whoever stands and however rarely it is asked."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.engines.lift.lifter import load_lifter
from kinecast.engines.lift.own_rate import HISTORY, MOST_BEHIND, OwnRate, OwnRateAnswer
from tests.engines.lift.toy_lifter import project, walker, write

F64 = NDArray[np.float64]
WIDTHS = (3, 3, 3)
EPOCH_NS = 1_700_000_000_000_000_000
KEYS = [(1, "left"), (2, "left"), (2, "right")]
FOCAL = np.full((len(KEYS), 2), 1000.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lifter") / "toy.safetensors", widths=WIDTHS)


def seen(t_s: float) -> tuple[F64, F64]:
    """Keypoints of three walkers, some of them missing, and their confidence."""
    rng = np.random.default_rng(round(1e6 * t_s))
    xy = np.stack([project(walker(np.array([t_s]), seed)[0]) for seed in range(len(KEYS))])
    return xy, np.where(rng.random(xy.shape[:2]) < 0.2, 0.0, rng.uniform(0.2, 1.0, xy.shape[:2]))


def follow(own: OwnRate, t_s: float, standing: list[bool], answer: bool = True) -> OwnRateAnswer | None:
    return own.follow(EPOCH_NS + round(t_s * 1e9), KEYS, *seen(t_s), FOCAL, np.array(standing), answer)


@pytest.mark.parametrize("every", [1, 3, 20])
def test_at_the_networks_rate_the_numbers_are_those_of_a_step_a_frame(path: Path, every: int) -> None:
    """``every``: frames from answer to answer; 20 is more than the network may be behind by."""
    steps, own = load_lifter(str(path)), load_lifter(str(path)).own_rate()
    assert every == 1 or (every < MOST_BEHIND) == (every == 3)
    for i in range(61):
        t_s = i / 30
        expected = steps.step(EPOCH_NS + round(t_s * 1e9), KEYS, *seen(t_s), FOCAL)
        got = follow(own, t_s, [True] * 3, answer=i % every == 0)
        assert (got is not None) == (i % every == 0)
        if got is not None:
            assert got.t_ns == EPOCH_NS + round(t_s * 1e9)
            for name in ("relative_m", "relative_sd_m", "root_m", "root_covariance_m2"):
                np.testing.assert_array_equal(getattr(got.lifted, name), getattr(expected, name))


@pytest.mark.parametrize("hz", [25.0, 50.0, 120.0])
def test_at_any_rate_the_answers_are_those_of_its_frames(path: Path, hz: float) -> None:
    """Of smooth motion: thirty answers a second, one a call below, that are near those of calls at 30 Hz."""

    def smooth(t_ns: int) -> tuple[list[tuple[int, str]], F64, F64, F64]:
        t_s = np.array([(t_ns - EPOCH_NS) / 1e9])
        xy = np.stack([project(walker(t_s, seed)[0]) for seed in range(len(KEYS))])
        return KEYS, xy, np.ones(xy.shape[:2]), FOCAL

    own, steps = load_lifter(str(path)).own_rate(), load_lifter(str(path))
    calls = [EPOCH_NS + round(i * 1e9 / hz) for i in range(round(2 * hz))]
    answers = [own.follow(t, *smooth(t), np.ones(3, np.bool_), True) for t in calls]
    given = [a for a in answers if a is not None]
    assert abs(len(given) - 2 * min(hz, 30.0)) <= 1
    assert all(b.t_ns > a.t_ns for a, b in pairwise(given)) and all(
        0 <= t - a.t_ns < 1e9 / 30 for t, a in zip(calls, answers, strict=True) if a is not None
    )
    frames = range(EPOCH_NS, calls[-1] + 1, round(1e9 / 30))
    expected = {t: steps.step(t, *smooth(t)).relative_m for t in frames}
    late = given[-1]
    nearest = min(expected, key=lambda t: abs(t - late.t_ns))
    assert abs(nearest - late.t_ns) < 0.1e9 / 30
    moved = np.abs(expected[nearest] - expected[nearest - frames.step]).max()
    assert np.abs(late.lifted.relative_m - expected[nearest]).max() < 0.5 * moved


def test_who_comes_to_stand_has_a_past(path: Path) -> None:
    """A row that stands after more frames than the network reaches back to is as if it had always stood."""
    always, late = load_lifter(str(path)).own_rate(), load_lifter(str(path)).own_rate()
    assert HISTORY >= 27
    for i in range(40):
        got = follow(always, i / 30, [True] * 3)
        other = follow(late, i / 30, [True, i >= 35, i == 39], answer=i >= 38)
    assert got is not None and other is not None and other.standing.all()
    np.testing.assert_array_equal(other.lifted.relative_m, got.lifted.relative_m)
    np.testing.assert_array_equal(other.lifted.root_m, got.lifted.root_m)


def test_who_does_not_stand_costs_and_says_nothing(path: Path) -> None:
    lifter = load_lifter(str(path))
    own = lifter.own_rate()
    for i in range(10):
        got = follow(own, i / 30, [False, True, i < 5])
        assert got is not None and lifter.rows.count == 1 + (i < 5)
        assert np.isnan(got.lifted.relative_m[0]).all() and got.lifted.age.tolist()[0] == -1
        assert got.standing.tolist() == [False, True, i < 5]


def test_a_pause_begins_anew(path: Path) -> None:
    own = load_lifter(str(path)).own_rate()
    for i in range(10):
        follow(own, i / 30, [True] * 3)
    got = follow(own, 5.0, [True] * 3)
    fresh = follow(load_lifter(str(path)).own_rate(), 5.0, [True] * 3)
    assert got is not None and fresh is not None
    np.testing.assert_array_equal(got.lifted.relative_m, fresh.lifted.relative_m)
