"""Bodies of people over time: what every view sees of them → pose, shape and place, and how sure.

:class:`BodySolver` keeps each identity's last fit and what is known of its shape. A frame is one warm-started
Levenberg–Marquardt fit (:mod:`engines.body.lm`); the first frame of a person tries several beginnings. All the weights
come from standard deviations: of the keypoints, of the pose prior, and of how fast joints turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba as nb
import numpy as np
from numpy.typing import NDArray

from engines.body.contact import Contacts
from engines.body.initial import Posed, from_points, from_views
from engines.body.kernels import Bones, Seen
from engines.body.keypoints import KeypointTerms, keypoint_terms
from engines.body.lm import Past, PriorArrays, Weights, solve_one
from engines.body.model import BodyModel
from engines.body.rotations import matrices, rotvecs, straighten
from engines.skeleton import skeleton
from engines.views import CameraArrays

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

# A joint's turn between frames 1/30 s apart; tighter smooths real motion away.
TURN_RAD = 0.12
TURN_HZ = 30.0
SPEED_MPS = 3.0  # of the whole body
POSE_SD_RAD = 0.25  # typical of the prior: how far poses wander when nothing is seen
ROBUST_SIGMA = 3.5
BEGIN_SIGMA = 20.0  # from far away everything looks like an outlier
GATE_SIGMA = 3.5  # a keypoint that is further off is not explained
LIMIT_RAD = 0.05
SHAPE_S = 0.25  # frames so far apart are independent words on the shape: the errors of neighbours are alike
SETTLE_S, SETTLE_MOST_S, SETTLE_SD_M = 3.0, 10.0, 0.003
SHAPE_LIMIT = 3.5  # standard deviations of a beta
LEAST_EXPLAINED = 0.7
SIDES_COST, SIDES_EXPLAINED = 0.7, 0.05  # so much better with left and right exchanged, and they are
AGAIN_EXPLAINED, AGAIN_FRAMES = 0.55, 10  # begin anew where so little is explained, at most so often
BEGIN_NS = 250_000_000  # a beginning tells the shape as one whole word
SMALL_RAD, GAIN = 1e-3, 3e-3  # a step, and a share of the cost, that are not worth another one
FORGET_NS = 500_000_000  # a pose this old is no expectation
FLAG_RESIDUAL, FLAG_SHAPE_OPEN, FLAG_SHAPE_BEYOND, FLAG_SIDES, FLAG_UNSEEN = 1, 2, 4, 8, 16


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One person's body. R: (24, 3, 3) local rotations; t: (3,); betas: (B,); joints: (24, 3) and points: (K, 3) m.

    joint_sd_m: (24,); turn_sd_rad: (24, 3) about each joint's own axes. residual_px: RMS of the explained keypoints;
    explained: their share; chi2: their mean square in σ². flags: bits of ``engines.records.BODY_FLAGS``. cost: of
    everything, in σ²; steps: taken. contacts: (2,) whether the left and right foot rest.
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


@dataclass(slots=True, eq=False)
class _Person:
    """What is kept of an identity: its last pose with variances, and its shape with information."""

    R: Float
    t: Float
    beta: Float
    mean: Float
    beta_info: Float
    turn_var: Float
    joint_var: Float
    t_ns: int
    posed: Posed
    contacts: Contacts
    frames: int = 0
    known_s: float = 0.0
    settled: bool = False
    tried: int = 0
    sides: bool = False


def bones_of(body: BodyModel, terms: KeypointTerms) -> Bones:
    """The arrays of a body's skeleton and keypoints that the kernels take."""
    K, M = terms.joint.shape
    parents = np.ascontiguousarray(body.parents, np.int64)
    moved = [[_chain(parents, int(terms.joint[k, m])) for m in range(terms.count[k])] for k in range(K)]
    movers = [sorted({a for chain in chains for a in chain}) for chains in moved]
    most = max(len(m) for m in movers)
    index, under = np.zeros((K, most), np.int64), np.zeros((K, most, M), np.int64)
    for k in range(K):
        index[k, : len(movers[k])] = movers[k]
        for m, chain in enumerate(moved[k]):
            under[k, : len(movers[k]), m] = [a in chain for a in movers[k]]
    return Bones(
        parents,
        np.ascontiguousarray(body.J_template),
        np.ascontiguousarray(body.J_shape),
        terms.joint.copy(),
        terms.weight.copy(),
        terms.offset.copy(),
        terms.offset_shape.copy(),
        terms.count.copy(),
        index,
        np.array([len(m) for m in movers], np.int64),
        under,
    )


def _chain(parents: NDArray[np.int64], joint: int) -> set[int]:
    out = set()
    while joint >= 0:
        out.add(joint)
        joint = int(parents[joint])
    return out


@nb.njit(cache=True)
def _residuals(P, focal, xy, w, points):  # type: ignore[no-untyped-def]
    """(sum of squares in px², the same in σ², number) of the explained keypoints of one person, and number given."""
    total, chi2, good, given = 0.0, 0.0, 0, 0
    for c in range(P.shape[0]):
        for k in range(points.shape[0]):
            if w[c, k] <= 0.0:
                continue
            given += 1
            x = points[k]
            z = P[c, 2, 0] * x[0] + P[c, 2, 1] * x[1] + P[c, 2, 2] * x[2] + P[c, 2, 3]
            if z < 0.05:
                continue
            u = (P[c, 0, 0] * x[0] + P[c, 0, 1] * x[1] + P[c, 0, 2] * x[2] + P[c, 0, 3]) / z - xy[c, k, 0]
            v = (P[c, 1, 0] * x[0] + P[c, 1, 1] * x[1] + P[c, 1, 2] * x[2] + P[c, 1, 3]) / z - xy[c, k, 1]
            s = u * u + v * v
            if s * w[c, k] <= GATE_SIGMA * GATE_SIGMA:
                good += 1
                total += s * focal[c] * focal[c]
                chi2 += s * w[c, k]
    return total, chi2, good, given


class BodySolver:
    """Fits ``body`` to keypoints of the skeleton ``name`` as cameras see them, one call a person and frame.

    up_world: (3,), only where a person begins without points. hold_shape: betas (B,) that are known and stay.
    contact: hold feet that rest.
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
    ) -> None:
        self.body, self.prior = body, prior
        terms = keypoint_terms(body, name)
        self.bones = bones_of(body, terms)
        self.names = skeleton(name).joints
        self.flip = np.array(skeleton(name).flip)
        self.known = np.asarray(terms.count > 0)
        self._cameras, self._up, self._hold = cameras, np.asarray(up_world, np.float64), hold_shape
        self._contact = contact
        self._people: dict[int, _Person] = {}
        head, ankle = skeleton("smpl24").index("head"), skeleton("smpl24").index("left_ankle")
        self._stature = body.J_shape[head, 1] - body.J_shape[ankle, 1]
        self._nothing = np.zeros((len(self.names), 3)), np.zeros((len(self.names), 3, 3))

    def forget(self, before_ns: int) -> None:
        """Drop every identity that was last fitted before that time."""
        for i in [i for i, person in self._people.items() if person.t_ns < before_ns]:
            del self._people[i]

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
        """One person at one time; None where nothing is seen of somebody new.

        xy: (C, K, 2) undistorted normalised coordinates and w: (C, K) their inverse variance, 0 where missing.
        points: (K, 3) m and info: (K, 3, 3) 1/m², measured points that count as data. start: (K, 3) points that a first
        frame may begin from and that count as no data; NaN where missing.
        """
        w = np.where(self.known & np.isfinite(xy).all(axis=-1), w, 0.0)
        xy = np.where(w[..., None] > 0, xy, 0.0)
        X, N = self._nothing
        if points is not None and info is not None:
            there = self.known & np.isfinite(points).all(axis=-1)
            X, N = np.where(there[:, None], points, 0.0), np.where(there[:, None, None], info, 0.0)
        seen = Seen(self._cameras.P, xy, w, X, N)
        given = start if start is not None else points
        person = self._people.get(identity)
        if not (np.any(w > 0) or np.any(N)):
            return None
        begin = person is None or t_ns - person.t_ns > FORGET_NS
        if person is None or begin:
            person, fit = self._begin(t_ns, seen, given, person)
            self._people[identity] = person
            return fit
        kept = replace(person, R=person.R.copy(), t=person.t.copy(), beta=person.beta.copy())
        fit = self._step(t_ns, seen, person)
        if fit.explained < AGAIN_EXPLAINED and person.frames >= person.tried + AGAIN_FRAMES:
            person.tried = kept.tried = person.frames
            other, anew = self._begin(t_ns, seen, given, kept)
            if anew.explained > fit.explained + 0.1:
                self._people[identity], fit = other, anew
        return fit

    def _step(self, t_ns: int, seen: Seen, person: _Person) -> Fit:
        """The next frame of somebody known, from where they were."""
        dt = max((t_ns - person.t_ns) / 1e9, 1e-3)
        turn2 = (TURN_RAD * TURN_HZ * dt) ** 2
        past = Past(
            person.R.copy(), 1.0 / (person.turn_var + turn2), person.t.copy(),
            1.0 / (person.joint_var[0] + (SPEED_MPS * dt) ** 2), person.mean, person.beta_info,
        )  # fmt: skip
        # the past already knows the prior: only so much of it is new that, unseen, a joint comes to rest at its spread
        held = seen
        if self._contact:
            X, info = person.contacts.hold(seen.X, seen.info)
            held = seen._replace(X=X, info=info)
        fit = self._solve(t_ns, held, person, past, turn2 / (turn2 + POSE_SD_RAD**2), 5)
        if self._contact:
            person.contacts.update(seen, fit.points, ROBUST_SIGMA**2, dt)
        return fit

    def between(self, t_ns: int, here: Fit, xy: Float, w: Float, neighbours: Sequence[tuple[int, Fit]]) -> Fit:
        """``here`` once more with the future known: the shape stays, neighbours (t_ns, fit) on either side expect it.

        xy, w: as for ``fit``. One step of block descent on the joint cost of a whole sequence.
        """
        w = np.where(self.known & np.isfinite(xy).all(axis=-1), w, 0.0)
        seen = Seen(self._cameras.P, np.where(w[..., None] > 0, xy, 0.0), w, *self._nothing)
        R, total, moved, place, total_t = here.R, np.zeros((24, 3)), np.zeros((24, 3)), np.zeros(3), 0.0
        turn2 = 0.0
        for then_ns, fit in neighbours:
            dt = abs(t_ns - then_ns) / 1e9
            turn2 = (TURN_RAD * TURN_HZ * dt) ** 2
            weight = 1.0 / (fit.turn_sd_rad**2 + turn2)
            moved += weight * rotvecs(np.swapaxes(R, -1, -2) @ fit.R)
            total += weight
            speed = 1.0 / (fit.joint_sd_m[0] ** 2 + (SPEED_MPS * dt) ** 2)
            place, total_t = place + speed * fit.t, total_t + speed
        B = len(here.betas)
        person = _Person(
            R.copy(), here.t.copy(), here.betas.copy(), here.betas, np.eye(B), np.empty((24, 3)), np.empty(24), t_ns,
            Posed(self.bones, here.betas), Contacts(self.names, self.known), settled=True,
        )  # fmt: skip
        if total_t > 0.0:
            middle = R @ matrices(moved / total)
            past = Past(middle, total, place / total_t, total_t, here.betas, np.eye(B))
        else:
            past = Past(R.copy(), total, here.t.copy(), 0.0, here.betas, np.eye(B))
        fit = self._solve(t_ns, seen, person, past, turn2 / (turn2 + POSE_SD_RAD**2) if turn2 else 1.0, 5)
        return replace(fit, contacts=here.contacts)

    def _solve(
        self, t_ns: int, seen: Seen, person: _Person, past: Past, prior: float, steps: int, robust: float = ROBUST_SIGMA
    ) -> Fit:
        weights = Weights(robust**2, prior, 1 / LIMIT_RAD**2, steps, SMALL_RAD, GAIN)
        held = person.settled or self._hold is not None
        n = 0 if held else len(person.beta)
        share = min((t_ns - person.t_ns) / 1e9 / SHAPE_S, 1.0)
        told, pull, at = np.empty((n, n)), np.empty(n), np.empty(n)
        points = np.empty((len(self.names), 3))
        cost, _, taken = solve_one(
            self.bones, seen, self.prior, past, weights, n, person.R, person.t, person.beta, person.joint_var,
            person.turn_var, points, told, pull, at,
        )  # fmt: skip
        straighten(person.R)
        person.t_ns, person.frames = t_ns, person.frames + 1
        if n:
            known = person.beta_info @ person.mean + share * (told @ at - pull)
            person.beta_info = person.beta_info + share * told
            person.mean = np.asarray(np.linalg.solve(person.beta_info, known), np.float64)
            person.known_s += share * SHAPE_S
            person.posed = Posed(self.bones, person.beta)
            if self._has_settled(person):
                person.settled, person.beta = True, person.mean.copy()
                person.posed = Posed(self.bones, person.beta)
        return self._fit(seen, person, points, cost, taken)

    def _has_settled(self, person: _Person) -> bool:
        if person.known_s < SETTLE_S:
            return False
        sd2 = self._stature @ np.linalg.solve(person.beta_info, self._stature)
        return bool(sd2 < SETTLE_SD_M**2) or person.known_s >= SETTLE_MOST_S

    def _fit(self, seen: Seen, person: _Person, points: Float, cost: float, taken: int) -> Fit:
        total, chi2, good, given = _residuals(seen.P, self._cameras.focal_px, seen.xy, seen.w, points)
        explained = good / given if given else float("nan")
        flags = FLAG_RESIDUAL if given and explained < LEAST_EXPLAINED else 0
        flags |= 0 if person.settled or self._hold is not None else FLAG_SHAPE_OPEN
        flags |= FLAG_SHAPE_BEYOND if np.abs(person.beta).max() > SHAPE_LIMIT else 0
        flags |= FLAG_UNSEEN if not given else 0
        flags |= FLAG_SIDES | FLAG_RESIDUAL if person.sides else 0
        return Fit(
            person.R.copy(), person.t.copy(), person.beta.copy(), person.posed.place(person.R, person.t)[1], points,
            np.sqrt(person.joint_var), np.sqrt(person.turn_var), float(np.sqrt(total / good)) if good else float("nan"),
            explained, chi2 / good if good else float("nan"), flags, person.contacts.feet, cost, taken,
        )  # fmt: skip

    def _begin(self, t_ns: int, seen: Seen, given: Float | None, known: _Person | None) -> tuple[_Person, Fit]:
        """The first frame of somebody, and whether they fit much better with left and right exchanged: that is told and
        not put right, for it is wrong in every view.
        """
        person, fit = self._first(t_ns, seen, given, known)
        f = self.flip
        other = Seen(seen.P, seen.xy[:, f].copy(), seen.w[:, f].copy(), seen.X[f].copy(), seen.info[f].copy())
        exchanged = self._first(t_ns, other, None if given is None else given[f], known)[1]
        if exchanged.cost < SIDES_COST * fit.cost and exchanged.explained > fit.explained + SIDES_EXPLAINED:
            person.sides = True
            fit = replace(fit, flags=fit.flags | FLAG_SIDES | FLAG_RESIDUAL)
        return person, fit

    def _first(self, t_ns: int, seen: Seen, given: Float | None, known: _Person | None) -> tuple[_Person, Fit]:
        """A few steps from every guess, all the way from the best."""
        B = self.body.betas
        beta = self._hold if self._hold is not None else (known.beta if known else np.zeros(B))
        base = _Person(
            np.empty((24, 3, 3)), np.zeros(3), beta.copy(), known.mean if known else np.zeros(B),
            known.beta_info if known else np.eye(B), np.empty((24, 3)),
            np.empty(24), t_ns - BEGIN_NS, Posed(self.bones, beta), Contacts(self.names, self.known),
            known.frames if known else 0, known.known_s if known else 0.0,
            known.settled if known else False, known.tried if known else 0,
        )  # fmt: skip
        guesses = from_points(base.posed, self.prior.reference, self.names, given) if given is not None else []
        guesses = guesses or from_views(base.posed, self.prior.reference, self._up, seen.P, seen.xy, seen.w)
        if not guesses:
            at = np.nanmean(given, axis=0) if given is not None and np.isfinite(given).any() else np.zeros(3)
            guesses = [(self.prior.reference.copy(), at - base.posed.rest[0])]
        best: tuple[_Person, Fit] | None = None
        for rounds, steps, robust in ((guesses, 8, BEGIN_SIGMA), (None, 30, ROBUST_SIGMA)):
            for R, t in rounds if rounds is not None else [(best[0].R, best[0].t)] if best else []:
                start = best[0].beta if rounds is None and best else beta
                person = replace(base, R=R.copy(), t=t.copy(), beta=start.copy(), turn_var=np.empty((24, 3)),
                                 joint_var=np.empty(24))  # fmt: skip
                past = Past(R.copy(), np.zeros((24, 3)), t.copy(), 0.0, beta.copy(), base.beta_info)
                fit = self._solve(t_ns, seen, person, past, 1.0, steps, robust)
                if best is None or fit.cost < best[1].cost or rounds is None:
                    best = person, fit
        assert best is not None
        return best
