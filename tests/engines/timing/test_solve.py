"""Clocks of a synthetic crowd: CROWD noise is 3 px, 10 % outliers, 15 % missing."""

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import CROWD, CameraClock, World, messages, ring_rig
from kinecast.engines.timing.solve import SURE_S, Clocks, solve
from kinecast.engines.timing.tracks import HALF_S, Tracks, sample, tracks


class Standing(World):
    """Everybody stands as they did after five seconds."""

    def points_world(self, t_ns: int) -> np.ndarray:
        return super().points_world(5_000_000_000)


def seen(rig: Rig, world: World, frames: int, fps_hz: float, clocks: dict[str, CameraClock]) -> list[Tracks]:
    by: dict[str, list[Keypoints2D]] = {n: [] for n in rig.names}
    for view in messages(world, rig, frames=frames, fps_hz=fps_hz, noise=CROWD, clocks=clocks):
        by[view.camera].append(view)
    return [tracks(by[c.name], c, 0) for c in rig]


def recovered(offsets_s: list[float], max_offset_s: float = 0.5) -> tuple[Clocks, np.ndarray]:
    rig = ring_rig(len(offsets_s))
    clocks = {n: CameraClock(round(1e9 * o)) for n, o in zip(rig.names, offsets_s, strict=True)}
    found = solve(rig, seen(rig, World(2, 1), 180, 30.0, clocks), max_offset_s)
    return found, found.offsets_s - (np.array(offsets_s) - np.mean(offsets_s))


@pytest.mark.parametrize("offsets_s", [[0.02, -0.02, 0.013, 0.0], [0.017, -0.02, 0.005]])
def test_offsets_of_20_ms_are_found_to_2_ms(offsets_s: list[float]) -> None:
    found, error = recovered(offsets_s)
    assert not any(found.reason)
    assert np.abs(error).max() < 0.002
    # 5 σ of three or four numbers is passed by chance once in a million; the least σ allowed for is 0.1 ms
    assert (np.abs(error) < 5 * np.maximum(found.sigma_s, 1e-4)).all()
    assert found.after < found.before


def test_clocks_that_are_seconds_apart_are_found_by_the_coarse_search() -> None:
    found, error = recovered([1.3, -0.9, 0.2, 0.4], max_offset_s=2.5)
    assert not any(found.reason)
    assert np.abs(error).max() < 0.002


def test_rates_of_50_ppm_are_found_over_a_minute() -> None:
    rig, ppm = ring_rig(3), np.array([50.0, -50.0, 0.0])
    clocks = {n: CameraClock(5_000_000, float(p)) for n, p in zip(rig.names, ppm, strict=True)}
    found = solve(rig, seen(rig, World(1, 2), 900, 15.0, clocks))
    sigma = 1e6 * found.rate_sigma
    # two clocks 100 ppm apart part by 6 ms in a minute; known to 1 ms at both ends that is ± 25 ppm
    assert (sigma > 0).all() and (sigma < 25).all()
    assert (np.abs(1e6 * found.rates - ppm) < 5 * sigma).all()
    at_middle = 1e-6 * ppm * found.middle_s
    assert np.abs(found.offsets_s - (at_middle - at_middle.mean())).max() < 0.002


def test_people_who_stand_tell_nothing_and_every_camera_is_named() -> None:
    rig = ring_rig(4)
    found = solve(rig, seen(rig, Standing(2, 1), 150, 30.0, {}))
    assert all(found.reason)


def test_half_a_second_is_refused() -> None:
    rig = ring_rig(3)
    found = solve(rig, seen(rig, World(2, 1), 15, 30.0, {}))
    assert all("too short" in r for r in found.reason)


def test_a_reference_camera_has_the_right_clock() -> None:
    rig = ring_rig(3)
    clocks = {rig.names[1]: CameraClock(12_000_000)}
    views = seen(rig, World(2, 1), 150, 30.0, clocks)
    mean, named = solve(rig, views), solve(rig, views, reference=1)
    assert named.offsets_s[1] == 0 and named.sigma_s[1] == 0
    np.testing.assert_allclose(named.offsets_s, mean.offsets_s - mean.offsets_s[1], atol=1e-12)
    assert (named.sigma_s < SURE_S).all()


def test_a_joint_that_moves_evenly_is_read_off_exactly_between_frames() -> None:
    t = np.arange(20) / 30
    xy = np.stack([np.stack([0.1 + 0.3 * t, 0.2 - 0.1 * t], axis=-1)] * 5, axis=1)
    xy[:, 1:] += np.arange(1, 5)[None, :, None] * 0.05
    view = Tracks(t, np.array([0, 20]), xy, np.full((20, 5), 0.002), np.full(20, 0.3), t)
    times = np.array([0.2, 0.2123, 0.41, 5.0])
    got = sample(view, times)
    np.testing.assert_allclose(
        got.xy[:3, 0, 0], np.stack([0.1 + 0.3 * times, 0.2 - 0.1 * times], axis=-1)[:3], atol=1e-9
    )
    np.testing.assert_allclose(got.velocity[:3, 0, 0], np.tile([0.3, -0.1], (3, 1)), atol=1e-9)
    assert (got.sigma[:3, 0] < 0.002).all()  # several frames are surer than one
    assert np.isnan(got.height[3]).all() and HALF_S < 5
