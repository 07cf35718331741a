"""Bundle adjustment over the cameras of a walk, with the joints as points: places, clocks, and how sure they are.

Levenberg and Marquardt's method on the reduced equations of the cameras (:mod:`calibration.people.kernels`). The
standard deviations come from the scatter of the scores between stretches of time and between joints (a sandwich
estimate clustered in two ways: Cameron, Gelbach and Miller 2011), because a detector that sees a hip too high does so
for as long as a person stands that way: its errors are alike within a joint and within a moment, not independent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people import kernels
from kinecast.calibration.people.camera_poses import CameraPoses, free_directions, without_free
from kinecast.calibration.people.kernels import CAMERA
from kinecast.calibration.people.walk import Walk

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SCALE = 4.0  # σ from which a residual is worth little: of good keypoints 1 in 3000 is beyond
STRETCHES = 12
STEPS = 40
ENOUGH = 1e-6  # share of the cost: a step that brings less ends it
WIDEN = 1.25  # the sandwich of a dozen stretches is too narrow: measured on synthetic walks, see the documentation


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A walk as the M points that two or more views give. Arrays (M, C, …) of xy, velocity, sigma; row, joint (M,)."""

    xy: Float
    velocity: Float
    sigma: Float
    row: Int
    joint: Int
    cell: Int
    focal_px: Float


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """What came of it. points: (N, J, 3) metres, NaN where unknown. cov: (7C, 7C) of ω, τ, δ of each camera.

    N, b: (7C, 7C) and (7C,) reduced normal equations at the end, in units of the dispersion: sigma_factor × the σ
    given. residual_px: (M, C) distance of every view from its point. cost: robust, of all points.
    """

    places: CameraPoses
    points: Float
    cov: Float
    normal: Float
    residual_px: Float
    cost: float
    sigma_factor: float

    @property
    def median_px(self) -> float:
        """Median residual of all views of all points."""
        return float(np.nanmedian(self.residual_px)) if np.isfinite(self.residual_px).any() else np.nan


def data_of(walk: Walk) -> Data:
    """The points of a walk."""
    there = walk.seen().transpose(0, 2, 1)  # (N, J, C)
    row, joint = np.nonzero(there.sum(axis=2) >= 2)
    take = there[row, joint]
    xy = np.where(take[..., None], walk.xy.transpose(0, 2, 1, 3)[row, joint], 0.0)
    velocity = np.where(take[..., None], walk.velocity.transpose(0, 2, 1, 3)[row, joint], 0.0)
    sigma = np.where(take, walk.sigma.transpose(0, 2, 1)[row, joint], np.inf)
    cell = walk.stretches(STRETCHES)[row] * len(walk.roles.names) + joint
    c = np.ascontiguousarray
    return Data(c(xy), c(np.nan_to_num(velocity)), c(sigma), row, joint, c(cell), walk.focal_px)


def _points(data: Data, places: CameraPoses, sigma: Float, c2: float) -> Float:
    X = np.full((len(data.row), 3), np.nan)
    kernels.triangulate(places.R, places.t, places.delta_s, data.xy, data.velocity, sigma, c2, X)
    return X


def _residual_px(data: Data, places: CameraPoses, X: Float) -> Float:
    out = np.full(data.sigma.shape, np.nan)
    kernels.residuals(places.R, places.t, places.delta_s, X, data.xy, data.velocity, data.sigma, out)
    return out * data.focal_px


def sigma_factor_of(data: Data, places: CameraPoses, X: Float) -> float:
    """How much wider the residuals scatter than their σ say, by the median; points take some of it with them."""
    out = np.full(data.sigma.shape, np.nan)
    kernels.residuals(places.R, places.t, places.delta_s, X, data.xy, data.velocity, data.sigma, out)
    with np.errstate(invalid="ignore"):
        ratio = out / data.sigma
    views = np.isfinite(ratio).sum(axis=1)
    kept = np.sqrt(np.maximum(1 - 3 / np.maximum(2 * views, 3.5), 0.1))  # of 2n numbers, 3 go into the point
    ratio = ratio / kept[:, None]
    return float(np.clip(np.nanmedian(ratio) / 1.177, 0.2, 100.0)) if np.isfinite(ratio).any() else 1.0


def triangulated(walk: Walk, places: CameraPoses, scale: float = SCALE) -> Bundle:
    """Only the points, the cameras as they are; no covariance."""
    data = data_of(walk)
    X = _points(data, places, data.sigma, scale**2)
    sigma_factor = sigma_factor_of(data, places, X)
    X = _points(data, places, data.sigma * sigma_factor, scale**2)
    C = len(places) * CAMERA
    cost = kernels.total_cost(
        places.R, places.t, places.delta_s, X, data.xy, data.velocity, data.sigma * sigma_factor, scale**2
    )
    return Bundle(
        places, _whole(walk, data, X), np.full((C, C), np.nan), np.zeros((C, C)), _residual_px(data, places, X),
        float(cost), sigma_factor,
    )  # fmt: skip


def _whole(walk: Walk, data: Data, X: Float) -> Float:
    out = np.full((len(walk), walk.sigma.shape[2], 3), np.nan)
    out[data.row, data.joint] = X
    return out


def adjust(
    walk: Walk,
    start: CameraPoses,
    *,
    places: NDArray[np.bool_] | bool = True,
    clocks: NDArray[np.bool_] | bool = False,
    prior: Float | None = None,
    scale: float = SCALE,
    sigma_factor: float | None = None,
) -> Bundle:
    """The cameras that fit a walk best, from ``start``.

    places, clocks: (C,) or one for all, whose place and whose clock is looked for. Where all clocks are free their mean
    stays. prior: (7C,) standard deviations that keep each camera at its start, inf for none. scale: of the robust loss,
    in σ. sigma_factor: by how much the σ of the walk are widened; by default what its residuals say.
    Free directions (``places.free_directions``) are left where they are; align the result before it is compared.
    """
    C = len(start)
    move, tell = np.broadcast_to(places, C), np.broadcast_to(clocks, C)
    free = np.repeat(np.stack([move, tell], axis=1), [6, 1], axis=1).ravel()
    data = data_of(walk)
    now, c2 = start, scale**2
    X = _points(data, now, data.sigma, c2)
    if sigma_factor is None:
        sigma_factor = sigma_factor_of(data, now, X)
    hold = (
        np.zeros(CAMERA * C)
        if prior is None
        else np.where(np.isfinite(prior), 1.0, 0.0) / np.maximum(prior, 1e-12) ** 2
    )
    level = np.zeros((CAMERA * C,) * 2)
    if tell.all():
        level[6::CAMERA, 6::CAMERA] = 1e6 / C
    for again in range(3):  # the spread is known only once the cameras stand right
        sigma = data.sigma * sigma_factor
        X = _points(data, now, sigma, c2)
        now, X, cost = _descend(data, sigma, c2, now, X, start, free, hold, level)
        wider = sigma_factor_of(data, now, X)
        if again == 2 or abs(wider / sigma_factor - 1) < 0.05:
            break
        sigma_factor = wider
    cov, N = _covariance(data, sigma, c2, now, X, start, free, hold, level)
    return Bundle(now, _whole(walk, data, X), cov, N, _residual_px(data, now, X), cost, sigma_factor)


def _descend(  # type: ignore[no-untyped-def]
    data: Data, sigma: Float, c2: float, now: CameraPoses, X: Float, start: CameraPoses, free, hold, level
) -> tuple[CameraPoses, Float, float]:
    C = CAMERA * len(now)
    scores = np.zeros((int(data.cell.max(initial=0)) + 1, C))
    damp, cost = 1e-4, _cost(data, sigma, c2, now, X, start, hold)
    quiet = 0
    for step_number in range(STEPS):
        N, b = np.zeros((C, C)), np.zeros(C)
        kernels.reduced(now.R, now.t, now.delta_s, X, data.xy, data.velocity, sigma, c2, damp, data.cell, N, b, scores)
        off = start.step_to(now)
        N[np.diag_indices(C)] += hold
        b -= hold * off
        A = (N + level)[np.ix_(free, free)]
        A[np.diag_indices(len(A))] *= 1 + damp
        A[np.diag_indices(len(A))] += 1e-9 * max(1e-30, float(np.trace(A)) / max(1, len(A)))
        step = np.zeros(C)
        if free.any():
            step[free] = np.linalg.solve(A, b[free])
        there = now.moved(step)
        points = np.empty_like(X)
        kernels.back(now.R, now.t, now.delta_s, X, data.xy, data.velocity, sigma, c2, damp, step, points)
        new = _cost(data, sigma, c2, there, points, start, hold)
        if new < cost:
            quiet = quiet + 1 if cost - new < ENOUGH * cost else 0
            now, X, cost, damp = there, points, new, max(damp / 5, 1e-9)
            if step_number % 5 == 4:  # a point that a wrong view had caught may be let go now
                fresh = _points(data, now, sigma, c2)
                better = _cost(data, sigma, c2, now, fresh, start, hold)
                if better < cost:
                    X, cost = fresh, better
        else:
            damp *= 10
        if quiet >= 2 or damp > 1e6:
            break
    return now, X, cost


def _cost(data: Data, sigma: Float, c2: float, at: CameraPoses, X: Float, start: CameraPoses, hold: Float) -> float:
    pull = float((hold * start.step_to(at) ** 2).sum()) if hold.any() else 0.0
    return pull + float(kernels.total_cost(at.R, at.t, at.delta_s, X, data.xy, data.velocity, sigma, c2))


def _covariance(  # type: ignore[no-untyped-def]
    data: Data, sigma: Float, c2: float, now: CameraPoses, X: Float, start: CameraPoses, free, hold, level
) -> tuple[Float, Float]:
    """(7C, 7C) covariance, free directions taken out where every place is free, and the normal matrix."""
    C = CAMERA * len(now)
    size = int(data.cell.max(initial=0)) + 1
    scores, N, b = np.zeros((size, C)), np.zeros((C, C)), np.zeros(C)
    kernels.reduced(now.R, now.t, now.delta_s, X, data.xy, data.velocity, sigma, c2, 0.0, data.cell, N, b, scores)
    N[np.diag_indices(C)] += hold
    A = N + level
    gauge = free.reshape(-1, CAMERA)[:, :6].all() and not hold.any()
    if gauge:
        G = free_directions(now)
        A = A + 1e3 * np.trace(A) / C * (G @ G.T)
    inverse = np.zeros((C, C))
    inverse[np.ix_(free, free)] = np.linalg.pinv(A[np.ix_(free, free)], rcond=1e-14, hermitian=True)
    meat = _meat(scores, data)
    cov = inverse @ (meat * WIDEN**2) @ inverse
    model = inverse @ N @ inverse
    for i in range(C):  # never surer than independent noise would allow
        grow = np.sqrt(max(1.0, model[i, i] / max(cov[i, i], 1e-300))) if cov[i, i] > 0 else 1.0
        cov[i] *= grow
        cov[:, i] *= grow
    if gauge:
        P = without_free(now)
        cov = P @ cov @ P.T
    return cov, N


def _meat(scores: Float, data: Data) -> Float:
    """(7C, 7C) Σ of the scores' outer products over stretches, plus over joints, less over cells."""
    cells, first = np.unique(data.cell, return_index=True)
    joint = data.joint[first]
    own = scores[cells]

    def summed(group: Int) -> Float:
        names, place = np.unique(group, return_inverse=True)
        total = np.zeros((len(names), own.shape[1]))
        np.add.at(total, place, own)
        return np.asarray(total.T @ total * (len(names) / max(1, len(names) - 1)))

    both = summed(cells - joint) + summed(joint) - own.T @ own
    value, vector = np.linalg.eigh(both)
    return np.asarray((vector * np.maximum(value, 0)) @ vector.T)
