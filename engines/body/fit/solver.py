"""Bodies of people over time: what every view sees of them → pose, shape and place, and how sure.

:class:`BodySolver` keeps each identity's last fit and what is known of its shape. A frame is one warm-started
Levenberg–Marquardt fit (:mod:`engines.body.fit.levenberg_marquardt`), of all people in one compiled call
(:mod:`engines.body.fit.batch`); the first frame of a person tries several beginnings. All the weights come from
standard deviations: of the keypoints, of the pose prior, and of how fast joints turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.batch import (
    BodyStates,
    Expected,
    KeypointBatch,
    Solved,
    SolverSettings,
    concat_states,
    copy_state,
    empty_states,
    repeat_states,
    solve_all,
)
from kinecast.engines.body.fit.bones import bones_of
from kinecast.engines.body.fit.expectation import PriorArrays
from kinecast.engines.body.fit.foot_contact import REST_S, foot_points
from kinecast.engines.body.fit.habits import HabitPrior
from kinecast.engines.body.fit.initialise import PosableBody, from_points, from_views, other_units
from kinecast.engines.body.fit.kernels import PersonKeypoints
from kinecast.engines.body.fit.shape_learning import Shape, ShapeLearner
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.observations import CameraArrays
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Starts = Callable[[Float, Float, Float], Sequence[Float]]

# A joint's turn between frames 1/30 s apart; tighter smooths real motion away.
TURN_RAD = 0.12
TURN_HZ = 30.0
SPEED_MPS = 3.0  # of the whole body
POSE_SD_RAD = 0.25  # typical of the prior: how far poses wander when nothing is seen
ROBUST_SIGMA = 3.5
BEGIN_SIGMA = 20.0  # from far away everything looks like an outlier
GATE_SIGMA = 3.5  # a keypoint that is further off is not explained
LIMIT_RAD = 0.05
SHAPE_LIMIT = 3.5  # standard deviations of the first beta, which is size
ODD_LIMIT = 5.0  # of any other: proportions that nobody has
LEAST_EXPLAINED, LEAST_WATCHED = 0.7, 0.4
CHI2_EXPLAINED = 1.97  # mean of a χ² of two degrees of freedom that stays below the gate of 3.5 σ
LEAST_FREE = 0.1  # share of the data that parameters leave free; less says nothing of the noise
SIDES_COST, SIDES_EXPLAINED = 0.7, 0.05  # so much better with left and right exchanged, and they are
AGAIN_EXPLAINED, AGAIN_FRAMES = 0.55, 10  # begin anew where so little is explained, at most so often
SMALL_RAD, GAIN = 1e-3, 3e-3  # a step, and a share of the cost, that are not worth another one
FORGET_NS = 500_000_000  # a pose this old is no expectation
FLAG_RESIDUAL, FLAG_SHAPE_OPEN, FLAG_SHAPE_BEYOND, FLAG_SIDES, FLAG_UNSEEN = 1, 2, 4, 8, 16
FLAG_CHILD, FLAG_GIANT, FLAG_UNITS, FLAG_QUESTIONED = 32, 64, 128, 256
QUESTIONED_NS = 10_000_000_000  # so long it is told that a shape was questioned


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One person's body. R: (24, 3, 3) local rotations; t: (3,); betas: (B,); joints: (24, 3) and points: (K, 3) m.

    joint_sd_m: (24,); turn_sd_rad: (24, 3) about each joint's own axes. residual_px: RMS of the explained keypoints;
    explained: their share; chi2: their mean square in σ² over what is expected of it, the parameters that they
    determine counted (1: the noise is as large as was said). flags: bits of ``engines.records.BODY_FLAGS``. cost: of
    everything, in σ²; steps: taken. contacts: (2,) whether the left and right foot rest; rests: (6, 3) m, where each of
    ``contact.POINTS`` rests, NaN where it does not.
    """

    R: Float
    t: Float
    betas: Float
    joints: Float
    points: Float
    joint_sd_m: Float
    turn_sd_rad: Float
    residual_px: float
    explained: float
    chi2: float
    flags: int
    contacts: Bool
    cost: float
    steps: int
    rests: Float
    constants: Float


@dataclass(slots=True)
class _Known:
    """Of an identity, beside its place in the arrays: its shape, when it was fitted last, how often, and when begun
    anew."""

    row: int
    t_ns: int
    shape: Shape
    frames: int = 0
    tried: int = 0
    sides: bool = False
    units: bool = False


def beyond(betas: Float) -> int:
    """Flags of a shape that no adult has: of a child, of a giant, or odd."""
    size = FLAG_CHILD if betas[0] < -SHAPE_LIMIT else FLAG_GIANT if betas[0] > SHAPE_LIMIT else 0
    return size | (FLAG_SHAPE_BEYOND if size or np.abs(betas).max() > ODD_LIMIT else 0)


def _stacked(arrays: list[Float]) -> Float:
    """One after another; of one person without a copy."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


@dataclass(frozen=True, slots=True, eq=False)
class BodyObservations:
    """P people at one time. xy: (P, C, K, 2), w: (P, C, K), as for :meth:`BodySolver.fit_all`."""

    t_ns: int
    ids: list[int]
    xy: Float
    w: Float


class BodySolver:
    """Fits ``body`` to keypoints of the skeleton ``name`` as cameras see them, one call a frame.

    up_world: (3,). hold_shape: betas (B,) that are known and stay, or all constants of a :class:`Fit`. contact: hold
    feet that rest. persistent, common: shares of the variance of the keypoints' noise that stay from frame to frame,
    and that all keypoints of a view have in common; they widen what is stated. starts: (P, xy, w) of one person →
    poses (24, 3, 3) that a beginning without points is also tried from. habits: of the detector that the keypoints
    come from; None: it has none, and errs anew in every frame.
    """

    def __init__(
        self,
        body: BodyModel,
        name: str,
        cameras: CameraArrays,
        prior: PriorArrays,
        up_world: Float,
        hold_shape: Float | None = None,
        contact: bool = True,
        persistent: float = 0.0,
        common: float = 0.0,
        starts: Starts | None = None,
        habits: HabitPrior | None = None,
    ) -> None:
        self.body, self.prior, self._starts = body, prior, starts
        terms = keypoint_terms(body, name)
        self.names = skeleton(name).joints
        self.shapes = ShapeLearner(
            body, bones_of(body, terms), self.names, prior, up_world, habits, ROBUST_SIGMA**2, 1 / LIMIT_RAD**2
        )
        self.bones = self.shapes.narrow
        self.flip = np.array(skeleton(name).flip)
        self.known = np.asarray(terms.count > 0)
        self.cameras, self._up, self._hold = cameras, np.asarray(up_world, np.float64), hold_shape
        self._persistent, self._common = persistent, common
        self._contact, self.feet = contact, foot_points(self.names, self.known)
        self._people, self._row = empty_states(4, body.betas), dict[int, _Known]()

    def forget(self, before_ns: int) -> None:
        """Drop every identity that was last fitted before that time."""
        for i in [i for i, known in self._row.items() if known.t_ns < before_ns]:
            del self._row[i]

    def fit(
        self,
        t_ns: int,
        identity: int,
        xy: Float,
        w: Float,
        points: Float | None = None,
        info: Float | None = None,
        start: Float | None = None,
    ) -> Fit | None:
        """One person at one time, see :meth:`fit_all`; None where nothing is seen of them."""
        one = [None if a is None else a[None] for a in (points, info, start)]
        return self.fit_all(t_ns, [identity], xy[None], w[None], *one)[0]

    def fit_all(
        self,
        t_ns: int,
        identities: Sequence[int],
        xy: Float,
        w: Float,
        points: Float | None = None,
        info: Float | None = None,
        start: Float | None = None,
    ) -> list[Fit | None]:
        """P people at one time; None for whom nothing is seen of.

        xy: (P, C, K, 2) undistorted normalised coordinates and w: (P, C, K) their inverse variance, 0 where missing.
        points: (P, K, 3) m and info: (P, K, 3, 3) 1/m², measured points that count as data. start: (P, K, 3) points
        that a first frame may begin from and that count as no data; NaN where missing.
        """
        views, given = self._views(xy, w, points, info), start if start is not None else points
        out: list[Fit | None] = [None] * len(identities)
        seen = np.any(views.w > 0, axis=(1, 2)) | np.any(views.info, axis=(1, 2, 3))
        steady: list[int] = []
        for q, identity in enumerate(identities):
            known = self._row.get(identity)
            if not seen[q]:
                continue
            if known is not None and t_ns - known.t_ns <= FORGET_NS:
                steady.append(q)
            else:
                out[q] = self._begin(t_ns, identity, views, q, None if given is None else given[q])
        if steady:
            self._step(t_ns, identities, views, np.array(steady), given, out)
        return out

    def _views(self, xy: Float, w: Float, points: Float | None = None, info: Float | None = None) -> KeypointBatch:
        """What is seen, with zeros where nothing is."""
        w = np.where(self.known & np.isfinite(xy).all(axis=-1), w, 0.0)
        # in one order of memory: of another, all kernels would be compiled once more, in the middle of a session
        xy, w = np.ascontiguousarray(np.where(w[..., None] > 0, xy, 0.0)), np.ascontiguousarray(w)
        X, N = np.zeros((len(w), len(self.names), 3)), np.zeros((len(w), len(self.names), 3, 3))
        if points is not None and info is not None:
            there = self.known & np.isfinite(points).all(axis=-1)
            X[there], N[there] = points[there], info[there]
        return KeypointBatch(self.cameras.P, self.cameras.focal_px, xy, w, X, N)

    def _step(
        self,
        t_ns: int,
        identities: Sequence[int],
        views: KeypointBatch,
        of: NDArray[np.int64],
        given: Float | None,
        out: list[Fit | None],
    ) -> None:
        """The next frame of those who are known, from where they were."""
        who = [self._row[identities[q]] for q in of]
        rows, people = np.array([k.row for k in who]), self._people
        dt = np.maximum(np.array([t_ns - k.t_ns for k in who]) / 1e9, 1e-3)
        turn2 = (TURN_RAD * TURN_HZ * dt) ** 2
        expected = Expected(
            people.R[rows], 1.0 / (people.turn_var[rows] + turn2[:, None, None]), people.t[rows],
            1.0 / (people.joint_var[rows, 0] + (SPEED_MPS * dt) ** 2),
            # the past already knows the prior: only so much of it is new that, unseen, a joint comes to rest at its σ
            turn2 / (turn2 + POSE_SD_RAD**2), _stacked([k.shape.offset for k in who]), np.arange(len(who)),
        )  # fmt: skip
        need = np.maximum(REST_S / dt, 3.0) if self._contact else np.zeros(len(rows))
        solved = self._solve(views, of, people, rows, expected, need, 5)
        for i, (q, known) in enumerate(zip(of.tolist(), who, strict=True)):
            known.t_ns, known.frames = t_ns, known.frames + 1
            fit = out[q] = self._fit(people, known, solved, i)
            if self.shapes.due(known.shape, t_ns):
                self._look(known, t_ns, views, q, fit)
            if fit.explained < AGAIN_EXPLAINED and known.frames > known.tried + AGAIN_FRAMES:
                known.tried = known.frames
                kept = empty_states(1, self.body.betas)
                copy_state(kept, 0, people, known.row)
                anew = self._begin(t_ns, identities[q], views, q, None if given is None else given[q])
                if anew.explained > fit.explained + 0.1:
                    out[q] = anew
                else:
                    copy_state(people, known.row, kept, 0)
                    self._row[identities[q]] = known

    def _solve(
        self,
        views: KeypointBatch,
        of: NDArray[np.int64],
        people: BodyStates,
        rows: NDArray[np.int64],
        expected: Expected,
        need: Float,
        steps: int,
        robust: float = ROBUST_SIGMA,
    ) -> Solved:
        rules = SolverSettings(
            robust**2, steps, 1 / LIMIT_RAD**2, SMALL_RAD, GAIN, GATE_SIGMA**2, self._persistent,
            self._common, self.feet, need,
        )  # fmt: skip
        return solve_all(self.bones, views, of, self.prior, people, rows, expected, rules)

    def _look(self, known: _Known, t_ns: int, views: KeypointBatch, q: int, fit: Fit, first: bool = False) -> None:
        """What a fit says of the shape; one that does not explain what is seen says nothing, but against it."""
        least = LEAST_WATCHED if known.shape.settled else LEAST_EXPLAINED
        if not fit.explained < least:  # of points alone no share is told
            seen = PersonKeypoints(views.P, views.xy[q], views.w[q], views.X[q], views.info[q])
            self.shapes.look(known.shape, t_ns, seen, fit.R, fit.t, fit.betas, fit.joints, first)
            self._people.beta[known.row] = known.shape.learnt.mean[: self.body.betas]

    def _fit(self, people: BodyStates, known: _Known, solved: Solved, i: int) -> Fit:
        total, chi2, good, given = solved.residual[i].tolist()
        row, shape = known.row, known.shape
        explained = good / given if given else float("nan")
        beta, resting = people.beta[row].copy(), people.resting[row].copy()
        flags = FLAG_RESIDUAL if given and explained < LEAST_EXPLAINED else 0
        flags |= 0 if shape.settled else FLAG_SHAPE_OPEN
        flags |= beyond(beta) | (FLAG_SHAPE_BEYOND | FLAG_UNITS if known.units else 0)
        flags |= FLAG_QUESTIONED if known.t_ns - shape.questioned_ns < QUESTIONED_NS else 0
        flags |= FLAG_UNSEEN if not given else 0
        flags |= FLAG_SIDES | FLAG_RESIDUAL if known.sides else 0
        free = max(1.0 - solved.parameters[i] / (2 * good), LEAST_FREE) if good else 1.0
        return Fit(
            people.R[row].copy(), people.t[row].copy(), beta, solved.joints[i].copy(), solved.points[i].copy(),
            np.sqrt(people.joint_var[row] + shape.joint_var), np.sqrt(people.turn_var[row]),
            float(np.sqrt(total / good)) if good else float("nan"), explained,
            chi2 / good / CHI2_EXPLAINED / free if good else float("nan"), flags, resting.reshape(2, 3).any(axis=1),
            float(solved.cost[i]), int(solved.steps[i]), np.where(resting[:, None], people.place[row], np.nan),
            np.concatenate([beta, shape.learnt.mean[self.body.betas :]]),
        )  # fmt: skip

    def _begin(self, t_ns: int, identity: int, views: KeypointBatch, q: int, given: Float | None) -> Fit:
        """The first frame of somebody, and whether they fit much better with left and right exchanged: that is told and
        not put right, for it is wrong in every view.
        """
        before, f = self._row.get(identity), self.flip
        shape = self.shapes.begin(t_ns, self._hold) if before is None else before.shape
        best, fit = self._first(views, q, given, before, shape)
        sides = (views.xy[q][:, f], views.w[q][:, f], views.X[q][f], views.info[q][f])
        other = KeypointBatch(views.P, views.focal, *(np.ascontiguousarray(array[None]) for array in sides))
        exchanged = self._first(other, 0, None if given is None else given[f], before, shape)[1]
        swapped = exchanged.cost < SIDES_COST * fit.cost and exchanged.explained > fit.explained + SIDES_EXPLAINED
        row = self._free_row() if before is None else before.row
        copy_state(self._people, row, best, 0)
        known = _Known(row, t_ns, shape)
        if before is not None:
            known.frames, known.tried = before.frames + 1, before.tried
        posed = PosableBody(self.bones, np.zeros(self.body.betas)), self.prior.reference
        known.sides, known.units = swapped, given is not None and other_units(*posed, self.names, given)
        self._row[identity] = known
        self._people.open[row] = 0
        if known.units:
            fit = replace(fit, flags=fit.flags | FLAG_SHAPE_BEYOND | FLAG_UNITS)
        if before is None and self._hold is None:
            self.shapes.met(shape, fit.betas)
            if not swapped:
                self._look(known, t_ns, views, q, fit, first=True)
        return replace(fit, flags=fit.flags | FLAG_SIDES | FLAG_RESIDUAL) if swapped else fit

    def _free_row(self) -> int:
        """A place that nobody has."""
        taken, S = {k.row for k in self._row.values()}, len(self._people.t)
        if len(taken) == S:
            self._people = concat_states(self._people, empty_states(S, self.body.betas))
        return next(r for r in range(len(self._people.t)) if r not in taken)

    def _first(
        self, views: KeypointBatch, q: int, given: Float | None, before: _Known | None, shape: Shape
    ) -> tuple[BodyStates, Fit]:
        """A few steps from every guess, all the way from the best. before: whose shape is known."""
        B = self.body.betas
        base = empty_states(1, B)
        if before is not None:
            copy_state(base, 0, self._people, before.row)
            base.frames[:], base.resting[:] = 0.0, False
        elif self._hold is None:
            base.open[:] = B
        base.beta[0] = shape.learnt.mean[:B]
        posed = PosableBody(self.bones._replace(offset=shape.offset), base.beta[0])
        guesses = from_points(posed, self.prior.reference, self.names, given) if given is not None else []
        if not guesses:
            seen = views.P, views.xy[q], views.w[q]
            others = self._starts(*seen) if self._starts else ()
            guesses = from_views(posed, self.prior.reference, self._up, *seen, others)
        if not guesses:
            at = np.nanmean(given, axis=0) if given is not None and np.isfinite(given).any() else np.zeros(3)
            guesses = [(self.prior.reference.copy(), at - posed.rest[0])]
        tried, solved = self._from(views, q, base, guesses, 8, BEGIN_SIGMA, shape)
        best = int(np.argmin(solved.cost))
        base.beta[0] = tried.beta[best]
        last, solved = self._from(views, q, base, [(tried.R[best], tried.t[best])], 30, ROBUST_SIGMA, shape)
        return last, self._fit(last, _Known(0, 0, shape), solved, 0)

    def _from(
        self,
        views: KeypointBatch,
        q: int,
        base: BodyStates,
        guesses: Sequence[tuple[Float, Float]],
        steps: int,
        robust: float,
        shape: Shape,
    ) -> tuple[BodyStates, Solved]:
        """Fit from every guess (R (24, 3, 3), t (3,)) with nothing expected."""
        n = len(guesses)
        people = repeat_states(base, n)
        for i, (R, t) in enumerate(guesses):
            people.R[i], people.t[i] = R, t
        expected = Expected(
            people.R.copy(), np.zeros((n, 24, 3)), people.t.copy(), np.zeros(n), np.ones(n), shape.offset[None],
            np.zeros(n, np.int64),
        )  # fmt: skip
        rows = np.arange(n)
        return people, self._solve(views, np.full(n, q), people, rows, expected, np.zeros(n), steps, robust)
