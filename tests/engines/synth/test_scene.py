"""One scene shows whoever moves to cameras: the truth is projected exactly, and a detector errs as it says."""

from dataclasses import dataclass

import numpy as np

from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import (
    NONE,
    CameraClock,
    Detections,
    Detector,
    SampledPeople,
    Scene,
    Trajectories,
    TrueView,
    WhiteNoise,
    World,
    ring_rig,
)

RIG = ring_rig(3, (640, 480), lens=True)
ELBOW = skeleton("halpe26").index("left_elbow")
S = 1_000_000_000


def sampled(people: int = 2, frames: int = 12) -> SampledPeople:
    world = World(people, seed=3)
    return SampledPeople(np.stack([world.points_world(round(k * S / 30)) for k in range(frames)]), 30.0)


def test_walkers_and_samples_of_them_are_seen_alike() -> None:
    """The same people, computed at the time or sampled before, give the same messages: the scene knows no kind."""
    people: list[Trajectories] = [World(2, seed=3), sampled()]
    walked, looked_up = ([*Scene(RIG, p, seed=5).messages(12)] for p in people)
    assert len(walked) == len(looked_up) == 36
    for a, b in zip(walked, looked_up, strict=True):
        assert a.t_capture_ns == b.t_capture_ns and a.camera == b.camera
        assert np.array_equal(a.keypoints_px, b.keypoints_px, equal_nan=True)


def test_a_view_is_the_truth_before_every_camera() -> None:
    scene = Scene(RIG, World(2, seed=3))
    view = scene.view(2 * S)
    assert view.keypoints.shape == (6, 1, 26, 2)  # cameras × people, one frame
    for c, camera in enumerate(RIG):
        px = camera.project(scene.points_world(2 * S))[0]
        assert np.array_equal(view.keypoints[2 * c : 2 * c + 2, 0], px, equal_nan=True)
        inside = ((px >= -0.5) & (px <= np.array(camera.size_px) - 0.5)).all(axis=-1)
        assert np.array_equal(view.visible[2 * c : 2 * c + 2, 0], inside)


def test_a_sequence_is_by_person_and_wrong_as_told() -> None:
    """Of n normal errors the standard deviation is within 4/√(2n) of what was asked for, and shares likewise."""
    people = sampled(2, 40)
    scene = Scene(RIG, people, WhiteNoise(2.0, outliers=0.1, missing=0.2))
    px, confidence = scene.sequence(people.t_ns, np.random.default_rng(0))
    assert px.shape == (40, 3, 2, 26, 2) and confidence.shape == (40, 3, 2, 26)
    truth = np.stack([camera.project(people.points)[0] for camera in RIG], axis=1)
    error = (px - truth)[np.isfinite(truth).all(axis=-1)]
    near = np.linalg.norm(error, axis=1) < 12
    n = len(error)
    assert abs(error[near].std() - 2.0) < 2.0 * (4 / np.sqrt(2 * n) + 0.02)  # a few outliers are near by chance
    assert abs((~near).mean() - 0.1) < 4 * np.sqrt(0.09 / n) + 0.01
    assert abs((confidence == 0).mean() - 0.2) < 4 * np.sqrt(0.16 / n) + np.isnan(truth).mean()


@dataclass(frozen=True)
class BiasedElbow:
    """Sees the left elbow 20 px to the right of where it is, always, before the errors of another detector."""

    then: Detector

    def detect(self, view: TrueView, rng: np.random.Generator) -> Detections:
        moved = view.keypoints.copy()
        moved[:, :, ELBOW, 0] += 20.0
        return self.then.detect(TrueView(moved, view.visible, view.cameras, view.points_world, view.t_ns), rng)


def test_a_detector_may_be_wrong_in_the_same_way_all_the_time() -> None:
    plain, biased = (list(Scene(RIG, World(2, seed=3), d).messages(6)) for d in (NONE, BiasedElbow(NONE)))
    for a, b in zip(plain, biased, strict=True):
        off = b.keypoints_px - a.keypoints_px
        given = np.isfinite(off).all(axis=-1)
        others = np.arange(26) != ELBOW
        assert np.allclose(off[:, ELBOW][given[:, ELBOW]], [20.0, 0.0], atol=1e-3)  # float32 of pixels under 1024
        assert (off[:, others][given[:, others]] == 0).all() and given.mean() > 0.8


def test_a_camera_stamps_by_its_own_clock() -> None:
    late = Scene(RIG, World(1, seed=3), NONE, clocks={"cam02": CameraClock(offset_ns=7_000_000)})
    plain = Scene(RIG, World(1, seed=3), NONE)
    for a, b in zip(late.messages(4), plain.messages(4), strict=True):
        assert a.t_capture_ns - b.t_capture_ns == (7_000_000 if a.camera == "cam02" else 0)
        assert np.array_equal(a.keypoints_px, b.keypoints_px, equal_nan=True)  # what is seen is of the world's time
