"""The systematic part of a joint's deviation is what the table's habits come to over axes, azimuths and people."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.engines.habits.limb_frames import HALPE, KIND, KINDS, allowed_offsets, view_harmonics
from kinecast.engines.habits.systematic import UNKNOWN_M, bias_sd_m, systematic_sd_m
from kinecast.engines.habits.table import habit_names, load_habits


def test_it_is_the_mean_square_over_azimuths_and_people() -> None:
    """Of cameras all round at the height of the joint, one draw of a person at a time."""
    habits = load_habits("blazepose-heavy")
    rng = np.random.default_rng(0)
    azimuth = rng.uniform(0, 2 * np.pi, 20_000)
    h = view_harmonics(np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], axis=1))
    offset = np.einsum("kah,nh->nka", np.array(habits.offset_m) * allowed_offsets(), h)
    offset += rng.normal(size=offset.shape) * np.array(habits.offset_sd_m)
    met = np.sqrt((offset**2).mean(axis=(0, 2)))[KIND]
    assert systematic_sd_m(habits) == pytest.approx(met, rel=0.02)


def test_no_habits_are_no_bias_and_who_is_unknown_has_some() -> None:
    h = load_habits("blazepose-heavy")
    k = len(KINDS)
    none = replace(h, offset_m=(((0.0,) * 5,) * 3,) * k, offset_sd_m=((0.0,) * 3,) * k)
    assert (systematic_sd_m(none) == 0).all()
    assert (bias_sd_m("") == UNKNOWN_M).all()
    for name in habit_names():
        sd = bias_sd_m(name)
        assert (sd > 0.005).all() and (sd < 0.05).all()
    assert bias_sd_m("blazepose-heavy")[HALPE.index("neck")] == UNKNOWN_M  # which it never gives
