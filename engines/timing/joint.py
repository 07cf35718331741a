"""Clock and pose of every camera at once from the residuals of triangulated joints, with the points taken out.

To first order a view x_c of a joint at X with velocity V differs from its projection by A_c dX − A_c V δ_c + R_c ω_c:
what the point is off, what the camera's clock is ahead, what the camera has turned. Eliminating dX joint by joint (the
Schur complement, as in bundle adjustment: Triggs et al. 2000) leaves normal equations in (δ, ω) of all cameras. No
camera pulls a point towards itself, and motion and a turned camera are told apart because only one goes with V. V is
the mean velocity of the body: that of one joint is so noisy while it is filtered causally that it would shrink δ.
"""

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from kinecast.engines.observations import CameraArrays
from kinecast.engines.triangulate.kernels import inverse3
from kinecast.engines.triangulate.solve import SIGMA_BODY_M, SIGMA_PX

Float = NDArray[np.float64]

UNKNOWNS = 4  # of a camera: δ in seconds, ω in radians about its x, y and z
SCALE = 8.0  # σ at which a residual counts a quarter: a camera that turned must still be heard
LEAST_JOINTS = 4  # that give a body its velocity
PER_SET = 5  # joints of one frame set; the next set takes the next ones. 150 a second are plenty


@nb.njit(cache=True)
def _add(P, focal, xy, confidence, X, V, first, most, noise, N, b, trend):  # type: ignore[no-untyped-def]
    people, cameras, joints = confidence.shape
    total = people * joints
    A = np.zeros((cameras, 2, 3))
    B = np.zeros((cameras, 2, 4))
    r = np.zeros((cameras, 2))
    w = np.zeros(cameras)
    H = np.zeros(6)
    M = np.zeros((3, 3))
    G = np.zeros((cameras, 3, 4))
    ar, dx, x, MG, AM = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros((3, 4)), np.zeros((2, 3))
    mean = np.zeros((people, 3))
    for p in range(people):
        n = 0
        for j in range(joints):
            if math.isfinite(V[p, j, 0]) and math.isfinite(X[p, j, 0]):
                for i in range(3):
                    mean[p, i] += V[p, j, i]
                n += 1
        for i in range(3):
            mean[p, i] = mean[p, i] / n if n >= LEAST_JOINTS else np.nan
    taken = 0
    at = first
    for step in range(total):
        at = (first + step) % total
        p, j = at // joints, at % joints
        if not (math.isfinite(X[p, j, 0]) and math.isfinite(mean[p, 0])):
            continue
        n = 0
        H[:] = 0.0
        for c in range(cameras):
            w[c] = 0.0
            if not (confidence[p, c, j] > 0 and math.isfinite(xy[p, c, j, 0])):
                continue
            for i in range(3):
                x[i] = P[c, i, 0] * X[p, j, 0] + P[c, i, 1] * X[p, j, 1] + P[c, i, 2] * X[p, j, 2] + P[c, i, 3]
            z = x[2]
            if not z > 0.05:
                continue
            u, v = x[0] / z, x[1] / z
            r[c, 0], r[c, 1] = xy[p, c, j, 0] - u, xy[p, c, j, 1] - v
            s = math.hypot(SIGMA_PX / focal[c], SIGMA_BODY_M / z) / confidence[p, c, j]
            g = 1.0 / (1.0 + (r[c, 0] ** 2 + r[c, 1] ** 2) / (SCALE * s) ** 2)
            w[c] = (g / s) ** 2
            for i in range(3):
                A[c, 0, i] = (P[c, 0, i] - u * P[c, 2, i]) / z
                A[c, 1, i] = (P[c, 1, i] - v * P[c, 2, i]) / z
            B[c, 0, 0] = -(A[c, 0, 0] * mean[p, 0] + A[c, 0, 1] * mean[p, 1] + A[c, 0, 2] * mean[p, 2])
            B[c, 1, 0] = -(A[c, 1, 0] * mean[p, 0] + A[c, 1, 1] * mean[p, 1] + A[c, 1, 2] * mean[p, 2])
            B[c, 0, 1], B[c, 0, 2], B[c, 0, 3] = -u * v, 1 + u * u, -v
            B[c, 1, 1], B[c, 1, 2], B[c, 1, 3] = -1 - v * v, u * v, u
            k = 0
            for i in range(3):
                for m in range(i, 3):
                    H[k] += w[c] * (A[c, 0, i] * A[c, 0, m] + A[c, 1, i] * A[c, 1, m])
                    k += 1
            n += 1
        if n < 3 or not inverse3(H, M):
            continue
        ar[:] = 0.0  # Σ w Aᵀ r
        for c in range(cameras):
            if w[c] > 0:
                for i in range(3):
                    ar[i] += w[c] * (A[c, 0, i] * r[c, 0] + A[c, 1, i] * r[c, 1])
                    for k in range(4):
                        G[c, i, k] = w[c] * (A[c, 0, i] * B[c, 0, k] + A[c, 1, i] * B[c, 1, k])
        for i in range(3):
            dx[i] = M[i, 0] * ar[0] + M[i, 1] * ar[1] + M[i, 2] * ar[2]
        for c in range(cameras):
            if not w[c] > 0:
                continue
            for k in range(4):
                b[4 * c + k] += w[c] * (B[c, 0, k] * r[c, 0] + B[c, 1, k] * r[c, 1])
                for i in range(3):
                    b[4 * c + k] -= G[c, i, k] * dx[i]
                for m in range(4):
                    N[4 * c + k, 4 * c + m] += w[c] * (B[c, 0, k] * B[c, 0, m] + B[c, 1, k] * B[c, 1, m])
            for i in range(3):
                for k in range(4):
                    MG[i, k] = M[i, 0] * G[c, 0, k] + M[i, 1] * G[c, 1, k] + M[i, 2] * G[c, 2, k]
                for k in range(2):
                    AM[k, i] = A[c, k, 0] * M[0, i] + A[c, k, 1] * M[1, i] + A[c, k, 2] * M[2, i]
            for d in range(cameras):
                if w[d] > 0:
                    for k in range(4):
                        for m in range(4):
                            N[4 * d + k, 4 * c + m] -= (
                                G[d, 0, k] * MG[0, m] + G[d, 1, k] * MG[1, m] + G[d, 2, k] * MG[2, m]
                            )
            # the residual against the point of the others, in closed form: (I − w A M Aᵀ)⁻¹ (r − A dx)
            h00 = 1 - w[c] * (AM[0, 0] * A[c, 0, 0] + AM[0, 1] * A[c, 0, 1] + AM[0, 2] * A[c, 0, 2])
            h01 = -w[c] * (AM[0, 0] * A[c, 1, 0] + AM[0, 1] * A[c, 1, 1] + AM[0, 2] * A[c, 1, 2])
            h11 = 1 - w[c] * (AM[1, 0] * A[c, 1, 0] + AM[1, 1] * A[c, 1, 1] + AM[1, 2] * A[c, 1, 2])
            det = h00 * h11 - h01 * h01
            e0 = r[c, 0] - A[c, 0, 0] * dx[0] - A[c, 0, 1] * dx[1] - A[c, 0, 2] * dx[2]
            e1 = r[c, 1] - A[c, 1, 0] * dx[0] - A[c, 1, 1] * dx[1] - A[c, 1, 2] * dx[2]
            if det > 1e-3:
                alone = math.hypot(h11 * e0 - h01 * e1, h00 * e1 - h01 * e0) / det * focal[c]
                trend[c, 0] += 1
                trend[c, 1] += math.log(max(alone, 1e-3))
        noise[0] += 1
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
        return int(
            _add(cameras.P, cameras.focal_px, xy, confidence, points, velocity, first, most, self._joints, self.N,
                 self.b, self.trend)
        )  # fmt: skip
