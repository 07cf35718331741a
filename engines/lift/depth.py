"""Where in the room: the root of a lifted person in its camera, by one of three ways to depth, with its covariance."""

import numpy as np
from numpy.typing import NDArray

from engines.lift.normalise import Normalised, root_from_code
from engines.lift.rows import Outputs
from engines.lift.sigma import Depth, Sigma

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
    z = np.where((z > NEAREST_M) & (z < FARTHEST_M), z, np.nan)
    say = frames.features[..., 2] / (relative_sd_m[..., :2].mean(-1) ** 2 + 1e-4)
    total = say.sum(-1)
    seen = frames.seen & (total > 0)
    say = np.where(seen[:, None], say, 1.0) / np.where(seen, total, say.shape[1])[:, None]
    distance = np.maximum(z[:, None] + relative_m[..., 2], NEAREST_M)
    across = frames.features[..., :2] * frames.extent[:, None, None] * distance[..., None] - relative_m[..., :2]
    xy = (say[..., None] * across).sum(1)
    variance = (say[..., None] * (across - xy[:, None]) ** 2).sum((1, 2)) / 2
    # joints of one limb err together: about four of them count as one
    variance /= np.maximum(1 / (4 * (say * say).sum(-1)), 1)
    variance += (z * KEYPOINT_PX / focal_px.mean(-1)) ** 2
    if out.root_code is not None:
        told = root_from_code(out.root_code.astype(np.float64), frames.extent)
        guess = told[:, :2] / told[:, 2:] * z[:, None]
    else:
        guess = np.zeros_like(xy)
    xy = np.where(seen[:, None], xy, guess)
    variance = np.where(seen, variance, (z * frames.extent / 2) ** 2) * sigma.lateral**2 + (DRIFT_M_S * lost_s) ** 2
    ray = np.concatenate([xy / z[:, None], np.ones_like(z)[:, None]], 1)
    along = (z * sd_log) ** 2 + (DRIFT_M_S * lost_s) ** 2
    covariance = along[:, None, None] * ray[:, :, None] * ray[:, None, :]
    covariance[:, 0, 0] += variance
    covariance[:, 1, 1] += variance
    return ray * z[:, None], covariance


def _depth(depth: Depth, out: Outputs, frames: Normalised, sigma: Sigma) -> tuple[F64, F64]:
    """Depth (N,) and the σ (N,) of its logarithm."""
    if depth == "gamma" and out.log_gamma is not None:
        told = out.log_gamma.astype(np.float64)
        return np.exp(told[:, 0]) * frames.k_m, sigma.log_gamma * np.exp(told[:, 1] / 2)
    if depth == "trajectory" and out.root_code is not None and out.root_log_variance is not None:
        sd = np.exp(out.root_log_variance[:, 2].astype(np.float64) / 2)
        return np.exp(out.root_code[:, 2].astype(np.float64)) / frames.extent, sigma.log_root * sd
    return frames.k_m.astype(np.float64), np.full(len(frames.k_m), sigma.log_k)
