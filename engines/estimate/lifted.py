"""What lifted poses add to triangulation: where joints are that one view sees, or none, and how sure that is.

A lifter errs slowly: a pose that it takes too deep, a person that it takes too tall, stays so for many frames, in all
joints. Such errors must not be averaged away. They are states here, one for every view of a person:

- the root: position and velocity in the world, and for every view the error of the logarithm of its lifted depth, all
  in one Kalman filter. The errors are Gauss–Markov processes (Singer 1970), in the long run as large as lifters say;
- the joints: for every view the error of each lifted joint, along the camera's axes, likewise.

While two views or more triangulate a person the errors are learnt. Afterwards they are known for a while and fade, so
that the person's own history counts for as long as it is better than the network. All is a function of the calls made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.estimate import root_kernels
from engines.views import CameraArrays

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

ROOT_ACCEL = 1.0  # m²/s³, white acceleration of a person's root: half a second changes a walk by 0.7 m/s
DEPTH_TAU_S = 4.0  # how long an error of the lifted depth lasts: stature stays, poses change
DEPTH_JITTER = 0.01  # share of the depth by which it moves from frame to frame
JOINT_TAU_S = 1.0  # how long an error of one lifted joint lasts: about as long as a pose
LEAST_SD_M = 0.01  # joints are not points; neither a lifter nor a triangulation is better than this
RAY_SIGMA = 3.0  # an observation further from where the lifted pose has the joint is a lie, and not its ray
TOGETHER = 3.0  # joints of one body err together: so many count as independent
NEXT_JOINT = 0.7  # share of a joint's error that its neighbour in the skeleton has too


@dataclass(frozen=True, slots=True, eq=False)
class LiftedViews:
    """Lifted poses of T tracks in C views, NaN where there is none.

    relative_m, sd_m: (T, C, J, 3) joints less root and one σ, camera axes. root_m: (T, C, 3) camera frame.
    depth_sd: (T, C) of the logarithm of the root's depth.
    """

    relative_m: Float
    sd_m: Float
    root_m: Float
    depth_sd: Float

    @property
    def there(self) -> Bool:
        """(T, C) where a view gives a pose."""
        return np.isfinite(self.relative_m[..., 0, 0])


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where lifting puts the joints of T tracks, in the world. points_m: (T, J, 3), NaN where it says nothing.

    view: (T, J) the one view whose ray the joint lies on, −1 where it lies on none. ray: (T, J, 3) direction of it,
    at depth 1. across_m: (T, J) one σ across the ray, independent from frame to frame. slow_m2: (T, J, 3, 3)
    covariance of what errs slowly: along the ray where there is one, else of the joint.
    """

    points_m: Float
    view: Int
    ray: Float
    across_m: Float
    slow_m2: Float


class LiftMemory:
    """The errors of every view's lifted poses of every track. parents: (J,) of the skeleton, −1 for the root."""

    def __init__(self, cameras: CameraArrays, parents: tuple[int, ...]) -> None:
        self._R, self._t = np.ascontiguousarray(cameras.P[:, :, :3]), np.ascontiguousarray(cameras.P[:, :, 3])
        # one row for each axis of each camera: the axis (3C, 3), and its outer product with itself (3C, 9)
        self._axes = self._R.reshape(-1, 3)
        self._squares = (self._axes[:, :, None] * self._axes[:, None, :]).reshape(-1, 9)
        self._nearness = _nearness(parents)
        self._tracks = np.zeros(0, np.int64)
        self._t_ns: int | None = None
        C, J = len(cameras), len(parents)
        self._root, self._P = np.zeros((0, 6 + C)), np.zeros((0, 6 + C, 6 + C))
        self._error, self._var = np.zeros((0, C, J, 3)), np.zeros((0, C, J, 3))

    def follow(self, tracks: Int) -> None:
        """The rows are now these tracks (T,), in rising order; the others are forgotten, new ones know nothing."""
        if np.array_equal(tracks, self._tracks):
            return
        at = np.searchsorted(self._tracks, tracks)
        old = np.zeros(len(tracks), np.bool_)
        old[at < len(self._tracks)] = self._tracks[at[at < len(self._tracks)]] == tracks[at < len(self._tracks)]
        for name, blank in (("_root", np.nan), ("_P", 0.0), ("_error", 0.0), ("_var", np.nan)):
            before = getattr(self, name)
            now = np.full((len(tracks), *before.shape[1:]), blank)
            now[old] = before[at[old]]
            setattr(self, name, now)
        self._tracks = tracks.copy()

    def restart(self, rows: Int) -> None:
        """These came back somewhere else: where they were is forgotten; what views err stays known."""
        self._root[rows, :6] = np.nan

    def learn(
        self, t_ns: int, lifted: LiftedViews, points_m: Float, covariance_m2: Float, one: Int, xy: Float, sigma: Float
    ) -> None:
        """Take one set. points_m (T, J, 3), covariance_m2 (T, J, 3, 3): as triangulated, NaN where not.

        one: (T,) the view that alone sees a track, else −1. xy (T, C, J, 2) and sigma (T, C, J), normalised, NaN or 0
        where not seen: what the views saw.
        """
        dt_s = 0.0 if self._t_ns is None else max(t_ns - self._t_ns, 0) / 1e9
        self._t_ns = t_ns if self._t_ns is None else max(t_ns, self._t_ns)
        self._fade(dt_s, lifted)
        root_kernels.predict(self._root, self._P, dt_s, ROOT_ACCEL, np.exp(-dt_s / DEPTH_TAU_S), lifted.depth_sd)
        fixed, fixed_var = self._aligned(lifted, points_m, covariance_m2)
        bearing, bearing_var = self._bearing(lifted, one, xy, sigma)
        root_kernels.update(
            self._root, self._P, self._R, self._t, fixed, fixed_var, bearing, bearing_var, lifted.root_m,
            lifted.depth_sd, np.where(np.isfinite(fixed[:, 0]), -1, one), DEPTH_JITTER**2,
        )  # fmt: skip
        self._joints(dt_s, lifted, fixed, fixed_var, points_m, covariance_m2)

    def place(self, lifted: LiftedViews, xy: Float, sigma: Float, rays: Bool) -> Placed:
        """Where every joint is by the lifted poses, the errors known so far put right.

        rays: (T, C, J) which of the observations xy (T, C, J, 2) ± sigma (T, C, J) a joint must lie on: one at most.
        """
        T, _, J = rays.shape
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = np.nan_to_num(1.0 / np.maximum(self._var, LEAST_SD_M**2)) * lifted.there[:, :, None, None]
        # of each view the information is diagonal along its own axes
        info = (_by_axis(weight) @ self._squares).reshape(T, J, 3, 3)
        pull = _by_axis(weight * np.nan_to_num(lifted.relative_m + self._error)) @ self._axes
        views = lifted.there.sum(axis=1)
        good = (views > 0) & np.isfinite(self._root[:, 0])
        covariance, offset = np.full((T, J, 3, 3), np.nan), np.full((T, J, 3), np.nan)
        covariance[good] = np.linalg.inv(info[good])
        offset[good] = (covariance[good] @ pull[good][..., None])[..., 0]
        # views lifted by one network err alike, most of all where none sees the joint: covariance intersection (Julier
        # and Uhlmann 1997) with equal shares is honest whatever they have in common
        covariance *= np.maximum(views, 1)[:, None, None, None]
        covariance += self._P[:, None, :3, :3]
        points = self._root[:, None, :3] + offset
        view = np.where(rays.any(axis=1), rays.argmax(axis=1), -1)
        return self._on_rays(points, covariance, view, xy, sigma)

    def _on_rays(self, points: Float, covariance: Float, view: Int, xy: Float, sigma: Float) -> Placed:
        """Joints with a view keep their depth in it and move onto its ray."""
        ray, across = np.full(points.shape, np.nan), np.full(view.shape, np.nan)
        t, j = np.nonzero((view >= 0) & np.isfinite(points[..., 0]))
        c = view[t, j]
        local = np.einsum("nia,na->ni", self._R[c], points[t, j]) + self._t[c]
        side = (local[:, :2] - xy[t, c, j] * local[:, 2:]) ** 2
        # one σ across, as if it were alike in both directions
        wide = np.trace(covariance[t, j], axis1=-2, axis2=-1) - np.einsum(
            "na,nab,nb->n", self._R[c, 2], covariance[t, j], self._R[c, 2]
        )
        good = side.sum(axis=-1) < RAY_SIGMA**2 * (wide + 2 * (local[:, 2] * sigma[t, c, j]) ** 2) / 2
        view[t[~good], j[~good]] = -1
        t, j, c = t[good], j[good], c[good]
        axis = self._R[c, 2]
        depth = (axis * points[t, j]).sum(axis=-1) + self._t[c, 2]
        along = np.einsum("na,nab,nb->n", axis, covariance[t, j], axis)
        seen = np.concatenate([xy[t, c, j], np.ones((len(t), 1))], axis=-1)
        d = np.einsum("nia,ni->na", self._R[c], seen)
        centre = -np.einsum("nia,ni->na", self._R[c], self._t[c])
        points[t, j] = centre + depth[:, None] * d
        covariance[t, j] = along[:, None, None] * d[:, :, None] * d[:, None, :]
        ray[t, j], across[t, j] = d, depth * sigma[t, c, j]
        points[t[depth < 0.05], j[depth < 0.05]] = np.nan
        return Placed(points, view, ray, across, covariance)

    def _fade(self, dt_s: float, lifted: LiftedViews) -> None:
        """Errors of joints are less and less like what they were, and in the end what the lifter says of itself."""
        keep = np.exp(-dt_s / JOINT_TAU_S)
        var = lifted.sd_m**2
        self._var = np.where(np.isfinite(self._var), self._var, var)
        self._error *= keep
        self._var = np.where(np.isfinite(var), keep * keep * self._var + (1 - keep * keep) * var, self._var)

    def _aligned(self, lifted: LiftedViews, points_m: Float, covariance_m2: Float) -> tuple[Float, Float]:
        """(T, 3) root that the lifted poses have when laid on the triangulated joints, and (T,) its variance."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.trace(covariance_m2, axis1=-2, axis2=-1)[:, None] / 3 + self._var.mean(axis=-1)
            weight = np.nan_to_num(1.0 / (spread + LEAST_SD_M**2)) * lifted.there[..., None]
        said = np.nan_to_num(lifted.relative_m + self._error) @ self._R
        total = weight.sum(axis=(1, 2))
        n = np.minimum((weight > 0).any(axis=1).sum(axis=1), TOGETHER)
        with np.errstate(invalid="ignore", divide="ignore"):
            root = (weight[..., None] * (np.nan_to_num(points_m)[:, None] - said)).sum(axis=(1, 2)) / total[:, None]
            joints = (weight > 0).sum(axis=(1, 2))
            var = np.maximum(joints / (total * n), LEAST_SD_M**2)
        root[~(total > 0)] = np.nan
        return root, var

    def _bearing(self, lifted: LiftedViews, one: Int, xy: Float, sigma: Float) -> tuple[Float, Float]:
        """(T, 2) normalised coordinates of the root in the view that alone sees a track, and (T,) their variance."""
        T = len(one)
        bearing, var = np.full((T, 2), np.nan), np.full(T, np.nan)
        t = np.flatnonzero((one >= 0) & np.isfinite(self._root[:, 0]))
        c = one[t]
        said = lifted.relative_m[t, c] + self._error[t, c]
        depth = (self._R[c, 2] * self._root[t, :3]).sum(axis=-1) + self._t[c, 2]
        z = depth[:, None] + said[..., 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = (z * sigma[t, c]) ** 2 + self._var[t, c, :, :2].mean(axis=-1)
            weight = np.nan_to_num(1.0 / spread) * (sigma[t, c] > 0) * (depth > 0.05)[:, None]
            root = np.nan_to_num(xy[t, c]) * z[..., None] - said[..., :2]
            total = weight.sum(axis=1)
            bearing[t] = (weight[..., None] * np.nan_to_num(root)).sum(axis=1) / (total * depth)[:, None]
            var[t] = np.maximum((weight > 0).sum(axis=1) / (total * TOGETHER), LEAST_SD_M**2) / depth**2
        return bearing, var

    def _joints(
        self, dt_s: float, lifted: LiftedViews, root: Float, root_var: Float, points_m: Float, covariance_m2: Float
    ) -> None:
        """Learn the errors of the joints that are triangulated; the others lean on the nearest of these."""
        known = np.isfinite(points_m[..., 0]) & np.isfinite(root[:, :1])
        if not known.any():
            return
        use = known[:, None, :, None] & lifted.there[:, :, None, None]
        T, J = known.shape
        true = _by_view(np.nan_to_num(points_m - root[:, None]) @ self._axes.T)
        spread = _by_view(np.nan_to_num(covariance_m2).reshape(T, J, 9) @ self._squares.T) + LEAST_SD_M**2
        gain = np.where(use, np.nan_to_num(self._var / (self._var + spread)), 0.0)
        miss = np.nan_to_num(true - lifted.relative_m - self._error)
        self._error += gain * miss
        self._var = np.where(use, (1 - gain) * self._var, self._var)
        near = np.where(known[:, None, :], self._nearness[None], 0.0)  # (T, J of which, J known)
        anchor, share = near.argmax(axis=-1), near.max(axis=-1)
        lean = (1 - np.exp(-dt_s / JOINT_TAU_S)) * share[:, None, :, None]
        theirs = np.take_along_axis(self._error, anchor[:, None, :, None], axis=2)
        other = ~known[:, None, :, None] & lifted.there[:, :, None, None]
        self._error = np.where(other, self._error + lean * theirs, self._error)


def _by_axis(values: Float) -> Float:
    """(T, C, J, 3) by view → (T, J, 3C), for products with all axes at once."""
    T, C, J, _ = values.shape
    return values.transpose(0, 2, 1, 3).reshape(T, J, 3 * C)


def _by_view(values: Float) -> Float:
    """(T, J, 3C) → (T, C, J, 3) by view."""
    T, J, n = values.shape
    return values.reshape(T, J, n // 3, 3).transpose(0, 2, 1, 3)


def _nearness(parents: tuple[int, ...]) -> Float:
    """(J, J) share of one joint's error that another has too, by how many bones lie between; 1 for itself."""
    J = len(parents)
    steps = np.full((J, J), np.inf)
    np.fill_diagonal(steps, 0)
    for j, p in enumerate(parents):
        if p >= 0:
            steps[j, p] = steps[p, j] = 1
    for k in range(J):
        steps = np.minimum(steps, steps[:, k : k + 1] + steps[k : k + 1])
    return np.asarray(NEXT_JOINT**steps)
