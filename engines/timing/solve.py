"""Offset and rate of every camera's clock from a whole recording: coarse by agreement, then by least squares.

Least squares: the Sampson distance r of two views of one joint changes with the offset of each view's clock by
∂r/∂x · ẋ, ẋ its velocity in the picture, so all pairs of views together are linear in all offsets and rates. What is
constant for a joint in a pair of views (the rig is not perfect, detectors place joints differently from each side) is
taken out first. No 3D point is made, so no camera pulls one towards itself. The standard deviations come from the
scatter of the scores between stretches of time (a sandwich estimate: White 1980, clustered).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.compiled import kernel
from kinecast.engines.timing.agreement import SCALE, Curves, curves, essential, person_vote, sampson
from kinecast.engines.timing.tracks import Sampled, Tracks, sample

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MUTUAL = 0.3  # vote of two people of two views who may be one
MOST_INSTANTS = 1500  # of the fine search: more change a standard deviation by nothing
STEPS = 8
STRETCH_S, LEAST_STRETCHES, MOST_STRETCHES = 1.0, 6, 24  # of time, between which the scatter gives σ
MOST_ROWS = 300_000  # of observations: more change nothing either
RATE_SPAN_S = 20.0  # over less, a clock of 50 ppm drifts by less than a millisecond and a rate is not asked for
SURE_S = 0.005  # a σ above this is no answer
FLAT = 0.2  # share of all shifts that fit as well as the best, from which on nobody moves
WIDE_S = 0.25  # a peak that reaches further says nothing
LEAST_SPAN_S = 1.0
WIDEN = 1.6  # so much the sandwich is too narrow with a dozen stretches: measured on the synthetic crowd
CRITICAL = 3.1  # Student's t of 11 degrees of freedom at 1 %, two-sided


@dataclass(frozen=True, slots=True, eq=False)
class Clocks:
    """What a recording says of C cameras' clocks.

    offsets_s: (C,) at ``middle_s``, to be subtracted from the stamps; mean zero, or zero for a reference camera.
    rates: (C,) seconds per second that each gains; 0 where not asked for. sigma_s and rate_sigma: (C,) their standard
    deviations. reason: (C,) why the motion cannot tell, "" where it can. votes: (C, S) agreement of each camera with
    the others at its offset ``searched_s + shifts_s``, searched_s (C,). pairs: observations used. before, after: median
    |r| in σ, constants taken out, without and with these clocks.
    """

    offsets_s: Float
    rates: Float
    sigma_s: Float
    rate_sigma: Float
    middle_s: float
    reason: tuple[str, ...]
    searched_s: Float
    shifts_s: Float
    votes: Float
    pairs: int
    before: float
    after: float

    def at(self, camera: int, stamp_s: float) -> float:
        """Correction in seconds of a camera at a stamp, in seconds since the origin."""
        return float(self.offsets_s[camera] + self.rates[camera] * (stamp_s - self.middle_s))


@kernel
def _best(table):  # type: ignore[no-untyped-def]
    """Partner of each row of table (p, q) where the choice is mutual and good enough, else −1."""
    out = np.full(table.shape[0], -1)
    for i in range(table.shape[0]):
        at, best = -1, MUTUAL
        for k in range(table.shape[1]):
            if table[i, k] > best:
                at, best = k, table[i, k]
        mutual = at >= 0
        if mutual:
            for other in range(table.shape[0]):
                mutual = mutual and not (other != i and table[other, at] > best)
        if mutual:
            out[i] = at
    return out


@kernel
def _collect(E, ax, av, asd, ah, bx, bv, bsd, bh, c2, out):  # type: ignore[no-untyped-def]
    """Rows (instant, joint, r, ∂r/∂δa, ∂r/∂δb) of one pair of views into ``out`` (m, 5); returns how many."""
    n = 0
    joints = asd.shape[2]
    for i in range(len(ah)):
        table = np.full((ah.shape[1], bh.shape[1]), -1.0)
        for p in range(ah.shape[1]):
            for q in range(bh.shape[1]):
                if np.isfinite(ah[i, p]) and np.isfinite(bh[i, q]):
                    vote = person_vote(E, ax[i, p], bx[i, q], asd[i, p], bsd[i, q], c2)
                    if np.isfinite(vote):
                        table[p, q] = vote
        partner = _best(table)
        for p in range(ah.shape[1]):
            q = partner[p]
            if q < 0:
                continue
            for j in range(joints):
                if n < len(out) and np.isfinite(asd[i, p, j]) and np.isfinite(bsd[i, q, j]):
                    r, a0, a1, b0, b1 = sampson(E, ax[i, p, j], bx[i, q, j], asd[i, p, j], bsd[i, q, j])
                    out[n, 0], out[n, 1], out[n, 2] = i, j, r
                    out[n, 3] = a0 * av[i, p, j, 0] + a1 * av[i, p, j, 1]
                    out[n, 4] = b0 * bv[i, q, j, 0] + b1 * bv[i, q, j, 1]
                    n += 1
    return n


@dataclass(slots=True, eq=False)
class _Rows:
    """Observations of all pairs: a, b cameras, group (pair and joint), t (s from the middle), r, da, db."""

    a: Int
    b: Int
    group: Int
    t: Float
    r: Float
    da: Float
    db: Float


def _rows(E: Float, views: list[Sampled], times_s: Float) -> _Rows:
    C, joints = len(views), views[0].sigma.shape[2]
    parts: list[Float] = []
    room = np.empty((len(times_s) * joints * views[0].sigma.shape[1], 5))
    for a in range(C):
        for b in range(a + 1, C):
            x, y = views[a], views[b]
            n = _collect(
                E[a, b], x.xy, x.velocity, x.sigma, x.height, y.xy, y.velocity, y.sigma, y.height, SCALE**2, room
            )
            pair = np.empty((n, 3))
            pair[:, 0], pair[:, 1], pair[:, 2] = a, b, (a * C + b) * joints + room[:n, 1]
            parts.append(np.concatenate([pair, room[:n]], axis=1))
    table = np.concatenate(parts) if parts else np.zeros((0, 8))
    which: Int = table[:, :4].astype(np.int64)
    a, b, group, i = which.T
    r, da, db = table[:, 5:].T
    return _Rows(a, b, group, times_s[i], r, da, db)


def _normal(rows: _Rows, C: int, rates: bool) -> tuple[Float, Float, Float]:
    """Normal matrix (D, D), gradient (D,) and scores by stretch of time (B, D), constants taken out."""
    D = 2 * C if rates else C
    w = 1.0 / (1.0 + rows.r**2 / SCALE**2) ** 2
    design = np.zeros((len(rows.r), D))
    n = np.arange(len(rows.r))
    design[n, rows.a], design[n, rows.b] = rows.da, rows.db
    if rates:
        design[n, C + rows.a], design[n, C + rows.b] = rows.da * rows.t, rows.db * rows.t
    groups = int(rows.group.max(initial=0)) + 1
    weight = np.maximum(np.bincount(rows.group, w, groups), 1e-12)
    r = rows.r - (np.bincount(rows.group, w * rows.r, groups) / weight)[rows.group]
    for d in range(D):
        design[:, d] -= (np.bincount(rows.group, w * design[:, d], groups) / weight)[rows.group]
    weighted = design * w[:, None]
    N: Float = weighted.T @ design
    low, high = (rows.t.min(), rows.t.max()) if len(rows.t) else (0.0, 1.0)
    many = int(np.clip((high - low) / STRETCH_S, LEAST_STRETCHES, MOST_STRETCHES))
    stretch = np.minimum(((rows.t - low) / max(high - low, 1e-9) * many).astype(np.int64), many - 1)
    scores: Float = np.stack([np.bincount(stretch, weighted[:, d] * r, many) for d in range(D)], axis=1)
    return N, scores.sum(axis=0), scores


def _solved(N: Float, g: Float, scores: Float, C: int) -> tuple[Float, Float]:
    """Step (D,) and covariance (D, D) under mean zero offsets and rates; what nothing determines stays at zero."""
    D = len(g)
    basis = np.eye(C)[:, 1:] - 1.0 / C  # C − 1 directions of mean zero
    basis = np.linalg.qr(basis)[0]
    Z = np.zeros((D, D // C * (C - 1)))
    for k in range(D // C):
        Z[k * C : (k + 1) * C, k * (C - 1) : (k + 1) * (C - 1)] = basis
    inverse = Z @ np.linalg.pinv(Z.T @ N @ Z, rcond=1e-10, hermitian=True) @ Z.T
    many = max(2, int((np.abs(scores).sum(axis=1) > 0).sum()))
    centred = scores - scores.sum(axis=0) / many
    centred[np.abs(scores).sum(axis=1) == 0] = 0.0
    cov: Float = inverse @ (centred.T @ centred) @ inverse * (WIDEN**2 * many / (many - 1))
    return -inverse @ g, cov


def _start(found: Curves, C: int) -> Float:
    """(C,) offsets on the grid at which all pairs agree best: one camera after another, then each again in turn."""
    pair = (found.votes * found.count).sum(axis=2)
    count = found.count.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        pair = np.where(count > 0.25 * count.max(initial=1.0), pair / count, np.nan)
    contrast = np.nan_to_num(np.nanmax(pair, axis=2, initial=-1) - np.nanmedian(np.nan_to_num(pair), axis=2))
    first = int(contrast.sum(axis=1).argmax())
    offsets = np.zeros(C)
    placed = [first]
    while len(placed) < C:
        rest = [c for c in range(C) if c not in placed]
        c = max(rest, key=lambda k: float(contrast[placed, k].max()))
        offsets[c] = _peak(found, c, offsets, placed)
        placed.append(c)
    for _ in range(6):
        before = offsets.copy()
        for c in range(C):
            offsets[c] = _peak(found, c, offsets, [b for b in range(C) if b != c])
        if np.array_equal(before, offsets):
            break
    return offsets


def _peak(found: Curves, c: int, offsets: Float, others: list[int]) -> float:
    """Best offset of camera c beside those of ``others``, which stay."""
    chosen = np.array([*others, c])
    part = Curves(found.shifts_s, found.votes[np.ix_(chosen, chosen)], found.count[np.ix_(chosen, chosen)])
    votes, weight = part.of_camera(len(others), offsets[chosen])
    total = _mean(votes, weight)
    if not np.isfinite(total).any():
        return float(offsets[c])
    return float(offsets[c] + found.shifts_s[int(np.nanargmax(total))])


def _mean(votes: Float, weight: Float) -> Float:
    """(S,) mean over the stretches; NaN where less than a quarter of the most is known."""
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Float = np.where(total > 0.25 * max(1.0, total.max()), np.nansum(votes * weight, axis=0) / total, np.nan)
    return out


def ambiguity(shifts_s: Float, votes: Float, weight: Float) -> str:
    """Why agreement votes (B, S) of weight (B, S), best near shift zero, leave open which shift is right; else ""."""
    total = _mean(votes, weight)
    if not np.isfinite(total).any():
        return "no other view sees the same people"
    best = int(np.nanargmax(total))
    known = np.isfinite(total)
    gap = votes[:, best][:, None] - votes
    share = np.where(np.isfinite(gap), weight, 0.0)
    n = share.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = share / n
        mean = np.nansum(share * np.nan_to_num(gap), axis=0)
        error = np.sqrt(np.nansum(share**2 * (np.nan_to_num(gap) - mean) ** 2, axis=0))
    alike = known & ~(mean > CRITICAL * error)
    alike[best] = True
    low = high = best
    while low > 0 and alike[low - 1]:
        low -= 1
    while high < len(alike) - 1 and alike[high + 1]:
        high += 1
    if (
        alike.sum() > FLAT * known.sum()
        or max(shifts_s[high] - shifts_s[best], shifts_s[best] - shifts_s[low]) > WIDE_S
    ):
        return "nobody moves enough: too many shifts fit alike"
    alike[low : high + 1] = False  # the peak itself, whose width is in σ
    if alike.any():
        other = shifts_s[alike][int(np.nanargmax(total[alike]))]
        return f"several shifts fit alike, the nearest rival {1e3 * (other - shifts_s[best]):+.0f} ms away"
    edge = min(best, len(shifts_s) - 1 - best)
    if edge == 0 or not known[max(0, best - 1) : best + 2].all():
        return "the best shift lies at the end of the search: allow a larger one"
    return ""


def solve(
    rig: Rig, views: list[Tracks], max_offset_s: float = 0.5, rates: bool | None = None, reference: int | None = None
) -> Clocks:
    """Clocks of the cameras of a rig from their tracks, whose times share one origin. See :class:`Clocks`.

    max_offset_s: most that two clocks may differ by. rates: None asks for them where the recording is long enough.
    reference: the camera whose clock is right; None: the mean of all.
    """
    C = len(rig)
    low = max((float(v.frames_s[0]) for v in views if len(v.frames_s)), default=0.0) - max_offset_s
    high = min((float(v.frames_s[-1]) for v in views if len(v.frames_s)), default=0.0) + max_offset_s
    middle = (low + high) / 2
    if high - low - 2 * max_offset_s < LEAST_SPAN_S or any(not len(v) for v in views):
        return _nothing(rig, views, middle, high - low - 2 * max_offset_s)
    asked = high - low > RATE_SPAN_S if rates is None else rates
    step = 0.01 if max_offset_s <= 1.0 else 0.02
    # over a long span rates blur the search: 5 minutes of 100 ppm are 30 ms
    grid = np.arange(max(low, middle - 150.0), min(high, middle + 150.0), step)
    found = curves(rig, [sample(v, grid) for v in views], step, max_offset_s)
    offsets = _start(found, C)
    shown = [found.of_camera(c, offsets) for c in range(C)]
    reasons = [ambiguity(found.shifts_s, *s) for s in shown]
    start = offsets - offsets.mean()
    fine = _Fine(rig, views, middle, start, asked)
    half = (high - low) / 2
    for span in [h for h in (30.0, 120.0, 480.0, 1920.0) if asked and h < half] + [half]:
        fine.run(span)
    return _clocks(fine, reasons, start, found.shifts_s, shown, reference)


def _scatter(rows: _Rows) -> float:
    """Median |r|, what is constant for a joint in a pair of views taken out."""
    if not len(rows.r):
        return float("nan")
    w = 1.0 / (1.0 + rows.r**2 / SCALE**2) ** 2
    mean = np.bincount(rows.group, w * rows.r) / np.maximum(np.bincount(rows.group, w), 1e-12)
    return float(np.median(np.abs(rows.r - mean[rows.group])))


class _Fine:
    """The fine search: offsets (C,), drift (C,) and their covariance (2C, 2C), improved over a growing span."""

    def __init__(self, rig: Rig, views: list[Tracks], middle_s: float, offsets_s: Float, rates: bool) -> None:
        self.C, self.middle_s, self.rates = len(rig), middle_s, rates
        self.offsets, self.drift = offsets_s.copy(), np.zeros(self.C)
        self.cov = np.zeros((2 * self.C, 2 * self.C))
        self.pairs, self.before, self.after = 0, np.nan, np.nan
        self._E, self._views = essential(rig), views

    def _look(self, t: Float, corrected: bool = True) -> _Rows:
        """Observations at instants t (T,) from the middle."""
        on = float(corrected)
        clock = [self.middle_s + t + on * (self.offsets[c] + self.drift[c] * t) for c in range(self.C)]
        return _rows(self._E, [sample(v, clock[c]) for c, v in enumerate(self._views)], t)

    def run(self, span_s: float) -> None:
        """Gauss–Newton over ± ``span_s`` about the middle: first on a quarter of the instants, then on all."""
        t = np.linspace(-span_s, span_s, min(MOST_INSTANTS, int(60 * span_s) + 2))
        self._steps(t[::4], STEPS, 1e-4)
        if 4 * self.pairs > MOST_ROWS:
            t = t[:: max(1, round(16 * self.pairs / MOST_ROWS / 4))]
        rows = self._steps(t, 3, 1e-5)
        self.after = _scatter(rows)
        self.before = _scatter(self._look(t[::4], corrected=False))

    def _steps(self, t: Float, most: int, enough_s: float) -> _Rows:
        for _ in range(most):
            rows = self._look(t)
            self.pairs = len(rows.r)
            move, cov = _solved(*_normal(rows, self.C, self.rates), self.C)
            # what a singular system asks for is outside of everything that was searched
            self.offsets += np.clip(move[: self.C], -0.1, 0.1)
            self.cov[: len(cov), : len(cov)] = cov
            if self.rates:
                self.drift += np.clip(move[self.C :], -1e-3, 1e-3)
            if np.abs(move).max() < enough_s:
                break
        return rows


def _clocks(
    fine: _Fine,
    reasons: list[str],
    start: Float,
    shifts_s: Float,
    shown: list[tuple[Float, Float]],
    reference: int | None,
) -> Clocks:
    C, cov = fine.C, fine.cov
    turn = np.eye(C)
    if reference is not None:
        turn = turn - np.eye(C)[reference][None, :]
    sigma = np.sqrt(np.maximum(np.diag(turn @ cov[:C, :C] @ turn.T), 0.0))
    rate_sigma = np.sqrt(np.maximum(np.diag(turn @ cov[C:, C:] @ turn.T), 0.0))
    own = np.sqrt(np.maximum(np.diag(cov[:C, :C]), 0.0))
    for c in range(C):
        if not reasons[c] and not 0 < own[c] <= SURE_S:
            reasons[c] = f"not sure enough: ± {1e3 * own[c]:.1f} ms, asked for ± {1e3 * SURE_S:.0f} ms"
    votes = np.stack([_mean(*s) for s in shown])
    return Clocks(turn @ fine.offsets, turn @ fine.drift, sigma, rate_sigma, fine.middle_s, tuple(reasons),
                  turn @ start, shifts_s, votes, fine.pairs, fine.before, fine.after)  # fmt: skip


def _nothing(rig: Rig, views: list[Tracks], middle_s: float, span_s: float) -> Clocks:
    C = len(rig)
    short = f"too short: the cameras share {max(0.0, span_s):.1f} s, at least {LEAST_SPAN_S:.0f} s are needed"
    reason = tuple("sees nobody" if not len(v) else short for v in views)
    none = np.zeros(C)
    unknown = np.full(C, np.nan)
    return Clocks(
        none, none, unknown, unknown, middle_s, reason, none, np.zeros(0), np.zeros((C, 0)), 0, np.nan, np.nan
    )
