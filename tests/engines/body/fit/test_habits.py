"""Habits of a detector as columns beside the shape: the same offsets as their slow twin, and mirrored."""

import numpy as np
import pytest

from kinecast.engines.body.fit.bones import bones_of
from kinecast.engines.body.fit.habits import HabitPrior, habit_shifts, places, unknown_habits, with_habits
from kinecast.engines.body.fit.initialise import PosableBody
from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.habits.limb_frames import KIND, limb_frames
from kinecast.engines.habits.table import load_habits
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.moving_body import moving_body
from kinecast.nodes.fusion.detector_habits import detector_of, from_table, habit_prior

NAMES = skeleton("halpe26").joints


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body()


def test_habits_as_columns_of_shape_shift_the_keypoints_as_their_slow_twin(body: BodyModel) -> None:
    rng = np.random.default_rng(0)
    terms = keypoint_terms(body, "halpe26")
    motion = moving_body(body, terms, 3, betas=rng.normal(size=10), seed=4)
    habits = rng.normal(0, 0.02, len(places(NAMES)))
    wide = with_habits(bones_of(body, terms), NAMES)
    turned, _, _ = pose_joints(body, motion.rotations, motion.betas, motion.trans)
    slow = motion.points + habit_shifts(NAMES, np.tile(habits, (3, 1)), turned)
    posable = PosableBody(wide, np.concatenate([motion.betas, habits]))
    for t in range(3):
        assert np.abs(posable.place(motion.rotations[t], motion.trans[t])[2] - slow[t]).max() < 1e-9


def test_left_and_right_have_one_habit(body: BodyModel) -> None:
    habits = np.random.default_rng(1).normal(size=len(places(NAMES)))
    still = np.tile(np.eye(3), (1, 24, 1, 1))
    shift = habit_shifts(NAMES, habits[None], still)[0]
    mirrored = shift[list(skeleton("halpe26").flip)] * [-1.0, 1.0, 1.0]
    assert np.abs(shift - mirrored).max() < 1e-12
    middle = [NAMES.index(n) for n in ("nose", "neck", "mid_hip", "head_top")]
    assert np.abs(shift[middle, 0]).max() == 0.0 and np.abs(shift[middle, 1:]).min() > 0.0


def test_a_table_is_the_same_offset_in_the_body_as_in_the_world(body: BodyModel) -> None:
    """What the table of a detector does to somebody standing in the rest pose is what the prior expects of it there."""
    table = load_habits("blazepose-heavy")
    prior = from_table(body, table)
    rest = keypoint_terms(body, "halpe26").place(np.eye(3)[None, None].repeat(24, axis=1), body.J_template[None])[0]
    common = np.array(table.offset_m)[KIND][..., 0] * body.stature_m(np.zeros(10)) / 1.70
    world = np.einsum("jab,jb->ja", limb_frames(rest), common)
    shift = habit_shifts(NAMES, prior.mean_m[None], np.tile(np.eye(3), (1, 24, 1, 1)))[0]
    sides = [k for k, n in enumerate(NAMES) if n.startswith(("left_", "right_"))]
    assert np.abs(shift - world)[sides].max() < 0.002  # limb axes of left and right differ by the body's own asymmetry
    assert (prior.sd_m > 0).all()


def test_a_detector_that_nobody_has_measured_may_be_off_in_any_direction(body: BodyModel) -> None:
    assert detector_of({}) == ""
    prior = habit_prior(body, "")
    assert isinstance(prior, HabitPrior) and not prior.mean_m.any() and (prior.sd_m >= 0.005).all()
    assert np.array_equal(prior.sd_m, unknown_habits(NAMES).sd_m)
