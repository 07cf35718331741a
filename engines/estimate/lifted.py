"""What lifted poses add to triangulation: where joints are that one view sees, or none, and how sure that is.

A lifter errs slowly: a pose that it takes too deep, a person that it takes too tall, stays so for many frames, in all
joints. Such errors must not be averaged away. They are states here, one for every view of a person:

- the root: position and velocity in the world, how large the lifter takes the person for, where the ground is, and for
  every view what else its lifted depth errs, all in one Kalman filter (``root_filter``). The errors are Gauss–Markov
  processes (Singer 1970), in the long run as large as lifters say;
- the joints: for every view the error of each lifted joint, along the camera's axes, likewise.

While two views or more triangulate a person the errors are learnt. Afterwards they are known for as long as each
lasts, so that the person's own history counts for as long as it is better than the network. All is a function of the
calls made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.estimate import lifted_kernels
from kinecast.engines.estimate.root_filter import RootFilter
from kinecast.engines.observations import CameraArrays
from kinecast.engines.skeleton import Skeleton

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

JOINT_TAU_S = 1.0  # how long an error of one lifted joint lasts: about as long as a pose
LEAST_SD_M = 0.01  # joints are not points; neither a lifter nor a triangulation is better than this
UNSEEN_S = (0.1, 0.5, 1e9)  # not seen by a view for up to so long
LEAST_S = 1e-3
MOST_SD_M = 1.0  # nobody reaches further from the hips, whatever a network says
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
class ErrorModel:
    """What errors of lifted joints were found to be beside what lifters say (``engines.train.lifter.occlusion_model``).

    seen: (J, 3) factors on σ, camera axes, of joints that the view itself sees. unseen: (B, J, 3) of those that it has
    not seen for up to UNSEEN_S. kept: (J,) share of an error that is left when a joint hides from a view or shows
    again. tau_s: how long an error lasts while neither happens.
    """

    seen: Float
    unseen: Float
    kept: Float
    tau_s: float


@dataclass(frozen=True, slots=True, eq=False)
class LiftedJoints:
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

    @property
    def lasting_m2(self) -> Float:
        """(T, J, 3, 3) what keypoints err across their rays, as if alike in every set; 0 where a joint lies on none.

        What is new in every set is averaged away; what is not is to be added to the estimate's covariance.
        """
        on = np.isfinite(self.across_m)
        along = np.nan_to_num(self.ray / np.sqrt((self.ray**2).sum(axis=-1, keepdims=True)))
        aside = np.eye(3) - along[..., :, None] * along[..., None, :]
        return np.asarray(np.where(on, self.across_m, 0.0)[..., None, None] ** 2 * aside)


def rows_of(tracks: Int, before: Int, values: Float, blank: float) -> Float:
    """Rows (T, ...) of these tracks, of values (N, ...) of the tracks ``before``; new ones are ``blank``."""
    _, mine, theirs = np.intersect1d(tracks, before, return_indices=True)
    out = np.full((len(tracks), *values.shape[1:]), blank)
    out[mine] = values[theirs]
    return out


class LiftMemory:
    """The errors of every view's lifted poses of every track.

    model: how errors of joints that a view sees and of those that it does not differ; None: not at all. up: (3,) of the
    world; None: of its ground nothing is known.
    """

    def __init__(
        self, cameras: CameraArrays, skeleton: Skeleton, model: ErrorModel | None = None, up: Float | None = None
    ) -> None:
        self._model, self._tau_s = model, JOINT_TAU_S if model is None else model.tau_s
        self._R, self._t = np.ascontiguousarray(cameras.P[:, :, :3]), np.ascontiguousarray(cameras.P[:, :, 3])
        self._nearness = _nearness(skeleton.parents)
        self._tracks = np.zeros(0, np.int64)
        self._t_ns: int | None = None
        C, J = len(cameras), len(skeleton)
        self._root = RootFilter(self._R, self._t, skeleton.joints, up)
        self._error, self._var = np.zeros((0, C, J, 3)), np.zeros((0, C, J, 3))
        self._unseen_s = np.zeros((0, C, J))

    @property
    def R(self) -> Float:
        """(C, 3, 3) cam_from_world of the cameras."""
        return self._R

    def keep_tracks(self, tracks: Int) -> None:
        """The rows are now these tracks (T,), in rising order; the others are forgotten, new ones know nothing."""
        if np.array_equal(tracks, self._tracks):
            return
        for name, blank in (("_error", 0.0), ("_var", np.nan), ("_unseen_s", np.inf)):
            setattr(self, name, rows_of(tracks, self._tracks, getattr(self, name), blank))
        before = self._tracks
        self._root.take_rows(lambda values, blank: rows_of(tracks, before, values, blank))
        self._tracks = tracks.copy()

    def restart(self, rows: Int) -> None:
        """These came back somewhere else: where they were is forgotten; what views err stays known."""
        self._root.x[rows, :6] = np.nan

    def begin(self, rows: Int, views: Int, lifted: LiftedViews) -> None:
        """People of whom nothing is known but what one view each, views (n,), lifts: they are there."""
        root = lifted.root_m[rows, views]
        away = (self._R[views] * (root - self._t[views])[:, :, None]).sum(axis=1)
        along = away + (self._R[views] * self._t[views][:, :, None]).sum(axis=1)  # from the camera, in the world
        sd = np.nan_to_num(lifted.depth_sd[rows, views])
        covariance = sd[:, None, None] ** 2 * along[:, :, None] * along[:, None, :] + LEAST_SD_M**2 * np.eye(3)
        self._root.begin(rows, away, covariance)

    def inflate_sd(self, t_ns: int, lifted: LiftedViews, seen: Bool) -> LiftedViews:
        """The same poses with what they must be believed to err, by which joints each view sees (T, C, J) now.

        What was learnt of a joint's error holds for as long as the view goes on to see it, or not to: to guess is
        another thing than to see, so of the error just before only a share is left.
        """
        if self._model is None:
            return lifted
        dt_s = 0.0 if self._t_ns is None else max(t_ns - self._t_ns, 0) / 1e9
        changed = seen == (self._unseen_s > 0)
        self._unseen_s = np.where(seen, 0.0, self._unseen_s + max(dt_s, LEAST_S))
        late = np.searchsorted(UNSEEN_S, self._unseen_s).clip(0, len(UNSEEN_S) - 1)
        factor = np.where(seen[..., None], self._model.seen, self._model.unseen[late, np.arange(seen.shape[-1])])
        out = LiftedViews(lifted.relative_m, lifted.sd_m * factor, lifted.root_m, lifted.depth_sd)
        kept = np.where(changed, self._model.kept, 1.0)[..., None]
        self._error *= kept
        stated = np.isfinite(out.sd_m)
        self._var = np.where(
            stated, kept**2 * self._var + (1 - kept**2) * np.where(stated, out.sd_m, 0.0) ** 2, self._var
        )
        return out

    def learn(
        self, t_ns: int, lifted: LiftedViews, points_m: Float, covariance_m2: Float, one: Int, xy: Float, sigma: Float
    ) -> None:
        """Take one set. points_m (T, J, 3), covariance_m2 (T, J, 3, 3): as triangulated, NaN where not.

        one: (T,) the view that alone sees a track, else −1. xy (T, C, J, 2) and sigma (T, C, J), normalised, NaN or 0
        where not seen: what the views saw.
        """
        dt_s = 0.0 if self._t_ns is None else max(t_ns - self._t_ns, 0) / 1e9
        self._t_ns = t_ns if self._t_ns is None else max(t_ns, self._t_ns)
        lifted = self._sized(lifted)
        there = lifted.there
        lifted_kernels.decay_errors(self._error, self._var, lifted.sd_m, there, np.exp(-dt_s / self._tau_s))
        self._root.predict(dt_s, lifted.depth_sd, one)
        fixed, fixed_var = np.zeros((len(one), 3)), np.zeros(len(one))
        errors_of = lifted.relative_m, there, self._error, self._var, self._R
        lifted_kernels.root_of_points(*errors_of, points_m, covariance_m2, LEAST_SD_M**2, TOGETHER, fixed, fixed_var)
        bearing, bearing_var = self._bearing(lifted, one, xy, sigma)
        self._root.correct(
            fixed, fixed_var, bearing, bearing_var, lifted.root_m, np.where(np.isfinite(fixed[:, 0]), -1, one),
            lifted.relative_m + self._error, np.sqrt(self._var), xy, sigma, dt_s,
        )  # fmt: skip
        self._root.learn_ground(dt_s, points_m)
        lean = 1 - np.exp(-dt_s / self._tau_s)
        lifted_kernels.learn_joints(*errors_of, fixed, points_m, covariance_m2, LEAST_SD_M**2, self._nearness, lean)

    def place(self, lifted: LiftedViews, xy: Float, sigma: Float, rays: Bool) -> LiftedJoints:
        """Where every joint is by the lifted poses, the errors known so far put right.

        rays: (T, C, J) which of the observations xy (T, C, J, 2) ± sigma (T, C, J) a joint must lie on: one at most.
        """
        T, _, J = rays.shape
        lifted = self._sized(lifted)
        points, covariance = np.full((T, J, 3), np.nan), np.full((T, J, 3, 3), np.nan)
        lifted_kernels.joints_of_lifted(
            lifted.relative_m, lifted.there, self._error, self._var, self._R, self._root.x, self._root.P, LEAST_SD_M**2,
            points, covariance,
        )  # fmt: skip
        view = np.where(rays.any(axis=1), rays.argmax(axis=1), -1)
        ray, across = np.full(points.shape, np.nan), np.full(view.shape, np.nan)
        lifted_kernels.onto_rays(points, covariance, view, xy, sigma, self._R, self._t, RAY_SIGMA**2, ray, across)
        return LiftedJoints(points, view, ray, across, covariance)

    def _sized(self, lifted: LiftedViews) -> LiftedViews:
        """The same poses as large as the people are, as far as that is known: who is taken for too tall is so all over.

        A lifted pose and its depth are of one size, for a picture tells neither.
        """
        size = np.exp(-self._root.scale)[:, None, None, None]
        return LiftedViews(lifted.relative_m * size, lifted.sd_m * size, lifted.root_m, lifted.depth_sd)

    def _bearing(self, lifted: LiftedViews, one: Int, xy: Float, sigma: Float) -> tuple[Float, Float]:
        """(T, 2) normalised coordinates of the root in the view that alone sees a track, and (T,) their variance."""
        T = len(one)
        bearing, var = np.full((T, 2), np.nan), np.full(T, np.nan)
        t = np.flatnonzero((one >= 0) & np.isfinite(self._root.x[:, 0]))
        if not len(t):
            return bearing, var
        c = one[t]
        said = lifted.relative_m[t, c] + self._error[t, c]
        depth = (self._R[c, 2] * self._root.x[t, :3]).sum(axis=-1) + self._t[c, 2]
        z = depth[:, None] + said[..., 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (z * sigma[t, c]) ** 2 + self._var[t, c, :, :2].mean(axis=-1)
            weight = np.nan_to_num(1.0 / variance) * (sigma[t, c] > 0) * (depth > 0.05)[:, None]
            root = np.nan_to_num(xy[t, c]) * z[..., None] - said[..., :2]
            total = weight.sum(axis=1)
            bearing[t] = (weight[..., None] * np.nan_to_num(root)).sum(axis=1) / (total * depth)[:, None]
            var[t] = np.maximum((weight > 0).sum(axis=1) / (total * TOGETHER), LEAST_SD_M**2) / depth**2
        return bearing, var


def mean_pose(lifted: LiftedViews, R: Float) -> tuple[Float, Float]:
    """(T, J, 3) what all views say together, less the root, along the axes of the world; NaN where none says anything.

    Each weighs by what it says of its own errors. Also (T, J) variance per axis, as if all erred alike: that of one
    good view. R: (C, 3, 3) of the cameras.
    """
    T, _, J, _ = lifted.relative_m.shape
    points, covariance = np.full((T, J, 3), np.nan), np.full((T, J, 3, 3), np.nan)
    nothing = np.zeros(lifted.relative_m.shape)
    lifted_kernels.joints_of_lifted(
        lifted.relative_m, lifted.there, nothing, np.minimum(lifted.sd_m, MOST_SD_M) ** 2, R, np.zeros((T, 3)),
        np.zeros((T, 3, 3)), LEAST_SD_M**2, points, covariance,
    )  # fmt: skip
    return points, np.trace(covariance, axis1=2, axis2=3) / 3


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
