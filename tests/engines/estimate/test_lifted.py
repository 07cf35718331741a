"""Errors that last are learnt and not averaged away."""

from itertools import pairwise

import numpy as np
import pytest

from kinecast.engines.estimate import kalman_kernels, lifted_kernels, root_kernels
from kinecast.engines.estimate.lifted import JOINT_TAU_S, LiftedViews, LiftMemory
from kinecast.engines.estimate.root_filter import SHARES, SIDE_TAU_S
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import ring_rig

RIG = ring_rig(3)
CAMERAS = camera_arrays(RIG)
HALPE = skeleton("halpe26")
J, ROOT, WRIST = len(HALPE), HALPE.index("mid_hip"), HALPE.index("left_wrist")
FEET = [j for j, name in enumerate(HALPE.joints) if name.endswith(("ankle", "heel", "toe"))]
DT_NS = 33_333_333
SD = (0.02, 0.02, 0.06)
BODY = np.random.default_rng(0).normal(0, (0.2, 0.2, 0.4), (J, 3))
BODY[ROOT] = 0.0


class Scene:
    """A body before three cameras. Its lifters take it for larger by ``log``, its wrist errs by ``joint`` metres.

    views: those that lift. up: as the memory is told.
    """

    def __init__(
        self,
        log: float = 0.0,
        joint: float = 0.0,
        depth_sd: float = 0.1,
        views: tuple[int, ...] = (0, 1, 2),
        up: np.ndarray | None = None,
    ) -> None:
        self.memory = LiftMemory(CAMERAS, HALPE, up=up)
        self.log, self.joint, self.depth_sd, self.views = log, joint, depth_sd, views
        self.sigma = np.full((1, 3, J), 0.002)
        self.t_ns = 0
        self.memory.keep_tracks(np.array([7]))
        self.stand(1.0)

    def stand(self, height: float) -> None:
        """The root is so high."""
        self.points = (BODY + np.array([0.3, -0.2, height]))[None]
        local = np.einsum("cia,tja->tcji", CAMERAS.P[:, :, :3], self.points) + CAMERAS.P[:, None, :, 3]
        self.xy = local[..., :2] / local[..., 2:]
        relative = np.exp(self.log) * (local - local[:, :, ROOT : ROOT + 1])
        relative[:, :, WRIST, 2] += self.joint
        relative[:, [c for c in range(3) if c not in self.views]] = np.nan
        sd, depth_sd = np.broadcast_to(SD, (1, 3, J, 3)).copy(), np.full((1, 3), self.depth_sd)
        self.lifted = LiftedViews(relative, sd, local[:, :, ROOT] * np.exp(self.log), depth_sd)

    def go(self, sets: int, one: int = -1, hidden: tuple[int, ...] = ()) -> None:
        for _ in range(sets):
            self.t_ns += DT_NS
            points = self.points.copy()
            points[:, list(hidden)] = np.nan
            if one >= 0:
                points[:] = np.nan
            covariance = np.where(np.isfinite(points)[..., None], 0.01**2 * np.eye(3), np.nan)
            self.memory.learn(self.t_ns, self.lifted, points, covariance, np.array([one]), self.xy, self.sigma)

    def placed(self, one: int = -1, ray: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Errors (J, 3) and covariances (J, 3, 3) of all joints."""
        rays = np.zeros((1, 3, J), np.bool_)
        rays[0, one] = ray and one >= 0
        placed = self.memory.place(self.lifted, self.xy, self.sigma, rays)
        return placed.points_m[0] - self.points[0], placed.slow_m2[0]


def test_a_size_that_was_learnt_stays_and_the_rest_of_a_depth_fades() -> None:
    scene = Scene(log=0.1)
    scene.go(60)
    distance = float(np.linalg.norm(RIG["cam01"].centre_world - scene.points[0, ROOT]))
    scene.go(1, one=0)
    error, covariance = scene.placed(one=0)
    assert np.linalg.norm(error.mean(axis=0)) < 0.1 * 0.1 * distance  # nine tenths are known
    scene.go(round(2 * SIDE_TAU_S * 30), one=0)
    late, unsure = scene.placed(one=0)
    assert np.linalg.norm(late.mean(axis=0)) < 0.25 * 0.1 * distance
    # what comes with the side and with poses is not known any more; both are as large as the lifter says, in part
    stated = 0.1 * distance * np.hypot(SHARES[1], SHARES[2])
    assert np.sqrt(np.trace(covariance[ROOT])) < np.sqrt(np.trace(unsure[ROOT])) < 1.5 * stated
    assert np.sqrt(np.trace(unsure[ROOT])) > 0.5 * stated


def test_the_ground_keeps_who_stands_on_it() -> None:
    """One view's lifter errs by a tenth of the depth after the others went: who stands on known ground stays there."""
    off = []
    for up in (None, np.array([0.0, 0.0, 1.0])):
        scene = Scene(up=up)
        scene.go(90)
        scene.log = 0.1
        scene.stand(1.0)
        scene.go(150, one=0)
        off.append(float(np.linalg.norm(scene.placed(one=0)[0].mean(axis=0))))
    assert off[1] < 0.6 * off[0]


def test_who_jumps_before_one_view_comes_no_nearer() -> None:
    scene = Scene(up=np.array([0.0, 0.0, 1.0]))
    scene.sigma[..., FEET] = 0.0  # the ground is not to tell
    scene.go(60)
    ray = scene.points[0, ROOT] - RIG["cam01"].centre_world
    nearer = []
    for k in range(240):
        scene.stand(1.0 + 0.25 * np.sin(2 * np.pi * 1.2 * k / 30))
        scene.go(1, one=0)
        error = scene.placed(one=0)[0][ROOT]
        nearer.append(float(error @ ray) / np.linalg.norm(ray))
    assert abs(np.mean(nearer[-60:])) < 0.02 * np.linalg.norm(ray)


def test_the_lower_foot_is_where_its_ray_is_at_the_lifted_depth() -> None:
    scene = Scene()
    up, feet = np.array([0.0, 0.0, 1.0]), np.array([[HALPE.index("left_heel")], [HALPE.index("right_heel")]])
    foot, foot_sd = np.zeros((1, 3, 2)), np.zeros((1, 3))
    R, t = np.ascontiguousarray(CAMERAS.P[:, :, :3]), np.ascontiguousarray(CAMERAS.P[:, :, 3])
    root = scene.points[:, ROOT]
    for still, there in ((0.0, True), (1.0, False)):  # a foot that moves stands on nothing
        root_kernels.lower_foot(
            root, R, t, up, scene.lifted.relative_m, scene.lifted.sd_m, scene.xy, scene.sigma,
            np.full((1, 3, 2), still), feet, np.zeros(1), foot, foot_sd,
        )  # fmt: skip
        told = np.isfinite(foot[0, :, 0])  # not where its ray is too flat
        assert told.any() == there
        if there:
            depth = np.einsum("ci,i->c", R[:, 2], root[0]) + t[:, 2]
            low = (foot[0, :, 0] + foot[0, :, 1] * depth)[told]
            np.testing.assert_allclose(low, scene.points[0, feet, 2].min())


def test_many_sets_make_a_lifted_depth_no_surer() -> None:
    scene = Scene(depth_sd=0.1)
    scene.go(30)
    seen = []
    for _ in range(6):
        scene.go(60, one=1)
        seen.append(float(np.sqrt(np.trace(scene.placed(one=1)[1][ROOT]))))
    assert all(b >= 0.98 * a for a, b in pairwise(seen))


def test_an_error_of_a_joint_is_learnt_and_kept_while_it_is_hidden() -> None:
    scene = Scene(joint=0.12, views=(0,))
    scene.go(45)
    scene.go(3, hidden=(WRIST,))
    early = np.linalg.norm(scene.placed()[0][WRIST])
    scene.go(round(4 * JOINT_TAU_S * 30), hidden=(WRIST,))
    error, covariance = scene.placed()
    assert early < 0.25 * 0.12 < np.linalg.norm(error[WRIST])
    others = np.delete(np.linalg.norm(error, axis=-1), WRIST)
    assert others.max() < 0.02  # of a centimetre of noise that is learnt away
    sd = np.sqrt(np.linalg.eigvalsh(covariance[WRIST]))
    assert sd[0] >= 0.9 * SD[0] and sd[2] == pytest.approx(SD[2], rel=0.3)


def test_a_joint_on_a_ray_is_unsure_along_it_alone() -> None:
    scene = Scene()
    scene.go(30)
    scene.go(5, one=2)
    error, covariance = scene.placed(one=2)
    values, axes = np.linalg.eigh(covariance[WRIST])
    ray = scene.points[0, WRIST] - RIG["cam03"].centre_world
    assert abs(axes[:, 2] @ ray) / np.linalg.norm(ray) > 0.999 and values[1] < 1e-9 < values[2]
    assert np.linalg.norm(np.cross(error[WRIST], ray)) / np.linalg.norm(ray) < 1e-6


def test_an_observation_far_from_the_lifted_joint_is_no_ray() -> None:
    scene = Scene()
    scene.go(30)
    scene.xy = scene.xy.copy()
    scene.xy[:, 0, WRIST] += 0.1  # half a metre at 5 m
    rays = np.zeros((1, 3, J), np.bool_)
    rays[0, 0] = True
    placed = scene.memory.place(scene.lifted, scene.xy, scene.sigma, rays)
    assert placed.view[0, WRIST] == -1 and (np.delete(placed.view[0], WRIST) == 0).all()
    assert np.linalg.norm(placed.points_m[0, WRIST] - scene.points[0, WRIST]) < 0.03


def test_rows_follow_their_tracks() -> None:
    scene = Scene(log=0.1)
    scene.go(30)
    before = scene.placed()[0]
    scene.memory.keep_tracks(np.array([5, 7, 9]))
    scene.memory.keep_tracks(np.array([7]))
    np.testing.assert_array_equal(scene.placed()[0], before)
    scene.memory.keep_tracks(np.array([8]))
    assert np.isnan(scene.placed()[0]).all()


def _slow(P: np.ndarray, z: np.ndarray, R: np.ndarray, times: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros((1, 1, 6))
    C = np.zeros((1, 1, 6, 6))
    C[0, 0, :3, :3], C[0, 0, 3:, 3:] = P, np.eye(3)
    nan = np.full((1, 1, 3), np.nan)
    for _ in range(times):
        kalman_kernels.update_correlated(x, C, z[None, None], nan, np.zeros((1, 1)), R[None, None], 0.0, 1.0)
    return x[0, 0, :3], C[0, 0, :3, :3]


def test_what_errs_slowly_makes_nobody_surer_than_itself() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        A, B = rng.normal(size=(2, 3, 3))
        P, R, z = A @ A.T + 0.1 * np.eye(3), B @ B.T + 0.1 * np.eye(3), rng.normal(size=3)
        x, after = _slow(P, z, R)
        x2, after2 = _slow(P, z, R, times=5)
        np.testing.assert_allclose(after2, after, atol=1e-9)  # said once or five times
        np.testing.assert_allclose(x2, x, atol=1e-9)
        # the smaller of both in the coordinates that make both diagonal
        L = np.linalg.cholesky(R)
        values, U = np.linalg.eigh(np.linalg.solve(L, np.linalg.solve(L, P).T))
        np.testing.assert_allclose(after, L @ U @ np.diag(np.minimum(values, 1)) @ U.T @ L.T, atol=1e-9)


def test_the_better_of_prediction_and_lifted_pose_wins() -> None:
    z = np.array([1.0, 1.0, 1.0])
    sure, _ = _slow(0.01 * np.eye(3), z, np.eye(3))
    lost, covariance = _slow(100.0 * np.eye(3), z, np.eye(3))
    np.testing.assert_array_equal(sure, 0.0)
    np.testing.assert_allclose(lost, 0.99)
    np.testing.assert_allclose(covariance, np.eye(3), atol=1e-9)


def test_the_compiled_sums_are_the_formulas() -> None:
    """Where lifted poses have the root and the joints: weighted means, and the inverse of the information."""
    rng = np.random.default_rng(0)
    R = np.ascontiguousarray(CAMERAS.P[:, :, :3])
    relative, error = rng.normal(0, 0.3, (2, 3, J, 3)), rng.normal(0, 0.05, (2, 3, J, 3))
    var = rng.uniform(1e-3, 1e-2, (2, 3, J, 3))
    points, covariance = rng.normal(0, 1, (2, J, 3)), np.broadcast_to(1e-4 * np.eye(3), (2, J, 3, 3)).copy()
    points[0, :5] = np.nan
    there = np.array([[True, False, True], [True, True, True]])
    said = np.einsum("cia,tcji->tcja", R, relative + error)

    root, root_var = np.zeros((2, 3)), np.zeros(2)
    lifted_kernels.root_of_points(relative, there, error, var, R, points, covariance, 1e-4, 3.0, root, root_var)
    use = there[:, :, None] & np.isfinite(points[:, None, :, 0])
    w = np.where(use, 1 / (2e-4 + var.mean(axis=-1)), 0.0)
    mean = (w[..., None] * (np.nan_to_num(points)[:, None] - said)).sum(axis=(1, 2)) / w.sum(axis=(1, 2))[:, None]
    np.testing.assert_allclose(root, mean, atol=1e-12)
    np.testing.assert_allclose(root_var, np.maximum(use.sum(axis=(1, 2)) / (3 * w.sum(axis=(1, 2))), 1e-4))

    place, P = np.full((2, J, 3), np.nan), np.full((2, J, 3, 3), np.nan)
    at, spread = rng.normal(0, 1, (2, 6)), np.broadcast_to(1e-3 * np.eye(6), (2, 6, 6)).copy()
    lifted_kernels.joints_of_lifted(relative, there, error, var, R, at, spread, 1e-4, place, P)
    each = np.einsum("cia,tcji,cib->tcjab", R, 1 / var, R) * there[:, :, None, None, None]
    C = np.linalg.inv(each.sum(axis=1))
    expected = at[:, None, :3] + np.einsum("tjab,tcjbd,tcjd->tja", C, each, said)
    np.testing.assert_allclose(place, expected, atol=1e-12)
    np.testing.assert_allclose(P, C * there.sum(axis=1)[:, None, None, None] + 1e-3 * np.eye(3), atol=1e-12)
