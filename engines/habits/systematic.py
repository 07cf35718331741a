"""How wrong a joint may be for as long as people and cameras stay as they are: the systematic part of its deviation.

A detector's habits are in every frame and, in part, in every view, so neither frames nor views average them away, and
residuals do not tell them: views agree on a hip that lies too high. What is known of them are the tables.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.habits.limb_frames import KIND, allowed_offsets
from kinecast.engines.habits.table import Habits, habit_names, load_habits

Float = NDArray[np.float64]

UNKNOWN_M = 0.012  # of a detector without a table: as the better of those that have one


def systematic_sd_m(habits: Habits) -> Float:
    """(26,) per axis: root mean square of the offset of each HALPE-26 joint over axes, azimuths and people, m."""
    offset = np.array(habits.offset_m) * allowed_offsets()
    square = offset[..., 0] ** 2 + np.array(habits.offset_sd_m) ** 2 + (offset[..., 1:] ** 2).sum(axis=-1) / 2
    return np.asarray(np.sqrt(square.mean(axis=-1))[KIND])


@cache
def view_sd_m(detector: str) -> Float:
    """(26,) per axis: by how much the views of a joint differ in it, root mean square over axes and azimuths, m.

    The part of the habits that another camera does not share; 0 for a detector without a table.
    """
    if detector not in habit_names():
        return np.zeros(len(KIND))
    offset = np.array(load_habits(detector).offset_m) * allowed_offsets()
    return np.asarray(np.sqrt((offset[..., 1:] ** 2).sum(axis=-1).mean(axis=-1) / 2)[KIND])


@cache
def bias_sd_m(detector: str) -> Float:
    """(26,) of the joints that a detector gives; of one that nobody has measured, and of joints that it never gives, a
    guess."""
    if detector not in habit_names():
        return np.full(len(KIND), UNKNOWN_M)
    habits = load_habits(detector)
    never = np.array(habits.missing)[KIND] >= 1.0
    return np.asarray(np.where(never, UNKNOWN_M, systematic_sd_m(habits)))
