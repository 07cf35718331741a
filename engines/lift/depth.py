"""Where in the room: the root of a lifted person in its camera, by one of three ways to depth, with its covariance."""

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.lift.rows import Outputs
from kinecast.engines.lift.sigma import Depth, Sigma
from kinecast.engines.virtual_camera import Normalised, root_from_code

F64 = NDArray[np.float64]

NEAREST_M, FARTHEST_M = 0.2, 100.0  # a depth outside is no depth of a person in a picture
KEYPOINT_PX = 4.0  # how far keypoints of one person are off together: what no averaging takes away
DRIFT_M_S = 1.0  # somebody whom a view has lost may walk


def root_in_virtual(
    depth: Depth, out: Outputs, relative_m: F64, relative_sd_m: F64, frames: Normalised, focal_px: F64, lost_s: F64,
    sigma: Sigma,
) -> tuple[F64, F64]:  # fmt: skip
    """Roots (N, 3) in metres and covariances (N, 3, 3), in the rows' virtual cameras; NaN where depth cannot be told.

    The depth is k, γ k or the trajectory model's. Across the ray the root is where the relative pose, at that depth,
    projects best on the joints that were seen. relative_sd_m: (N, J, 3) in the virtual camera. focal_px: (N, 2).
    lost_s: (N,) seconds since the row was last seen; the uncertainty grows with it.
    """
    z, sd_log = _depth(depth, out, frames, sigma)
    image_root = None if out.root_code is None else root_from_code(out.root_code.astype(np.float64), frames.extent)
    guess = np.zeros((len(z), 2)) if image_root is None else image_root[:, :2] / image_root[:, 2:]
    root, covariance = np.full((len(z), 3), np.nan), np.full((len(z), 3, 3), np.nan)
    _place(
        z, sd_log, guess, relative_m, np.ascontiguousarray(relative_sd_m), frames.features, frames.extent, frames.seen,
        focal_px, lost_s, sigma.lateral, root, covariance,
    )  # fmt: skip
    return root, covariance


@kernel
def _place(z, sd_log, guess, relative, sd, features, extent, seen, focal, lost_s, lateral, root, covariance):  # type: ignore[no-untyped-def]
    joints = relative.shape[1]
    say, ax, ay = np.zeros(joints), np.zeros(joints), np.zeros(joints)
    for r in range(len(z)):
        depth = z[r]
        if not (NEAREST_M < depth < FARTHEST_M):
            continue
        x, y, total, squares = 0.0, 0.0, 0.0, 0.0
        for j in range(joints):
            say[j] = features[r, j, 2] / (((sd[r, j, 0] + sd[r, j, 1]) / 2) ** 2 + 1e-4)
            total += say[j]
        drift = (DRIFT_M_S * lost_s[r]) ** 2
        if seen[r] and total > 0:
            for j in range(joints):
                say[j] /= total
                distance = extent[r] * max(depth + relative[r, j, 2], NEAREST_M)
                ax[j] = features[r, j, 0] * distance - relative[r, j, 0]
                ay[j] = features[r, j, 1] * distance - relative[r, j, 1]
                x, y, squares = x + say[j] * ax[j], y + say[j] * ay[j], squares + say[j] * say[j]
            variance = 0.0
            for j in range(joints):
                variance += say[j] * ((ax[j] - x) ** 2 + (ay[j] - y) ** 2) / 2
            # joints of one limb err together: about four of them count as one
            variance /= max(1 / (4 * squares), 1.0)
            variance += (depth * KEYPOINT_PX / ((focal[r, 0] + focal[r, 1]) / 2)) ** 2
        else:
            x, y = guess[r, 0] * depth, guess[r, 1] * depth
            variance = (depth * extent[r] / 2) ** 2
        variance = variance * lateral * lateral + drift
        ray = (x / depth, y / depth, 1.0)
        along = (depth * sd_log[r]) ** 2 + drift
        for a in range(3):
            root[r, a] = ray[a] * depth
            for b in range(3):
                covariance[r, a, b] = along * ray[a] * ray[b]
        covariance[r, 0, 0] += variance
        covariance[r, 1, 1] += variance


def _depth(depth: Depth, out: Outputs, frames: Normalised, sigma: Sigma) -> tuple[F64, F64]:
    """Depth (N,) and the σ (N,) of its logarithm."""
    if depth == "gamma" and out.log_gamma is not None:
        log_gamma = out.log_gamma.astype(np.float64)
        return np.exp(log_gamma[:, 0]) * frames.k_m, sigma.log_gamma * np.exp(log_gamma[:, 1] / 2)
    if depth == "trajectory" and out.root_code is not None and out.root_log_variance is not None:
        sd = np.exp(out.root_log_variance[:, 2].astype(np.float64) / 2)
        return np.exp(out.root_code[:, 2].astype(np.float64)) / frames.extent, sigma.log_root * sd
    return frames.k_m.astype(np.float64), np.full(len(frames.k_m), sigma.log_k)
