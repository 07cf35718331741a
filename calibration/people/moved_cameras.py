"""Which camera of a rig has moved, by how much and since when; or whose clock has jumped instead.

Event by event: of all cameras, moments and kinds (a new place, six numbers; a new clock, one) the one that explains
most of what the rig does not is taken, the bundle is solved again with that camera split in two at that moment, and
the next is looked for in what is left. All other cameras are held near where the rig says, so that the one that moved
does not push them about.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people import kernels
from kinecast.calibration.people.bundle import Bundle, adjust, data_of, sigma_factor_of, triangulated
from kinecast.calibration.people.camera_poses import CameraPoses
from kinecast.calibration.people.kernels import CAMERA
from kinecast.calibration.people.walk import Walk
from kinecast.calibration.rigid import rotation_vector

Float = NDArray[np.float64]
Int = NDArray[np.int64]

HOLD = np.array([0.0015, 0.0015, 0.0015, 0.005, 0.005, 0.005, 0.001])  # rad, m, s: what a sound rig is off by
WINDOW_S, MOST_WINDOWS = 0.5, 160
EDGE_WINDOWS = 4  # a camera must have been seen so long before and after
WIDE, NARROW = 60.0, 8.0  # of the robust loss, in σ: a camera that turned by two degrees must still be heard
LEAST_PX, LEAST_CLOCK_S, CLEAR = 4.0, 0.003, 5.0
NEAR_S = 2.0  # two events of one camera so near each other are one, and its moment is not quite right
SIMPLER = 0.8  # of what a new place explains: a clock that explains so much is the simpler answer
BESIDE = 0.9  # of what the best camera explains: another one is as good
MOVE, CLOCK = "place", "clock"


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """What happened to one camera. since_s: of the walk's time, −inf: before it began.

    turn_rad, shift_m, clock_s and their standard deviations; px: median shift of the joints in its picture. rivals:
    other cameras that would explain it about as well. clear: how many σ it stands out by.
    """

    camera: int
    kind: str
    since_s: float
    turn_rad: float = 0.0
    turn_sigma_rad: float = 0.0
    shift_m: float = 0.0
    shift_sigma_m: float = 0.0
    clock_s: float = 0.0
    clock_sigma_s: float = 0.0
    px: float = 0.0
    clear: float = 0.0
    rivals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """events: in the order in which they explain. places: of the C cameras at the end of the walk; those that did
    not move are as the rig has them. before_px, after_px: median residual with the rig, and with the events.
    """

    events: tuple[Event, ...]
    places: CameraPoses
    before_px: float
    after_px: float


def drift(walk: Walk, rig: CameraPoses, most: int | None = None) -> Drift:
    """What has happened to the cameras of a rig; ``most`` events, by default one less than there are cameras."""
    before = triangulated(walk, rig)
    events: list[Event] = []
    split, fit = _split(walk, events), None
    places = _expand(rig, split)
    for _ in range(len(rig) - 1 if most is None else most):
        found = _strongest(split, places, _expand(rig, split), _holds(split, events))
        if found is None:
            break
        tried = [*events, found]
        parts = _split(walk, tried)
        solved = _solve(rig, parts, tried)
        described = [_described(rig, parts, solved, tried, k) for k in range(len(tried))]
        near = any(e.camera == found.camera and abs(e.since_s - found.since_s) < NEAR_S for e in events)
        if near or not _believable(described[-1]):
            break
        events, split, fit = [replace(t, rivals=e.rivals) for t, e in zip(described, tried, strict=True)], parts, solved
        places = fit.places
    if fit is None:
        return Drift((), rig, before.median_px, before.median_px)
    last = {c: k for k, c in enumerate(split.of)}  # the last part of each camera
    moved = {e.camera for e in events if e.kind == MOVE}
    R, t = rig.R.copy(), rig.t.copy()
    for c in moved:
        R[c], t[c] = fit.places.R[last[c]], fit.places.t[last[c]]
    return Drift(tuple(events), CameraPoses(R, t, rig.delta_s), before.median_px, fit.median_px)


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """The walk with a column a part: of (K,) its camera, start (K,) when it begins, event (K,) that began it or −1."""

    walk: Walk
    of: tuple[int, ...]
    start: Float
    event: tuple[int, ...]


def _split(walk: Walk, events: list[Event]) -> _Split:
    of, start, event = [], [], []
    for c in range(len(walk.cameras)):
        own = sorted((e.since_s, k) for k, e in enumerate(events) if e.camera == c)
        if not own or own[0][0] > -np.inf:
            own = [(-np.inf, -1), *own]
        for since, k in own:
            of.append(c)
            start.append(since)
            event.append(k)
    parts = walk.of_cameras(np.array(of))
    sigma = parts.sigma.copy()
    for k, c in enumerate(of):
        end = min((s for s, o in zip(start, of, strict=True) if o == c and s > start[k]), default=np.inf)
        sigma[(walk.t_s < start[k]) | (walk.t_s >= end), k] = np.inf
    return _Split(replace(parts, sigma=sigma), tuple(of), np.array(start), tuple(event))


def _expand(places: CameraPoses, split: _Split) -> CameraPoses:
    of = list(split.of)
    return CameraPoses(places.R[of], places.t[of], places.delta_s[of])


def _strongest(split: _Split, places: CameraPoses, start: CameraPoses, prior: Float) -> Event | None:
    """The event that explains most of what is left, by one linear step from ``places``; None where nothing is left.

    start: where the rig has each part, prior: (K, 7) how far it may be off there.
    """
    N, b, when = _by_window(split, places)
    K, D = len(when), N.shape[1]
    if K < 2 * EDGE_WINDOWS:
        return None
    hold = np.diag(np.minimum(prior.ravel(), 10.0) ** -2.0)  # what is free is held by a hair: some windows lack it
    louder = _inflation(N, b, hold)
    N, b = N / louder, b / louder
    total, right = N.sum(axis=0), b.sum(axis=0)
    right = right - hold @ start.step_to(places)
    base = np.linalg.inv(total + hold)
    best: dict[tuple[int, str], tuple[float, float]] = {}
    tail_N, tail_b = np.cumsum(N[::-1], axis=0)[::-1], np.cumsum(b[::-1], axis=0)[::-1]
    for c in sorted(set(split.of)):
        own = [CAMERA * k + i for k, o in enumerate(split.of) if o == c for i in range(CAMERA)]
        for kind in (MOVE, CLOCK):
            pick = [i for i in own if (i % CAMERA == 6) == (kind == CLOCK)]
            fold = np.zeros((D, 1 if kind == CLOCK else 6))
            for i in pick:
                fold[i, 0 if kind == CLOCK else i % CAMERA] = 1
            for k in [0, *range(EDGE_WINDOWS, K - EDGE_WINDOWS)]:
                cross = tail_N[k] @ fold
                curve = fold.T @ cross - cross.T @ base @ cross
                score = fold.T @ tail_b[k] - cross.T @ base @ right
                curve[np.diag_indices(len(curve))] += 1e-9 * max(float(np.trace(curve)), 1e-12)
                gain = float(score @ np.linalg.solve(curve, score))
                if gain > best.get((c, kind), (-1.0, 0.0))[0]:
                    best[c, kind] = gain, -np.inf if k == 0 else float(when[k])
    if not best:
        return None
    moves = {c: g for (c, kind), (g, _) in best.items() if kind == MOVE}
    c = max(moves, key=lambda c: moves[c])
    clock_c = max(moves, key=lambda c: best[c, CLOCK][0])
    pair = len(moves) == 2  # a picture tells only how the two stand to each other
    if best[clock_c, CLOCK][0] > SIMPLER * moves[c]:
        other = tuple(o for o in moves if o != clock_c) if pair else ()
        return Event(clock_c, CLOCK, best[clock_c, CLOCK][1], rivals=other)
    rivals = tuple(o for o, g in moves.items() if o != c and (pair or g > BESIDE * moves[c]))
    return Event(c, MOVE, best[c, MOVE][1], rivals=rivals)


def _inflation(N: Float, b: Float, hold: Float) -> float:
    """By how much windows differ more than independent noise says: each against what the one before makes of it.

    Neighbouring rows share frames, and detectors err alike for a while, so that the sums count too much. A median over
    neighbours, since a jump is between two of them alone.
    """
    ratio = []
    for k in range(len(N) - 1):
        before = np.linalg.inv(N[k] + hold)
        off = b[k + 1] - N[k + 1] @ (before @ b[k])
        summed = N[k + 1] + N[k + 1] @ before @ N[k + 1]
        value, vector = np.linalg.eigh(summed)
        keep = value > 1e-9 * value[-1]
        if keep.any() and value[-1] > 0:
            ratio.append(float(np.mean((vector[:, keep].T @ off) ** 2 / value[keep])))
    return max(1.0, float(np.median(ratio))) if ratio else 1.0


def _by_window(split: _Split, places: CameraPoses) -> tuple[Float, Float, Float]:
    """Normal equations (K, D, D) and (K, D) of each stretch of time, and when it begins (K,)."""
    data = data_of(split.walk)
    t = np.asarray(split.walk.t_s[data.row], np.float64)
    lo, hi = float(t.min()), float(t.max())
    width = max(WINDOW_S, (hi - lo) / MOST_WINDOWS)
    window = ((t - lo) / width).astype(np.int64)
    X = np.full((len(t), 3), np.nan)
    kernels.triangulate(places.R, places.t, places.delta_s, data.xy, data.velocity, data.sigma, WIDE**2, X)
    D = CAMERA * len(places)
    K = int(window.max()) + 1
    N, b = np.zeros((K, D, D)), np.zeros((K, D))
    sigma_factor = sigma_factor_of(data, places, X)
    for k in range(K):
        m = np.flatnonzero(window == k)
        kernels.reduced(
            places.R, places.t, places.delta_s, X[m], data.xy[m], data.velocity[m], data.sigma[m] * sigma_factor,
            WIDE**2, 0.0, np.zeros(len(m), np.int64), N[k], b[k], np.zeros((1, D)),
        )  # fmt: skip
    return N, b, np.asarray(lo + width * np.arange(K), np.float64)


def _holds(split: _Split, events: list[Event]) -> Float:
    """(K, 7) standard deviations that keep each part where the rig has it; inf where an event set it free."""
    prior = np.tile(HOLD, (len(split.of), 1))
    for k, c in enumerate(split.of):
        began = {e.kind for e in events if e.camera == c and e.since_s <= split.start[k]}
        if MOVE in began:
            prior[k, :6] = np.inf
        if CLOCK in began:
            prior[k, 6] = np.inf
    return prior


def _solve(rig: CameraPoses, split: _Split, events: list[Event]) -> Bundle:
    prior = _holds(split, events)
    start = _expand(rig, split)
    ticks = np.isinf(prior[:, 6])  # the clocks of the others are right, or they would share what one is off by
    rough = adjust(split.walk, start, clocks=ticks, prior=prior.ravel(), scale=WIDE)
    near = np.where(np.isfinite(prior), prior, np.inf)
    return adjust(split.walk, _kept(rough.places, start, near), clocks=ticks, prior=prior.ravel(), scale=NARROW)


def _kept(found: CameraPoses, start: CameraPoses, prior: Float) -> CameraPoses:
    """Parts that may move where they were found, the others where the rig has them: the prior is about its start."""
    R, t, delta = start.R.copy(), start.t.copy(), start.delta_s.copy()
    for k in range(len(start)):
        if not np.isfinite(prior[k, 0]):
            R[k], t[k] = found.R[k], found.t[k]
        if not np.isfinite(prior[k, 6]):
            delta[k] = found.delta_s[k]
    return replace(start, R=R, t=t, delta_s=delta)


def _described(rig: CameraPoses, split: _Split, fit: Bundle, events: list[Event], number: int) -> Event:
    """An event with its size: the part that it began against the part before, or against the rig."""
    event = events[number]
    k = split.event.index(number)
    c = event.camera
    earlier = [i for i, o in enumerate(split.of) if o == c and split.start[i] < split.start[k]]
    before = max(earlier, default=-1, key=lambda i: float(split.start[i]))
    own = slice(CAMERA * k, CAMERA * k + CAMERA)
    cov = fit.cov[own, own].copy()
    if before >= 0:
        old = slice(CAMERA * before, CAMERA * before + CAMERA)
        cov += fit.cov[old, old] - fit.cov[own, old] - fit.cov[old, own]
        R0, t0, d0 = fit.places.R[before], fit.places.t[before], fit.places.delta_s[before]
    else:
        R0, t0, d0 = rig.R[c], rig.t[c], rig.delta_s[c]
    R1, t1, d1 = fit.places.R[k], fit.places.t[k], fit.places.delta_s[k]
    turn = rotation_vector(R1 @ R0.T)
    shift = R1.T @ t1 - R0.T @ t0
    parts = np.r_[turn, t1 - R1 @ R0.T @ t0, d1 - d0]
    X = fit.points.reshape(-1, 3)
    X = X[np.isfinite(X).all(axis=1)][::7]
    x0, x1 = X @ R0.T + t0, X @ R1.T + t1
    good = (x0[:, 2] > 0.1) & (x1[:, 2] > 0.1)
    moved = np.linalg.norm(x1[good, :2] / x1[good, 2:] - x0[good, :2] / x0[good, 2:], axis=1)
    sub = slice(6, 7) if event.kind == CLOCK else slice(0, 6)
    dof = 1 if event.kind == CLOCK else 6
    clear = float(np.sqrt(parts[sub] @ np.linalg.pinv(cov[sub, sub], hermitian=True) @ parts[sub] / dof))
    sd = np.sqrt(np.maximum(np.diag(cov), 0))
    return replace(
        event, turn_rad=float(np.linalg.norm(turn)), turn_sigma_rad=float(np.sqrt((sd[:3] ** 2).mean())),
        shift_m=float(np.linalg.norm(shift)), shift_sigma_m=float(np.sqrt((sd[3:6] ** 2).sum())),
        clock_s=float(d1 - d0), clock_sigma_s=float(sd[6]), clear=clear,
        px=float(np.median(moved) * split.walk.focal_px[k]) if len(moved) else 0.0,
    )  # fmt: skip


def _believable(event: Event) -> bool:
    if event.kind == CLOCK:
        return event.clear > CLEAR and abs(event.clock_s) > LEAST_CLOCK_S
    return event.clear > CLEAR and event.px > LEAST_PX
