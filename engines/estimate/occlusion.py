"""Where joints are that no view sees: their own motion carried on and the lifted poses, weighed as their errors are.

A hidden joint hangs on one that is seen: a wrist on its elbow, or on its shoulder where that is hidden too. How it
stood to that when it was seen last, how it moved then and how the trunk has turned since tell where it must be by now,
the less surely the longer ago that is and the faster it moved. The lifted pose tells it too. Both are joined by their
variances, and where they differ by more than these allow the outcome is as much less sure (Birge 1932). How large the
errors are was measured on motion that no lifter was trained on, with joints hidden from all views
(``engines.train.lifter.occlusion_model``, which wrote ``hidden.toml``). What a lifter says in one set is nearly what it
said in the last, so nothing adds up from set to set: the estimate is made anew each time from when the joint was seen
last, and is as sure as such were found to be.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.estimate import occlusion_kernels
from kinecast.engines.estimate.lifted import ErrorModel, rows_of

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

MEASURED = Path(__file__).parent / "occlusion.toml"
MOTION_S = 0.2  # a velocity carries on for about so long: v · MOTION_S · (1 − exp(−t / MOTION_S))
KNOTS_S = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 4.0)  # since a joint was seen; between them by straight lines
TERMS = ("motion", "turn")  # what is carried on, in shares
HEAD, TRUNK = "head", "trunk"
# on what a joint hangs, best first; what is left hangs on the middle of what is seen of the trunk
ON = {
    "head": ("head",), "trunk": (), "elbow": ("shoulder",), "wrist": ("elbow", "shoulder"), "knee": ("hip",),
    "foot": ("foot", "knee", "hip"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What tells where hidden joints are, of T tracks and J joints; see ``hidden_kernels.gather_evidence``.

    base_m: (T, J, 3) beside what a joint hangs on, as it was; on_m2: (T, J) variance of what it hangs on. terms_m:
    (T, J, 3, 3) what may be added, in world axes: the velocity then, m/s; the turn since; the lifted pose. cell: (T, J)
    row of ``cells()``, −1 where nothing is known of a joint. since_s: (T, J). lifted_m2: (T, J) variance per axis of
    the lifted pose, by the lifter's own word.
    """

    base_m: Float
    on_m2: Float
    terms_m: Float
    cell: Int
    since_s: Float
    lifted_m2: Float


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What was measured, of N cells at the K times KNOTS_S.

    weights: (N, K, 2) of TERMS. sd_m: (N, K) σ per axis, of what is carried on so; moved: (N, K) share of the joint's
    own motion that it errs by beside. lifted: (N,) factor on the lifter's own σ. unsure: (N, K) factor on the σ of both
    joined.
    """

    weights: Float
    sd_m: Float
    moved: Float
    lifted: Float
    unsure: Float


def cells() -> list[tuple[str, str]]:
    """(what hides, what it hangs on) of each row of a table."""
    return [(part, on) for part, better in ON.items() for on in (*better, TRUNK)]


def part(joint: str) -> str:
    """Which of the parts of ON a joint belongs to."""
    name = joint.removeprefix("left_").removeprefix("right_")
    if name in ("elbow", "wrist", "knee"):
        return name
    if name in ("shoulder", "hip", "neck", "mid_hip"):
        return TRUNK
    return "foot" if name == "ankle" or "toe" in name or name == "heel" else HEAD


@cache
def load_shares(path: Path = MEASURED) -> Shares:
    """The table of a file of :func:`write_shares`."""
    measured = tomllib.loads(path.read_text())
    by = {(c["part"], c["on"]): c for c in measured["cell"]}
    rows = [by[c] for c in cells()]

    def table(name: str) -> Float:
        return np.array([np.interp(KNOTS_S, measured["since_s"], r[name]) for r in rows])

    weights = np.stack([table(name) for name in TERMS], axis=-1)
    factor = np.array([r["lifted"] for r in rows], np.float64)
    return Shares(weights, table("sd_m"), table("moved"), factor, table("unsure"))


@cache
def load_errors(joints: tuple[str, ...], path: Path = MEASURED) -> ErrorModel:
    """What the same file says of the errors of lifted joints that their view sees, and of those that it does not."""
    measured = tomllib.loads(path.read_text())
    by = {row["part"]: row for row in measured["error"]}
    rows = [by[part(j)] for j in joints]
    unseen = np.array([r["unseen"] for r in rows]).swapaxes(0, 1)
    return ErrorModel(
        np.array([r["seen"] for r in rows]), unseen, np.array([r["kept"] for r in rows]), measured["tau_s"]
    )


class OccludedJoints:
    """How the joints of every track stood when each was seen last. joints: names. A function of the calls made."""

    def __init__(self, joints: Sequence[str], shares: Shares | None = None) -> None:
        self._shares = shares
        self._rank, self._cell_of, self._trunk = _tables(tuple(joints))
        self._tracks = np.zeros(0, np.int64)
        J = len(joints)
        self._when, self._shot = np.zeros((0, J)), np.full((0, J, J, 6), np.nan)

    def keep_tracks(self, tracks: Int) -> None:
        """The rows are now these tracks (T,), in rising order; the others are forgotten, new ones know nothing."""
        if np.array_equal(tracks, self._tracks):
            return
        self._when = rows_of(tracks, self._tracks, self._when, 0.0)
        self._shot = rows_of(tracks, self._tracks, self._shot, np.nan)
        self._tracks = tracks.copy()

    def restart(self, rows: Int) -> None:
        """These came back somewhere else."""
        self._shot[rows] = np.nan

    def remember(self, t_ns: int, state: Float, seen: Bool) -> None:
        """Joints ``seen`` (T, J) in this set have the states (T, J, 6), metres and metres per second, world axes."""
        occlusion_kernels.snapshot(state, seen, t_ns / 1e9, self._when, self._shot)

    def gather_evidence(
        self, t_ns: int, state: Float, covariance: Float, seen: Bool, want: Bool, lifted_m: Float, lifted_m2: Float
    ) -> Evidence:
        """What tells where the wanted joints (T, J) are.

        state (T, J, 6), covariance (T, J, 6, 6): of those that are seen. lifted_m: (T, J, 3) by all views, less a root,
        along the axes of the world, NaN for a person whom no view lifts; lifted_m2: (T, J) its variance per axis.
        """
        T, J = want.shape
        base, terms = np.full((T, J, 3), np.nan), np.full((T, J, 3, 3), np.nan)
        on_var, cell = np.zeros((T, J)), np.full((T, J), -1)
        occlusion_kernels.evidence(
            state, covariance, seen, want & np.isfinite(lifted_m[..., 0]), self._shot, lifted_m, self._rank,
            self._trunk, self._cell_of, base, on_var, terms, cell,
        )  # fmt: skip
        return Evidence(base, on_var, terms, cell, np.maximum(t_ns / 1e9 - self._when, 0.0), lifted_m2)

    def fuse(self, evidence: Evidence) -> tuple[Float, Float]:
        """(T, J, 3) where the joints are, NaN where nothing is known of one, and (T, J) variance per axis."""
        shares = self._shares or load_shares()
        points, var = np.full(evidence.base_m.shape, np.nan), np.full(evidence.cell.shape, np.nan)
        at = np.nonzero(evidence.cell >= 0)
        if len(at[0]):
            points[at], var[at] = fuse(shares, evidence, at)
        return points, var


def fuse(shares: Shares, e: Evidence, at: tuple[NDArray[np.intp], ...]) -> tuple[Float, Float]:
    """(n, 3) places and (n,) variances per axis of the joints ``at``."""
    cell, hat = e.cell[at], knot_weights(e.since_s[at])
    terms = with_travel(e.terms_m[at], e.since_s[at])
    kept, var = extrapolated(
        terms, *(np.einsum("nk,nk...->n...", hat, t[cell]) for t in (shares.weights, shares.sd_m, shares.moved))
    )
    lifted = shares.lifted[cell] ** 2 * e.lifted_m2[at]
    away, both = terms[:, 2] - kept, var + lifted
    birge = np.maximum((away**2).mean(axis=-1) / both, 1.0)
    unsure = (hat * shares.unsure[cell]).sum(axis=1) ** 2
    return e.base_m[at] + kept + (var / both)[:, None] * away, e.on_m2[at] + unsure * birge * var * lifted / both


def extrapolated(terms: Float, weights: Float, sd_m: Float, moved: Float) -> tuple[Float, Float]:
    """(n, 3) how far joints have gone by what is carried on, and (n,) its variance. weights: (n, 2)."""
    way = np.einsum("nf,nfi->ni", weights, terms[:, :2])
    return way, sd_m**2 + moved**2 * (terms[:, 0] ** 2).mean(axis=-1)


def with_travel(terms_m: Float, since_s: Float) -> Float:
    """The terms (n, 3, 3) with the velocity turned into the way that it carries on."""
    out = terms_m.copy()
    out[:, 0] *= (MOTION_S * (1 - np.exp(-since_s / MOTION_S)))[:, None]
    return out


def knot_weights(since_s: Float) -> Float:
    """(n, K) what each knot counts at these times."""
    at = np.clip(since_s, KNOTS_S[0], KNOTS_S[-1])
    return np.stack([np.interp(at, KNOTS_S, row) for row in np.eye(len(KNOTS_S))], axis=-1)


def _tables(joints: tuple[str, ...]) -> tuple[Int, Int, Int]:
    """(J, J) how good one joint is to hang another on, 1 best; (J, R + 1) the cell of each; the joints of the trunk."""
    J, most = len(joints), max(len(o) for o in ON.values())
    rank, cell_of = np.zeros((J, J), np.int64), np.full((J, most + 1), -1)
    names = cells()
    for j, joint in enumerate(joints):
        mine, side = part(joint), joint.split("_")[0]
        for r, on in enumerate(ON[mine]):
            cell_of[j, r] = names.index((mine, on))
            for k, other in enumerate(joints):
                same = other == f"{side}_{on}" or (part(other) == mine == on and (on == HEAD or other.startswith(side)))
                if k != j and same:
                    rank[j, k] = r + 1
        cell_of[j, most] = names.index((mine, TRUNK))
    return rank, cell_of, np.array([j for j, name in enumerate(joints) if part(name) == TRUNK])
