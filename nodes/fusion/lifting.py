"""The stage of fusion that lifts: every view's pose of every track, and what triangulation left open filled from it.

Where two views or more see a joint, triangulation has it and lifting only learns from it. A joint that one view sees
lies on its ray at the lifted depth; one that nobody sees is where the lifted poses, laid on the joints that are known,
have it; a person whom one view alone sees stays in the room. All this is marked in ``lifted`` of the poses. A pure
function of the frame sets, views and weights that it was given.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.estimate.lifted import LiftedViews, LiftMemory, mean_pose
from kinecast.engines.estimate.occlusion import OccludedJoints, load_errors
from kinecast.engines.estimate.persistence import Persistence
from kinecast.engines.estimate.tracks import TrackTable
from kinecast.engines.observations import CameraArrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.triangulate.measure import SPEED_SD_MPS, Measured, depths, inflate_sigma
from kinecast.engines.triangulate.solve import Solution, noise_sigma
from kinecast.nodes.fusion.lift_rows import LifterLike, LiftRows
from kinecast.nodes.fusion.single_view import LEAST_PLACED, SingleViewTracks
from kinecast.nodes.graph.records import FusionNode

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

SURE_M = 0.1  # a lifted joint ± so much has half the confidence of its view


class ViewObservations:
    """What the views saw of the people of one set, by row of the estimate, those that come to be in it included.

    xy: (T, C, J, 2) undistorted, normalised, sides put right, NaN where missing. confidence: (T, C, J), 0 where
    missing. assigned: (T, C) detection, −1 where none.
    """

    def __init__(self, xy: Float, confidence: Float, assigned: Int) -> None:
        self.xy, self.confidence, self.assigned = xy, confidence, assigned

    def put(self, rows: Int, xy: Float, confidence: Float, assigned: Int) -> None:
        """Rows that were seen otherwise than expected, or are new."""
        more = int(rows.max(initial=-1)) + 1 - len(self.assigned)
        if more > 0:
            shape = self.confidence.shape[1:]
            self.xy = np.concatenate([self.xy, np.full((more, *shape, 2), np.nan)])
            self.confidence = np.concatenate([self.confidence, np.zeros((more, *shape))])
            self.assigned = np.concatenate([self.assigned, np.full((more, shape[0]), -1)])
        self.xy[rows], self.confidence[rows], self.assigned[rows] = xy, confidence, assigned

    def owner(self, assigned: Int) -> Int:
        """(B,) row that has one of the detections assigned (B, C), −1 where nobody has."""
        out = np.full(len(assigned), -1, np.int64)
        for b, row in enumerate(assigned):
            hit = np.flatnonzero(((self.assigned == row) & (row >= 0)).any(axis=1))
            out[b] = hit[0] if len(hit) else -1
        return out

    def without(self, taken: Int) -> None:
        """Detections (n,) that turned out to be somebody else's."""
        other = np.isin(self.assigned, taken[taken >= 0]) & (self.assigned >= 0)
        self.assigned[other] = -1
        self.confidence[other] = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """What lifting filled in one set. joints: (T, J); view: (T, J) whose ray each lies on, −1: no view's.

    confidence: (T, J). lasting_m2: (T, J, 3, 3) what a keypoint errs in every set alike, which the estimate averages
    away. alone: (n,) rows of people whom one view alone placed; by: (n,) that view.
    """

    joints: Bool
    view: Int
    confidence: Float
    lasting_m2: Float
    alone: Int
    by: Int

    def into(
        self,
        people: TrackTable,
        rows: Int,
        points: Float,
        covariance: Float,
        confidence: Float,
        views: NDArray[np.uint32],
    ) -> tuple[NDArray[np.uint32], Bool]:
        """Put the joints of ``rows`` (P,) that are still missing into points (P, J, 3) and what belongs to them.

        In place; returns the views (P, J) that each joint stands on and (P, J) which were put in. A joint that is too
        unsure by now is forgotten, and stays missing.
        """
        known = people.expected_world_m[rows]
        lifted = self.joints[rows] & ~np.isfinite(points[..., 0]) & np.isfinite(known[..., 0])
        points[lifted] = known[lifted]
        covariance[lifted] = (people.covariance_m2[rows] + self.lasting_m2[rows])[lifted]
        confidence[lifted] = self.confidence[rows][lifted]
        view = self.view[rows]
        one = np.uint32(1) << np.maximum(view, 0).astype(np.uint32)
        return np.where(lifted & (view >= 0), one, views), lifted


class LiftingStage:
    """Lifted poses of all tracks in all views, and the estimate's joints that only they tell."""

    def __init__(
        self, cameras: CameraArrays, settings: FusionNode, lifter: LifterLike, joints: str, up: Float | None = None
    ) -> None:
        _check(lifter, joints)
        self.name, self._joints = lifter.name, joints
        self._offered: LifterLike | None = None
        self._cameras, self._settings = cameras, settings
        self._rows = LiftRows(lifter, cameras, None if settings.still else settings.lift_views)
        errors = load_errors(skeleton(joints).joints) if settings.lift_carried else None
        self._memory = LiftMemory(cameras, skeleton(joints), errors, up)
        self._hidden = OccludedJoints(skeleton(joints).joints)
        self._habits = Persistence(cameras, len(skeleton(joints)))
        self._lone = SingleViewTracks(cameras)

    def offer(self, lifter: LifterLike) -> None:
        """Another lifter, from the next set on; from any thread. Raises KinecastError where it does not fit."""
        _check(lifter, self._joints)
        self._offered = lifter

    def renewed(self) -> str:
        """Put in force what was offered, between two sets; the name of the lifter in force.

        What was learnt of people and views stays, for the new network errs much as the old one; its rows begin anew.
        """
        offered, self._offered = self._offered, None
        if offered is not None:
            self.name = offered.name
            self._rows.use(offered)
        return self.name

    def step(
        self,
        t_ns: int,
        people: TrackTable,
        seen: ViewObservations,
        measured: Measured,
        back: Int,
        dt_to_set_s: Float,
        factor: Float,
        local: Int,
        strangers: Int,
    ) -> Filled:
        """One set. back: rows that came back elsewhere. dt_to_set_s: (C,) and factor: (C, J) on the noise, as in
        fusion.

        local: (N,) identity of each detection within its view, −1 for none. strangers: rows of whom one view sees, and
        of whom nothing is known.
        """
        T, J = len(people), people.expected_world_m.shape[1]
        tracks = people.tracks
        self._memory.keep_tracks(tracks)
        self._memory.restart(back)
        self._hidden.keep_tracks(tracks)
        self._hidden.restart(back)
        points, covariance = np.full((T, J, 3), np.nan), np.full((T, J, 3, 3), np.nan)
        points[measured.rows] = measured.solution.points_world_m
        covariance[measured.rows] = measured.solution.covariance_m2
        known = np.isfinite(points[..., 0])
        confidence = self._believed(seen, known, measured)
        self._lone.confirm(t_ns, people, measured, seen.assigned, local)
        who = seen.assigned, local
        lone, doubt = self._lone.able(t_ns, people, seen.xy, confidence, measured, *who)
        confidence[doubt] = 0.0
        told = self._rows.step(t_ns, tracks, seen.xy, confidence, np.asarray(lone.any(axis=1)))
        lifted = self._memory.inflate_sd(t_ns, told, confidence > 0)
        one = np.full(T, -1)
        if self._settings.lift_one_view:
            one = self._lone.choose(t_ns, people, lone & lifted.there, seen.xy, confidence, *who)
        one[strangers] = (seen.assigned[strangers] >= 0).argmax(axis=1)
        depth = depths(self._cameras, people.expected_world_m)
        sigma = inflate_sigma(noise_sigma(self._cameras, depth), depth, dt_to_set_s, SPEED_SD_MPS)
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = np.where(confidence > 0, sigma[..., None] * factor / confidence, 0.0)
        self._habits.learn(tracks, points, seen.xy, noise)
        self._memory.learn(t_ns, lifted, points, covariance, one, seen.xy, noise)
        self._memory.begin(strangers, one[strangers], lifted)
        self._hidden.remember(t_ns, people.state[0], known)
        return self._fill(t_ns, people, lifted, told, known, measured, one, confidence, seen.xy, noise)

    def forget(self, tracks: Int) -> None:
        """These tracks are gone."""
        self._rows.forget(tracks)
        self._lone.forget(tracks)

    def _believed(self, seen: ViewObservations, known: Bool, measured: Measured) -> Float:
        """(T, C, J) confidence, 0 where a view was refuted by those that a joint stands on."""
        used = np.zeros(seen.confidence.shape, np.bool_)
        used[measured.rows] = measured.solution.used(len(self._cameras))
        return np.where(known[:, None] & ~used, 0.0, seen.confidence)

    def _fill(
        self,
        t_ns: int,
        people: TrackTable,
        lifted: LiftedViews,
        told: LiftedViews,
        known: Bool,
        measured: Measured,
        one: Int,
        confidence: Float,
        xy: Float,
        noise: Float,
    ) -> Filled:
        T, C, J = confidence.shape
        alone = one >= 0
        want = np.zeros((T, J), np.bool_)
        if self._settings.lift_hidden:
            want[measured.rows] = ~known[measured.rows]
        want[alone] = True
        which = np.where(alone[:, None], np.arange(C) == one[:, None], True)
        sight = (confidence > 0) & (noise > 0) & which[..., None] & want[:, None]
        sight &= sight.sum(axis=1, keepdims=True) == 1
        if not want.any():
            none = np.zeros(0, np.int64)
            return Filled(want, np.full((T, J), -1), np.zeros((T, J)), np.zeros((T, J, 3, 3)), none, none)
        placed = self._memory.place(_only(lifted, which), xy, noise, sight)
        points = np.where(want[..., None], placed.points_m, np.nan)
        joints = np.isfinite(points[..., 0])
        if self._settings.lift_carried:
            coasted = self._coast(t_ns, people, told, known, want & ~alone[:, None] & (placed.view < 0))
            points[coasted], joints = np.nan, joints | coasted
        people.update_correlated(points, placed.ray, placed.across_m, placed.slow_m2)
        there = np.flatnonzero(alone & (joints.sum(axis=1) >= LEAST_PLACED))
        joints[alone] &= np.isin(np.arange(T), there)[alone, None]
        people.mark_single_view(there)
        views = (confidence > 0).sum(axis=1)
        mean = np.where(sight, confidence, 0.0).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = confidence.sum(axis=(1, 2)) / np.maximum(views.sum(axis=1), 1)
        sure = SURE_M / (SURE_M + people.sd_m())
        sure = np.clip(np.where(mean > 0, mean, whole[:, None]) * sure, 0.0, 1.0)
        return Filled(joints, placed.view, sure, self._habits.share * placed.lasting_m2, there, one[there])

    def _coast(self, t_ns: int, people: TrackTable, lifted: LiftedViews, known: Bool, want: Bool) -> Bool:
        """Joints that no view sees: carried on from when they were seen, joined with the lifted poses; (T, J) which."""
        state, covariance = people.state
        pose, spread = mean_pose(lifted, self._memory.R)
        points, variance = self._hidden.fuse(
            self._hidden.gather_evidence(t_ns, state, covariance, known, want, pose, spread)
        )
        speed = np.where(known[..., None], state[..., 3:], 0.0).sum(axis=1) / known.sum(axis=1, keepdims=True).clip(1)
        people.overwrite_state(points, variance, speed)
        return np.isfinite(points[..., 0])


def _only(lifted: LiftedViews, which: Bool) -> LiftedViews:
    """The views ``which`` (T, C) alone."""
    if which.all():
        return lifted
    return LiftedViews(
        np.where(which[..., None, None], lifted.relative_m, np.nan), lifted.sd_m,
        np.where(which[..., None], lifted.root_m, np.nan), lifted.depth_sd,
    )  # fmt: skip


def merge_lifted(measured: Measured, filled: Filled, seen: ViewObservations) -> Measured:
    """The measured people and those whom one view alone placed, who have no triangulated joint."""
    n = len(filled.alone)
    if not n:
        return measured
    C, J = seen.confidence.shape[1:]
    nothing = Solution(
        np.full((n, J, 3), np.nan), np.full((n, J, 3, 3), np.nan), np.zeros((n, J)), np.full((n, J), np.nan),
        np.zeros((n, J), np.uint32), np.zeros((n, C, J)), np.zeros((n, C, J)),
    )  # fmt: skip
    assigned = np.where(np.arange(C) == filled.by[:, None], seen.assigned[filled.alone], -1)
    return measured.concat(Measured(filled.alone, nothing, assigned))


def lifting_stage(
    cameras: CameraArrays, settings: FusionNode, joints: str, lifter: LifterLike | None = None, up: Float | None = None
) -> LiftingStage | None:
    """The stage that the settings ask for, or None where they say ``off``. lifter: another than the settings name.

    up: (3,) of the world, where it is known.

    Raises KinecastError where the weights are not there, are damaged, or belong to another skeleton.
    """
    if lifter is None:
        if settings.lift == "off":
            return None
        lifter = open_lifter(settings)
    return LiftingStage(cameras, settings, lifter, joints, up)


def open_lifter(settings: FusionNode, what: str = "") -> LifterLike:
    """The lifter that the settings name, or ``what``, used as they say; KinecastError as :func:`lifting_stage`."""
    from kinecast.engines.lift.lifter import load_lifter

    depth = None if settings.lift_depth == "auto" else settings.lift_depth
    return load_lifter(what or settings.lift, depth=depth, correct=settings.lift_correct)


def _check(lifter: LifterLike, joints: str) -> None:
    if lifter.skeleton != joints:
        raise KinecastError(f"lifter {lifter.name} speaks {lifter.skeleton}; fusion speaks {joints}")
