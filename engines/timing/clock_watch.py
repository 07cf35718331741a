"""The clocks of all cameras, live, from how fast each joint moves: what lasts is a detector's habit and tells nothing.

To first order a joint that moves with V is seen δ_c · V away from where it is by a camera whose clock is ahead. A
detector that places the joint differently from this side does the same, for as long as the joint keeps its direction;
only where it turns round are the two told apart. So within a block of BLOCK_S of one person every joint of every
camera has an offset of its own (± HABIT_M), and all joints of a camera have one in common (± COMMON_M): both are
unknowns and eliminated, as the point of each instant is. What a block says of δ is then limited by reversals, not by
the number of its frames. V is that of a straight line through points before and after the instant, at equal distances,
so that the noise of V and that of the residual are uncorrelated; it is known SPAN_S / 2 later.

Blocks are forgotten over MEMORY_S. The standard deviations come from the scatter of blocks, neighbours together, and
lean on what independent noise would leave, widened, while there are few.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied, times
from kinecast.capture.compiled import kernel
from kinecast.engines.fixed import eliminate, inverse
from kinecast.engines.observations import CameraArrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.timing.joint import Linear, Observed, linearise
from kinecast.engines.triangulate.single_point import inverse3

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LIMBS = (
    "shoulder",
    "elbow",
    "wrist",
    "hip",
    "knee",
    "ankle",
)  # joints that detectors place well; the face hardly moves
SPAN_S = 0.23  # of the line that gives a velocity: a step takes half a second
MOST_PAIRS = 12  # of sets on either side of the instant: 100 Hz
BLOCK_S = 2.0  # arms and legs turn round about twice
HABIT_M, COMMON_M = 0.02, 0.01  # at the person, of a joint and of the body in one view: residuals of real detectors
CLOCK_SD_S = 0.1  # keeps what nothing determines at zero
MEMORY_S = 30.0  # at 50 ppm the estimate lags by 1.5 ms
LEAST_BLOCKS = 4  # before anything is said
LAGS = 3  # blocks whose scatter is taken together: habits last for seconds
FEW, WIDER = 8.0, 6.0  # so many blocks' worth of the variance of independent noise, times this
WIDEN = 1.2  # so much that is too narrow with some detectors' habits: measured, `kinecast bench hour`
FLOOR_S = 0.0003  # what lasts as long as the memory does


class Block(NamedTuple):
    """Sums over the instants of a block, of K joints in C views, the point of each instant taken out.

    With r (2C,) residuals, B (2C, C) their derivatives by δ and M (2C, 2C) their weight: M (K, 2C, 2C), MB (K, 2C, C),
    Mr (K, 2C), BB (C, C) and Br (C) are the sums of M, M B, M r, Bᵀ M B, Bᵀ M r. depth (C, 2): sum of metres, count.
    """

    M: Float
    MB: Float
    Mr: Float
    BB: Float
    Br: Float
    depth: Float


class Moved(NamedTuple):
    """How views came to the time of their set. ahead_s: (C,) clock corrections in force, seconds; dt_s: (C,) time of
    the set less that of each view; velocity: (J, 3) m/s of the joints by which views were moved, NaN: by none.
    """

    ahead_s: Float
    dt_s: Float
    velocity: Float


class _Room(NamedTuple):
    """Of one joint: K (2C, 2C) its M, Bd (2C, C), r (2C,) and what comes of their product."""

    M: Float
    B: Float
    r: Float


@kernel
def _velocity(points, t_s, middle, j, V):  # type: ignore[no-untyped-def]
    """Whether joint j has a velocity at set ``middle`` of points (n, J, 3) at t_s (n,); V (3,) ← it."""
    V[:] = 0.0
    total = 0.0
    for i in range(1, middle + 1):
        a, b = points[middle - i, j], points[middle + i, j]
        if math.isfinite(a[0]) and math.isfinite(b[0]):
            d = t_s[middle + i] - t_s[middle - i]
            total += d * d
            for x in range(3):
                V[x] += d * (b[x] - a[x])
    if not total > 0.0:
        return False
    for x in range(3):
        V[x] /= total
    return True


@kernel
def _weigh(one, ahead_s, dt_s, gain, room):  # type: ignore[no-untyped-def]
    """room ← M, B and r (against the stamps) of a joint that was made linear. ahead_s: (C,) corrections in force.

    dt_s: (C,) by which views were moved to the time of the set, with a velocity that is ``gain`` (3,) m/s too small.
    """
    C = len(one.w)
    room.M[:] = 0.0
    room.B[:] = 0.0
    room.r[:] = 0.0
    for c in range(C):
        if not one.w[c] > 0:
            continue
        for i in range(2):
            room.B[2 * c + i, c] = one.B[c, i, 0]
            room.r[2 * c + i] = one.r[c, i] + one.B[c, i, 0] * ahead_s[c]
            for x in range(3):
                room.r[2 * c + i] += dt_s[c] * one.A[c, i, x] * gain[x]
            room.M[2 * c + i, 2 * c + i] = one.w[c]
        for d in range(C):
            if not one.w[d] > 0:
                continue
            for i in range(2):
                for k in range(2):
                    total = 0.0
                    for a in range(3):
                        for b in range(3):
                            total += one.A[c, i, a] * one.M[a, b] * one.A[d, k, b]
                    room.M[2 * c + i, 2 * d + k] -= one.w[c] * one.w[d] * total


@kernel
def add_instant(seen, points, t_s, middle, joints, moved, block):  # type: ignore[no-untyped-def]
    """Take the joints (K,) of the one person seen at set ``middle`` of points (n, J, 3), n = 2 middle + 1, into block.

    seen: :class:`engines.timing.joint.Observed` of that set. moved: :class:`Moved`.
    """
    C = seen.confidence.shape[1]
    one = Linear(
        np.zeros((C, 2)), np.zeros((C, 2, 3)), np.zeros((C, 2, 4)), np.zeros(C), np.zeros(6), np.zeros((3, 3)),
        np.zeros((C, 3, 4)), np.zeros(3),
    )  # fmt: skip
    room = _Room(np.zeros((2 * C, 2 * C)), np.zeros((2 * C, C)), np.zeros(2 * C))
    V, gain = np.zeros(3), np.zeros(3)
    for n in range(len(joints)):
        j = joints[n]
        if not math.isfinite(seen.points[0, j, 0]) or not _velocity(points, t_s, middle, j, V):
            continue
        if linearise(seen, 0, j, V, one) < 3 or not inverse3(one.H, one.M):
            continue
        # views were moved by the filter's velocity, which lags: what it lacks would look like a clock
        for x in range(3):
            v = moved.velocity[j, x]
            gain[x] = V[x] - (v if math.isfinite(v) else 0.0)
        _weigh(one, moved.ahead_s, moved.dt_s, gain, room)
        X = seen.points[0, j]
        for c in range(C):
            if one.w[c] > 0:
                P = seen.P[c]
                block.depth[c, 0] += P[2, 0] * X[0] + P[2, 1] * X[1] + P[2, 2] * X[2] + P[2, 3]
                block.depth[c, 1] += 1.0
        for u in range(2 * C):
            for v in range(2 * C):
                m = room.M[u, v]
                block.M[n, u, v] += m
                block.Mr[n, u] += m * room.r[v]
                block.MB[n, u, v // 2] += m * room.B[v, v // 2]
                block.BB[u // 2, v // 2] += room.B[u, u // 2] * m * room.B[v, v // 2]
                block.Br[u // 2] += room.B[u, u // 2] * m * room.r[v]


@kernel
def reduce_block(block, habit_m, common_m, N, b):  # type: ignore[no-untyped-def]
    """N (C, C) and b (C,) ← what a block says of δ, all offsets eliminated."""
    K, D, C = block.MB.shape
    own, common = np.ones(D), np.ones(D)
    for c in range(C):
        z = block.depth[c, 0] / block.depth[c, 1] if block.depth[c, 1] > 0 else 1.0
        own[2 * c] = own[2 * c + 1] = (z / habit_m) ** 2
        common[2 * c] = common[2 * c + 1] = (z / common_m) ** 2
    N[:] = block.BB
    b[:] = block.Br
    # of what all joints have in common: its matrix, and right of it how it goes with δ and with the residuals
    Q, S = np.zeros((D, D)), np.zeros((D, C + 1))
    A, R = np.zeros((D, D)), np.zeros((D, D + C + 1))
    for n in range(K):
        for u in range(D):
            for v in range(D):
                A[u, v] = R[u, v] = block.M[n, u, v]
            A[u, u] += own[u]
            for c in range(C):
                R[u, D + c] = block.MB[n, u, c]
            R[u, D + C] = block.Mr[n, u]
        eliminate(A, R)
        for u in range(D):
            for w in range(D):
                m = block.M[n, w, u]
                for v in range(D):
                    Q[u, v] -= m * R[w, v]
                for c in range(C + 1):
                    S[u, c] -= m * R[w, D + c]
            for v in range(D):
                Q[u, v] += block.M[n, u, v]
            for c in range(C):
                S[u, c] += block.MB[n, u, c]
                for d in range(C):
                    N[c, d] -= block.MB[n, u, c] * R[u, D + d]
                b[c] -= block.MB[n, u, c] * R[u, D + C]
            S[u, C] += block.Mr[n, u]
    T = S.copy()
    for u in range(D):
        Q[u, u] += common[u]
    eliminate(Q, T)
    for u in range(D):
        for c in range(C):
            for d in range(C):
                N[c, d] -= S[u, c] * T[u, d]
            b[c] -= S[u, c] * T[u, C]


def new_block(joints: int, cameras: int) -> Block:
    """Sums of nothing."""
    K, C = joints, cameras
    return Block(
        np.zeros((K, 2 * C, 2 * C)), np.zeros((K, 2 * C, C)), np.zeros((K, 2 * C)), np.zeros((C, C)), np.zeros(C),
        np.zeros((C, 2)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Set:
    """One person in one set: t_ns, how views were moved, xy (1, C, J, 2), confidence (1, C, J), points (J, 3)."""

    t_ns: int
    moved: Moved
    xy: Float
    confidence: Float
    points: Float


class ClockWatch:
    """Offsets of C cameras, from one person after another, block by block. A function of what it is given."""

    def __init__(self, cameras: CameraArrays, skeleton_name: str = "halpe26") -> None:
        self._cameras, self._C = cameras, len(cameras)
        names = skeleton(skeleton_name).joints
        self._joints = np.array([j for j, n in enumerate(names) if n.split("_")[-1] in LIMBS], np.int64)
        self._sets: deque[_Set] = deque()
        self._block, self._began_ns, self._who = new_block(len(self._joints), self._C), 0, -1
        self._blocks: deque[tuple[int, Float, Float]] = deque()
        self._offset = self._sigma = np.full(self._C, np.nan)
        # compiled now and not between two frames, seconds later
        reduce_block(self._block, HABIT_M, COMMON_M, np.empty((self._C, self._C)), np.empty(self._C))

    @property
    def offsets(self) -> tuple[Float, Float]:
        """(C,) seconds that each clock is ahead of the mean of all, and their standard deviations; NaN: not known."""
        return self._offset, self._sigma

    def observe(self, t_ns: int, tracks: Int, moved: Moved, xy: Float, confidence: Float, points: Float) -> None:
        """Take one frame set. tracks: (P,) who is who; moved: with the velocities of all, (P, J, 3).

        xy (P, C, J, 2) undistorted normalised, moved to the time of the set; confidence (P, C, J); points (P, J, 3) m.
        """
        if self._began_ns and t_ns - self._began_ns >= BLOCK_S * 1e9:
            self._fold(t_ns)
            self._choose(t_ns, tracks)
        elif not self._began_ns or not (tracks == self._who).any():
            self._choose(t_ns, tracks)
        rows = np.flatnonzero(tracks == self._who)
        if not len(rows):
            return
        row = rows[:1]
        how = Moved(moved.ahead_s, moved.dt_s, moved.velocity[row[0]])
        self._sets.append(_Set(t_ns, how, xy[row], confidence[row], points[row[0]]))
        n = len(self._sets)
        long = t_ns - self._sets[0].t_ns >= SPAN_S * 1e9
        if n % 2 == 1 and (long or n > 2 * MOST_PAIRS):
            self._take()
            self._sets.popleft()

    def _choose(self, t_ns: int, tracks: Int) -> None:
        """The person of the block that begins: the next in order, so that everybody has a turn."""
        later = tracks[tracks > self._who]
        who = -1 if not len(tracks) else int((later if len(later) else tracks).min())
        if who != self._who:
            self._sets.clear()
        self._who, self._began_ns = who, t_ns
        self._block = new_block(len(self._joints), self._C)

    def _take(self) -> None:
        sets = list(self._sets)
        middle = len(sets) // 2
        one = sets[middle]
        t_s = np.array([(s.t_ns - one.t_ns) / 1e9 for s in sets])
        if t_s[-1] - t_s[0] > 2 * SPAN_S:  # somebody was away, or this is no video
            return
        seen = Observed(self._cameras.P, self._cameras.focal_px, one.xy, one.confidence, one.points[None])
        add_instant(seen, np.stack([s.points for s in sets]), t_s, middle, self._joints, one.moved, self._block)

    def _fold(self, t_ns: int) -> None:
        """Fold the block into the sums, and say anew what the clocks are."""
        if self._block.depth[:, 1].any():
            N, b = np.empty((self._C, self._C)), np.empty(self._C)
            reduce_block(self._block, HABIT_M, COMMON_M, N, b)
            self._blocks.append((t_ns, N, b))
        while self._blocks and t_ns - self._blocks[0][0] > 4 * MEMORY_S * 1e9:
            self._blocks.popleft()
        if len(self._blocks) < LEAST_BLOCKS:
            self._offset = self._sigma = np.full(self._C, np.nan)
            return
        self._solve(t_ns)

    def _solve(self, t_ns: int) -> None:
        at, Ns, bs = zip(*self._blocks, strict=True)
        keep = np.exp((np.array(at) - t_ns) / (MEMORY_S * 1e9))
        N, b = np.stack(Ns), np.stack(bs)
        total = (keep[:, None, None] * N).sum(axis=0)
        # mean zero: motion tells only how clocks differ
        back = inverse(total + np.eye(self._C) * CLOCK_SD_S**-2 + 1e12 / self._C)
        offset = applied(back, (keep[:, None] * b).sum(axis=0))
        scores = keep[:, None] * (b - applied(N, offset))
        scatter = times(scores.T, scores)
        for lag in range(1, min(LAGS, len(scores))):
            cross = (1 - lag / LAGS) * times(scores[lag:].T, scores[:-lag])
            scatter += cross + cross.T
        white = (keep[:, None, None] ** 2 * N).sum(axis=0)
        many = float(keep.sum() ** 2 / (keep**2).sum())
        scatter = (many * scatter + FEW * WIDER * white) / (many + FEW)
        self._offset = offset - offset.mean()
        variance = np.maximum(np.diag(times(times(back, scatter), back)), 0.0)
        self._sigma = np.sqrt(WIDEN**2 * variance + FLOOR_S**2)
