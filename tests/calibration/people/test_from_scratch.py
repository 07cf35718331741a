"""Rigs from people alone: against the truth, with links missing, and where nothing can be told."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.calibration.people.camera_poses import camera_poses_of, pose_error
from kinecast.calibration.people.from_scratch import RigFromPeople, build, faults
from kinecast.calibration.people.metric_world import from_cameras, from_distance, from_stature
from kinecast.calibration.people.walk import Walk
from kinecast.engines.synth import World
from kinecast.nodes.bench.calibration_from_people import synthetic
from kinecast.nodes.calibrate.walk_from_recording import roles
from tests.calibration.people.walks import RIG4, walk

TRUTH = camera_poses_of(RIG4)
HEIGHT_M = float(World(1, 3).height_m[0])


def stature(_: object, points: np.ndarray) -> object:
    return from_stature(points, roles(), HEIGHT_M)


def only(w: Walk, camera: int, keep: np.ndarray) -> Walk:
    """The walk with one camera blind where ``keep`` is not set."""
    sigma = w.sigma.copy()
    sigma[~keep, camera] = np.inf
    return replace(w, sigma=sigma)


@pytest.fixture(scope="module")
def found() -> RigFromPeople:
    answer = build(walk(), stature, HEIGHT_M)
    assert isinstance(answer, RigFromPeople)
    return answer


def test_a_walk_tells_the_whole_rig(found: RigFromPeople) -> None:
    """Centres to 15 mm of 10 m (16 s: about 4 mm), scale to 1 %, up to 0.5°, the floor to 3 cm."""
    assert found.verdict == "good", found.advice
    assert pose_error(found.places, TRUTH)[0].max() < 0.015
    size = [np.linalg.norm(p.centres[0] - p.centres[2]) for p in (found.places, TRUTH)]
    assert abs(size[0] / size[1] - 1) < 0.01
    assert found.ground.floor
    # a z-up world over the same floor: the heights of the cameras are those of the truth
    assert np.abs(found.places.centres[:, 2] - TRUTH.centres[:, 2]).max() < 0.06
    assert abs(found.places.centres[0, 1]) < 1e-9 < found.places.centres[0, 0]  # x towards the first camera


def test_the_stated_uncertainty_is_of_the_size_of_the_error(found: RigFromPeople) -> None:
    off = pose_error(found.places, TRUTH)[0]
    assert off.max() < 3 * found.sigma_m.max() and found.sigma_m.max() < 0.015
    assert found.halves_m.max() < 0.03


def test_scale_from_a_measured_distance_and_from_two_cameras(found: RigFromPeople) -> None:
    r = roles()
    bundle = found.found.bundle
    assert bundle is not None
    a, b = r.names.index("left_hip"), r.names.index("left_knee")
    thigh = from_distance(bundle.points, a, b, r, 0.245 * HEIGHT_M)
    apart_m = float(np.linalg.norm(TRUTH.centres[0] - TRUTH.centres[1]))
    spacing = from_cameras(bundle.places, 0, 1, RIG4.names, apart_m)
    assert abs(thigh.factor / spacing.factor - 1) < 0.01
    assert not np.isfinite(from_distance(bundle.points, 1, 2, r, 0.1).factor)  # eyes are in no bundle


def test_a_camera_that_is_linked_through_others() -> None:
    """cam01 and cam03 never see the person at once; cam02 and cam04 see him always."""
    w = walk()
    w = only(only(w, 0, w.t_s < 8.0), 2, w.t_s >= 8.0)
    answer = build(w, stature, HEIGHT_M)
    assert isinstance(answer, RigFromPeople) and len(answer.index) == 4
    assert pose_error(answer.places, TRUTH)[0].max() < 0.03


def test_missing_links_are_named() -> None:
    w = walk()
    early, late = w.t_s < 8.0, w.t_s >= 8.0
    for c, keep in enumerate((early, early, late, late)):
        w = only(w, c, keep)
    answer = build(w, stature, HEIGHT_M)
    assert isinstance(answer, RigFromPeople) and len(answer.index) == 2
    (line,) = [x for x in answer.warnings if "no link" in x]
    assert "cam03, cam04" in line and "film the person" in line


class Standing(World):
    def points_world(self, t_ns: int) -> np.ndarray:
        return super().points_world(5_000_000_000)


def test_somebody_who_stands_and_a_moment_are_refused() -> None:
    (line,) = faults(synthetic(RIG4, Standing(1, 3), 3.0, 3))
    assert "stands still" in line and "walk through all of the space" in line
    (line,) = faults(walk().rows(walk().t_s < 0.6))
    assert "half a minute" in line


def test_joints_in_one_plane_are_refused() -> None:
    """A flat figure that is carried about within its own plane."""
    w = walk(6.0)
    truth = World(1, 3)
    xy = w.xy.copy()
    for n, t in enumerate(w.t_s):
        points = truth.points_world(round(1e9 * t))[0].copy()
        points[:, 1] = 0.2
        for c, camera in enumerate(RIG4):
            xy[n, c] = camera.undistort(camera.project(points)[0])
    rng = np.random.default_rng(0)
    answer = build(replace(w, xy=xy + rng.normal(size=xy.shape) * 1e-3), stature, HEIGHT_M)
    told = answer if isinstance(answer, list) else [answer.verdict, answer.advice]
    assert isinstance(answer, list) or answer.verdict == "refused", told
