"""The last stage of fusion: a body for every pose, from the views that the pose was made of.

A pure function of the frame sets, views and poses that it was given, so that a replay repeats it bit for bit. Nothing
here is needed to make a pose.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.fit.start import find_starts
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.pose_prior import PosePrior, find_prior, read_prior, retargeted
from kinecast.engines.body.prior.twist_uncertainty import inflate_twist_sd
from kinecast.engines.observations import camera_arrays, detection_rows
from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Poses
from kinecast.engines.triangulate.left_right import correct_left_right, group_table
from kinecast.engines.triangulate.measure import SPEED_SD_MPS, depths, drifted_sigma, inflate_sigma, motion_compensate
from kinecast.engines.triangulate.solve import noise_sigma
from kinecast.nodes.fusion.detector_habits import detector_of, habit_prior
from kinecast.nodes.fusion.set_views import SKELETON, SetViews, set_views
from kinecast.nodes.graph.records import FusionNode

Float = NDArray[np.float64]

FORGET_NS = 60_000_000_000
LEARN = 0.01  # share of a person-frame in the noise scale
# What of a detector's error stays for 1/8 s, which is as far as a fit remembers, and what all keypoints of a view
# share: measured on the sample clip by `kinecast evaluate SESSION body-views`, which prints both.
PERSISTENT, COMMON = 0.77, 0.38
SCALE_LEAST, SCALE_MOST = 0.3, 4.0


class BodyStage:
    """Bodies from poses. body: ``neutral``, ``male``, ``female`` or the path of a body file.

    start: ``default``, ``off`` or the file of a regressor, which says where a body may begin that no points show.
    prior: ``default``, ``shipped`` or the file of a pose prior. What learns from fits keeps to the shipped one, so that
    a prior is never its own teacher.

    Raises KinecastError where the body file or the pose prior cannot be read.
    """

    def __init__(
        self,
        rig: Rig,
        cameras: tuple[str, ...],
        body: str = "neutral",
        stopwatch: Callable[[], int] = lambda: 0,
        start: str = "default",
        prior: str = "shipped",
    ) -> None:
        self._rig = rig.subset(tuple(n for n in rig.names if n in cameras)) if cameras else rig
        self.cameras = self._cameras = camera_arrays(self._rig)
        self.body = load_body(body)
        self._offered: PosePrior | None = None
        self._use(read_prior(find_prior(prior)))
        self._starts = find_starts(self.body, start)
        self._habits, self._heard = habit_prior(self.body, ""), False
        self.solver = self.fresh_solver(None)
        self._groups = group_table(SKELETON)
        self._watch = stopwatch
        self._scale = 1.0
        self._last: dict[int, tuple[int, Float]] = {}  # of each person the newest pose and its time
        self._before: dict[int, tuple[int, Float]] = {}  # and the one before it

    def offer(self, prior: PosePrior) -> None:
        """Another prior, from the next set on; from any thread."""
        self._offered = prior

    def renewed(self) -> str:
        """Put in force what was offered, between two sets; the name of the prior in force. Everybody stays."""
        offered, self._offered = self._offered, None
        if offered is not None:
            self._use(offered)
            self.solver.prior = self._prior
        return self.prior

    def _use(self, prior: PosePrior) -> None:
        self.prior, self._prior = prior.name, retargeted(prior, self.body).arrays

    def fresh_solver(self, shape: Float | None, contact: bool = True) -> BodySolver:
        """A solver that knows nobody yet; shape: betas (B,) to hold, or None. contact: hold feet that rest."""
        return BodySolver(
            self.body, SKELETON, self._cameras, self._prior, self._rig.up_world, shape, contact,
            persistent=PERSISTENT, common=COMMON, starts=self._starts, habits=self._habits,
        )  # fmt: skip

    def _hear(self, views: Mapping[str, Keypoints2D]) -> None:
        """Take the habits of the detector that the first keypoints come from; before them nobody is known."""
        if not self._heard and any(len(v.keypoints_px) for v in views.values()):
            self._heard = True
            self._habits = habit_prior(self.body, detector_of(views))
            self.solver = self.fresh_solver(None)

    def views_of(self, frameset: FrameSet, views: Mapping[str, Keypoints2D]) -> SetViews:
        """The views of one frame set, undistorted; a live fusion has them from its own step."""
        return set_views(self._rig, self._cameras, frameset, views)

    def step(
        self, frameset: FrameSet, views: Mapping[str, Keypoints2D], poses: Poses, given: SetViews | None = None
    ) -> Bodies:
        """The bodies of one frame set. views: camera → message; poses: what fusion made of them; given: the views
        undistorted already, with the cameras of this stage.
        """
        began = self._watch()
        self._hear(views)
        seen = self.observations(frameset, views, poses, given)
        fits: dict[int, Fit] = {}
        ids, known = poses.person_ids.tolist(), poses.points_world_m.astype(np.float64)
        for identity, fit in zip(
            ids, self.solver.fit_all(frameset.t_set_ns, ids, seen.xy, seen.w, start=known), strict=True
        ):
            if fit is not None:
                fits[identity] = fit
                self._learn(fit)
        self._before.update((identity, self._last[identity]) for identity in ids if identity in self._last)
        self._last.update((identity, (frameset.t_set_ns, known[p])) for p, identity in enumerate(ids))
        before_ns = frameset.t_set_ns - FORGET_NS
        self.solver.forget(before_ns)
        self._last = {i: v for i, v in self._last.items() if v[0] >= before_ns}
        self._before = {i: v for i, v in self._before.items() if i in self._last}
        done = self._watch()
        return bodies_of(fits, frameset, self.body.id, self.body.gender, done, {"body": done - began}, self.body.betas)

    def observations(
        self, frameset: FrameSet, views: Mapping[str, Keypoints2D], poses: Poses, given: SetViews | None = None
    ) -> "Observed":
        """What every view saw of the people of ``poses``, at the time of the set, sides put right; see ``step``."""
        cameras = self._cameras
        given = self.views_of(frameset, views) if given is None else given
        rows = detection_rows(poses, self._rig.names)
        xy, confidence = given.found.of_people(rows)
        dt_to_set_s = given.dt_to_set_s
        known = poses.points_world_m.astype(np.float64)
        motion_compensate(cameras, xy, dt_to_set_s, known, self._velocity(frameset.t_set_ns, poses.person_ids, known))
        correct_left_right(
            cameras, xy, confidence, known, self._groups, np.zeros((*confidence.shape[:2], len(self._groups)), np.bool_)
        )
        depth = depths(cameras, known)
        sigma = inflate_sigma(noise_sigma(cameras, depth, self._scale), depth, dt_to_set_s, SPEED_SD_MPS)
        sigma = drifted_sigma(sigma, depth, given.found.ages_s(given.found.of_rows(rows)))
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.where(sigma[..., None] > 0, (confidence / sigma[..., None]) ** 2, 0.0)
        return Observed(xy, np.nan_to_num(w))

    def _velocity(self, t_ns: int, ids: NDArray[np.int32], known: Float) -> Float:
        """(P, K, 3) m/s since the pose before; NaN where there was none."""
        out = np.full_like(known, np.nan)
        for p, identity in enumerate(ids.tolist()):
            last = self._last.get(identity)
            if last is not None and last[0] == t_ns:  # the set has been fitted already
                last = self._before.get(identity)
            then_ns, points = last or (t_ns, known[p])
            if t_ns > then_ns:
                out[p] = (known[p] - points) / ((t_ns - then_ns) / 1e9)
        return out

    def _learn(self, fit: Fit) -> None:
        """How much larger the residuals are than the noise model says; a function of the history alone."""
        if np.isfinite(fit.chi2):
            value = self._scale * np.sqrt(1 - LEARN + LEARN * fit.chi2)
            self._scale = float(np.clip(value, SCALE_LEAST, SCALE_MOST))


def body_stage(rig: Rig, settings: FusionNode, stopwatch: Callable[[], int] = lambda: 0) -> BodyStage | None:
    """The stage that a launch file asks for, or None where it says ``off``."""
    s = settings
    return None if s.body == "off" else BodyStage(rig, rig.names, s.body, stopwatch, s.body_start, s.body_prior)


class Observed:
    """xy: (P, C, K, 2) undistorted normalised coordinates; w: (P, C, K) inverse variance, 0 where missing."""

    def __init__(self, xy: Float, w: Float) -> None:
        self.xy, self.w = xy, w

    def of(self, p: int) -> tuple[Float, Float]:
        """One person's."""
        return self.xy[p], self.w[p]


def bodies_of(
    fits: Mapping[int, Fit],
    frameset: FrameSet,
    body_id: str,
    gender: str,
    t_ns: int = 0,
    steps: dict[str, int] | None = None,
    betas: int = 10,
) -> Bodies:
    """The message of these fits, by identity. betas: of the body, for a set without people."""
    each = list(fits.values())

    def stack(name: str, shape: tuple[int, ...], dtype: type = np.float32) -> NDArray[Any]:
        rows = [getattr(f, name) for f in each]
        return np.asarray(np.stack(rows) if rows else np.zeros((0, *shape)), dtype)

    R = np.stack([f.R for f in each]) if each else np.zeros((0, 24, 3, 3))
    rotation_sd = inflate_twist_sd(stack("turn_sd_rad", (24, 3)))
    return Bodies(
        frameset.seq, frameset.run_index, frameset.t_set_ns, body_id, gender, np.array(list(fits), np.int32),
        stack("betas", (betas,)), rotvecs(R).astype(np.float32), stack("t", (3,)), stack("joints", (24, 3)),
        stack("joint_sd_m", (24,)), rotation_sd.astype(np.float32), stack("residual_px", ()), stack("explained", ()),
        np.array([f.flags for f in each], np.uint32), stack("contacts", (2,), np.bool_), t_ns, steps or {},
        stack("constants", (betas,))[:, betas:],
    )  # fmt: skip
