"""What their own motion and the lifted poses tell of joints that no view sees, measured on motion never trained on.

Whole clips before several cameras at once, through the detectors' noise, joints hidden from all of them now and then.
Everything runs as it does in fusion: the filter of the joints that are seen, the lifter of every view, and
``engines.estimate.occlusion``, which then gets the weights and uncertainties that are measured here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import tomli_w
from numpy.typing import NDArray
from scipy.optimize import nnls

from kinecast.capture.atomic_write import atomic_write
from kinecast.engines.estimate import kalman_kernels
from kinecast.engines.estimate.lifted import UNSEEN_S, LiftedViews, mean_pose
from kinecast.engines.estimate.occlusion import (  # fmt: skip
    KNOTS_S,
    ON,
    TERMS,
    Evidence,
    OccludedJoints,
    Shares,
    cells,
    fuse,
    knot_weights,
    part,
    with_travel,
)
from kinecast.engines.estimate.tracks import ACCEL_MPS2, FLOOR_M, JUMP_SIGMA, SPEED_MPS
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.lift.sigma import Sigma
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.heldout_clips import PLAIN
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.pinhole_views import before_cameras, detect
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.synthetic_batches import MotionClips, batch_of
from kinecast.engines.train.lifter.sigma_calibration import AT_SIGMA, SHARE
from kinecast.engines.train.lifter.validate import lift_batch
from kinecast.engines.virtual_camera import out_of_virtual

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

HALPE = skeleton("halpe26")
ROOT = HALPE.index("mid_hip")
VIEWS = 3
RANGES = CameraRanges(distance_m=(2.5, 7.0))  # of cameras that together see a room
LONGEST_S, SHORTEST_S, SETTLED_S = 16.0, 2.5, 0.5
HIDDEN_S = (0.5, 0.5, 1.0, 2.0, 4.0, 8.0)
SEEN_S = (0.5, 1.5)
TRIANGULATED_M = 0.012  # as the sample clips' own residuals say of three and four views
JOINTS_TO_LEARN_FROM_FRAME = 6
LAG_S = 0.2
SMOOTH, WEAK = 0.02, 1e-3  # how much weights may bend from knot to knot, and how large they are without need
LEAST_M = 0.03  # below this errors count alike: the rest is the noise of what is seen
ROUNDS = 8
FEWEST, FOLDS, SOON_S = 50, 5, 0.5
STILL = 0.5  # of the usual σ that a joint has which did not move: it may begin to
MOST_UNSURE = 4.0  # where few clips have a case, one of them must not decide
FACTORS = np.geomspace(0.5, 8.0, 25)  # on the lifter's own σ
INSIDE_3 = 0.971  # of errors in three dimensions, if they are normal
_FOOT = ("ankle", "heel", "big_toe", "small_toe")
# joints that hide together, of the left side; those of the right side do likewise
TOGETHER = (
    ("wrist",), ("elbow", "wrist"), ("shoulder", "elbow", "wrist"), ("elbow",), ("ankle",), ("heel", "big_toe"), _FOOT,
    ("knee", *_FOOT), ("knee",), ("hip", "knee", *_FOOT), ("hip",), ("shoulder",), ("eye", "ear"),
)  # fmt: skip
OTHERS = (("nose",), ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top"), ("neck", "mid_hip"))
PARTS = (
    *(tuple(HALPE.index(f"{side}_{j}") for j in joints) for joints in TOGETHER for side in ("left", "right")),
    *(tuple(HALPE.index(j) for j in joints) for joints in OTHERS),
)


@dataclass(frozen=True, slots=True, eq=False)
class OccludedClip:
    """A stretch of a clip before V cameras. points_m: (T, J, 3) in the world, R: (V, 3, 3), hidden: (T, J).

    relative_m, sd_m: (T, V, J, 3) lifted, axes of the cameras, NaN where a view lifts nobody. unseen: (T, V, J).
    """

    clip: str
    points_m: Float
    R: Float
    hidden: Bool
    relative_m: Float
    sd_m: Float
    unseen: Bool


def occluded_clips(
    network: LifterNetwork, sigma: Sigma, clips: Sequence[Clip], noise: NoiseModel, *, rounds: int = 4, seed: int = 0
) -> Iterator[OccludedClip]:
    """Every stretch of every clip, ``rounds`` times, each on another body and before other cameras."""
    motion = MotionClips(clips, PLAIN)
    rate_hz = network.config.rate_hz
    for piece in range(len(motion.share)):
        seconds = float((motion.end[piece] - motion.begin[piece]) / motion.rate_hz[piece])
        name = motion.names[motion.clip[piece]]
        for number in range(rounds if seconds >= SHORTEST_S else 0):
            rng = np.random.default_rng((crc32(name.encode()), piece, number, seed))
            frames = int(min(seconds, LONGEST_S) * rate_hz)
            points = motion.sequence(rng, piece, rng.uniform(0, max(seconds - LONGEST_S, 0)), frames, rate_hz)
            many = np.broadcast_to(points, (VIEWS, *points.shape)).copy()
            view = before_cameras(many, rng, RANGES, np.full(VIEWS, motion.clip[piece]))
            xy, confidence, true = detect(view, noise, rng, rate_hz)
            hidden = _hide(rng, frames, rate_hz)
            confidence[:, hidden] = 0.0
            batch = batch_of(view, xy, confidence, true, rate_hz)
            out = lift_batch(network, batch)
            turn = batch.cam_from_virtual.astype(np.float64)
            assert out.sd_m is not None
            unseen = confidence <= 0
            sd = np.sqrt((sigma.joints * out.sd_m) ** 2 @ (turn**2).swapaxes(-1, -2))
            relative = out_of_virtual(turn, out.corrected_m)
            relative[(batch.weight <= 0) | ((~unseen).sum(-1) < JOINTS_TO_LEARN_FROM_FRAME)] = np.nan
            R = np.ascontiguousarray(view.cameras.R)
            lifted = relative.swapaxes(0, 1), sd.swapaxes(0, 1)
            yield OccludedClip(name, points, R, hidden, *lifted, unseen.swapaxes(0, 1))


def _hide(rng: np.random.Generator, frames: int, rate_hz: float) -> Bool:
    """(T, J): one part after another, each for a while."""
    hidden = np.zeros((frames, len(HALPE)), np.bool_)
    at = int(rng.uniform(1.0, 2.0) * rate_hz)
    while at < frames:
        end = at + int(rng.choice(HIDDEN_S) * rate_hz)
        hidden[at:end, list(PARTS[rng.integers(len(PARTS))])] = True
        at = end + int(rng.uniform(*SEEN_S) * rate_hz)
    return hidden


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """n joints that were hidden, as (n, 1) rows of an Evidence, and where they were: truth_m (n, 3). clip: (n,)."""

    evidence: Evidence
    truth_m: Float
    clip: NDArray[np.int64]


def cases(scenes: Sequence[OccludedClip], rate_hz: float, *, seed: int = 0, every: int = 3) -> Cases:
    """Run the filter and the evidence over scenes, each with one to all of its views; one frame of ``every`` counts."""
    rng = np.random.default_rng(seed)
    names = sorted({s.clip for s in scenes})
    rows: list[tuple[Float, ...]] = []
    truth, clip = [], []
    for scene in scenes:
        for e, t in _run(scene, rng, rate_hz, every):
            at = np.nonzero(e.cell >= 0)
            rows.append(tuple(np.asarray(getattr(e, n)[at]) for n in Evidence.__slots__))
            truth.append(scene.points_m[t, at[1]])
            clip.append(np.full(len(at[0]), names.index(scene.clip)))
    whole = [np.concatenate(column)[:, None] for column in zip(*rows, strict=True)]
    return Cases(Evidence(*whole), np.concatenate(truth), np.concatenate(clip))


def _run(scene: OccludedClip, rng: np.random.Generator, rate_hz: float, every: int) -> Iterator[tuple[Evidence, int]]:
    T, J = scene.hidden.shape
    some = rng.permutation(VIEWS)[: rng.integers(1, VIEWS + 1)]
    measured = scene.points_m + rng.normal(0, TRIANGULATED_M, scene.points_m.shape)
    x, P = np.full((1, J, 6), np.nan), np.zeros((1, J, 6, 6))
    noise = np.broadcast_to(TRIANGULATED_M**2 * np.eye(3), (1, J, 3, 3)).copy()
    memory = OccludedJoints(HALPE.joints)
    memory.keep_tracks(np.array([0]))
    R, nan = np.ascontiguousarray(scene.R[some]), np.full((1, len(some)), np.nan)
    for t in range(T):
        t_ns = round(t / rate_hz * 1e9)
        if t:
            kalman_kernels.predict(x, P, 1 / rate_hz, ACCEL_MPS2)
        seen = ~scene.hidden[t : t + 1]
        points = np.where(seen[..., None], measured[t], np.nan)
        kalman_kernels.update(x, P, np.array([0]), points, noise, FLOOR_M**2, JUMP_SIGMA**2, SPEED_MPS**2)
        memory.remember(t_ns, x, seen)
        if t % every == 0 and t > SETTLED_S * rate_hz and scene.hidden[t].any():
            root = np.full((1, len(some), 3), np.nan)
            views = LiftedViews(scene.relative_m[t, some][None], scene.sd_m[t, some][None], root, nan)
            yield memory.gather_evidence(t_ns, x, P, seen, ~seen, *mean_pose(views, R)), t


def fit_shares(found: Cases) -> Shares:
    """What carries on and how large its errors are, and those of lifted poses beside, of every cell.

    Weights are those of the least mean distance, not of its square, so that rare leaps do not decide what is done with
    the rest; squared errors are then explained by a constant and the own motion, neither of them negative. The factor
    on the lifter's σ is that with which both joined have the least mean distance. All is scaled so that as many errors
    lie inside 3 σ as should, soon and late, of clips that are left out of the fit in turn. Raises ValueError where a
    cell has too few cases.
    """
    N, K = len(cells()), len(KNOTS_S)
    out = Shares(np.zeros((N, K, 2)), np.zeros((N, K)), np.zeros((N, K)), np.ones(N), np.ones((N, K)))
    e = found.evidence
    for n in range(N):
        m = np.flatnonzero(e.cell[:, 0] == n)
        if len(m) < FEWEST:
            raise ValueError(f"only {len(m)} joints hidden of {' on '.join(cells()[n])}: more rounds, or more clips")
        clip = np.searchsorted(np.unique(found.clip[m]), found.clip[m])
        far = np.full(len(m), np.nan)  # squared errors of clips that were left out, over what was expected
        for fold in range(FOLDS):
            apart = clip % FOLDS == fold
            if apart.any() and not apart.all():
                _fit_cell(out, found, n, m[~apart])
                far[apart] = _far(out, found, m[apart])
        _fit_cell(out, found, n, m)
        late = np.array(KNOTS_S) > SOON_S
        for knots, of in ((~late, e.since_s[m, 0] <= SOON_S), (late, e.since_s[m, 0] > SOON_S)):
            out.unsure[n, knots] = min(np.sqrt(np.nanquantile(far[of], INSIDE_3)) / 3, MOST_UNSURE)
    return out


def _fit_cell(out: Shares, found: Cases, n: int, m: NDArray[np.intp]) -> None:
    """Row n of the table, in place, by the cases m."""
    e = found.evidence
    hat, terms = knot_weights(e.since_s[m, 0]), with_travel(e.terms_m[m, 0], e.since_s[m, 0])
    wanted = found.truth_m[m] - e.base_m[m, 0]
    out.weights[n] = _weights(hat, terms[:, :2], wanted)
    left = wanted - np.einsum("nk,kf,nfi->ni", hat, out.weights[n], terms[:, :2])
    parts = np.stack([np.ones(len(m)), (terms[:, 0] ** 2).mean(axis=-1)], axis=-1)
    error = (left**2).mean(axis=-1)
    still, moving = _spread(hat, parts, error, e.on_m2[m, 0]).T
    usual = _spread(hat, parts[:, :1], error, e.on_m2[m, 0])[:, 0]
    out.sd_m[n], out.moved[n] = np.sqrt(np.maximum(still, STILL**2 * usual)), np.sqrt(moving)
    out.unsure[n] = 1.0
    at = m, np.zeros(len(m), np.intp)
    errors = []
    for factor in FACTORS:
        out.lifted[n] = factor
        errors.append(np.linalg.norm(fuse(out, e, at)[0] - found.truth_m[m], axis=-1).mean())
    out.lifted[n] = FACTORS[int(np.argmin(errors))]


def _far(shares: Shares, found: Cases, m: NDArray[np.intp]) -> Float:
    """(n,) squared distances of the cases m, in σ."""
    points, variance = fuse(shares, found.evidence, (m, np.zeros(len(m), np.intp)))
    out: Float = ((points - found.truth_m[m]) ** 2).sum(axis=-1) / variance
    return out


def _weights(hat: Float, terms: Float, wanted: Float) -> Float:
    """(K, F) weights of terms (n, F, 3) whose sum is nearest to what is wanted (n, 3), smooth in time."""
    K, F = hat.shape[1], terms.shape[1]
    X = np.einsum("nk,nfi->nikf", hat, terms).reshape(len(hat), 3, K * F)
    bend = np.kron(np.diff(np.eye(K), 2, axis=0).T @ np.diff(np.eye(K), 2, axis=0), np.eye(F))
    w = np.ones(len(hat))
    for _ in range(ROUNDS):
        A = np.einsum("n,nia,nib->ab", w, X, X, optimize=True)
        size = np.trace(A) / len(A)
        b = np.einsum("n,nia,ni->a", w, X, wanted, optimize=True)
        c: Float = np.linalg.solve(A + size * (SMOOTH * bend + WEAK * np.eye(len(A))), b)
        w = 1 / (np.linalg.norm(wanted - X @ c, axis=-1) + LEAST_M)
    return c.reshape(K, F)


def _spread(hat: Float, parts: Float, error: Float, on_m2: Float) -> Float:
    """(K, F) variances that explain the squared errors (n,) by the parts (n, F), a constant first."""
    n, K, F = *hat.shape, parts.shape[1]
    X = np.einsum("nk,nf->nkf", hat, parts).reshape(n, -1)
    expected = np.full(n, error.mean())
    bend = np.kron(np.diff(np.eye(K), 2, axis=0), np.eye(F)) * np.sqrt(SMOOTH * n)
    bend *= np.tile(parts.mean(axis=0), K)[None] / error.mean()
    for _ in range(3):
        A = np.concatenate([X / expected[:, None], bend])
        c, _ = nnls(A, np.concatenate([np.maximum(error - on_m2, 0) / expected, np.zeros(len(bend))]))
        expected = np.maximum(X @ c, LEAST_M**2 / 9) + on_m2
    out: Float = np.maximum(c.reshape(K, F), np.eye(F)[0] * LEAST_M**2 / 9)
    return out


def fit_errors(scenes: Sequence[OccludedClip], rate_hz: float) -> tuple[list[dict[str, Any]], float]:
    """Rows by part of the body of factors on the σ of joints that their view sees, or not, and how long errors last.

    A factor makes the share inside 2 σ right, as in ``engines.train.lifter.sigma_calibration``. kept: correlation of
    the errors of a joint LAG_S apart that hid in between, beside that of one that did not.
    """
    lag, parts = round(LAG_S * rate_hz), np.array([part(j) for j in HALPE.joints])
    ratios: dict[tuple[str, int], list[Float]] = {}
    sums: dict[tuple[str, str], Float] = {}
    for scene in scenes:
        relative = np.einsum("via,tja->tvji", scene.R, scene.points_m - scene.points_m[:, ROOT : ROOT + 1])
        error, unseen = scene.relative_m - relative, scene.unseen
        since = np.zeros(unseen.shape)
        for t in range(1, len(since)):
            since[t] = np.where(unseen[t], since[t - 1] + 1 / rate_hz, 0.0)
        late = np.where(unseen, 1 + np.searchsorted(UNSEEN_S, since).clip(0, len(UNSEEN_S) - 1), 0)
        lifted = np.isfinite(error[..., 0])
        before, after = error[:-lag], error[lag:]
        both = lifted[:-lag] & lifted[lag:] & ~unseen[:-lag]
        # of those that hid, all that have been hidden since
        hid = both & (since[lag:] >= (lag - 0.5) / rate_hz)
        stayed = both & np.logical_and.reduce([~unseen[i : len(unseen) - lag + i] for i in range(1, lag + 1)])
        for name in ON:
            mine = parts == name
            mine[ROOT] = False
            for late_by in range(len(UNSEEN_S) + 1):
                at = lifted & mine & (late == late_by)
                ratios.setdefault((name, late_by), []).append(np.abs(error[at] / scene.sd_m[at]))
            for kind, which in (("hid", hid & mine), ("stayed", stayed & mine)):
                a, b = before[which], after[which]
                sums[name, kind] = sums.get((name, kind), np.zeros(3)) + np.array(
                    [(a * b).sum(), (a * a).sum(), (b * b).sum()]
                )
    rows: list[dict[str, Any]] = []
    for name in ON:
        factors = [
            np.quantile(np.concatenate(ratios[name, k]), SHARE, axis=0) / AT_SIGMA for k in range(len(UNSEEN_S) + 1)
        ]
        kept = _alike(sums[name, "hid"]) / _alike(sums[name, "stayed"])
        rows.append({"part": name, "seen": _round(factors[0]), "unseen": [_round(f) for f in factors[1:]],
                     "kept": round(float(np.clip(kept, 0, 1)), 3)})  # fmt: skip
    lasting = float(np.mean([_alike(sums[name, "stayed"]) for name in ON]))
    return rows, round(-LAG_S / float(np.log(lasting)), 2)


def _alike(sums: Float) -> float:
    return float(sums[0] / np.sqrt(sums[1] * sums[2]))


def write_shares(path: Path, shares: Shares, errors: list[dict[str, Any]], tau_s: float, source: str) -> None:
    """The tables as TOML, whole."""
    rows = []
    for n, (name, on) in enumerate(cells()):
        row: dict[str, Any] = {"part": name, "on": on}
        row |= {term: _round(shares.weights[n, :, f]) for f, term in enumerate(TERMS)}
        row |= {key: _round(getattr(shares, key)[n]) for key in ("sd_m", "moved", "unsure")}
        row["lifted"] = round(float(shares.lifted[n]), 3)
        rows.append(row)
    atomic_write(
        path, tomli_w.dumps({"source": source, "tau_s": tau_s, "since_s": list(KNOTS_S), "cell": rows, "error": errors})
    )


def _round(values: Float) -> list[float]:
    return [round(float(v), 4) for v in values]
