"""Clock and pose of every camera at once from the residuals of triangulated joints, with the points taken out.

To first order a view x_c of a joint at X with velocity V differs from its projection by A_c dX − A_c V δ_c + R_c ω_c:
what the point is off, what the camera's clock is ahead, what the camera has turned. Eliminating dX joint by joint (the
Schur complement, as in bundle adjustment: Triggs et al. 2000) leaves normal equations in (δ, ω) of all cameras. No
camera pulls a point towards itself, and motion and a turned camera are told apart because only one goes with V. V is
the mean velocity of the body: that of one joint is so noisy while it is filtered causally that it would shrink δ.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.observations import CameraArrays
from kinecast.engines.triangulate.single_point import inverse3
from kinecast.engines.triangulate.solve import SIGMA_BODY_M, SIGMA_PX

Float = NDArray[np.float64]

UNKNOWNS = 4  # of a camera: δ in seconds, ω in radians about its x, y and z
SCALE = 8.0  # σ at which a residual counts a quarter: a camera that turned must still be heard
JOINTS_FOR_BODY_VELOCITY = 4  # that give a body its velocity
PER_SET = 5  # joints of one frame set; the next set takes the next ones. 150 a second are plenty


class Observed(NamedTuple):
    """One frame set. P: (C, 3, 4), focal: (C,) px. xy: (P, C, J, 2), confidence: (P, C, J), points: (P, J, 3) m."""

    P: Float
    focal: Float
    xy: Float
    confidence: Float
    points: Float


class Sums(NamedTuple):
    """N: (4C, 4C), b: (4C,), trend: (C, 2), see :class:`Normal`; joints: (1,) how many were taken."""

    N: Float
    b: Float
    trend: Float
    joints: Float


class Linear(NamedTuple):
    """A joint in C views: r (C, 2) residuals, A (C, 2, 3) and B (C, 2, 4) their derivatives by point and by δ, ω.

    w: (C,) weights, 0 where not seen. H: (6,) Σ w Aᵀ A, its upper triangle, M: (3, 3) its inverse; G: (C, 3, 4) w Aᵀ B.
    x: (3,) room.
    """

    r: Float
    A: Float
    B: Float
    w: Float
    H: Float
    M: Float
    G: Float
    x: Float


@kernel
def _body_velocities(points, velocity, out):  # type: ignore[no-untyped-def]
    """out (P, 3) ← mean velocity of the joints of each person, NaN where too few have one."""
    for p in range(points.shape[0]):
        n = 0
        for j in range(points.shape[1]):
            if math.isfinite(velocity[p, j, 0]) and math.isfinite(points[p, j, 0]):
                for i in range(3):
                    out[p, i] += velocity[p, j, i]
                n += 1
        for i in range(3):
            out[p, i] = out[p, i] / n if n >= JOINTS_FOR_BODY_VELOCITY else np.nan


@kernel
def linearise(seen, p, j, V, one):  # type: ignore[no-untyped-def]
    """Number of views of joint j of person p; ``one`` ← its residuals, derivatives and weights. V: (3,) of the body."""
    n, X, x, A, B, r = 0, seen.points[p, j], one.x, one.A, one.B, one.r
    one.H[:] = 0.0
    for c in range(one.w.shape[0]):
        P = seen.P[c]
        one.w[c] = 0.0
        if not (seen.confidence[p, c, j] > 0 and math.isfinite(seen.xy[p, c, j, 0])):
            continue
        for i in range(3):
            x[i] = P[i, 0] * X[0] + P[i, 1] * X[1] + P[i, 2] * X[2] + P[i, 3]
        z = x[2]
        if not z > 0.05:
            continue
        u, v = x[0] / z, x[1] / z
        r[c, 0], r[c, 1] = seen.xy[p, c, j, 0] - u, seen.xy[p, c, j, 1] - v
        s = math.hypot(SIGMA_PX / seen.focal[c], SIGMA_BODY_M / z) / seen.confidence[p, c, j]
        g = 1.0 / (1.0 + (r[c, 0] ** 2 + r[c, 1] ** 2) / (SCALE * s) ** 2)
        one.w[c] = (g / s) ** 2
        for i in range(3):
            A[c, 0, i] = (P[0, i] - u * P[2, i]) / z
            A[c, 1, i] = (P[1, i] - v * P[2, i]) / z
        B[c, 0, 0] = -(A[c, 0, 0] * V[0] + A[c, 0, 1] * V[1] + A[c, 0, 2] * V[2])
        B[c, 1, 0] = -(A[c, 1, 0] * V[0] + A[c, 1, 1] * V[1] + A[c, 1, 2] * V[2])
        B[c, 0, 1], B[c, 0, 2], B[c, 0, 3] = -u * v, 1 + u * u, -v
        B[c, 1, 1], B[c, 1, 2], B[c, 1, 3] = -1 - v * v, u * v, u
        k = 0
        for i in range(3):
            for m in range(i, 3):
                one.H[k] += one.w[c] * (A[c, 0, i] * A[c, 0, m] + A[c, 1, i] * A[c, 1, m])
                k += 1
        n += 1
    return n


@kernel
def _best_shift(one, dx):  # type: ignore[no-untyped-def]
    """dx (3,) ← M Σ w Aᵀ r, what the views say the point is off; ``one.G`` ← w Aᵀ B."""
    A, B, r, w, M, ar = one.A, one.B, one.r, one.w, one.M, one.x
    ar[:] = 0.0
    for c in range(w.shape[0]):
        if w[c] > 0:
            for i in range(3):
                ar[i] += w[c] * (A[c, 0, i] * r[c, 0] + A[c, 1, i] * r[c, 1])
                for k in range(4):
                    one.G[c, i, k] = w[c] * (A[c, 0, i] * B[c, 0, k] + A[c, 1, i] * B[c, 1, k])
    for i in range(3):
        dx[i] = M[i, 0] * ar[0] + M[i, 1] * ar[1] + M[i, 2] * ar[2]


@kernel
def _add_reduced(one, c, dx, MG, sums):  # type: ignore[no-untyped-def]
    """Add the column of camera c to the normal equations, the point taken out. MG: (3, 4) room."""
    B, r, w, M, G, N, b = one.B, one.r, one.w, one.M, one.G, sums.N, sums.b
    for k in range(4):
        b[4 * c + k] += w[c] * (B[c, 0, k] * r[c, 0] + B[c, 1, k] * r[c, 1])
        for i in range(3):
            b[4 * c + k] -= G[c, i, k] * dx[i]
        for m in range(4):
            N[4 * c + k, 4 * c + m] += w[c] * (B[c, 0, k] * B[c, 0, m] + B[c, 1, k] * B[c, 1, m])
    for i in range(3):
        for k in range(4):
            MG[i, k] = M[i, 0] * G[c, 0, k] + M[i, 1] * G[c, 1, k] + M[i, 2] * G[c, 2, k]
    for d in range(w.shape[0]):
        if w[d] > 0:
            for k in range(4):
                for m in range(4):
                    N[4 * d + k, 4 * c + m] -= G[d, 0, k] * MG[0, m] + G[d, 1, k] * MG[1, m] + G[d, 2, k] * MG[2, m]


@kernel
def _left_out(one, c, dx):  # type: ignore[no-untyped-def]
    """Length of the residual of camera c against the point of the others: (I − w A M Aᵀ)⁻¹ (r − A dx); NaN without."""
    A, w, M = one.A[c], one.w[c], one.M
    a0 = A[0, 0] * M[0, 0] + A[0, 1] * M[1, 0] + A[0, 2] * M[2, 0]
    a1 = A[0, 0] * M[0, 1] + A[0, 1] * M[1, 1] + A[0, 2] * M[2, 1]
    a2 = A[0, 0] * M[0, 2] + A[0, 1] * M[1, 2] + A[0, 2] * M[2, 2]
    b0 = A[1, 0] * M[0, 0] + A[1, 1] * M[1, 0] + A[1, 2] * M[2, 0]
    b1 = A[1, 0] * M[0, 1] + A[1, 1] * M[1, 1] + A[1, 2] * M[2, 1]
    b2 = A[1, 0] * M[0, 2] + A[1, 1] * M[1, 2] + A[1, 2] * M[2, 2]
    h00 = 1 - w * (a0 * A[0, 0] + a1 * A[0, 1] + a2 * A[0, 2])
    h01 = -w * (a0 * A[1, 0] + a1 * A[1, 1] + a2 * A[1, 2])
    h11 = 1 - w * (b0 * A[1, 0] + b1 * A[1, 1] + b2 * A[1, 2])
    det = h00 * h11 - h01 * h01
    if not det > 1e-3:
        return np.nan
    e0 = one.r[c, 0] - A[0, 0] * dx[0] - A[0, 1] * dx[1] - A[0, 2] * dx[2]
    e1 = one.r[c, 1] - A[1, 0] * dx[0] - A[1, 1] * dx[1] - A[1, 2] * dx[2]
    return math.hypot(h11 * e0 - h01 * e1, h00 * e1 - h01 * e0) / det


@kernel
def _add(seen, velocity, first, most, sums):  # type: ignore[no-untyped-def]
    """Take up to ``most`` joints from number ``first`` on into ``sums``; returns the number to go on with."""
    people, C, joints = seen.confidence.shape
    total = people * joints
    one = Linear(
        np.zeros((C, 2)), np.zeros((C, 2, 3)), np.zeros((C, 2, 4)), np.zeros(C), np.zeros(6), np.zeros((3, 3)),
        np.zeros((C, 3, 4)), np.zeros(3),
    )  # fmt: skip
    dx, MG, mean = np.zeros(3), np.zeros((3, 4)), np.zeros((people, 3))
    _body_velocities(seen.points, velocity, mean)
    taken, at = 0, first
    for step in range(total):
        at = (first + step) % total
        p, j = at // joints, at % joints
        if not (math.isfinite(seen.points[p, j, 0]) and math.isfinite(mean[p, 0])):
            continue
        if linearise(seen, p, j, mean[p], one) < 3 or not inverse3(one.H, one.M):
            continue
        _best_shift(one, dx)
        for c in range(C):
            if one.w[c] > 0:
                _add_reduced(one, c, dx, MG, sums)
                left_out = _left_out(one, c, dx) * seen.focal[c]
                if math.isfinite(left_out):
                    sums.trend[c, 0] += 1
                    sums.trend[c, 1] += math.log(max(left_out, 1e-3))
        sums.joints[0] += 1
        taken += 1
        if taken == most:
            break
    return at + 1


class Normal:
    """Normal equations of (δ, ω) of C cameras, filled joint by joint; a function of what it was given alone.

    N: (4C, 4C), b: (4C,). joints: how many were taken. trend: (C, 2) how many residuals against the point of the other
    cameras, and the sum of the logarithms of their lengths in pixels.
    """

    def __init__(self, cameras: int) -> None:
        self.N, self.b = np.zeros((UNKNOWNS * cameras,) * 2), np.zeros(UNKNOWNS * cameras)
        self.trend = np.zeros((cameras, 2))
        self._joints = np.zeros(1)

    @property
    def joints(self) -> float:
        """How many joints were taken."""
        return float(self._joints[0])

    def add(
        self, cameras: CameraArrays, xy: Float, confidence: Float, points: Float, velocity: Float, first: int,
        most: int = PER_SET,
    ) -> int:  # fmt: skip
        """Take up to ``most`` joints of one frame set that three views or more give, from number ``first`` on.

        xy (P, C, J, 2) undistorted normalised, moved to the time of the set; confidence (P, C, J); points (P, J, 3)
        metres; velocity (P, J, 3) m/s. Returns the number to go on with.
        """
        seen = Observed(cameras.P, cameras.focal_px, xy, confidence, points)
        sums = Sums(self.N, self.b, self.trend, self._joints)
        return int(_add(seen, velocity, first, most, sums))
