"""Clocks from the velocities of joints: the kernel against a slow twin, lagging velocities, and habits that last."""

import numpy as np

from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World, ring_rig
from kinecast.engines.timing.clock_watch import ClockWatch, Moved, add_instant, new_block, reduce_block
from kinecast.engines.timing.joint import Linear, Observed, linearise

RIG = ring_rig(4, lens=False)
CAMERAS = camera_arrays(RIG)
C, JOINTS = len(CAMERAS), np.array([0, 2])
HABIT_M, COMMON_M = 0.03, 0.015


def room() -> Linear:
    return Linear(
        np.zeros((C, 2)), np.zeros((C, 2, 3)), np.zeros((C, 2, 4)), np.zeros(C), np.zeros(6), np.zeros((3, 3)),
        np.zeros((C, 3, 4)), np.zeros(3),
    )  # fmt: skip


def instants(rng: np.random.Generator) -> list[tuple[Observed, np.ndarray, Moved]]:
    """Seven instants of 3 joints, each with the 5 sets about it: views with noise, one joint of which a view lacks."""
    out = []
    for _ in range(7):
        points = rng.uniform([-1, -1, 0.2], [1, 1, 1.8], (3, 3)) + 0.1 * np.cumsum(rng.normal(size=(5, 3, 3)), axis=0)
        X = points[2]
        h = np.einsum("cij,nj->cni", CAMERAS.P[:, :, :3], X) + CAMERAS.P[:, None, :, 3]
        xy = (h[..., :2] / h[..., 2:] + rng.normal(0, 0.004, (C, 3, 2)))[None]
        confidence = rng.uniform(0.5, 1, (1, C, 3))
        confidence[0, rng.integers(C), rng.integers(3)] = 0
        moved = Moved(rng.normal(0, 0.01, C), rng.normal(0, 0.01, C), rng.normal(size=(3, 3)))
        out.append((Observed(CAMERAS.P, CAMERAS.focal_px, xy, confidence, X[None].copy()), points, moved))
    return out


T_S = np.array([-0.08, -0.04, 0.0, 0.04, 0.08])


def slope(points: np.ndarray) -> np.ndarray:
    """Of a straight line through the sets about the middle one, by differences at equal distances."""
    pairs = [(T_S[2 + i] - T_S[2 - i], points[2 + i] - points[2 - i]) for i in (1, 2)]
    return np.asarray(sum(d * x for d, x in pairs) / sum(d * d for d, _ in pairs))


def dense(given: list[tuple[Observed, np.ndarray, Moved]]) -> tuple[np.ndarray, np.ndarray]:
    """Everything an unknown: δ, the common offsets, those of each joint, every point; then all but δ eliminated."""
    K, D = len(JOINTS), 2 * C
    size = C + D + K * D + 3 * K * len(given)
    rows, right, depth = [], [], [[] for _ in range(C)]
    for n, (seen, points, moved) in enumerate(given):
        for k, j in enumerate(JOINTS):
            one, V = room(), slope(points[:, j])
            linearise(seen, 0, j, V, one)
            for c in np.flatnonzero(one.w > 0):
                depth[c].append(CAMERAS.P[c, 2, :3] @ seen.points[0, j] + CAMERAS.P[c, 2, 3])
                # as if it had been moved by V: what the filter's velocity lacks is added
                r = one.r[c] + one.B[c, :, 0] * moved.ahead_s[c] + moved.dt_s[c] * one.A[c] @ (V - moved.velocity[j])
                for i in range(2):
                    row = np.zeros(size)
                    row[c] = one.B[c, i, 0]
                    row[C + 2 * c + i] = row[C + D + k * D + 2 * c + i] = 1
                    at = C + D + K * D + 3 * (n * K + k)
                    row[at : at + 3] = one.A[c, i]
                    rows.append(np.sqrt(one.w[c]) * row)
                    right.append(np.sqrt(one.w[c]) * r[i])
    A, y = np.array(rows), np.array(right)
    H, g = A.T @ A, A.T @ y
    z = np.repeat([np.mean(d) for d in depth], 2)
    H[range(C, C + D), range(C, C + D)] += (z / COMMON_M) ** 2
    own = np.arange(C + D, C + D + K * D)
    H[own, own] += np.tile((z / HABIT_M) ** 2, K)
    inner = np.linalg.inv(H[C:, C:])
    return H[:C, :C] - H[:C, C:] @ inner @ H[C:, :C], g[:C] - H[:C, C:] @ inner @ g[C:]


def test_points_and_habits_are_taken_out_exactly() -> None:
    given = instants(np.random.default_rng(0))
    block = new_block(len(JOINTS), C)
    for seen, points, moved in given:
        add_instant(seen, points, T_S, 2, JOINTS, moved, block)
    N, b = np.empty((C, C)), np.empty(C)
    reduce_block(block, HABIT_M, COMMON_M, N, b)
    expected_N, expected_b = dense(given)
    np.testing.assert_allclose(N, expected_N, atol=1e-9 * np.abs(expected_N).max())
    np.testing.assert_allclose(b, expected_b, atol=1e-9 * np.abs(expected_b).max())


def follow(
    seconds: float, *, habit_m: float = 0.0, late_s: np.ndarray | None = None, dt_s: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and σ after so long of a walker at 25 Hz with 3 px of noise.

    habit_m: every joint of every view is so far out of place, in a direction of its own that lasts. late_s: of each
    view. dt_s: by which views were moved to the set's time, with half the velocity that they needed.
    """
    world, rng, names = World(1, 2), np.random.default_rng(1), skeleton("halpe26").joints
    late, dt = (np.zeros(C) if v is None else v for v in (late_s, dt_s))
    habits, watch = rng.normal(0, habit_m, (C, len(names), 3)), ClockWatch(CAMERAS)
    for k in range(int(25 * seconds)):
        t = 2.0 + k / 25
        around = [world.points_world(round(1e9 * (t + d)))[0] for d in (-0.02, 0.0, 0.02)]
        points, velocity = around[1], (around[2] - around[0]) / 0.04
        shown = points + habits - (late + 0.5 * dt)[:, None, None] * velocity
        h = np.einsum("cij,cnj->cni", CAMERAS.P[:, :, :3], shown) + CAMERAS.P[:, None, :, 3]
        xy = h[..., :2] / h[..., 2:] + rng.normal(0, 3.0, (C, len(names), 2)) / CAMERAS.focal_px[:, None, None]
        moved = Moved(np.zeros(C), dt, 0.5 * velocity[None])
        triangulated = points[None] + rng.normal(0, 0.008, points.shape)
        watch.observe(
            k * 40_000_000 + 1, np.zeros(1, np.int64), moved, xy[None], np.ones((1, *xy.shape[:2])), triangulated
        )
    return watch.offsets


def test_clocks_are_found_within_their_sigma() -> None:
    late = np.array([0.012, -0.009, 0.001, -0.004])
    offset, sigma = follow(30, late_s=late)
    assert (np.abs(offset - (late - late.mean())) < 4 * sigma).all()
    assert (sigma < 0.002).all()


def test_habits_that_last_are_no_clocks() -> None:
    offset, sigma = follow(30, habit_m=0.02)
    assert (np.abs(offset) < 4 * sigma).all()
    # 2 cm at the speed of a walk would be 20 ms
    assert np.abs(offset).max() < 0.003


def test_a_velocity_that_lags_is_no_clock() -> None:
    offset, sigma = follow(30, dt_s=np.array([0.02, -0.02, 0.01, -0.01]))
    assert (np.abs(offset) < 4 * sigma).all()
    assert np.abs(offset).max() < 0.002  # half of 20 ms if it were


def test_nothing_is_said_before_there_are_four_blocks() -> None:
    assert np.isnan(follow(7)[0]).all()
    assert np.isfinite(follow(12)[0]).all()
