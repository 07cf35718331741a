"""What is known of one person's constants, shape and the detector's habits on them: learnt, held, and questioned.

Information about what is constant comes in *looks*. Two looks at the same posture from the same side are hardly worth
more than one, however far apart in time, for a detector errs there in the same way; so every cell of posture and
heading has a count of looks that saturates, and a person who stands still for an hour says little more than one who
stood for a second. What every look shares is the habits, which are parameters with a prior of their own.

A shape that has settled is held. A second filter goes on looking, with a short memory and from the population's prior:
where it is sure of another stature, the shape is questioned and learnt anew; a shape that was held before, and fits
again, is taken up again (two people whose identities were exchanged and put right).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.expectation import PriorArrays
from kinecast.engines.body.fit.habits import HabitPrior, with_habits
from kinecast.engines.body.fit.kernels import Bones, PersonKeypoints, shape_into
from kinecast.engines.body.fit.shape_look import Look, join_look, look, variances
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Of the stature's beta: among those who come before cameras are children, so that its prior is twice as wide as that of
# adults, and a child of 1.4 m is not pulled up by a centimetre.
SIZE_SD = 2.0
# Of the pose prior, in a look: a posture that the prior does not know (a stoop) must not become a length.
POSE_SHARE = 0.1
LOOK_S, WATCH_S = 0.25, 1.0  # between looks while learning, and while holding
ALIKE_S = 1.0  # looks nearer to each other than this are one
ALIKE = 0.5  # correlation of the errors of looks in one cell: it is worth 1 / ALIKE looks at most
SETTLE_S, SETTLE_LOOKS = 3.0, 6.0  # seconds, and independent looks, after which a shape may be held,
SETTLE_MOST_S, SETTLE_MOST_SD_M = 10.0, 0.03  # and after which it is held where the stature is so sure
STRAIGHT_S = 2.0  # of somebody who stands straight: a calibration pose
STRAIGHT_SHARE = 0.3  # the same at somebody who stands upright, which is what that prior knows best
MEMORY = 0.7  # of the watching filter, from look to look: three seconds
WATCH_WORTH = 2.0  # independent looks that the few seconds of its memory are
WATCH_LOOKS = 3  # in a row must contradict
WRONG_M, WRONG_SIGMA = 0.06, 3.5  # of stature: a held shape that is wrong by both is questioned
SAME_M, SAME_LOOKS = 0.025, 1.5  # of stature, after so many looks: one so near is the same person's
FORMER = 3  # shapes of an identity that are remembered
HEADINGS, POSTURES = 8, 32
BENT_TRACE = 1.0 + 2.0 * np.cos(np.deg2rad(40.0))  # of the rotation of a knee that is bent
STRAIGHT_TRACE = 1.0 + 2.0 * np.cos(np.deg2rad(22.0))
UPRIGHT = np.cos(np.deg2rad(15.0))

_SMPL = skeleton("smpl24")
_KNEES = tuple(_SMPL.index(f"{s}_knee") for s in ("left", "right"))
_ARMS = tuple((_SMPL.index(f"{s}_shoulder"), _SMPL.index(f"{s}_elbow")) for s in ("left", "right"))


@dataclass(slots=True)
class _Filter:
    """mean (N,), info (N, N) of the constants, vector (N,): info · mean, prior included. cells: (HEADINGS · POSTURES,)
    looks in each; looks: independent ones.
    """

    mean: Float
    info: Float
    vector: Float
    cells: Float
    looks: float = 0.0

    def join(self, one: Look, cell: int, passed_s: float) -> None:
        """Join a look, as much of it as is new in its cell."""
        n = float(self.cells[cell])
        self.cells[cell] = n + passed_s / ALIKE_S
        share = _worth(float(self.cells[cell])) - _worth(n)
        self.looks += share
        join_look(one, share, self.info, self.vector, self.mean)

    def replace(self, one: Look, prior: "_Filter") -> None:
        """Let a look take the place of those of a while ago."""
        self.info = prior.info + MEMORY * (self.info - prior.info)
        self.vector = prior.vector + MEMORY * (self.vector - prior.vector)
        join_look(one, (1.0 - MEMORY) * WATCH_WORTH, self.info, self.vector, self.mean)


@dataclass(slots=True)
class Shape:
    """Of one identity. known_s: seconds of looking. settled: the shape is held. straight_s: seconds upright.

    questioned, questioned_ns: how often a held shape was found wrong, and when last. stature_sd_m: of what is known;
    joint_var: (J,) m², of joints by the constants alone. offset: (K, M, 3) m of the keypoints, habits in them, for a
    shape of zero. watch: what is seen while the shape is held, against which so many looks speak; former: what was
    held before.
    """

    learnt: _Filter
    offset: Float
    looked_ns: int
    joint_var: Float
    known_s: float = 0.0
    straight_s: float = 0.0
    settled: bool = False
    stature_sd_m: float = np.inf
    questioned: int = 0
    questioned_ns: int = -(10**18)
    watch: _Filter | None = None
    against: int = 0
    former: list[Float] = field(default_factory=list)


class ShapeLearner:
    """Learns the constants of people whom one solver fits. habits: of the detector; None: keypoints are the body's own
    but for new noise in every frame, as in a synthetic world without habits.
    """

    def __init__(
        self, body: BodyModel, bones: Bones, names: tuple[str, ...], prior: PriorArrays, up_world: Float,
        habits: HabitPrior | None, c2: float, limit: float,
    ) -> None:  # fmt: skip
        self.betas = body.betas
        self.bones = with_habits(bones, names) if habits is not None else bones
        mean, sd = (habits.mean_m, habits.sd_m) if habits is not None else (np.zeros(0), np.zeros(0))
        self.mean = np.concatenate([np.zeros(body.betas), mean])
        self.info = np.diag(np.concatenate([np.ones(body.betas), 1.0 / np.maximum(sd, 1e-4) ** 2]))
        self.info[0, 0] = 1.0 / SIZE_SD**2
        self.prior, self._c2, self._limit = prior, c2, limit
        self._up = np.asarray(up_world, np.float64)
        east = np.cross(self._up, np.eye(3)[np.argmin(np.abs(self._up))])
        self._east = east / np.sqrt((east * east).sum())
        self._north = np.cross(self._up, self._east)
        y = body.v_template[:, 1].astype(np.float64)
        crown, sole = int(np.argmax(y)), int(np.argmin(y))
        self._stature_m = float(y[crown] - y[sole])
        tall = body.shapedirs[crown, 1].astype(np.float64) - body.shapedirs[sole, 1].astype(np.float64)
        self._tall = np.concatenate([tall, np.zeros(len(mean))])
        self.narrow = self._narrow()

    def _narrow(self) -> Bones:
        """The bones that fits take: a shape of betas alone, habits being in the offsets of each person."""
        B, bones = self.betas, self.bones
        return bones._replace(
            rest_shape=np.ascontiguousarray(bones.rest_shape[..., :B]),
            offset_shape=np.ascontiguousarray(bones.offset_shape[..., :B]),
        )

    def offset(self, constants: Float) -> Float:
        """(K, M, 3) of the keypoints of a body of zero betas, with the habits of constants (N,)."""
        c = constants.copy()
        c[: self.betas] = 0.0
        out = np.zeros(self.bones.offset.shape)
        shape_into(self.bones, c, np.empty(self.bones.rest.shape), out)
        return out

    def begin(self, t_ns: int, constants: Float | None = None) -> Shape:
        """Somebody new. constants: (N,), or the (B,) betas alone, that are known and stay."""
        first = self._fresh(self.mean)
        if constants is not None:
            first.mean[: len(constants)] = constants
        shape = Shape(first, self.offset(first.mean), t_ns, np.zeros(24))
        shape.settled = constants is not None
        return shape

    def met(self, shape: Shape, betas: Float) -> None:
        """The first fit of somebody new has told how large they are: habits are as large as the person."""
        mean = self.mean.copy()
        mean[self.betas :] *= 1.0 + float((self._tall[: self.betas] * betas).sum()) / self._stature_m
        shape.learnt = self._fresh(mean)
        shape.learnt.mean[: self.betas] = betas
        shape.offset = self.offset(mean)

    def _fresh(self, mean: Float) -> _Filter:
        """Nothing is known but the prior, about a mean (N,)."""
        vector = (self.info * mean).sum(axis=1)
        return _Filter(mean.copy(), self.info.copy(), vector, np.zeros(HEADINGS * POSTURES))

    def due(self, shape: Shape, t_ns: int) -> bool:
        """Whether it is time for another look."""
        return t_ns - shape.looked_ns >= 1e9 * (WATCH_S if shape.settled else LOOK_S) - 1e6

    def look(
        self, shape: Shape, t_ns: int, seen: PersonKeypoints, R: Float, t: Float, betas: Float, joints: Float,
        first: bool = False,
    ) -> None:  # fmt: skip
        """One look at a fit of this frame, R (24, 3, 3), t (3,), of these betas; first: of somebody new."""
        at = shape.learnt.mean.copy()
        at[: self.betas] = betas
        straight = self._straight(R, joints)
        share = STRAIGHT_SHARE if straight else POSE_SHARE
        one = look(self.bones, self.prior, seen, R, t, at, self._c2, share, self._limit)
        passed_s = ALIKE_S if first else min((t_ns - shape.looked_ns) / 1e9, ALIKE_S)
        shape.looked_ns = t_ns
        if shape.settled:
            self._watched(shape, one)
            return
        shape.known_s += 0.0 if first else passed_s
        shape.straight_s += passed_s if straight and not first else 0.0
        shape.learnt.join(one, self._cell(one, R, joints), passed_s)
        self._taken_up(shape, one)
        self._settle(shape)

    def _taken_up(self, shape: Shape, one: Look) -> None:
        var, shape.joint_var = variances(shape.learnt.info, self._tall, one.moved)
        shape.stature_sd_m = float(np.sqrt(var))
        shape.offset = self.offset(shape.learnt.mean)

    def _settle(self, shape: Shape) -> None:
        enough = shape.known_s >= SETTLE_S and shape.learnt.looks >= SETTLE_LOOKS
        enough |= shape.known_s >= SETTLE_MOST_S or shape.straight_s >= STRAIGHT_S
        near = self._nearest(shape.former, shape.learnt.mean)
        enough |= near >= 0 and shape.learnt.looks >= SAME_LOOKS
        if not enough or shape.stature_sd_m > SETTLE_MOST_SD_M:
            return
        if near >= 0:  # somebody as tall as that was there before: it is them
            shape.learnt.mean = shape.former.pop(near)
            shape.offset = self.offset(shape.learnt.mean)
        shape.settled, shape.watch, shape.against = True, None, 0

    def _taller_m(self, a: Float, b: Float) -> float:
        """By how many metres somebody of constants a (N,) is taller than one of b."""
        return float((self._tall * (a - b)).sum())

    def _nearest(self, former: list[Float], mean: Float) -> int:
        """Which of the shapes held before is as tall, −1 where none is."""
        off = [abs(self._taller_m(f, mean)) for f in former]
        return int(np.argmin(off)) if off and min(off) < SAME_M else -1

    def _watched(self, shape: Shape, one: Look) -> None:
        """A look at somebody whose shape is held: does it still explain them?"""
        held = shape.learnt.mean
        prior = self._fresh(held)
        if shape.watch is None:
            shape.watch = self._fresh(held)
        watch = shape.watch
        watch.replace(one, prior)
        off_m, sd_m = (
            abs(self._taller_m(watch.mean, held)),
            np.sqrt(variances(watch.info, self._tall, one.moved[:0])[0]),
        )
        shape.against = shape.against + 1 if off_m > max(WRONG_M, WRONG_SIGMA * sd_m) else 0
        if shape.against >= WATCH_LOOKS:
            self._question(shape, watch.mean)

    def _question(self, shape: Shape, seen: Float) -> None:
        """The shape that is held is not this person's: back to one that was held before, or learnt anew.

        seen: (N,) what they look like now.
        """
        shape.questioned, shape.questioned_ns = shape.questioned + 1, shape.looked_ns
        held, near = shape.learnt.mean, self._nearest(shape.former, seen)
        if near >= 0:
            shape.learnt.mean = shape.former.pop(near)
        else:
            shape.learnt = self._fresh(self.mean)
            shape.learnt.mean[: self.betas] = seen[: self.betas]
            shape.known_s, shape.straight_s, shape.settled = 0.0, 0.0, False
        shape.former = [held, *shape.former][:FORMER]
        shape.watch, shape.against = None, 0
        shape.offset = self.offset(shape.learnt.mean)

    def _straight(self, R: Float, joints: Float) -> bool:
        """Whether somebody stands upright, knees stretched: joints (24, 3) m."""
        knees = min(float(np.trace(R[j])) for j in _KNEES)
        chest, pelvis = joints[_SMPL.index("neck")], joints[0]
        legs = joints[0] - (joints[_SMPL.index("left_ankle")] + joints[_SMPL.index("right_ankle")]) / 2
        return bool(knees > STRAIGHT_TRACE and self._rise(chest - pelvis) > UPRIGHT and self._rise(legs) > UPRIGHT)

    def _rise(self, v: Float) -> float:
        """Cosine of the angle from upwards."""
        return float((v * self._up).sum() / max(np.sqrt((v * v).sum()), 1e-9))

    def _cell(self, one: Look, R: Float, joints: Float) -> int:
        """Which posture this is, seen from where."""
        ahead, up = one.heads[2], one.heads[1]
        a, b = float((ahead * self._east).sum()), float((ahead * self._north).sum())
        octant = 4 * (a > 0) + 2 * (b > 0) + (abs(a) > abs(b))
        posture = 0
        for knee in _KNEES:
            posture = 2 * posture + (float(np.trace(R[knee])) < BENT_TRACE)
        for shoulder, elbow in _ARMS:
            arm = joints[elbow] - joints[shoulder]
            posture = 2 * posture + (float((arm * up).sum()) > -0.5 * float(np.sqrt((arm * arm).sum())))
        lying = self._rise(joints[_SMPL.index("neck")] - joints[0]) < 0.85
        return int(octant * POSTURES + 2 * posture + lying)


def _worth(n: float) -> float:
    """Independent looks that n looks whose errors correlate by ALIKE are: the variance of their mean says so."""
    return n if n < 1.0 else n / (1.0 + ALIKE * (n - 1.0))
