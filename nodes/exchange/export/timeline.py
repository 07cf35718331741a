"""Takes at an even rate, as files without a column of times need them: what was not seen is filled in between."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

Float = NDArray[np.float64]
ON_TIME = 0.02  # of an interval: a stamp so near to its place is taken as it is


def even_times(t_ns: NDArray[np.int64], rate_hz: float) -> NDArray[np.int64]:
    """(K,) ns from the first time to the last at ``rate_hz``; one time where there is but one."""
    if len(t_ns) < 2 or rate_hz <= 0:
        return t_ns[:1]
    count = round((int(t_ns[-1]) - int(t_ns[0])) * 1e-9 * rate_hz) + 1
    return np.asarray(int(t_ns[0]) + np.round(np.arange(count) * (1e9 / rate_hz)), np.int64).clip(max=int(t_ns[-1]))


def unseen(t_ns: NDArray[np.int64], at_ns: NDArray[np.int64]) -> int:
    """How many of the even times lie in a gap: farther than an interval from what was seen."""
    if len(at_ns) < 2:
        return 0
    step = int(np.median(np.diff(at_ns)))
    after = np.searchsorted(t_ns, at_ns).clip(0, len(t_ns) - 1)
    before = (after - 1).clip(0)
    nearest = np.minimum(np.abs(t_ns[after] - at_ns), np.abs(t_ns[before] - at_ns))
    return int((nearest > 0.75 * step).sum())


def rotations_at(t_ns: NDArray[np.int64], rotations_rad: Float, at_ns: NDArray[np.int64]) -> Float:
    """(K, J, 3, 3) matrices at other times from rotation vectors (T, J, 3), along the shortest turn."""
    if len(t_ns) == 1:
        return np.asarray(Rotation.from_rotvec(rotations_rad.reshape(-1, 3)).as_matrix()).reshape(1, -1, 3, 3)
    seconds, at = (t_ns - t_ns[0]) * 1e-9, _snapped(t_ns, at_ns) * 1e-9
    each = [Slerp(seconds, Rotation.from_rotvec(rotations_rad[:, j]))(at) for j in range(rotations_rad.shape[1])]
    return np.asarray(np.stack([r.as_matrix() for r in each], axis=1))


def points_at(t_ns: NDArray[np.int64], points: Float, at_ns: NDArray[np.int64]) -> Float:
    """(K, …) points at other times from (T, …), in a straight line between."""
    if len(t_ns) == 1:
        return np.asarray(points)
    flat = points.reshape(len(points), -1)
    at = _snapped(t_ns, at_ns)
    columns = [np.interp(at, t_ns - t_ns[0], flat[:, i]) for i in range(flat.shape[1])]
    return np.asarray(np.stack(columns, axis=1).reshape(len(at), *points.shape[1:]))


def _snapped(t_ns: NDArray[np.int64], at_ns: NDArray[np.int64]) -> Float:
    """Nanoseconds since the first time; those of an even timeline that nearly are a stamp become that stamp."""
    at = np.asarray((at_ns - t_ns[0]).astype(np.float64))
    if len(at) < 2:
        return at
    own = (t_ns - t_ns[0]).astype(np.float64)
    after = np.searchsorted(own, at).clip(0, len(own) - 1)
    before = (after - 1).clip(0)
    near = np.where(np.abs(own[after] - at) < np.abs(own[before] - at), own[after], own[before])
    return np.where(np.abs(near - at) < ON_TIME * np.median(np.diff(at)), near, at)
