"""Is the candidate better where it counts, and nowhere worse? Paired, with bootstrap intervals over units that err
together.

The main benchmark's pose error must be lower with 95 % certainty (sessions that nobody learned from; the benchmark,
where there are no sessions). Every other figure must be shown not to be worse than the current one's by more than a
stated tolerance: the upper end of its interval lies below. Ratios of means (candidate / current − 1), percentile
bootstrap.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.nodes.promote.lifter_benchmarks import MEASURES, PredictedErrors

Float = NDArray[np.float64]
DRAWS, SEED = 2000, 0
MIN_UNITS = 8  # with fewer pieces an interval tells nothing
# share by which a figure may be worse: positions jitter with the few cameras of a benchmark, single actions with their
# few clips, and of an action only a certain loss counts (the lower end), for there are many
TOLERANCE = {"pose": 0.02, "aligned": 0.02, "place": 0.05, "velocity": 0.05}
ACTION_TOLERANCE = 0.10
MIN_UNITS_OF_ACTION = 3  # pieces: of fewer nothing is sure
INSIDE_TOLERANCE = 0.03  # of the share of errors inside 2 σ, under that of the current one or 0.954
NORMAL_2_SIGMA = 0.954
# what poses of motion lose where two fifths of a mixture are for poses of another kind: −log(1 − 0.4)
NAT_TOLERANCE = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of one benchmark, before and after. before, after: means; low, high: 95 % interval of after / before −
    1.

    units: of resampling, that it stands on. verdict: "" where it is fine, else why the candidate is refused. relative:
    False where change, low and high are of after − before: of what has no natural zero.
    """

    benchmark: str
    what: str
    before: float
    after: float
    low: float
    high: float
    units: int
    rule: str
    verdict: str = ""
    relative: bool = True

    @property
    def change(self) -> float:
        return self.after / self.before - 1 if self.relative else self.after - self.before

    def to_json(self) -> dict[str, Any]:
        """As ``report.json`` has it; its keys are older than these names."""
        old = {"benchmark": "exam", "units": "evidence"}
        return {old.get(k, k): v for k, v in asdict(self).items()} | {"change": self.change}


@dataclass(frozen=True, slots=True, eq=False)
class LogLikelihoods:
    """Log-likelihoods of Q pieces of held-out poses. unit: (Q,) of resampling; poses: (Q,) how many; nat: (Q,) their
    sum."""

    unit: NDArray[np.str_]
    poses: Float
    nat: Float


def gate_likelihood(benchmark: str, current: LogLikelihoods, candidate: LogLikelihoods, better: bool) -> Change:
    """Held-out poses must be surely likelier (``better``), or surely not less likely by ``NAT_TOLERANCE``."""
    draws, pieces = _draws(current.unit)
    gain = (draws @ (candidate.nat - current.nat)) / (draws @ current.poses)
    gain = np.where(np.isfinite(gain), gain, -np.inf)
    low, high = (float(v) for v in np.quantile(gain, (0.025, 0.975), method="nearest"))
    before, after = (float(w.nat.sum() / w.poses.sum()) for w in (current, candidate))
    rule = "better" if better else f"not worse than {NAT_TOLERANCE:g}"
    why = ""
    if pieces < MIN_UNITS:
        why = f"{pieces} pieces of evidence: {MIN_UNITS} or more are needed"
    elif not low > (0.0 if better else -NAT_TOLERANCE):
        why = "not shown to be better" if better else f"may be worse by {-low:.2f}"
    return Change(benchmark, "nat a pose", before, after, low, high, pieces, rule, why, relative=False)


def gate_errors(
    benchmarks: Mapping[str, tuple[PredictedErrors, PredictedErrors]],
    main: str,
    tolerance: Mapping[str, float] = TOLERANCE,
) -> list[Change]:
    """All figures of (current, candidate) by benchmark; the pose of ``main`` must be better, "": of none.

    Refusals are in ``verdict``.
    """
    out: list[Change] = []
    for benchmark, (current, candidate) in benchmarks.items():
        draws, pieces = _draws(current.unit)
        for k, what in enumerate(MEASURES):
            better = benchmark == main and what == "pose"
            limit = 0.0 if better else tolerance[what]
            rule = "better" if better else f"not worse than {limit:.0%}"
            change = _change(benchmark, what, current.sums[:, k], candidate.sums[:, k], current, candidate, draws, rule)
            why = ""
            if pieces < MIN_UNITS:
                why = f"{pieces} pieces of evidence: {MIN_UNITS} or more are needed"
            elif not change.high < limit:
                why = "not shown to be better" if better else f"may be worse by {change.high:.1%}"
            out.append(_with(change, why))
        out += _actions(benchmark, current, candidate, draws)
        inside = _inside(benchmark, current, candidate)
        out += [inside] if inside is not None else []
    return out


def _actions(benchmark: str, current: PredictedErrors, candidate: PredictedErrors, draws: Float) -> list[Change]:
    out = []
    for action in sorted(set(current.action.tolist())):
        mine = current.action == action
        masked = draws[(draws[:, mine] > 0).any(axis=1)]
        change = _change(
            benchmark, f"pose, {action}", current.sums[:, 0] * mine, candidate.sums[:, 0] * mine, current, candidate,
            masked, f"not surely worse than {ACTION_TOLERANCE:.0%}", mine,
        )  # fmt: skip
        worse = change.low > ACTION_TOLERANCE and change.units >= MIN_UNITS_OF_ACTION
        out.append(_with(change, f"worse by {change.low:.1%} at least" if worse else ""))
    return out


def _change(
    benchmark: str,
    what: str,
    before: Float,
    after: Float,
    current: PredictedErrors,
    candidate: PredictedErrors,
    draws: Float,
    rule: str,
    mine: NDArray[np.bool_] | None = None,
) -> Change:
    counted = np.ones(len(before), bool) if mine is None else mine
    frames = current.frames * counted, candidate.frames * counted
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (draws @ after) / (draws @ frames[1]) / ((draws @ before) / (draws @ frames[0])) - 1
        means = before.sum() / frames[0].sum(), after.sum() / frames[1].sum()
    # one that is no number is as bad as can be
    ratio = np.where(np.isfinite(ratio), ratio, np.inf)
    low, high = np.quantile(ratio, (0.025, 0.975), method="nearest")
    pieces = len(set(current.unit[counted].tolist()))
    return Change(benchmark, what, float(means[0]), float(means[1]), float(low), float(high), pieces, rule)


def _inside(benchmark: str, current: PredictedErrors, candidate: PredictedErrors) -> Change | None:
    """Uncertainties steer fusion: errors must not leave their σ more often than before."""
    before, after = (float(a.inside.sum() / a.frames.sum()) for a in (current, candidate))
    if not np.isfinite(before) or not np.isfinite(after):
        return None
    least = min(before, NORMAL_2_SIGMA) - INSIDE_TOLERANCE
    pieces = len(set(current.unit.tolist()))
    change = after / before - 1
    why = f"{after:.1%} of the errors inside 2 σ, {least:.1%} at least are wanted" if after < least else ""
    return Change(benchmark, "inside 2 σ", before, after, change, change, pieces, f"{least:.1%} or more", why)


def _draws(units: NDArray[np.str_]) -> tuple[Float, int]:
    """(DRAWS, Q) how often each clip is drawn, whole units at a time; and how many units there are."""
    names, piece = np.unique(units, return_inverse=True)
    rng = np.random.default_rng(SEED)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS).astype(np.float64)
    return counts[:, piece], len(names)


def _with(change: Change, why: str) -> Change:
    return replace(change, verdict=why)
