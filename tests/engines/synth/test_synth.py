"""The synthetic world: the same in every process and in every order, plausible, and wrong only as told."""

from collections import Counter

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import (
    CROWD,
    NONE,
    CameraClock,
    Noise,
    Scene,
    World,
    frame_rng,
    messages,
    observe,
    ring_rig,
)
from kinecast.engines.synth.source import SyntheticDetector, open_synthetic
from kinecast.engines.synth.walk import SCENARIOS

BONES = np.array(skeleton("halpe26").bones)
S = 1_000_000_000


@pytest.fixture(scope="module")
def rig() -> Rig:
    return ring_rig(4, (640, 480))


def walk(scenario: str, people: int, seconds: float = 16.0, hz: int = 25) -> np.ndarray:
    world = World(people, seed=5, scenario=scenario)
    return np.stack([world.points_world(k * S // hz) for k in range(int(seconds * hz))])


@pytest.mark.parametrize("n", [2, 3, 8, 16])
def test_every_camera_of_a_ring_sees_the_middle(n: int) -> None:
    rig = ring_rig(n, (320, 240), seed=n)
    assert len(rig) == n
    for camera in rig:
        px, depth = camera.project([[0, 0, 0.1], [0, 0, 1.8]])
        assert (depth > 3).all() and (px > 0).all() and (px < camera.size_px).all()
        assert px[1, 1] < px[0, 1]  # upright: a head is above its feet


def test_a_ring_has_2_to_16_cameras() -> None:
    for n in (1, 17):
        with pytest.raises(KinecastError, match="2 to 16"):
            ring_rig(n)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_people_walk_plausibly(scenario: str) -> None:
    points = walk(scenario, 4)
    lengths = np.linalg.norm(points[:, :, BONES[:, 0]] - points[:, :, BONES[:, 1]], axis=-1)
    assert np.nanmax(np.nanstd(lengths, axis=0)) < 1e-9  # limbs are rigid
    assert np.nanmin(points[..., 2]) > -1e-9 and 1.4 < np.nanmax(points[..., 2]) < 2.0
    hips = points[:, :, 19, :2]
    speed = np.linalg.norm(np.diff(hips, axis=0), axis=-1) * 25
    assert np.nanmax(speed) < 2.0 and 0.2 < np.nanmean(speed) < 1.5
    apart = np.linalg.norm(hips[:, :, None] - hips[:, None], axis=-1)
    apart[:, np.eye(4, dtype=bool)] = np.inf
    assert np.nanmin(apart) > 0.25  # nobody walks through anybody
    assert np.nanmax(np.abs(hips)) < 3.0


def test_pairs_meet_cross_and_leave() -> None:
    met = np.linalg.norm(np.diff(walk("meet", 2)[:, :, 19, :2], axis=1)[:, 0], axis=-1)
    assert met.min() < 0.55 and met.max() > 2.0
    along = walk("cross", 2)[:, :, 19, :2] @ [np.cos(0.4), np.sin(0.4)]
    assert (np.diff(np.sign(along[:, 0] - along[:, 1])) != 0).sum() >= 3  # they pass each other again and again
    away = np.isnan(walk("leave", 3, 40.0, 10)).all(axis=(2, 3))
    assert away.any(axis=0).all() and not away.all(axis=0).any()


def test_time_can_be_asked_in_any_order_and_runs_backwards_after_the_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = World(3, seed=1), World(3, seed=1)
    times = [7 * S, 0, 12 * S + 123, 3 * S]
    first = {t: a.points_world(t) for t in times}
    for t in sorted(times):
        assert np.array_equal(b.points_world(t), first[t])
    assert not np.allclose(World(3, seed=2).points_world(0), first[0])
    monkeypatch.setattr("kinecast.engines.synth.walk.FOLD_S", 8.0)  # ten minutes take a while to walk
    far = World(1, seed=1)
    t = 8 * S
    # one cubic read at two times that are 1 ns and float64 rounding apart: micrometres
    assert np.allclose(far.points_world(t + S), far.points_world(t - S), atol=1e-6)


def test_without_noise_the_projections_are_exact(rig: Rig) -> None:
    world, t = World(3, seed=2), 2 * S
    points = world.points_world(t)
    for camera in rig:
        seen, who = observe(points, camera, NONE, frame_rng(0, camera.name, t))
        truth = camera.project(points[who])[0]
        given = seen.confidence > 0
        assert given.mean() > 0.9
        assert np.abs(seen.keypoints_px - truth)[given].max() < 1e-3  # float32 of pixels under 1024
        assert np.isnan(seen.keypoints_px[~given]).all()


def test_noise_is_as_told(rig: Rig) -> None:
    """Over n draws a share is within 4 standard errors, and a standard deviation within 4/√(2n) of itself."""
    world, camera = World(4, seed=3), rig.cameras[0]
    noise = Noise(sigma_px=2.0, outliers=0.1, outlier_px=(50, 60), missing=0.2, missed_people=0.25)
    errors, gone, people = [], [], 0
    for k in range(300):
        points = world.points_world(k * S // 30)
        seen, who = observe(points, camera, noise, frame_rng(1, camera.name, k))
        people += len(who)
        truth = camera.project(points[who])[0]
        inside = (truth > 70).all(-1) & (truth < np.array(camera.size_px) - 70).all(-1)  # no outlier leaves the picture
        gone += (seen.confidence == 0)[inside].tolist()
        errors.append((seen.keypoints_px - truth)[inside & (seen.confidence > 0)])
    e = np.concatenate(errors)
    far = np.linalg.norm(e, axis=1) > 30
    assert abs(people / 1200 - 0.75) < 4 * np.sqrt(0.25 * 0.75 / 1200)
    assert abs(np.mean(gone) - 0.2) < 4 * np.sqrt(0.16 / len(gone))
    assert abs(far.mean() - 0.1) < 4 * np.sqrt(0.09 / len(far))
    good = e[~far]
    assert abs(good.std() - 2.0) < 2.0 * 4 / np.sqrt(2 * good.size)
    assert abs(np.linalg.norm(e[far], axis=1).mean() - 55) < 2


def test_swaps_exchange_left_and_right(rig: Rig) -> None:
    points, camera = World(2, seed=4).points_world(S), rig.cameras[1]
    straight, who = observe(points, camera, NONE, frame_rng(0, "x", 1))
    swapped, also = observe(points, camera, Noise(sigma_px=0, swaps=1.0), frame_rng(0, "x", 1))
    flip = np.array(skeleton("halpe26").flip)
    assert np.array_equal(who, also)
    assert np.array_equal(swapped.keypoints_px, straight.keypoints_px[:, flip], equal_nan=True)


def test_somebody_behind_is_hidden() -> None:
    camera = ring_rig(2, (640, 480)).cameras[0]
    body = World(1, seed=0).points_world(0)[0]
    body = body - [*body[19, :2], 0]
    back = -camera.R[2] * [1, 1, 0]  # towards the camera on the floor
    pair = np.stack([body, body + 0.8 * back / np.linalg.norm(back)])
    seen, who = observe(pair, camera, Noise(sigma_px=0, occlusion=True), frame_rng(0, "x", 0))
    count = {int(w): int((c > 0).sum()) for w, c in zip(who, seen.confidence, strict=True)}
    assert count[1] == 26 and count.get(0, 0) < 20


def test_ghosts_are_nobody(rig: Rig) -> None:
    camera = rig.cameras[0]
    ghosts = Counter()
    for k in range(200):
        _, who = observe(np.zeros((0, 26, 3)), camera, Noise(ghosts=1.5), frame_rng(0, "x", k))
        assert (who == -1).all()
        ghosts[len(who)] += 1
    mean = sum(n * c for n, c in ghosts.items()) / 200
    assert abs(mean - 1.5) < 4 * np.sqrt(1.5 / 200)


def test_messages_are_whole_in_order_and_seeded_by_frame(rig: Rig) -> None:
    world = World(3, seed=1)
    clocks = {"cam02": CameraClock(offset_ns=20_000_000, rate_ppm=50.0)}
    stream = list(
        messages(world, rig, frames=30, fps_hz={"cam01": 30, "cam02": 30, "cam03": 60, "cam04": 25}, clocks=clocks)
    )
    for m in stream:
        m.check()
    assert Counter(m.camera for m in stream) == {"cam01": 15, "cam02": 15, "cam03": 30, "cam04": 13}
    second = [m for m in stream if m.camera == "cam02"][3]
    assert second.t_capture_ns == 100_000_000 + 20_000_000 + 5_000
    again = Scene(rig, World(3, seed=1), CROWD).observe(rig["cam02"], 100_000_000, second.t_capture_ns)
    assert np.array_equal(again.keypoints_px, second.keypoints_px, equal_nan=True)


def test_a_clock_goes_both_ways() -> None:
    clock = CameraClock(offset_ns=-3_000_000, rate_ppm=-120.0)
    for t in (0, 1, 10 * S, 3600 * S):
        assert abs(clock.world_ns(clock.stamp_ns(t)) - t) <= 1
    assert clock.stamp_ns(3600 * S) == 3600 * S - 3_000_000 - 432_000_000


def test_the_source_and_its_detector_agree(rig: Rig) -> None:
    camera, clock = rig.cameras[2], CameraClock(offset_ns=5_000_000)
    source = open_synthetic(camera, seed=7, people=2, fps_hz=30, frames=4, epoch_ns=1000, camera_clock=clock)
    detector = SyntheticDetector(camera, seed=7, people=2, epoch_ns=1000, camera_clock=clock, noise=NONE)
    detector.warm_up()
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append(frame)
    assert [f.seq for f in frames] == [0, 1, 2, 3] and source.skipped == 0
    assert frames[3].t_capture_ns == 1000 + 100_000_000 + 5_000_000
    image, seen = frames[3].image_bgr, detector.detect(frames[3])
    assert image.shape == (480, 640, 3) and len(seen.scores) == 2
    # the figures are drawn where the detector says: hips and shoulders lie on coloured pixels
    colour = image.max(axis=2).astype(int) - image.min(axis=2)
    x, y = np.rint(seen.keypoints_px[:, [5, 6, 11, 12]].reshape(-1, 2)).astype(int).T
    assert (colour[y, x] > 20).all()
    source.close()


def test_a_wrong_world_is_refused() -> None:
    with pytest.raises(KinecastError, match="crowd, cross"):
        World(2, scenario="dance")
    with pytest.raises(KinecastError, match="0 to 32"):
        World(99)
    assert World(0).points_world(0).shape == (0, 26, 3)
