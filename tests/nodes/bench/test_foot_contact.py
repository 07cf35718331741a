"""The walk that feet are measured on is what it says, and feet that stand on a beam or on stairs are held there."""

import numpy as np
import pytest

from kinecast.engines.body.model.load import load_body
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.foot_walk import PLACES, foot_walk
from kinecast.nodes.bench.foot_contact import follow, slide_mps, support_m


@pytest.mark.parametrize("place", PLACES)
def test_the_true_feet_stand_still(place: str) -> None:
    true = foot_walk(load_body(), place)
    table = skeleton("halpe26")
    for side, name in enumerate(("left", "right")):
        heel = true.motion.points[:, table.index(f"{name}_heel")]
        speed = np.linalg.norm(np.diff(heel, axis=0), axis=-1) * 30
        still = true.standing[1:, side] & true.standing[:-1, side]
        assert speed[still].max() < 0.02 and speed[~still].max() > 0.5


@pytest.mark.parametrize("place", ["beam", "stairs"])
def test_standing_feet_slide_less_wherever_they_stand(place: str) -> None:
    body = load_body()
    true = foot_walk(body, place)
    free, held = follow(body, true.motion, False), follow(body, true.motion, True)
    assert slide_mps(held, true.standing) < 0.6 * slide_mps(free, true.standing)
    told, real = support_m(held, true)
    assert told == pytest.approx(real, abs=0.01)
