"""The fusion process: frame sets from the cameras' messages, and from each the people who are there.

``FusionCore.step`` reads as the picture of the house: predict ► associate ► triangulate ► estimate. It is a pure
function of the frame sets and views that it was given, so that a replay of the journal repeats it bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.refusals import Code, cause
from kinecast.engines.associate.birth import TrackProposals, bone_table, plausible, propose_tracks
from kinecast.engines.associate.match import compose, match
from kinecast.engines.estimate.implied_joints import imply_joints, joint_roles
from kinecast.engines.estimate.tracks import TrackTable
from kinecast.engines.habits.systematic import bias_sd_m
from kinecast.engines.observations import Detections, camera_arrays
from kinecast.engines.records import FrameSet, Keypoints2D, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.engines.timing.rig_watch import RigWatch
from kinecast.engines.triangulate.face_check import face_joints
from kinecast.engines.triangulate.left_right import group_table
from kinecast.engines.triangulate.measure import (
    SPEED_SD_MPS,
    UNKNOWN_SPEED_MPS,
    Measured,
    Measurer,
    fresh_share,
    motion_compensate,
    pack,
)
from kinecast.engines.triangulate.solve import Solution
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion import rig_health
from kinecast.nodes.fusion.bodies import body_stage
from kinecast.nodes.fusion.detector_habits import detector_of
from kinecast.nodes.fusion.frame_sets import FrameSetAssembler
from kinecast.nodes.fusion.lift_rows import LifterLike
from kinecast.nodes.fusion.lifting import Filled, ViewObservations, lifting_stage, merge_lifted
from kinecast.nodes.fusion.meshes import Mesher
from kinecast.nodes.fusion.reload import renewed
from kinecast.nodes.fusion.set_views import SKELETON, SetViews, set_views
from kinecast.nodes.fusion.single_view import local_ids
from kinecast.nodes.fusion.still import add_strangers
from kinecast.nodes.graph.records import FusionNode, Pace

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

IDS_PER_INCARNATION = 100_000
JOINTS_TO_PUBLISH = 4  # of a person who is published
BIRTH_JOINTS = 6  # of a person who is born
_NO_SHARES = np.zeros((0, 0), np.float32)
HEAD_GROUP = 3  # the first three groups of joints are whole limbs: legs, arms, head


class FusionCore:
    """Fuse what the cameras of a rig see. A pure core: ``stopwatch`` (monotonic ns) only measures itself.

    nodes: camera node → camera, for ``end`` messages, by default nodes are named like cameras. lifter: another than
    the settings name.
    """

    def __init__(
        self,
        rig: Rig,
        settings: FusionNode,
        incarnation: int = 0,
        *,
        pace: Pace = "lossless",
        name: str = "fusion",
        nodes: dict[str, str] | None = None,
        stopwatch: Callable[[], int] = lambda: 0,
        lifter: LifterLike | None = None,
    ) -> None:
        self.rig = rig.subset(tuple(n for n in rig.names if n in settings.cameras)) if settings.cameras else rig
        self.settings = settings
        self._name, self._watch = name, stopwatch
        self._cameras = camera_arrays(self.rig)
        self._flip = np.array(skeleton(SKELETON).flip, np.int64)
        self._groups, self._bones, self._roles = group_table(SKELETON), bone_table(SKELETON), joint_roles(SKELETON)
        first_id = incarnation * IDS_PER_INCARNATION + 1
        self._people = TrackTable(len(skeleton(SKELETON)), self._groups[:HEAD_GROUP], first_id, settings.occlusion_s)
        self._measurer = Measurer(self._cameras, len(self._flip), self._groups, face_joints(SKELETON))
        self._rig_watch = RigWatch(self._cameras)
        self._steering = rig_health.ClockSteering(len(self.rig))
        self._refused: dict[str, int] = {}
        self._sync = FrameSetAssembler(self.rig.names, settings, pace, incarnation)
        self._ends = nodes or {c: c for c in self.rig.names}
        self._sets, self._ended = 0, False
        self._given: SetViews | None = None  # the views of the set that was fused last
        self.lifting = lifting_stage(self._cameras, settings, SKELETON, lifter, self.rig.up_world)
        self.bodies = body_stage(self.rig, settings, stopwatch)
        self._mesher = Mesher("bodies", (settings.body,), light=settings.meshes == "light")

    # ── messages ──

    def handle(self, t_ns: int, topic: str, record: Any) -> list[Out]:
        """Take a view, or the end of one, and fuse the sets that it closes; ``tick`` closes those that are overdue."""
        family, _, key = topic.partition("/")
        if family == "keypoints" and isinstance(record, Keypoints2D):
            self._sync.add(t_ns, record)
        elif family == "end" and key in self._ends:
            self._sync.end(self._ends[key])
        return self._fuse_closed(t_ns, overdue=False)

    def tick(self, t_ns: int) -> list[Out]:
        """Fuse what is complete or has waited long enough; not to be called while messages wait to be taken."""
        return self._fuse_closed(t_ns, overdue=True)

    def _fuse_closed(self, t_ns: int, overdue: bool) -> list[Out]:
        out: list[Out] = []
        began = self._watch()
        while (closed := self._sync.take(t_ns, overdue)) is not None:
            frameset, views = closed
            lifter, prior = renewed(self.lifting, self.bodies)
            out += self.fuse(replace(frameset, lifter=lifter, body_prior=prior), views, self._watch() - began)
            self._sets += 1
            began = self._watch()
        if self._sync.finished and not self._ended:
            self._ended = True
            out.append(Out(f"end/{self._name}", End(self._name, self._sets, 0, "all cameras ended")))
        return out

    def fuse(self, frameset: FrameSet, views: dict[str, Keypoints2D], sync_ns: int = 0) -> list[Out]:
        """All that one frame set comes to: the set itself, poses, bodies, meshes, and once a second how the rig is.

        views: camera → the message that the set names. A replay of the journal calls this, as a live fusion does.
        """
        t_ns = frameset.t_set_ns
        poses = self.step(frameset, views, sync_ns)
        out = [Out("framesets", frameset, t_ns), Out("poses", poses, t_ns)]
        if self.bodies is not None:
            bodies = self.bodies.step(frameset, views, poses, self._given)
            out.append(Out("bodies", bodies, t_ns))
            if self.settings.meshes != "off":
                out.append(Out("meshes", self._mesher.message(bodies), t_ns))
        return out + self._rig_health(frameset)

    def correct(self, offsets_ns: Int) -> None:
        """Put clock corrections (C,) into force, subtracted from the stamps, for all views that are in no set yet."""
        self._sync.correct(offsets_ns)

    def _rig_health(self, frameset: FrameSet) -> list[Out]:
        """Once a second how the rig is; the clocks that this tells are in force from the next set on."""
        state = self._rig_watch.state(frameset.t_set_ns, frameset.offsets_ns)
        if state is None:
            return []
        if self.settings.estimate_offsets:
            self.correct(self._steering.steered(frameset.offsets_ns, state))
        return [Out("rig_health", rig_health.record(state, frameset.run_index, self.rig.names), frameset.t_set_ns)]

    def next_deadline_ns(self) -> int | None:
        """When the oldest open set is closed without its late views; None where none is open, or the pace lossless."""
        return self._sync.next_deadline_ns()

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that were received and not used, by cause."""
        return dict(self._sync.dropped)

    @property
    def usual_delays_ms(self) -> dict[str, float]:
        """Camera → how long its views usually take from their stamp to fusion, of those that have given any."""
        return self._sync.usual_delays_ms

    @property
    def lifter(self) -> str:
        """Name of the lifter in force, with the hash of its weights; "" where there is none."""
        return "" if self.lifting is None else self.lifting.name

    @property
    def expected(self) -> dict[int, Float]:
        """Where the joints of everybody with an identity are expected: (J, 3), NaN where unknown; unseen people too."""
        people = self._people
        return {int(i): x for i, x in zip(people.ids, people.expected_world_m, strict=True) if i > 0}

    @property
    def noise_factor(self) -> Float:
        """(C, J) what the residuals of each joint in each camera say of its noise, as a factor on the model's σ."""
        return self._measurer.noise.factor

    # ── one frame set ──

    def step(self, frameset: FrameSet, views: dict[str, Keypoints2D], sync_ns: int = 0) -> Poses:
        """The people of one frame set. views: camera → the message that the set names."""
        t0 = self._watch()
        people = self._people
        given = self._given = set_views(self.rig, self._cameras, frameset, views)
        messages, found, dt_to_set_s = given.messages, given.found, given.dt_to_set_s
        for camera in given.misfits:
            self._refuse("picture_size", 1, camera)
        self._refuse("keypoint_not_finite", int(found.bad.sum()))

        people.predict(frameset.t_set_ns)
        expected = people.expected_world_m
        expected[~people.recently_seen()] = np.nan
        matches = match(self._cameras, found, expected, people.gates_m(), self._flip)
        t1 = self._watch()

        known, seen = self._known(frameset, found, expected, matches.assigned, matches.owner, dt_to_set_s)
        free = ~matches.duplicate
        free[known.assigned[known.assigned >= 0]] = False
        self._refuse("duplicate_detection", int(matches.duplicate.sum()))
        t2 = self._watch()

        back = np.zeros(0, np.int64)
        measured = known
        if free.any():
            born, back = self._born(found, free, messages, dt_to_set_s, seen)
            measured = known.concat(born)
        strangers = np.zeros(0, np.int64)
        if self.settings.still and self.settings.lift_one_view and self.lifting is not None:
            strangers = add_strangers(self._cameras, people, found, free, seen, self.settings.max_people)
        there = np.zeros((len(people), found.xy.shape[1]), np.bool_)
        there[measured.rows] = np.isfinite(measured.solution.points_world_m[..., 0])
        filled = None
        if self.lifting is not None:
            how = dt_to_set_s, self._measurer.noise.factor, local_ids(messages), strangers
            filled = self.lifting.step(frameset.t_set_ns, people, seen, measured, back, *how)
            measured, there = merge_lifted(measured, filled, seen), there | filled.joints
        t3 = self._watch()

        people.coast(there)
        people.confirm()
        gone = people.overdue()
        gone[[drop for _, drop in people.duplicate_pairs()]] = True
        poses = self._poses(frameset, measured, gone, found, filled)
        gone |= self.settings.still
        if self.lifting is not None:
            self.lifting.forget(people.tracks[gone])
        people.drop(gone)
        t4 = self._watch()
        steps = {"sync": sync_ns, "associate": t1 - t0, "triangulate": t2 - t1, "estimate": t4 - t2}
        if self.lifting is not None:
            steps |= {"lift": t3 - t2, "estimate": t4 - t3}
        poses.step_ns.update(steps, total=sync_ns + t4 - t0)
        return poses

    def _known(
        self, frameset: FrameSet, found: Detections, expected: Float, assigned: Int, owner: Int, dt_to_set_s: Float
    ) -> tuple[Measured, ViewObservations]:
        """Measure the people who were expected and tell the estimate; also what the views saw of everybody."""
        people = self._people
        xy, confidence = compose(self._cameras, found, expected, assigned, owner)
        motion_compensate(self._cameras, xy, dt_to_set_s, expected, people.velocity_mps)
        before, given, velocity = np.count_nonzero(assigned >= 0), confidence.copy(), people.velocity_mps
        ages = found.ages_s(assigned)
        solution, flips, assigned = self._measurer.measure(
            xy, confidence, expected, people.sd_m(), assigned, dt_to_set_s, SPEED_SD_MPS, ages
        )
        fresh = None if ages is None else fresh_share(solution.used(len(self._cameras)), confidence, ages)
        # with what is refused below: a camera that was moved sees nothing where it should
        self._rig_watch.observe(
            frameset.t_set_ns, people.tracks, frameset.offsets_ns, dt_to_set_s, xy, given, solution.points_world_m,
            velocity,
        )  # fmt: skip
        self._refuse("outlier_view", int(before - np.count_nonzero(assigned >= 0)))
        rows = np.flatnonzero(np.isfinite(solution.points_world_m[..., 0]).sum(axis=1) >= JOINTS_TO_PUBLISH)
        seen = ViewObservations(xy, confidence, assigned)
        solution, assigned = solution.take(rows), assigned[rows]
        _, height = plausible(solution.points_world_m, self._bones)
        fresh = None if fresh is None else fresh[rows]
        people.observe(rows, solution.points_world_m, _news(solution.covariance_m2, fresh), height)
        there = np.maximum((assigned >= 0).sum(axis=1), 1)
        people.vote(rows, 2 * flips[rows, :, :HEAD_GROUP].sum(axis=1) > there[:, None])
        self._measurer.noise.learn(solution)
        return Measured(rows, solution, assigned, fresh), seen

    def _born(
        self,
        found: Detections,
        free: Bool,
        messages: Sequence[Keypoints2D | None],
        dt_to_set_s: Float,
        seen: ViewObservations,
    ) -> tuple[Measured, Int]:
        """People made of the detections that nobody got: somebody who comes back, or somebody new.

        ``seen`` is brought up to date. Also returns the rows of those who came back.
        """
        live = np.array([m is not None for m in messages])
        new = propose_tracks(self._cameras, found, free, live, self._flip, self._bones, self.settings.min_views)
        for reason, n in new.refused.items():
            self._refuse(reason, n)
        owner = np.full(len(found), -1, np.int64)
        for b, row in enumerate(new.assigned):
            owner[row[row >= 0]] = b
        xy, confidence = compose(self._cameras, found, new.points_world_m, new.assigned, owner)
        sd = np.full(new.points_world_m.shape[:2], 0.1)
        ages = found.ages_s(new.assigned)
        solution, _, assigned = self._measurer.measure(
            xy, confidence, new.points_world_m, sd, new.assigned, dt_to_set_s, UNKNOWN_SPEED_MPS, ages
        )
        height = self._judged(new, solution, assigned)
        keep = np.flatnonzero(np.isfinite(height))
        solution, assigned, height, against = solution.take(keep), assigned[keep], height[keep], new.against[keep]
        claimed = seen.owner(assigned) if self.lifting is not None else None
        back = self._people.reidentify(solution.points_world_m, height, claimed)
        rows = np.empty(len(keep), np.int64)
        old = back >= 0
        self._people.restart(back[old])
        self._people.observe(back[old], *_of(solution, old), height[old])
        rows[old] = back[old]
        views = (assigned >= 0).sum(axis=1)
        # three views that agree on a body are proof; two may pair strangers, more so where other views saw nobody
        sure = (views >= 3) & (views > against) | self.settings.still
        need = np.where(sure, 1, np.where(against == 0, 3, 5))
        # two pictures on two walls agree on a body too, but as many views see nobody there, and it never moves
        doubted = (views < 3) & (against >= views) & (not self.settings.still)
        rows[~old] = self._people.add_tracks(*_of(solution, ~old), height[~old], need[~old], doubted[~old])
        seen.without(assigned)
        seen.put(rows, xy[keep], confidence[keep], assigned)
        return Measured(rows, solution, assigned), back[old]

    def _judged(self, new: TrackProposals, solution: Solution, assigned: Int) -> Float:
        """(B,) stature of each proposed person, NaN where it is refused."""
        body, height = plausible(solution.points_world_m, self._bones)
        joints = np.isfinite(solution.points_world_m[..., 0]).sum(axis=1)
        views = (assigned >= 0).sum(axis=1)
        room = self.settings.max_people - len(self._people)
        for b in range(len(height)):
            reason: Code | None = None
            if joints[b] < BIRTH_JOINTS:
                reason = "birth_too_few_joints"
            elif views[b] < max(2, self.settings.min_views):
                reason = "birth_too_few_views"
            elif new.against[b] >= 2 * views[b]:
                reason = "visibility_conflict"
            elif not body[b]:
                reason = "implausible_body"
            elif self._people.overlaps_seen_track(solution.points_world_m[b]):
                reason = "already_tracked"
            elif room <= 0:
                reason = "scene_full"
            if reason:
                self._refuse(reason, 1)
                height[b] = np.nan
            else:
                room -= 1
        return height

    def _poses(
        self, frameset: FrameSet, measured: Measured, gone: Bool, found: Detections, filled: Filled | None
    ) -> Poses:
        """The message: people with an identity who were measured, or placed by one view, in this set."""
        people = self._people
        ids = people.ids[measured.rows]
        keep = np.flatnonzero((ids > 0) & ~gone[measured.rows])
        keep = keep[np.argsort(ids[keep], kind="stable")]
        rows, s, assigned = measured.rows[keep], measured.solution.take(keep), measured.assigned[keep]
        # what is implied is written into copies: the measurements stay measurements
        points, covariance, confidence = s.points_world_m.copy(), s.covariance_m2.copy(), s.confidence.copy()
        if self.settings.smooth:
            there = np.isfinite(points[..., 0])
            points = np.where(there[..., None], people.expected_world_m[rows], np.nan)
            covariance = np.where(there[..., None, None], people.covariance_m2[rows], np.nan)
        derived = imply_joints(points, covariance, confidence, self._roles)
        views, lifted = s.views, np.zeros((0, 0), np.bool_)
        if filled is not None:
            views, lifted = filled.into(people, rows, points, covariance, confidence, views)
        packed = pack(points, covariance, confidence)
        detections = np.where(assigned >= 0, found.row[assigned], -1) if len(found) else assigned
        return Poses(
            frameset.seq, frameset.run_index, frameset.t_set_ns, SKELETON, frameset.cameras, ids[keep].astype(np.int32),
            packed.points_world_m, packed.covariance_m2, packed.confidence, s.residual_px.astype(np.float32), views,
            derived, detections.astype(np.int32), dict(self._refused),
            int(frameset.arrivals_ns.max(initial=0)), self._watch(),
            filtered="causal" if self.settings.smooth else "", lifted=lifted,
            fresh=_NO_SHARES if measured.fresh is None else measured.fresh[keep].astype(np.float32),
            bias_sd_m=self._bias_sd_m(np.isfinite(points[..., 0])),
        )  # fmt: skip

    def _bias_sd_m(self, there: Bool) -> NDArray[np.float32]:
        """(P, J) the systematic part, NaN where there is no joint."""
        messages = self._given.messages if self._given is not None else ()
        known = bias_sd_m(detector_of({m.camera: m for m in messages if m is not None}))
        return np.where(there, known, np.nan).astype(np.float32)

    def _refuse(self, reason: Code, n: int, *about: str) -> None:
        if n:
            key = cause(reason, *about)
            self._refused[key] = self._refused.get(key, 0) + n


def _news(covariance_m2: Float, fresh: Float | None) -> Float:
    """Covariances (n, J, 3, 3) of so much of the measurements as is news, fresh (n, J); None: all of it."""
    return covariance_m2 if fresh is None else covariance_m2 / fresh[..., None, None]


def _of(solution: Solution, rows: Bool) -> tuple[Float, Float]:
    return solution.points_world_m[rows], solution.covariance_m2[rows]
