"""Shapes under a detector that is wrong in the same way all the time: they settle, stay, and are questioned.

Frames are few and far apart, as looks are: what is tested is what looks add up to.
"""

import numpy as np
import pytest

from kinecast.engines.body.fit import shape_learning
from kinecast.engines.body.fit.solver import (
    FLAG_CHILD,
    FLAG_QUESTIONED,
    FLAG_SHAPE_BEYOND,
    FLAG_SHAPE_OPEN,
    FLAG_UNITS,
    BodyObservations,
    BodySolver,
    Fit,
)
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth.lasting import SHAPES, LastingScene, lasting_scene
from kinecast.nodes.fusion.detector_habits import habit_prior

DETECTOR, RATE_HZ, SECONDS = "blazepose-heavy", 4.0, 30.0
BODY = load_body()
PRIOR = retargeted(load_prior(), BODY).arrays
HABITS = habit_prior(BODY, DETECTOR)


def scene(betas: np.ndarray, seed: int, seconds: float = SECONDS) -> LastingScene:
    return lasting_scene(DETECTOR, seconds=seconds, shapes=betas[None], seed=seed, rate_hz=RATE_HZ)


def solver(life: LastingScene, habits: bool = True) -> BodySolver:
    return BodySolver(
        BODY, "halpe26", camera_arrays(life.rig), PRIOR, life.rig.up_world, persistent=0.77, common=0.38,
        habits=HABITS if habits else None,
    )  # fmt: skip


def play(s: BodySolver, frames: list[BodyObservations], from_s: float = 0.0) -> list[Fit]:
    """From a time on, with one identity, whoever it is."""
    fits = []
    for frame in (f for f in frames if f.t_ns >= from_s * 1e9):
        fit = s.fit_all(frame.t_ns, [1], frame.xy, frame.w)[0]
        if fit is not None:
            fits.append(fit)
    return fits


@pytest.fixture(scope="module")
def adult() -> LastingScene:
    return scene(SHAPES[0], 1)


@pytest.fixture(scope="module")
def frames(adult: LastingScene) -> list[BodyObservations]:
    return adult.observations(sigma_px=5.0)


def test_a_shape_settles_within_ten_seconds_near_the_truth_and_stays(
    adult: LastingScene, frames: list[BodyObservations]
) -> None:
    s = solver(adult)
    fits = play(s, frames)
    still_open = [bool(f.flags & FLAG_SHAPE_OPEN) for f in fits]
    settled = still_open.index(False)
    assert settled <= 10.0 * RATE_HZ and not any(still_open[settled:])
    assert all(np.array_equal(f.betas, fits[settled + 1].betas) for f in fits[settled + 1 :])
    sd_m = s._row[1].shape.stature_sd_m
    assert abs(BODY.stature_m(fits[-1].betas) - BODY.stature_m(SHAPES[0])) < 2.5 * sd_m and sd_m < 0.02
    assert max(np.abs(f.betas).max() for f in fits) < 3.0
    assert not any(f.flags & (FLAG_SHAPE_BEYOND | FLAG_QUESTIONED) for f in fits)


def test_without_habits_the_same_detector_makes_another_body(
    adult: LastingScene, frames: list[BodyObservations]
) -> None:
    """What habits are worth: a detector that is taken to have none ends in the shape."""
    blind, told = play(solver(adult, habits=False), frames)[-1], play(solver(adult), frames)[-1]
    assert np.abs(blind.betas - SHAPES[0]).max() > np.abs(told.betas - SHAPES[0]).max()
    assert blind.explained < told.explained + 0.02


def test_looks_at_the_same_posture_from_the_same_side_are_hardly_more_than_one() -> None:
    worth = [shape_learning._worth(n) for n in (0.5, 1.0, 2.0, 10.0, 3600.0)]
    assert worth == sorted(worth) and worth[:2] == [0.5, 1.0] and worth[-1] < 1.0 / shape_learning.ALIKE


def test_somebody_who_stands_for_a_minute_says_little_more_than_in_a_second(adult: LastingScene) -> None:
    """The same frame again and again, with other noise: certainty does not grow with their number."""
    s, frame = solver(adult), adult.observations(sigma_px=5.0, seconds=(0.0, 0.2))[0]
    sd = []
    for i in range(60 * 4):
        fit = s.fit_all(i * 250_000_000, [1], frame.xy, frame.w)[0]
        assert fit is not None
        sd.append(s._row[1].shape.stature_sd_m)
    # noise moves the posture over the border of two cells, and each is worth two looks at most
    assert s._row[1].shape.learnt.looks < 2 / shape_learning.ALIKE and sd[-1] > 0.8 * sd[12]


def test_other_clothes_change_no_shape_and_other_people_do_and_come_back(
    adult: LastingScene, frames: list[BodyObservations]
) -> None:
    dressed, taller = scene(SHAPES[0], 5).observations(sigma_px=5.0), scene(SHAPES[1], 2).observations(sigma_px=5.0)
    s = solver(adult)
    first = play(s, [f for f in frames if f.t_ns < 12e9])[-1]
    same = play(s, [f for f in dressed if 12e9 <= f.t_ns < 24e9])
    assert all(np.array_equal(f.betas, first.betas) for f in same)
    late = [BodyObservations(f.t_ns + 12_000_000_000, f.ids, f.xy, f.w) for f in taller if 12e9 <= f.t_ns < 30e9]
    other = play(s, late)
    assert any(f.flags & FLAG_QUESTIONED for f in other)
    assert abs(BODY.stature_m(other[-1].betas) - BODY.stature_m(SHAPES[1])) < 0.04
    back = [BodyObservations(f.t_ns + 30_000_000_000, f.ids, f.xy, f.w) for f in frames if f.t_ns >= 12e9]
    again = play(s, back)
    assert np.array_equal(again[-1].betas, first.betas)  # the shape that was held before, not a third one


def test_a_child_under_an_adults_identity_is_found_and_told(
    adult: LastingScene, frames: list[BodyObservations]
) -> None:
    small = np.zeros(10)
    small[0] = -4.5
    child = scene(small, 3).observations(sigma_px=5.0)
    s = solver(adult)
    play(s, [f for f in frames if f.t_ns < 10e9])
    fits = play(s, [f for f in child if f.t_ns >= 10e9])
    assert fits[-1].flags & FLAG_CHILD and fits[-1].flags & FLAG_SHAPE_BEYOND and not fits[-1].flags & FLAG_UNITS
    assert abs(BODY.stature_m(fits[-1].betas) - BODY.stature_m(small)) < 0.04


def test_a_rig_in_millimetres_is_told_by_its_name(adult: LastingScene, frames: list[BodyObservations]) -> None:
    motion = adult.people.motions[0]
    s = solver(adult)
    fit = s.fit(0, 1, frames[0].xy[0], frames[0].w[0], start=1000.0 * motion.points[0])
    assert fit is not None and fit.flags & FLAG_UNITS and fit.flags & FLAG_SHAPE_BEYOND


def test_one_view_questions_no_shape(adult: LastingScene, frames: list[BodyObservations]) -> None:
    s = solver(adult)
    first = play(s, [f for f in frames if f.t_ns < 10e9])[-1]
    alone = []
    for f in frames:
        if f.t_ns >= 10e9:
            w = f.w.copy()
            w[:, 1:] = 0.0
            alone.append(BodyObservations(f.t_ns, f.ids, f.xy, w))
    assert all(np.array_equal(f.betas, first.betas) for f in play(s, alone))
