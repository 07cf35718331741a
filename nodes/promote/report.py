"""Before and after: a page with tables and pictures, and the same as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.atomic_write import atomic_path, atomic_write
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.promote.backend_parity import Parity
from kinecast.nodes.promote.gate import DRAWS, Change
from kinecast.nodes.promote.lifter_benchmarks import PredictedErrors

JOINTS = {len(skeleton(name)): skeleton(name).joints for name in ("halpe26", "smpl24")}
TITLES = {
    "pose": "MPJPE about the root",
    "aligned": "P-MPJPE",
    "place": "place of the root",
    "velocity": "velocity of the error",
}


def write_report(
    folder: Path,
    names: tuple[str, str],
    errors: Mapping[str, tuple[PredictedErrors, PredictedErrors]],
    changes: Sequence[Change],
    checks: Sequence[Parity],
    about: Mapping[str, Any],
) -> list[str]:
    """``report.md``, ``report.json`` and pictures into ``folder``; why it is refused. names: current, candidate."""
    refused = [f"{c.benchmark}: {c.what}: {c.verdict}" for c in changes if c.verdict]
    refused += [f"{p.runtime} is {p.off_m * 1e3:.3g} mm off" for p in checks if not p.fine]
    joints = {
        benchmark: {j: [1e3 * v for v in (_joint(a, i), _joint(b, i))] for i, j in enumerate(_names(a))}
        for benchmark, (a, b) in errors.items()
    }
    report = {
        "current": names[0], "candidate": names[1], "promotable": not refused, "refused": refused, **about,
        "changes": [c.to_json() for c in changes], "joints_mm": joints,
        "parity": [asdict(p) for p in checks],
    }  # fmt: skip
    atomic_write(folder / "report.json", json.dumps(_clean(report), indent=1) + "\n")
    pictures = _pictures(folder, names, errors, changes)
    lines = [f"# {names[1]} beside {names[0]}", ""]
    lines += [f"**Refused.** {'; '.join(refused)}." if refused else "**Better, and nowhere worse.**", ""]
    lines += [f"{key}: {value}  " for key, value in about.items()]
    for benchmark in dict.fromkeys(c.benchmark for c in changes):
        lines += ["", f"## {benchmark}", ""]
        lines += ["| figure | current | candidate | change | 95 % interval | rule | verdict |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        lines += [_row(c) for c in changes if c.benchmark == benchmark]
        if benchmark in errors:
            lines += ["", "| joint | current, mm | candidate, mm |", "|---|---|---|"]
            lines += [f"| {j} | {a:.1f} | {b:.1f} |" for j, (a, b) in joints[benchmark].items()]
            lines += ["", *(f"![{p}]({p})" for p in pictures.get(benchmark, ()))]
    if checks:
        lines += ["", "## The same numbers in every runtime", "", "| runtime | largest difference, mm | |"]
        lines += ["|---|---|---|"]
        lines += [f"| {p.runtime} | {'' if p.note else f'{p.off_m * 1e3:.4f}'} | {p.note} |" for p in checks]
    most = {c.benchmark: max(d.units for d in changes if d.benchmark == c.benchmark) for c in changes}
    pieces = ", ".join(f"{benchmark} {count}" for benchmark, count in most.items())
    lines += ["", f"Intervals: paired bootstrap, {DRAWS} draws of whole pieces of evidence ({pieces}).", ""]
    atomic_write(folder / "report.md", "\n".join(lines))
    return refused


def _row(c: Change) -> str:
    if not c.relative:
        said = f"{c.what} | {c.before:.2f} | {c.after:.2f} | {c.change:+.2f} | {c.low:+.2f} … {c.high:+.2f}"
        return f"| {said} | {c.rule} | {c.verdict or 'fine'} |"
    unit = "" if c.what.startswith("inside") else " mm/s" if c.what == "velocity" else " mm"
    scale, digits = (100.0, "%") if not unit else (1e3, "")
    title = TITLES.get(c.what, c.what)
    interval = "" if not unit else f"{c.low:+.1%} … {c.high:+.1%}"
    return (
        f"| {title} | {c.before * scale:.1f}{digits}{unit} | {c.after * scale:.1f}{digits}{unit} | {c.change:+.1%} | "
        f"{interval} | {c.rule} | {c.verdict or 'fine'} |"
    )


def _names(a: PredictedErrors) -> tuple[str, ...]:
    return tuple(JOINTS[a.joints.shape[1]])


def _joint(a: PredictedErrors, j: int) -> float:
    return float(a.joints[:, j].sum() / a.frames.sum())


def _pictures(
    folder: Path,
    names: tuple[str, str],
    errors: Mapping[str, tuple[PredictedErrors, PredictedErrors]],
    changes: Sequence[Change],
) -> dict[str, list[str]]:
    """Per joint and per action, current beside candidate, for each exam; none where matplotlib is not there."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return {}
    matplotlib.use("Agg")
    from matplotlib import pyplot

    out: dict[str, list[str]] = {}
    for benchmark, pair in errors.items():
        actions = [c for c in changes if c.benchmark == benchmark and c.what.startswith("pose, ")]
        bars = {
            "joint": (
                list(_names(pair[0])),
                [[1e3 * _joint(a, i) for i in range(len(_names(a)))] for a in pair],
            ),
            "action": (
                [c.what[6:] for c in actions],
                [[1e3 * c.before for c in actions], [1e3 * c.after for c in actions]],
            ),
        }
        for kind, (labels, values) in bars.items():
            figure, axes = pyplot.subplots(figsize=(9, 3.4), layout="constrained")
            at = np.arange(len(labels))
            for k, (name, heights) in enumerate(zip(names, values, strict=True)):
                axes.bar(at + 0.4 * k - 0.2, heights, 0.4, label=name, color=("0.65", "tab:blue")[k])
            axes.set_xticks(at, labels, rotation=60, ha="right", fontsize=7)
            axes.set_ylabel("MPJPE, mm")
            axes.set_title(f"{benchmark}, by {kind}")
            axes.legend(fontsize=7)
            file = f"{benchmark.replace(', ', '_').replace(' ', '_')}_by_{kind}.png"
            with atomic_path(folder / file, overwrite=True) as stream:
                figure.savefig(stream, format="png", dpi=110)
            pyplot.close(figure)
            out.setdefault(benchmark, []).append(file)
    return out


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
