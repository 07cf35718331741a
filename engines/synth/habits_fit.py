"""From what detectors said of people whose bodies are known, as far as one knows them, to a table of habits.

The reference is a body of plausible shape that was fitted to all views, the habits of the round before taken off
(:mod:`kinecast.nodes.dataset.habits` goes round). What that cannot tell is said in ``UNTOLD`` and in every table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.capture.errors import KinecastError
from kinecast.engines.habits.limb_frames import (
    HALPE,
    HARMONICS,
    KIND,
    KINDS,
    SIDE,
    allowed_offsets,
    limb_frames,
    scale,
    view_harmonics,
)
from kinecast.engines.habits.table import Habits
from kinecast.engines.synth.occlusion import own_body_hides

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

K, J = len(KINDS), len(HALPE)
FLIP = np.array(HALPE.flip)
LEAST_CONFIDENCE = 0.1  # below this a keypoint is not used by anything here: it counts as missing
PRIOR_M = np.array([0.02, 0.012, 0.012, 0.008, 0.008])  # of an offset's harmonics, before anything was seen
PERSON_M = 0.012  # by which a person's common offset is taken to differ, until the people say otherwise
LEAST_PERSON_M = 0.006
LOOK_S, NOISE_M = 1.0, 0.02  # one independent look at a joint takes so long, and is so wrong
FAR_M = 0.30  # an error beyond this is of another person or another joint
TAILS_S, VIEW_S = 0.3, 6.0  # assumed: how long a scale lasts, and what outlasts the sessions' shifts of posture
# 75 parameters of a body take up two fifths of what 100 to 170 numbers of a frame say: so much of a variance is left
FREE = 0.6
AT_M = (0.008, 0.016, 0.03, 0.06)
QUANTILES = 8
TAUS_S = np.array([0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 4.0])
FEW = 200  # keypoints of a kind that tell anything of its noise
UNTOLD = (
    "Offsets are against the keypoints of the free body under a prior of its shape: an error that the body shares "
    "(where it takes a hip to be) and one that a plausible shape explains are not told apart from the truth. Left and "
    "right are taken to mirror each other. People are few: how habits differ between them is mostly the prior. "
    "Memories longer than half of the longest session, and that of the tails (0.3 s), are assumed. Offsets may take "
    "up faults of a rig that turn with nobody; a constant shift of each camera was taken out."
)


@dataclass(frozen=True, eq=False)
class Watched:
    """One person of one session. t_s: (T,). points: (T, 26, 3) m, where the body has its keypoints. cameras: C.

    px: (T, C, 26, 2), NaN where missing. confidence: (T, C, 26). gives: (26,) joints that the detector has at all.
    """

    t_s: Float
    points: Float
    cameras: tuple[Camera, ...]
    px: Float
    confidence: Float
    gives: Bool

    @cached_property
    def frames(self) -> Float:
        """(T, 26, 3, 3) the limbs' axes."""
        return limb_frames(self.points)

    @cached_property
    def size(self) -> Float:
        """(T,) of the person, beside the reference."""
        return np.full(len(self.points), np.nanmedian(scale(self.points)))

    @cached_property
    def hidden(self) -> Bool:
        """(T, C, 26) behind the own body."""
        return np.stack([own_body_hides(self.points, c.centre_world) for c in self.cameras], axis=1)

    @cached_property
    def slopes(self) -> tuple[Float, Float]:
        """(T, C, 26, 2, 3): by how many metres in the picture a metre along each axis of the limb moves a joint; and
        (T, C, 26) pixels of a metre at the joint, for a person of the reference's size."""
        slope = np.empty((len(self.points), len(self.cameras), J, 2, 3))
        per_m = np.empty(slope.shape[:3])
        for c, camera in enumerate(self.cameras):
            at, depth = camera.project(self.points)
            per_m[:, c] = self.size[:, None] * (camera.K[0, 0] + camera.K[1, 1]) / 2 / depth
            for a in range(3):
                moved = camera.project(self.points + 0.01 * self.size[:, None, None] * self.frames[..., a])[0]
                slope[:, c, :, :, a] = (moved - at) / 0.01
        return slope / per_m[..., None, None], per_m

    @cached_property
    def harmonics(self) -> Float:
        """(T, C, 26, 5)."""
        out = []
        for camera in self.cameras:
            to = camera.centre_world - self.points
            to /= np.linalg.norm(to, axis=-1, keepdims=True)
            out.append(view_harmonics(np.einsum("tjab,tja->tjb", self.frames, to)))
        return np.stack(out, axis=1)

    @cached_property
    def error_m(self) -> Float:
        """(T, C, 26, 2) m in the picture; NaN where missing, swapped, or of something else."""
        at = np.stack([c.project(self.points)[0] for c in self.cameras], axis=1)
        e = (self.px - at) / self.slopes[1][..., None]
        swapped = self._swapped(at)
        e[(self.confidence < LEAST_CONFIDENCE) | (np.abs(e).max(axis=-1) > FAR_M) | swapped[..., None]] = np.nan
        for c in range(len(self.cameras)):
            if np.isfinite(e[:, c]).any():
                e[:, c] -= np.nanmedian(e[:, c], axis=(0, 1))  # a camera's own shift is the rig's
        return np.asarray(e)

    def _swapped(self, at: Float) -> Bool:
        """(T, C) whether left and right are exchanged in most of the joints that have a side."""
        own, other = (np.linalg.norm(self.px - p, axis=-1) for p in (at, at[:, :, FLIP]))
        told = np.isfinite(own) & (SIDE != 0) & (np.linalg.norm(at - at[:, :, FLIP], axis=-1) > 0.04 * self.slopes[1])
        return np.asarray(((other < own) & told).sum(axis=-1) > 0.7 * np.maximum(told.sum(axis=-1), 4))

    def swaps(self) -> tuple[int, float]:
        """How often sides were exchanged, and for how many seconds in all."""
        s = self._swapped(np.stack([c.project(self.points)[0] for c in self.cameras], axis=1))
        return int((s[1:] & ~s[:-1]).sum() + s[0].sum()), float(s.sum() * np.median(np.diff(self.t_s)))

    def jumps(self) -> tuple[Float, Float]:
        """(26,) how often a hidden joint was where the other side's is, and how often that could be told."""
        at = np.stack([c.project(self.points)[0] for c in self.cameras], axis=1)
        own, other = (np.linalg.norm(self.px - p, axis=-1) / self.slopes[1] for p in (at, at[:, :, FLIP]))
        apart = np.linalg.norm(at - at[:, :, FLIP], axis=-1) / self.slopes[1] > 0.15
        told = self.hidden & apart & np.isfinite(own) & (SIDE != 0)
        there = told & (other < 0.06) & (own > 0.10)
        return there.sum(axis=(0, 1)).astype(float), told.sum(axis=(0, 1)).astype(float)


def fit_offsets(people: Sequence[Watched]) -> Float:
    """(K, 3, 5) the offsets of all people together; the prior's mean, 0, for kinds that nobody showed."""
    out = np.zeros((K, 3, HARMONICS))
    prior = np.diag(np.tile(1 / PRIOR_M**2, 3))
    for k in range(K):
        A, b = prior.copy(), np.zeros(3 * HARMONICS)
        parts = [part for w in people for j in np.flatnonzero(k == KIND) for part in _design(w, int(j))]
        if not parts:
            continue
        solved: Float = np.zeros(3 * HARMONICS)
        for _ in range(4):  # robust: Huber at 1.5 of what is typical
            A, b = prior.copy(), np.zeros(3 * HARMONICS)
            left = [e - X @ solved for X, e, _ in parts]
            typical = 1.4826 * float(np.median(np.abs(np.concatenate(left)))) + 1e-4
            for (X, e, weight), r in zip(parts, left, strict=True):
                w = weight * np.minimum(1.0, 1.5 * typical / np.maximum(np.abs(r), 1e-9))
                A += np.einsum("np,n,nq->pq", X, w, X)
                b += np.einsum("np,n,n->p", X, w, e)
            solved = np.asarray(np.linalg.solve(A, b))
        out[k] = solved.reshape(3, HARMONICS)
    return out * allowed_offsets()


def _design(w: Watched, j: int) -> list[tuple[Float, Float, Float]]:
    """For each camera (2N, 15) what the offset's numbers do to the errors (2N,), and the weights (2N,).

    A joint of the middle is seen twice, as it is and in the mirror.
    """
    out = []
    slope = w.slopes[0]
    for c in range(len(w.cameras)):
        ok = np.isfinite(w.error_m[:, c, j]).all(axis=-1) & ~w.hidden[:, c, j]
        if ok.sum() < 10:
            continue
        seconds = float(ok.sum() * np.median(np.diff(w.t_s)))
        weight = np.full(2 * int(ok.sum()), max(1.0, seconds / LOOK_S) / ok.sum() / NOISE_M**2)
        for flip in (1.0, -1.0) if SIDE[j] == 0 else (1.0,):
            mirror = np.array([1.0, flip, 1.0]), np.array([1.0, 1.0, flip, 1.0, flip])
            G, h = slope[ok, c, j] * mirror[0], w.harmonics[ok, c, j] * mirror[1]
            X = np.einsum("nda,nh->ndah", G, h).reshape(-1, 3 * HARMONICS)
            out.append((X, w.error_m[ok, c, j].reshape(-1), weight / (1 if SIDE[j] else 2)))
    return out


def fit_habits(people: Sequence[Watched], detector: str, skeleton: str, source: str) -> Habits:
    """A whole table; KinecastError where there are fewer than 200 person-frames."""
    frames = sum(len(w.t_s) for w in people)
    if frames < 200:
        raise KinecastError(f"{frames} person-frames are too few to fit habits to: record 200 or more")
    offset = fit_offsets(people)
    own, left = _people(people, offset)
    gives = np.array([any(w.gives[k == KIND].any() for w in people) for k in range(K)])
    noise = _noise(people, left)
    missing, hidden_missing = _missing(people, gives)
    there, told = (sum(column) for column in zip(*(w.jumps() for w in people), strict=True))
    jump = (_by_kind(there) + 0.02 * 20) / (_by_kind(told) + 20)
    runs, held = (sum(column) for column in zip(*(w.swaps() for w in people), strict=True))
    seconds = sum(len(w.t_s) * np.median(np.diff(w.t_s)) * len(w.cameras) for w in people)
    return Habits(
        detector=detector,
        skeleton=skeleton,
        offset_m=_rounded(np.where(gives[:, None, None], offset, 0.0)),
        offset_sd_m=_rounded(own),
        **noise,
        tails_s=TAILS_S,
        missing=_rounded(missing),
        hidden_other=_rounded(jump),
        hidden_missing=_rounded(hidden_missing),
        swap_hz=round(float((runs + 0.5) / (seconds + 20)), 4),
        swap_s=round(float(np.clip(held / max(runs, 1), 0.1, 2.0)), 3),
        source=f"{source}: {frames} person-frames of {len(people)} people",
        untold=UNTOLD,
    )


def _people(people: Sequence[Watched], offset: Float) -> tuple[Float, list[Float]]:
    """(K, 3) by how much the common offset differs between people, by expectation–maximisation, and what is left.

    What is left: (T, C, 26, 2) m of each person.
    """
    left = [w.error_m - np.einsum("tcjda,jah,tcjh->tcjd", w.slopes[0], offset[KIND], w.harmonics) for w in people]
    sd = np.full((K, 3), PERSON_M)
    own = [np.zeros((J, 3)) for _ in people]
    for _ in range(5):
        square, n = np.zeros((K, 3)), np.zeros(K)
        for i, (w, r) in enumerate(zip(people, left, strict=True)):
            for j in range(J):
                A, b = np.diag(1 / sd[KIND[j]] ** 2), np.zeros(3)
                for c in range(len(w.cameras)):
                    ok = np.isfinite(r[:, c, j]).all(axis=-1) & ~w.hidden[:, c, j]
                    if ok.sum() < 10:
                        continue
                    weight = max(1.0, float(ok.sum() * np.median(np.diff(w.t_s))) / LOOK_S) / ok.sum() / NOISE_M**2
                    G = w.slopes[0][ok, c, j]
                    A += weight * np.einsum("nda,ndb->ab", G, G)
                    b += weight * np.einsum("nda,nd->a", G, np.clip(r[ok, c, j], -0.06, 0.06))
                if not b.any():
                    continue
                V = np.linalg.inv(A)
                own[i][j] = V @ b
                square[KIND[j]] += own[i][j] ** 2 + np.diag(V)
                n[KIND[j]] += 1
        # the prior has the say of two people
        sd = np.sqrt((square + 2 * PERSON_M**2) / (n + 2)[:, None]).clip(LEAST_PERSON_M)
    for w, r, o in zip(people, left, own, strict=True):
        r -= np.einsum("tcjda,ja->tcjd", w.slopes[0], o)
    return sd, left


def _noise(people: Sequence[Watched], left: Sequence[Float]) -> dict[str, Any]:
    """What is left of errors, as a table has it: per view, slow, fast, common, tails, hidden, and confidence."""
    common, common_s = _common(people, left)
    view, slow, memory, fast, hidden = (np.full(K, np.nan) for _ in range(5))
    shares = []
    for k in range(K):
        lags, C, typical, ratio, n = _autocovariance(people, left, k)
        if n < FEW:
            continue
        v2, s2, f2, tau = _three_parts(lags, C)
        s2 = max(s2 - common**2, 0.1 * s2)
        view[k], slow[k], fast[k] = np.sqrt(np.array([v2, s2, f2]) / FREE)
        memory[k] = tau
        hidden[k] = np.clip(ratio, 1.0, 4.0)
        shares.append(typical)
    stand = [np.where(np.isfinite(v), v, np.nanmedian(v)) for v in (view, slow, fast, memory, hidden)]
    rows, at = _confidence(people, left)
    return {
        "view_m": _rounded(stand[0]), "view_s": VIEW_S, "slow_m": _rounded(stand[1]), "fast_m": _rounded(stand[2]),
        "slow_s": _rounded(stand[3]), "hidden_slow": _rounded(stand[4]), "common_m": round(common, 5),
        "common_s": round(common_s, 3), "tails": round(_tails(np.concatenate(shares)), 3), "confidence_at_m": at,
        "confidence": rows,
    }  # fmt: skip


def _tracks(people: Sequence[Watched], left: Sequence[Float], k: int, hidden: bool) -> list[tuple[Float, float]]:
    """(T, 2) errors of kind k in each view, NaN where hidden is not as asked, and seconds between frames."""
    out = []
    for w, r in zip(people, left, strict=True):
        step = float(np.median(np.diff(w.t_s)))
        for j in np.flatnonzero(k == KIND):
            for c in range(len(w.cameras)):
                e = np.where((w.hidden[:, c, j] == hidden)[:, None], r[:, c, j], np.nan)
                if np.isfinite(e).all(axis=-1).sum() >= 10:
                    out.append((e, step))
    return out


def _autocovariance(people: Sequence[Watched], left: Sequence[Float], k: int) -> tuple[Float, Float, Float, float, int]:
    """Lags (L,) s and autocovariance (L,) of a kind's errors, each error in the typical one, hidden over visible, n."""
    tracks = _tracks(people, left, k, False)
    every = np.concatenate([e[np.isfinite(e)] for e, _ in tracks]) if tracks else np.zeros(0)
    if len(every) < FEW:
        return np.zeros(0), np.zeros(0), np.zeros(0), 1.0, len(every)
    typical = 1.4826 * float(np.median(np.abs(every)))
    edges = np.array([-1e-6, 1e-6, 0.03, 0.06, 0.12, 0.25, 0.45, 0.8, 1.4, 2.5, 4.5, 8.0])
    total, count = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for e, step in tracks:
        e = np.clip(e, -4 * typical, 4 * typical)
        for lag in range(max(1, len(e) // 2)):
            product = e[lag:] * e[: len(e) - lag]
            at = int(np.searchsorted(edges, lag * step) - 1)
            if at < len(total):
                ok = np.isfinite(product)
                total[at] += product[ok].sum()
                count[at] += ok.sum()
    lags = np.append(0.0, np.sqrt(np.maximum(edges[1:-1], 1e-4) * edges[2:]))
    ok = count > 30
    behind = [e[np.isfinite(e)] for e, _ in _tracks(people, left, k, True)]
    far = np.concatenate(behind) if behind else np.zeros(0)
    ratio = 1.4826 * float(np.median(np.abs(far))) / typical if len(far) >= 60 else 1.5
    return lags[ok], total[ok] / count[ok], every / typical, ratio, len(every)


def _three_parts(lags: Float, C: Float) -> tuple[float, float, float, float]:
    """Variances of what lasts, of what is slow and of what is fast, and the memory of the slow part in s."""
    best = (np.inf, 0.0, 0.0, 0.0, 0.5)
    for tau in TAUS_S[max(lags[-1], 0.15) >= TAUS_S]:
        X = np.stack([np.ones_like(lags), np.exp(-lags / tau), (lags == 0).astype(float)], axis=1)
        x = _nonnegative(X, C)
        cost = float(((X @ x - C) ** 2).sum())
        if cost < best[0]:
            best = (cost, *x.tolist(), float(tau))
    return best[1], max(best[2], 1e-7), max(best[3], 1e-7), best[4]


def _nonnegative(X: Float, y: Float) -> Float:
    from scipy.optimize import nnls

    return np.asarray(nnls(X, y)[0])


def _common(people: Sequence[Watched], left: Sequence[Float]) -> tuple[float, float]:
    """Standard deviation of what all joints of a person in a view share, and its memory."""
    square, alone, n, pairs = 0.0, 0.0, 0, np.zeros(2)
    for w, r in zip(people, left, strict=True):
        seen: Bool = np.asarray(np.isfinite(r).all(axis=-1, keepdims=True))
        e = np.where(seen, np.clip(r, -0.06, 0.06), 0.0)
        e = np.where(seen, e - e.sum(axis=0) / np.maximum(seen.sum(axis=0), 1), 0.0)  # what lasts is told apart
        count = seen.sum(axis=2)
        mean = e.sum(axis=2) / np.maximum(count, 1)  # T, C, 2
        scatter = (np.where(seen, e - mean[:, :, None], 0.0) ** 2).sum(axis=2) / np.maximum(count, 1)
        ok: Bool = np.asarray(count[..., 0] >= 8)
        square += float((mean[ok] ** 2).mean(axis=-1).sum())
        alone += float((scatter[ok] / count[ok]).mean(axis=-1).sum())
        n += int(ok.sum())
        lag = max(1, round(0.2 / float(np.median(np.diff(w.t_s)))))
        product = (mean[lag:] * mean[:-lag]).mean(axis=-1)
        both = ok[lag:] & ok[:-lag]
        pairs += [float(product[both].sum()), float(both.sum())]
    variance = max(square / max(n, 1) - alone / max(n, 1), 1e-8)
    rho = float(np.clip(pairs[0] / max(pairs[1], 1) / variance, 0.1, 0.95))
    return float(np.sqrt(variance)), float(np.clip(-0.2 / np.log(rho), 0.1, 4.0))


def _tails(x: Float) -> float:
    """The standard deviation of the logarithm of the scale, from how far the 97th of a hundred lies over the 50th."""
    met = float(np.quantile(np.abs(x), 0.97) / np.quantile(np.abs(x), 0.5))
    z = np.random.default_rng(0).standard_normal((2, 200_000))
    grid = np.arange(0.0, 1.01, 0.05)
    told = [float(np.divide(*np.quantile(np.abs(z[0] * np.exp(s * z[1])), [0.97, 0.5]))) for s in grid]
    return float(np.interp(met, told, grid))


def _missing(people: Sequence[Watched], gives: Bool) -> tuple[Float, Float]:
    """(K,) shares of frames without the joint where it is seen, and where it is hidden."""
    gone, n = np.zeros((2, K)), np.zeros((2, K))
    for w in people:
        size = np.array([c.size_px for c in w.cameras])[:, None]
        at = np.stack([c.project(w.points)[0] for c in w.cameras], axis=1)
        inside = ((at > 0) & (at < size - 1)).all(axis=-1)
        seen: Bool = np.asarray((w.confidence > 0).any(axis=-1, keepdims=True))  # the person was found at all
        lost = ~(w.confidence >= LEAST_CONFIDENCE)
        for i, which in enumerate((~w.hidden, w.hidden)):
            counts = inside & seen & which & w.gives
            gone[i] += _by_kind((counts & lost).sum(axis=(0, 1)).astype(float))
            n[i] += _by_kind(counts.sum(axis=(0, 1)).astype(float))
    share = (gone + 0.5) / (n + 50)
    return np.where(gives, share[0], 1.0), np.where(gives, np.maximum(share[0], share[1]), 1.0)


def _confidence(
    people: Sequence[Watched], left: Sequence[Float]
) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """Quantiles of the confidence by the error that is left."""
    size: Float = np.concatenate([np.sqrt((r**2).mean(axis=-1)).ravel() for r in left])
    told = np.concatenate([w.confidence.ravel() for w in people])
    ok: Bool = np.asarray(np.isfinite(size))
    rows: list[tuple[float, ...]] = []
    for low, high in zip((0.0, *AT_M), (*AT_M, np.inf), strict=True):
        inside = told[np.asarray(ok & (size >= low) & (size < high), np.bool_)]
        quantiles = np.quantile(inside, (np.arange(QUANTILES) + 0.5) / QUANTILES) if len(inside) >= 20 else None
        rows.append(rows[-1] if quantiles is None and rows else _rounded(quantiles))
    return tuple(rows), AT_M


def _by_kind(joints: Float) -> Float:
    """(26,) → (K,) sums."""
    out = np.zeros(K)
    np.add.at(out, KIND, joints)
    return out


def _rounded(values: Any) -> Any:
    """Nested tuples to 1e-5."""
    a = np.asarray(values, np.float64)
    return tuple(_rounded(v) for v in a) if a.ndim > 1 else tuple(round(float(v), 5) for v in a)
