"""Bundle adjustment of cameras, lenses and board poses: robust Levenberg–Marquardt with the board poses eliminated.

Every observation belongs to one camera and one board pose, so the normal equations are two block-diagonal parts and
the coupling of the two; eliminating the poses (the Schur complement; Triggs et al. 2000, Bundle adjustment, a modern
synthesis) leaves a dense system of some numbers a camera, whatever the number of poses. Robust by Student's t
distribution, its scale estimated with the rest, so that no threshold in pixels has to be known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Float, LensModel
from kinecast.calibration.lens import LensKind, project
from kinecast.calibration.rigid import cross_matrix, orthonormal, step

Int = NDArray[np.intp]
FREEDOM = 4.0  # of Student's t: heavy enough for a corner that is off by 10 σ to count for nothing
EXTRA = 1  # the time offset of a camera, after its pose and its lens


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """What was seen: N corners.

    camera, pose: (N,) which camera saw it and to which board pose it belongs. point_board_m: (N, 3) where the corner
    is on the board. px: (N, 2). lag_s: (N,) how much later than its board pose the picture was taken.
    """

    camera: Int
    pose: Int
    point_board_m: Float
    px: Float
    lag_s: Float

    def __len__(self) -> int:
        return len(self.px)

    def subset(self, keep: NDArray[np.bool_] | Int) -> "Observations":
        """Only those."""
        return Observations(
            self.camera[keep], self.pose[keep], self.point_board_m[keep], self.px[keep], self.lag_s[keep]
        )


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What is estimated: cam_from_world (C, 4, 4), world_from_board (P, 4, 4), a lens vector a camera.

    twist: (P, 6) the board's motion in its own axes, rad/s and m/s.
    offset_s: (C,) how much later than its stamps say a camera sees.
    """

    cam_from_world: Float
    world_from_board: Float
    lenses: tuple[Float, ...]
    twist: Float
    offset_s: Float


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What is known of a lens before: mean (n,) and information (n, n), the inverse of its covariance."""

    mean: Float
    information: Float


@dataclass(frozen=True, slots=True, eq=False)
class Free:
    """What may move: cameras (C,) whose pose, lens kinds whose named parameters, cameras (C,) whose time offset.

    priors: of each camera's lens, or none at all.
    """

    cameras: NDArray[np.bool_]
    kinds: tuple[LensKind, ...]
    lenses: bool
    offsets: NDArray[np.bool_]
    poses: bool = True
    priors: tuple["Prior", ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Where it ended.

    residual_px: (N, 2) seen − projected. weight: (N,) 0–1. scale_px: the σ of one coordinate. covariance: (M, M) of
    the free numbers of all cameras, camera by camera as ``columns`` says: (camera, name) with names wx wy wz (rad),
    vx vy vz (m, in the camera's axes), those of the lens, and ``offset_s``. undetermined: how many directions beyond
    the gauge the data say nothing about.
    """

    state: State
    residual_px: Float
    weight: Float
    scale_px: float
    covariance: Float
    columns: tuple[tuple[int, str], ...]
    undetermined: int
    iterations: int
    converged: bool

    def sd(self, camera: int, name: str) -> float:
        """Standard deviation of one number; NaN where it was not estimated."""
        if (camera, name) not in self.columns:
            return float("nan")
        at = self.columns.index((camera, name))
        return float(np.sqrt(max(self.covariance[at, at], 0.0)))

    def position_sd_m(self, camera: int) -> float:
        """Standard deviation of where a camera stands, root of the sum over three axes."""
        return float(np.sqrt(sum(self.sd(camera, n) ** 2 for n in ("vx", "vy", "vz"))))


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Residuals (N, 2) and their derivatives: by the numbers of their camera (N, 2, W), of their pose (N, 2, 6)."""

    residual: Float
    by_camera: Float
    by_pose: Float


def linearise(seen: Observations, state: State, models: Sequence[LensModel], derivatives: bool = True) -> Linear:
    """Residuals seen − projected, and the derivatives of the projection (so with the sign of a step)."""
    n, widest = len(seen), max(len(v) for v in state.lenses)
    residual = np.empty((n, 2))
    by_camera = np.zeros((n, 2, 6 + widest + EXTRA)) if derivatives else np.empty((0, 2, 0))
    by_pose = np.empty((n, 2, 6)) if derivatives else np.empty((0, 2, 6))
    lag = seen.lag_s + state.offset_s[seen.camera]
    twist = state.twist[seen.pose]
    moved = seen.point_board_m
    velocity = np.cross(twist[:, :3], moved) + twist[:, 3:]  # of the corner, in the board's axes
    if np.any(twist):
        small = step(twist[:, :3] * lag[:, None], twist[:, 3:] * lag[:, None])
        moved = (small[:, :3, :3] @ moved[..., None])[..., 0] + small[:, :3, 3]
    for c in range(len(state.lenses)):
        at = np.flatnonzero(seen.camera == c)
        if not len(at):
            continue
        T = state.cam_from_world[c] @ state.world_from_board[seen.pose[at]]
        points = (T[:, :3, :3] @ moved[at][..., None])[..., 0] + T[:, :3, 3]
        px, by_point, by_lens = project(models[c], state.lenses[c], points)
        residual[at] = seen.px[at] - px
        if not derivatives:
            continue
        by_camera[at, :, :3] = -by_point @ cross_matrix(points)
        by_camera[at, :, 3:6] = by_point
        by_camera[at, :, 6 : 6 + by_lens.shape[2]] = by_lens
        turned = by_point @ T[:, :3, :3]
        by_camera[at, :, -1] = (turned @ velocity[at][..., None])[..., 0]
        by_pose[at, :, :3] = -turned @ cross_matrix(moved[at])
        by_pose[at, :, 3:] = turned
    return Linear(residual, by_camera, by_pose)


def _layout(state: State, free: Free) -> tuple[list[Float], tuple[tuple[int, str], ...]]:
    """For each camera the (W, f) matrix from its free numbers to all of its, and the names of the free ones."""
    widest = max(len(v) for v in state.lenses)
    bases, columns = [], []
    for c, kind in enumerate(free.kinds):
        parts = []
        if free.cameras[c]:
            part = np.zeros((6 + widest + EXTRA, 6))
            part[:6] = np.eye(6)
            parts.append(part)
            columns += [(c, name) for name in ("wx", "wy", "wz", "vx", "vy", "vz")]
        if free.lenses and kind.free:
            part = np.zeros((6 + widest + EXTRA, len(kind.free)))
            part[6 : 6 + len(state.lenses[c])] = kind.basis(state.lenses[c])
            parts.append(part)
            columns += [(c, name) for name in kind.free]
        if free.offsets[c]:
            part = np.zeros((6 + widest + EXTRA, 1))
            part[-1] = 1.0
            parts.append(part)
            columns.append((c, "offset_s"))
        bases.append(np.concatenate(parts, axis=1) if parts else np.zeros((6 + widest + EXTRA, 0)))
    return bases, tuple(columns)


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """Normal equations: of the cameras A (M, M), a (M,); of the poses B (P, 6, 6), b (P, 6); coupling X (P, M, 6).

    a_by_pose: (P, M) the parts of ``a`` that each pose gives; a_prior (M,) what is known before gives the rest.
    """

    A: Float
    B: Float
    b: Float
    X: Float
    a_by_pose: Float
    a_prior: Float


def _normal(seen: Observations, line: Linear, weight: Float, bases: list[Float], poses: int) -> Normal:
    total = sum(b.shape[1] for b in bases)
    A, X, a = np.zeros((total, total)), np.zeros((poses, total, 6)), np.zeros((poses, total))
    B, b = np.zeros((poses, 6, 6)), np.zeros((poses, 6))
    start = 0
    for c, basis in enumerate(bases):
        at = np.flatnonzero(seen.camera == c)
        width = basis.shape[1]
        if not len(at):
            start += width
            continue
        order = at[np.argsort(seen.pose[at], kind="stable")]
        pose, first = np.unique(seen.pose[order], return_index=True)
        w = weight[order][:, None, None]
        J, P, r = line.by_camera[order] @ basis, line.by_pose[order], line.residual[order]
        JT, PT = np.swapaxes(J * w, 1, 2), np.swapaxes(P * w, 1, 2)
        A[start : start + width, start : start + width] = (JT @ J).sum(axis=0)
        a[pose, start : start + width] = np.add.reduceat((JT @ r[..., None])[..., 0], first)
        X[pose, start : start + width] = np.add.reduceat(JT @ P, first)
        B[pose] += np.add.reduceat(PT @ P, first)
        b[pose] += np.add.reduceat((PT @ r[..., None])[..., 0], first)
        start += width
    return Normal(A, B, b, X, a, np.zeros(total))


def _reduced(normal: Normal, damping: float, poses: bool) -> tuple[Float, Float, Float, Float]:
    """The system of the cameras alone, damped: S (M, M), s by pose (P, M), and B⁻¹Xᵀ (P, 6, M), B⁻¹b (P, 6)."""
    A = normal.A + damping * np.diag(np.diag(normal.A)) + 1e-12 * np.eye(len(normal.A))
    diagonal = np.einsum("pii->pi", normal.B)
    B = normal.B + np.einsum("pi,ij->pij", damping * diagonal + 1e-9, np.eye(6))
    if not poses:
        zero = np.zeros((len(B), 6, len(A)))
        return A, normal.a_by_pose, zero, np.zeros((len(B), 6))
    both = np.linalg.solve(B, np.concatenate([np.swapaxes(normal.X, 1, 2), normal.b[..., None]], axis=2))
    BX, Bb = both[..., :-1], both[..., -1]
    flat = np.swapaxes(normal.X, 0, 1).reshape(len(A), 6 * len(B))
    S = A - flat @ BX.reshape(6 * len(B), len(A))
    return (S + S.T) / 2, normal.a_by_pose - (normal.X @ Bb[..., None])[..., 0], BX, Bb


def _moved(state: State, bases: list[Float], camera_step: Float, pose_step: Float, poses: bool) -> State:
    T, lenses, offset = state.cam_from_world.copy(), list(state.lenses), state.offset_s.copy()
    start = 0
    for c, basis in enumerate(bases):
        d = basis @ camera_step[start : start + basis.shape[1]]
        start += basis.shape[1]
        T[c] = step(d[:3], d[3:6]) @ T[c]
        lenses[c] = lenses[c] + d[6 : 6 + len(lenses[c])]
        offset[c] += d[-1]
    boards = state.world_from_board
    if poses:
        boards = boards @ step(pose_step[:, :3], pose_step[:, 3:])
    return replace(state, cam_from_world=T, world_from_board=boards, lenses=tuple(lenses), offset_s=offset)


def _add_priors(normal: Normal, state: State, free: Free, bases: list[Float], scale: float) -> None:
    """Add what is known of the lenses to the equations of the cameras, which are in px²."""
    start = 0
    for c, basis in enumerate(bases):
        width, n = basis.shape[1], len(state.lenses[c])
        if free.priors and width:
            B, prior = basis[6 : 6 + n], free.priors[c]
            normal.A[start : start + width, start : start + width] += scale**2 * B.T @ prior.information @ B
            gradient = scale**2 * B.T @ prior.information @ (prior.mean - state.lenses[c])
            normal.a_prior[start : start + width] = gradient
        start += width


def _prior_cost(state: State, free: Free) -> float:
    return sum(
        0.5 * float((lens - p.mean) @ p.information @ (lens - p.mean))
        for lens, p in zip(state.lenses, free.priors or (), strict=False)
    )


def t_weight(residual: Float, scale: float) -> Float:
    """(N,) weights of Student's t for (N, 2) residuals."""
    return np.asarray((FREEDOM + 2) / (FREEDOM + (residual**2).sum(axis=1) / scale**2))


def t_scale(residual: Float, start: float | None = None) -> float:
    """σ of one coordinate by maximum likelihood of Student's t (EM); from the median where no start is given."""
    r2 = (residual**2).sum(axis=1)
    scale = start or max(float(np.sqrt(np.median(r2) / 1.386)), 1e-6)  # the median of χ² with 2 degrees is 1.386
    for _ in range(12):
        w = (FREEDOM + 2) / (FREEDOM + r2 / scale**2)
        scale = max(float(np.sqrt((w * r2).sum() / (2 * len(r2)))), 1e-6)
    return scale


def _cost(residual: Float, scale: float) -> float:
    return float((FREEDOM + 2) / 2 * np.log1p((residual**2).sum(axis=1) / (FREEDOM * scale**2)).sum())


def solve(
    seen: Observations,
    state: State,
    models: Sequence[LensModel],
    free: Free,
    *,
    iterations: int = 60,
    gauge: int = 0,
    floors_px: Sequence[float] = (0.0,),
) -> Solution:
    """Minimise the robust reprojection error over all that is free.

    gauge: how many directions cannot be told by the nature of the problem (6 where no camera is held): they are left
    where they are, and the covariance is the smallest one (free network). floors_px: the scale is held above these,
    one after the other: from a rough start, views that are far off must pull before they may count as outliers.
    ``covariance`` takes, number by number, the
    larger of two estimates: that of independent corners, and that of independent views (all corners of one board pose
    err together where the board moves), as the first is too good for a moving board.
    """
    bases, columns = _layout(state, free)
    poses = len(state.world_from_board)
    line = linearise(seen, state, models)
    floors = [f for f in floors_px if f > 0] + [0.0]
    damping, done, count = 1e-3, False, 0
    scale = max(t_scale(line.residual), floors[0])
    while count < iterations and not (done and len(floors) == 1):
        if (done or count % 15 == 14) and len(floors) > 1:
            floors = floors[1:]
        scale = max(t_scale(line.residual), floors[0])
        count += 1
        weight = t_weight(line.residual, scale)
        normal = _normal(seen, line, weight, bases, poses)
        _add_priors(normal, state, free, bases, scale)
        cost = _cost(line.residual, scale) + _prior_cost(state, free)
        while True:
            S, s, BX, Bb = _reduced(normal, damping, free.poses)
            camera_step = _least(S, s.sum(axis=0) + normal.a_prior)
            pose_step = Bb - (BX @ camera_step) if free.poses else np.zeros((poses, 6))
            trial = _moved(state, bases, camera_step, pose_step, free.poses)
            after = _cost(linearise(seen, trial, models, derivatives=False).residual, scale)
            after += _prior_cost(trial, free)
            if after < cost or damping > 1e10:
                break
            damping *= 10
        if after < cost:
            state, damping = trial, max(damping / 10, 1e-9)
        line = linearise(seen, state, models)
        before, scale = scale, max(t_scale(line.residual, scale), floors[0])
        done = cost - after < 1e-6 * len(seen) and abs(scale - before) < 1e-4 * scale
    T = orthonormal(state.cam_from_world)
    state = replace(state, cam_from_world=T, world_from_board=orthonormal(state.world_from_board))
    weight = t_weight(line.residual, scale)
    normal = _normal(seen, line, weight, bases, poses)
    _add_priors(normal, state, free, bases, scale)
    covariance, undetermined = _covariance(normal, len(seen), scale, free.poses, gauge)
    return Solution(
        state, line.residual, np.minimum(weight, 1.0), scale, covariance, columns, undetermined, count, done
    )


def _scaled(S: Float) -> tuple[Float, Float]:
    d = 1 / np.sqrt(np.maximum(np.diag(S), 1e-20))
    return S * d[:, None] * d, d


def _least(S: Float, s: Float) -> Float:
    """S⁻¹s; where there is a gauge the damping has already made S regular."""
    if not len(s):
        return s
    scaled, d = _scaled(S)
    try:
        return np.asarray(np.linalg.solve(scaled + 1e-13 * np.eye(len(s)), s * d) * d)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(scaled, s * d, rcond=1e-12)[0] * d)


def _covariance(normal: Normal, corners: int, scale: float, poses: bool, gauge: int) -> tuple[Float, int]:
    S, s, _, _ = _reduced(normal, 0.0, poses)
    if not len(S):
        return S, 0
    scaled, d = _scaled(S)
    values, vectors = np.linalg.eigh(scaled)
    lost = values < 1e-10 * values[-1]
    lost[:gauge] = True
    inverse = (vectors[:, ~lost] / values[~lost]) @ vectors[:, ~lost].T * d[:, None] * d
    # Fisher information of Student's t in two dimensions is (ν+2)/(ν+4) of that of a Gaussian of its scale
    spent = len(S) - int(lost.sum()) + 6 * len(normal.B) * poses
    loss = (FREEDOM + 4) / (FREEDOM + 2) * 2 * corners / max(2 * corners - spent, 1)
    per_corner = inverse * scale**2 * loss
    views = int((np.abs(s).sum(axis=1) > 0).sum())
    per_view = inverse @ (s.T @ s) @ inverse * views / max(views - len(S) / 6, 1)
    sd = np.sqrt(np.maximum(np.diag(per_corner), 1e-300))
    factor = np.maximum(np.sqrt(np.maximum(np.diag(per_view), 0)) / sd, 1.0)
    return per_corner * factor[:, None] * factor, max(int(lost.sum()) - gauge, 0)
