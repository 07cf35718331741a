"""A short hour with a detector's habits: nothing strays, no camera seems to move, and a real move is found."""

import numpy as np
import pytest

from kinecast.engines.synth.lasting import LastingScene, lasting_scene
from kinecast.nodes.bench.hour import MOVED, Learnt, learn, turned, views
from kinecast.nodes.cli.main import main

SECONDS, RATE_HZ, TURNS_S, LATE_MS = 75.0, 12.5, 40.0, 15.0


@pytest.fixture(scope="module")
def life() -> LastingScene:
    return lasting_scene("blazepose-heavy", seconds=SECONDS, rate_hz=RATE_HZ, seed=4)


@pytest.fixture(scope="module")
def still(life: LastingScene) -> Learnt:
    return learn(life.rig, views(life))


def test_no_camera_of_a_still_rig_is_said_to_have_moved(still: Learnt) -> None:
    assert still.alarms() == []
    assert np.isfinite(still.of("moved_px")).all()


def test_clocks_in_step_stay_in_step_within_what_is_said_of_them(still: Learnt) -> None:
    offset, sigma = still.of("offset_ms"), still.of("offset_sigma_ms")
    assert np.isfinite(offset).all()
    # of 45 seconds about 5 are independent in each of 4 cameras: beyond 4 σ is none
    assert np.abs(offset / sigma).max() < 4.0
    assert still.in_force_ms < 4.0 * sigma.max()


def test_one_person_keeps_one_identity(still: Learnt) -> None:
    assert still.ids == {1}


def test_a_camera_that_is_turned_is_named_and_no_other(life: LastingScene) -> None:
    seen = views(life, lambda s, c: turned(c, 1.0) if s >= TURNS_S else c)
    told = learn(life.rig, seen, until=lambda t: bool(t.alarms()))
    (when, who), *others = told.alarms()
    assert who == MOVED and not others
    assert TURNS_S < when < TURNS_S + 25


def test_a_late_clock_is_found_within_what_is_said_of_it(life: LastingScene) -> None:
    told = learn(life.rig, views(life, late_ms=LATE_MS))
    own = np.where(np.array(life.rig.names) == MOVED, LATE_MS, 0.0)
    last = told.health[-1]
    assert (np.abs(last.offset_ms - (own - own.mean())) < 4.0 * last.offset_sigma_ms).all()
    # what is in force is that, but for 2.5 σ that are left alone
    assert told.in_force_ms > 0.75 * LATE_MS - 2.5 * last.offset_sigma_ms.max() - 1.0


def test_the_command_prints_a_figure_for_all_that_learns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ["--minutes", "0.8", "--rate", "5", "--still", "--detector", "white"]
    assert main(["bench", "hour", *words]) == 0
    said = capsys.readouterr().out
    for what in ("clocks in step", "said to have moved", "noise factor", "identities given", "stature"):
        assert what in said
    assert main(["bench", "hour", "--minutes", "0"]) == 2
