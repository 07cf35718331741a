"""The best guess of a joint's path from everything before and after: a Kalman filter forwards, then back.

Rauch, Tung and Striebel 1965. State: position and velocity; the acceleration is white noise of power spectral density
``PSD_M2_S3``, so that the path is a smoothing spline whose stiffness follows the covariances of the points. Points that
lie off the path count less (Student's t with FREEDOM degrees, by reweighting), in both directions of time alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel

Float = NDArray[np.float64]

PSD_M2_S3 = 6.0  # best for joints faster than 2 m/s in captured motion (walking, sports); 3 is best for all joints
FLOOR_M = 0.005  # joints are not points: detectors place them differently in every pose
FREEDOM = 4.0
PASSES = 3
BREAK_S = 0.5  # a gap beyond which the path before says nothing of the path after
SPEED_MPS = 3.0  # before the first point


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """One person's J joints at T times: points_m (T, J, 3), velocity_mps (T, J, 3), covariance_m2 (T, J, 3, 3).

    NaN where there was no measurement: nothing is invented.
    """

    points_m: Float
    velocity_mps: Float
    covariance_m2: Float


@kernel
def _pass(t_s, z, R, psd, x, P, xf, Pf, xp, Pp):  # type: ignore[no-untyped-def]
    """One joint, n points without gaps: filter and smoother, into x (n, 6) and P (n, 6, 6)."""
    n = len(t_s)
    eye = np.eye(6)
    F = np.eye(6)
    Q = np.zeros((6, 6))
    for k in range(n):
        if k == 0:
            xp[0] = 0.0
            xp[0, :3] = z[0]
            Pp[0] = 0.0
            for i in range(3):
                # as good as nothing is known before the first point
                Pp[0, i, i] = 100.0
                Pp[0, 3 + i, 3 + i] = SPEED_MPS**2
        else:
            dt = t_s[k] - t_s[k - 1]
            for i in range(3):
                F[i, 3 + i] = dt
                Q[i, i] = psd * dt**3 / 3
                Q[i, 3 + i] = Q[3 + i, i] = psd * dt**2 / 2
                Q[3 + i, 3 + i] = psd * dt
            xp[k] = F @ xf[k - 1]
            Pp[k] = F @ Pf[k - 1] @ F.T + Q
        K = np.ascontiguousarray(Pp[k][:, :3]) @ np.linalg.inv(np.ascontiguousarray(Pp[k][:3, :3]) + R[k])
        xf[k] = xp[k] + K @ (z[k] - xp[k, :3])
        L = eye.copy()
        L[:, :3] -= K
        Pf[k] = L @ Pp[k] @ L.T + K @ R[k] @ K.T
    x[n - 1], P[n - 1] = xf[n - 1], Pf[n - 1]
    for k in range(n - 2, -1, -1):
        dt = t_s[k + 1] - t_s[k]
        for i in range(3):
            F[i, 3 + i] = dt
        G = Pf[k] @ F.T @ np.linalg.inv(Pp[k + 1])
        x[k] = xf[k] + G @ (x[k + 1] - xp[k + 1])
        P[k] = Pf[k] + G @ (P[k + 1] - Pp[k + 1]) @ G.T


@kernel
def _path(t_s, z, R, psd, x, P):  # type: ignore[no-untyped-def]
    n = len(t_s)
    xf, Pf, xp, Pp = np.zeros((n, 6)), np.zeros((n, 6, 6)), np.zeros((n, 6)), np.zeros((n, 6, 6))
    scaled = R.copy()
    for step in range(PASSES):
        _pass(t_s, z, scaled, psd, x, P, xf, Pf, xp, Pp)
        if step < PASSES - 1:
            for k in range(n):
                d = z[k] - x[k, :3]
                far = d @ np.linalg.solve(R[k], d)
                scaled[k] = R[k] * max(1.0, (FREEDOM + far) / (FREEDOM + 3))


def smooth(t_s: Float, points_m: Float, covariance_m2: Float, psd: float = PSD_M2_S3) -> Smoothed:
    """Smooth one person: t_s (T,) ascending seconds, points (T, J, 3) m, NaN where missing, covariance (T, J, 3, 3).

    psd: m²/s³; a larger one follows faster motion and removes less noise.
    """
    out = Smoothed(
        np.full(points_m.shape, np.nan), np.full(points_m.shape, np.nan), np.full(covariance_m2.shape, np.nan)
    )
    floor = np.eye(3) * FLOOR_M**2
    for j in range(points_m.shape[1]):
        there = np.flatnonzero(np.isfinite(points_m[:, j]).all(axis=1) & np.isfinite(covariance_m2[:, j]).all((1, 2)))
        for part in np.split(there, np.flatnonzero(np.diff(t_s[there]) > BREAK_S) + 1):
            if not len(part):
                continue
            x, P = np.zeros((len(part), 6)), np.zeros((len(part), 6, 6))
            _path(t_s[part], points_m[part, j].copy(), covariance_m2[part, j] + floor, psd, x, P)
            out.points_m[part, j], out.velocity_mps[part, j], out.covariance_m2[part, j] = (
                x[:, :3],
                x[:, 3:],
                P[:, :3, :3],
            )
    return out
