"""New people: the right groups, no phantoms, and a reason for every refusal."""

import numpy as np
import pytest

from kinecast.engines.associate.birth import TrackProposals, bone_table, plausible, propose_tracks
from kinecast.engines.associate.kernels import closest_point, rays_of
from kinecast.engines.observations import Detections
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import Noise, World
from tests.engines.associate.scene import CAMERAS, RIG, scene

FLIP = np.array(skeleton("halpe26").flip)
BONES = bone_table("halpe26")


def grouped(found: Detections, min_views: int = 2, live: list[bool] | None = None) -> TrackProposals:
    there = np.array([True] * 4 if live is None else live)
    return propose_tracks(CAMERAS, found, np.ones(len(found), bool), there, FLIP, BONES, min_views)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("people", [1, 2, 4, 6])
def test_the_groups_are_the_people(people: int, seed: int) -> None:
    X, found, who = scene(people, Noise(3.0, outliers=0.1, missing=0.15), seed)
    got = grouped(found)
    assert len(got.assigned) == people
    for row, points in zip(got.assigned, got.points_world_m, strict=True):
        whose = who[row[row >= 0]]
        assert len(set(whose)) == 1 and len(whose) >= 3
        assert np.nanmedian(np.linalg.norm(points - X[whose[0]], axis=-1)) < 0.1
    assert not got.against.any()


def test_forty_false_people_in_one_view_make_nobody() -> None:
    _, found, who = scene(2, Noise(3.0))
    rng = np.random.default_rng(0)
    at = rng.uniform(-0.3, 0.3, (40, 1, 2)) + rng.normal(0, 1, (40, 26, 2)) * [0.02, 0.06]
    a = int(found.start[0])
    cams = np.insert(found.camera, a, np.zeros(40, int))
    start = found.start + 40 * (np.arange(5) > 0)
    sure = np.full((40, 26), 0.6)
    crowd = Detections(
        np.insert(found.xy, [a] * 40, at, axis=0), np.insert(found.confidence, [a] * 40, sure, axis=0),
        cams, np.arange(len(cams)) - start[cams], start, found.bad,
    )  # fmt: skip
    got = grouped(crowd)
    assert len(got.assigned) == 2
    real = np.insert(who, a, np.full(40, -1))
    for row in got.assigned:
        assert np.all(real[row] >= 0) and len(set(real[row])) == 1
    assert got.refused == {"no_agreeing_view": 40}


def test_ghosts_in_every_view_make_nobody() -> None:
    for seed in range(10):
        _, found, who = scene(2, Noise(3.0, ghosts=4.0), seed)
        got = grouped(found)
        assert all(np.all(who[row[row >= 0]] >= 0) for row in got.assigned)


def test_views_that_should_see_somebody_and_do_not_speak_against() -> None:
    _, found, _ = scene(1)
    two = found.camera < 2
    cut = Detections(
        found.xy[two], found.confidence[two], found.camera[two], found.row[two], np.array([0, 1, 2, 2, 2]), found.bad
    )
    assert grouped(cut).against.tolist() == [2]
    assert grouped(cut, live=[True, True, False, False]).against.tolist() == [0]
    got = grouped(cut, min_views=3)
    assert len(got.assigned) == 0 and got.refused == {"too_few_views": 2}


def test_a_detection_of_few_joints_founds_nobody() -> None:
    _, found, _ = scene(1)
    confidence = found.confidence.copy()
    confidence[:, 4:] = 0
    got = grouped(Detections(found.xy, confidence, found.camera, found.row, found.start, found.bad))
    assert got.refused["too_few_joints"] == 4 and len(got.assigned) == 0


def test_plausible_bodies_and_others() -> None:
    X = World(people=3, seed=1).points_world(0).copy()
    ok, height = plausible(X, BONES)
    assert ok.all()
    # the bones are shares of the stature, and the truth was built from shares of the same kind: within 10 %
    np.testing.assert_allclose(height, World(people=3, seed=1).height_m, rtol=0.1)
    rng = np.random.default_rng(0)
    assert not plausible(X * 2, BONES)[0].any() and not plausible(X / 4, BONES)[0].any()
    assert not plausible(X[:, rng.permutation(26)], BONES)[0].any()
    X[:, 5:] = np.nan
    ok, height = plausible(X, BONES)
    assert not ok.any() and np.isnan(height).all()


def test_where_rays_meet() -> None:
    point = np.array([0.3, -0.2, 1.1])
    h = CAMERAS.P @ np.r_[point, 1]
    rays = []
    for c in (0, 1):
        out = np.empty((1, 1, 3))
        rays_of(CAMERAS.P[c], (h[c, :2] / h[c, 2])[None, None], out)
        rays.append(out[0, 0])
    x = np.empty(3)
    a, b = RIG.cameras[0].centre_world, RIG.cameras[1].centre_world
    assert closest_point(a, rays[0], b, rays[1], x) < 1e-9
    np.testing.assert_allclose(x, point, atol=1e-9)
    assert closest_point(a, -rays[0], b, rays[1], x) == np.inf  # behind
    assert closest_point(a, rays[0], a + 0.001, rays[0], x) == np.inf  # parallel
