"""The curve of ``kinecast bench learning-curve`` as figures with intervals, as tables, and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kinecast.nodes.promote.lifter_benchmarks import MEASURES, PredictedErrors

DRAWS = 2000
Answers = Mapping[str, PredictedErrors]  # by exam


def figures(first: Answers, told: Mapping[tuple[int, int], Answers]) -> list[dict[str, Any]]:
    """A row for each exam, measure and count: mm before and after, and the change with its 95 % interval.

    Intervals are of pieces of evidence (a person of a session, or a clip) and of seeds, both drawn anew.
    """
    rows = []
    for exam, before in first.items():
        for k, what in enumerate(MEASURES):
            start = float(before.sums[:, k].sum() / before.frames.sum())
            for count in sorted({c for c, _ in told}):
                after = [told[key][exam] for key in sorted(told) if key[0] == count]
                means = [float(a.sums[:, k].sum() / a.frames.sum()) for a in after]
                low, high = _interval(before, after, k)
                rows.append({
                    "exam": exam, "measure": what, "sessions": count, "before_m": start, "after_m": means,
                    "change": float(np.mean(means)) / start - 1, "low": low, "high": high,
                })  # fmt: skip
    return rows


def _interval(before: PredictedErrors, after: Sequence[PredictedErrors], k: int) -> tuple[float, float]:
    names, piece = np.unique(before.unit, return_inverse=True)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)[:, piece].astype(np.float64)
    base = (counts @ before.sums[:, k]) / (counts @ before.frames)
    each_seed = np.stack([(counts @ a.sums[:, k]) / (counts @ a.frames) / base - 1 for a in after])
    drawn = rng.integers(len(after), size=(len(after), DRAWS))
    low, high = np.quantile(np.take_along_axis(each_seed, drawn, 0).mean(axis=0), (0.025, 0.975))
    return float(low), float(high)


def brief(first: Answers, told: Answers) -> str:
    """MPJPE of every exam, before and after."""
    said = []
    for exam, before in first.items():
        a, b = (x.sums[:, 0].sum() / x.frames.sum() for x in (before, told[exam]))
        said.append(f"{exam} {1e3 * a:.1f} → {1e3 * b:.1f} mm ({b / a - 1:+.1%})")
    return ", ".join(said)


def show(rows: list[dict[str, Any]], refusals: dict[str, list[str]], console: Console) -> None:
    """One table an exam, and what the gate said."""
    units = {"pose": "MPJPE, mm", "aligned": "P-MPJPE, mm", "place": "MRPE, mm", "velocity": "velocity, mm/s"}
    for exam in dict.fromkeys(r["exam"] for r in rows):
        table = Table(title=f"{exam}: one view, before and after retraining", title_justify="left")
        for column in ("", "sessions", "before", "after, by seed", "change", "95 %"):
            table.add_column(column, justify="right")
        for r in (r for r in rows if r["exam"] == exam):
            after = ", ".join(f"{1e3 * v:.1f}" for v in r["after_m"])
            table.add_row(
                units[r["measure"]], str(r["sessions"]), f"{1e3 * r['before_m']:.1f}", after, f"{r['change']:+.1%}",
                f"{r['low']:+.1%} … {r['high']:+.1%}",
            )  # fmt: skip
        console.print(table)
    for what, why in refusals.items():
        console.print(f"gate of promotion, {what}: {'refused: ' + '; '.join(why) if why else 'may be put in force'}")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """MPJPE of both exams over the number of sessions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0))
    for exam, colour in zip(dict.fromkeys(r["exam"] for r in rows), ("tab:blue", "tab:grey"), strict=True):
        mine = [r for r in rows if r["exam"] == exam and r["measure"] == "pose"]
        start = 1e3 * mine[0]["before_m"]
        counts = [0, *(r["sessions"] for r in mine)]
        means = [start, *(start * (1 + r["change"]) for r in mine)]
        low, high = ([start, *(start * (1 + r[end]) for r in mine)] for end in ("low", "high"))
        axes.plot(counts, means, "o-", color=colour, label=exam)
        axes.fill_between(counts, low, high, color=colour, alpha=0.2)
        for r in mine:
            axes.plot([r["sessions"]] * len(r["after_m"]), [1e3 * v for v in r["after_m"]], ".", color=colour, ms=4)
    axes.set(xlabel="sessions retrained on", ylabel="MPJPE from one view, mm", ylim=(0, None))
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-0.2, 1.2 * max(r["sessions"] for r in rows))
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)
