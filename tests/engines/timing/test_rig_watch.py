"""A camera that turns is named with its pixels; runners, hidden people and few people move no camera."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth import World, ring_rig
from kinecast.engines.timing.rig_watch import RigState, RigWatch

FPS = 15
NOISE_PX = 3.0
TURNED_DEG = 0.5


def turned(camera: Camera, degrees: float) -> Camera:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(4)
    turn[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    return replace(camera, cam_from_world=turn @ camera.cam_from_world)


def watch(
    rig: Rig,
    seconds: float,
    *,
    moves_at_s: float = np.inf,
    offsets_s: np.ndarray | None = None,
    speed: float = 1.0,
    hidden: float = 0.1,
    away_s: float = 0.0,
    seed: int = 0,
) -> list[RigState]:
    """Feed a watch with what fusion would: points with the noise of a triangulation, views with theirs.

    speed: the world runs so many times faster. hidden: share of joints that a view lacks; as many are 100 px off.
    away_s: the people are gone for so long in the middle.
    """
    world, rng = World(2, seed), np.random.default_rng(seed)
    late = np.zeros(len(rig)) if offsets_s is None else offsets_s
    after = Rig((*rig.cameras[:2], turned(rig.cameras[2], TURNED_DEG), *rig.cameras[3:]), rig.name, rig.up)
    arrays, told = RigWatch(camera_arrays(rig)), []
    focal = camera_arrays(rig).focal_px
    for k in range(int(seconds * FPS)):
        t = k / FPS
        at = [world.points_world(round(1e9 * speed * (2 + t + d))) for d in (-0.05, 0.05)]
        points, velocity = (at[0] + at[1]) / 2, (at[1] - at[0]) / 0.1
        here = (after if t >= moves_at_s else rig).cameras
        h = [(velocity * -o + points) @ c.R.T + c.t for c, o in zip(here, late, strict=True)]
        xy = np.stack([x[..., :2] / x[..., 2:] for x in h], axis=1)
        lie = rng.random(xy.shape[:3]) < hidden
        px = rng.normal(0, NOISE_PX, xy.shape) + lie[..., None] * rng.uniform(-100, 100, xy.shape)
        xy = xy + px / focal[:, None, None]
        confidence = np.where(rng.random(lie.shape) < hidden, 0.0, 0.9)
        there = not abs(t - seconds / 2) < away_s / 2
        # the point that a fusion would find follows the views a little
        points = points + rng.normal(0, 0.01, points.shape)
        n = len(points) if there else 0
        t_ns, none = round(1e9 * t), np.zeros(len(rig), np.int64)
        arrays.observe(t_ns, np.arange(n), none, 0.0 * none, xy[:n], confidence[:n], points[:n], velocity[:n])
        state = arrays.state(t_ns, none)
        if state is not None:
            told.append(state)
    return told


def test_half_a_degree_is_found_and_the_right_camera_is_named() -> None:
    rig = ring_rig(4, lens=False)
    told = watch(rig, 45, moves_at_s=22)
    last = told[-1]
    assert list(np.flatnonzero(last.moved_since_ns)) == [2]
    expected_px = np.deg2rad(TURNED_DEG) * camera_arrays(rig).focal_px[2]
    # five σ as the state tells it, and the tenth by which far residuals count less
    assert abs(last.moved_px[2] - expected_px) < 5 * last.moved_sigma_px[2] + 0.1 * expected_px
    assert abs(last.moved_since_ns[2] / 1e9 - 22) < 8  # the window
    assert last.residual_px[2] > last.baseline_px[2]
    assert all(not s.moved_since_ns.any() for s in told if s.t_ns < 22e9)


@pytest.mark.parametrize(
    "scene",
    [{}, {"speed": 3.0}, {"hidden": 0.35}, {"away_s": 12.0}, {"offsets_s": np.array([0.02, -0.02, 0.02, -0.02])}],
    ids=["plain", "runners", "hidden", "away", "clocks"],
)
def test_nothing_else_moves_a_camera(scene: dict[str, object]) -> None:
    told = watch(ring_rig(4, lens=False), 40, **scene)  # type: ignore[arg-type]
    assert len(told) > 35
    assert np.isfinite(told[-1].moved_px).all()
    assert all(not s.moved_since_ns.any() for s in told)


def test_clocks_come_with_it_within_their_sigma() -> None:
    offsets = np.array([0.015, -0.01, 0.0, -0.005])
    # a view whose clock is ahead by δ shows at its stamp what was δ before
    last = watch(ring_rig(4, lens=False), 30, offsets_s=offsets)[-1]
    error = last.offset_s - (offsets - offsets.mean())
    assert (last.offset_sigma_s < 0.002).all()
    assert np.abs(error).max() < 0.002


def test_two_views_say_nothing() -> None:
    told = _two()
    assert all(np.isnan(s.moved_px).all() and np.isnan(s.offset_s).all() for s in told)


def _two() -> list[RigState]:
    rig = ring_rig(2, lens=False)
    arrays, out = RigWatch(camera_arrays(rig)), []
    rng = np.random.default_rng(0)
    for k in range(60):
        t_ns, none = k * 100_000_000, np.zeros(2, np.int64)
        seen = rng.normal(0, 0.1, (1, 2, 26, 2)), np.ones((1, 2, 26)), np.ones((1, 26, 3)), np.zeros((1, 26, 3))
        arrays.observe(t_ns, np.zeros(1, np.int64), none, 0.0 * none, *seen)
        state = arrays.state(t_ns, none)
        if state is not None:
            out.append(state)
    assert out
    return out
