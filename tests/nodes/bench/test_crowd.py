"""The crowd's own yardstick: the score against hand-made poses, and fusion near the ideal."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.engines.synth import World, ring_rig
from kinecast.nodes.bench import crowd


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "SECONDS", 2)
    monkeypatch.setattr(crowd, "SETTLED_S", 0.3)


def test_fusion_is_near_the_ideal_whether_or_not_shutters_are_in_step() -> None:
    rig, world = ring_rig(4, seed=1), World(2, 1, "cross")
    phases = crowd.phases_ns(rig, 1)
    assert max(map(abs, phases.values())) <= 20_000_000
    views = sorted(crowd.views_of(world, rig, phases, told=True), key=lambda v: (v.t_capture_ns, v.camera))
    poses = crowd.fused(rig, views)
    s = crowd.score(poses, world)
    assert crowd.ideal_m(world, rig) < s.error_m < 1.5 * crowd.ideal_m(world, rig)
    assert s.switches_per_minute == 0 and s.ghosts == 0 and s.missed < 0.1
    # what the score calls a ghost, a switch and somebody missed
    strange = [replace(p, person_ids=p.person_ids + (100 if k > 30 else 0)) for k, p in enumerate(poses)]
    assert crowd.score(strange, world).switches_per_minute == pytest.approx(2 / (len(poses) / 1800))
    away = [
        replace(p, points_world_m=p.points_world_m + np.array([3, 0, 0], np.float32) * (k % 2))
        for k, p in enumerate(poses)
    ]
    assert crowd.score(away, world).ghosts == pytest.approx(0.5, abs=0.05)
    assert crowd.score(away, world).missed == pytest.approx(0.5, abs=0.05)
