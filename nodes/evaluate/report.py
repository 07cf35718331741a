"""What ``kinecast evaluate`` shows: a table for people, JSON for programs, a picture for papers."""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kinecast.capture.atomic_write import atomic_write, require_suffix
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics import joint_errors
from kinecast.engines.metrics.multi_person import PCP_LIMBS, assign, distances
from kinecast.nodes.evaluate.result import Pairing

PLOTS = (".png", ".pdf", ".svg")
STANDARD_OUTPUT = Path("-")
MOST_NOTES = 10  # about the truth, that are printed


def add_outputs(parser: argparse.ArgumentParser, plot: bool = False) -> None:
    """``--json``, and ``--plot`` where there is a picture."""
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures; - prints them and nothing else")
    if plot:
        parser.add_argument("--plot", type=Path, metavar="PATH", help="write a picture (PNG, PDF, SVG)")


def add_offset(parser: argparse.ArgumentParser, text: str) -> None:
    """``--offset-frames``."""
    parser.add_argument("--offset-frames", type=int, default=0, metavar="N", help=text)


def check_outputs(args: argparse.Namespace) -> None:
    """Before the work, not after it: KinecastError where a name says that it is another kind of file."""
    if args.json and args.json != STANDARD_OUTPUT:
        require_suffix(args.json, ".json")
    if getattr(args, "plot", None):
        require_suffix(args.plot, *PLOTS)


def emit(
    args: argparse.Namespace, figures: dict[str, Any], show: Callable[[Console], None],
    plot: Callable[[Path], None] | None = None, width: int = 120,
) -> None:  # fmt: skip
    """Print tables, or JSON alone where ``--json`` is -; write the files that ``--json`` and ``--plot`` name.

    show: prints the tables; width: of them where there is no terminal. plot: draws into a file.
    """
    if args.json == STANDARD_OUTPUT:
        print(to_json(figures), end="")
    else:
        show(plain_console(width=None if plain_console().is_terminal else width))
    if args.json and args.json != STANDARD_OUTPUT:
        atomic_write(args.json, to_json(figures))
        print(args.json)
    if plot is not None and args.plot:
        plot(args.plot)
        print(args.plot)


def show(scores: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    f = scores["frames"]
    console.print(
        f"{scores['result']} beside {scores['dataset']}: {f['scored']} of {f['truth']} frames of the truth have a "
        f"frame set (by {f['matched_by']}), n = {f['person_frames']} person-frames, {len(scores['joints'])} joints"
    )
    if "pcp" in scores:
        console.print(_pcp_table(scores["pcp"]))
    table = Table("measure", "value", "over", title="Measures")
    for row in rows(scores):
        table.add_row(*row)
    console.print(table)
    for frame, person, old, new in scores["identity"]["switched_at"][:10]:
        console.print(f"frame {frame}: person {person} was {old} and is {new} from here on")
    for line in scores["notes"][:MOST_NOTES]:
        console.print(f"truth: {line}")
    if len(scores["notes"]) > MOST_NOTES:
        console.print(f"truth: and {len(scores['notes']) - MOST_NOTES} more such lines, in --json")
    if not scores["errors"]["matched_person_frames"] and f["person_frames"]:
        console.print("nobody is within the gate: are the rig and the truth in one world, with the same axis up?")


def _pcp_table(pcp: dict[str, Any]) -> Table:
    table = Table(title="PCP, % of limbs right (per person over the frames in which that person is annotated)")
    for column in ("person", "n", *PCP_LIMBS, "PCP"):
        table.add_column(column, justify="right")
    for person, s in pcp["people"].items():
        limbs = [f"{s['limbs'][g]:.1f}" if g in s["limbs"] else "–" for g in PCP_LIMBS]
        table.add_row(person, str(s["frames"]), *limbs, f"{s['pcp']:.2f}")
    over = ", ".join(map(str, pcp["averaged_over"]))
    table.add_section()
    table.add_row(f"mean of {over}", str(pcp["person_frames"]), *[""] * len(PCP_LIMBS), f"{pcp['average']:.2f}")
    return table


def rows(scores: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(measure, value with unit, over how much) of everything that could be measured."""
    out: list[tuple[str, str, str]] = []
    errors = scores["errors"]
    for key, label in (
        ("mpjpe", "MPJPE"),
        ("mpjpe_root", "MPJPE, root-relative"),
        ("p_mpjpe", "P-MPJPE"),
        ("n_mpjpe", "N-MPJPE"),
        ("mrpe", "MRPE"),
    ):
        if key in errors:
            e = errors[key]
            out.append((label, f"{e['mm']:.1f} mm", f"{e['n']} of {e['of']} joints of matched people"))
    if "velocity" in errors:
        v = errors["velocity"]
        out.append(("velocity error", f"{v['mm_s']:.0f} mm/s", f"{v['n']} of {v['of']}"))
    for key, label in (("pck_150", "PCK 150 mm, root-relative"), ("auc", "AUC"), ("pck_abs_150", "3DPCK_abs 150 mm")):
        if key in errors:
            out.append((label, f"{errors[key]['percent']:.1f} %", f"{errors[key]['n']} joints"))
    p = scores["precision"]
    out += [(f"AP / recall at {t} mm", f"{p['ap'][t]:.1f} / {p['recall'][t]:.1f} %", f"{p['people']}") for t in p["ap"]]
    out.append(("recall at 500 mm", f"{p['recall_500']:.1f} %", f"{p['people']} person-frames"))
    if "ap_root_250" in p:
        out.append(("AP root at 250 mm", f"{p['ap_root_250']:.1f} %", f"{p['people']} person-frames"))
    i = scores["identity"]
    out.append(("identity switches", str(i["switches"]), f"{i['truth']} person-frames"))
    out.append(("fragmentations", str(i["fragmentations"]), f"{i['truth']} person-frames"))
    out.append(("missed", str(i["missed"]), f"{i['truth']} person-frames"))
    ghosts = "not all are annotated" if i["ghosts"] is None else str(i["ghosts"])
    out.append(("ghosts", ghosts, f"{i['predicted']} predicted"))
    s = scores["steadiness"]
    out.append(
        ("bones, std / mean", f"{100 * s['bones']['std_over_mean']:.2f} %", f"{s['bones']['n']} of {s['bones']['of']}")
    )
    out.append(("jitter", f"{s['jitter_mm']:.1f} mm, {s['jitter_mm_s3']:.0f} mm/s³", "all people"))
    t = scores["tracks"]
    if t["weak"] is not None:
        out.append(("tracks over 5 sets on < 2 views", str(len(t["weak"])), f"{t['identities']} identities"))
    if errors.get("coverage", {}).get("n"):
        c = errors["coverage"]
        inside = ", ".join(f"{100 * v:.1f}" for v in c["inside_1_2_3_sigma"])
        out.append(("inside 1, 2, 3 σ", f"{inside} %", f"{c['n']} joints; honest is 19.9, 73.9, 97.1"))
    return out


def plain(value: Any) -> Any:
    """``value`` with NaN and infinity as None, which JSON does not have."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(scores: dict[str, Any]) -> str:
    """The scores as a JSON document; what could not be measured is null."""
    return json.dumps(plain(scores), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plot(scores: dict[str, Any], pairing: Pairing, path: Path) -> None:
    """Three pictures in one: errors as a distribution, errors by joint, who was followed when under which identity.

    KinecastError where matplotlib is not there (``pip install kinecast[plot]``) or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise KinecastError("--plot needs matplotlib: pip install 'kinecast[plot]'") from None
    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes: dict[str, Any] = figure.subplot_mosaic([["spread", "joints"], ["time", "time"]])
    errors, track = _spread(pairing)
    if errors.size:
        axes["spread"].plot(np.sort(errors) * 1000, np.linspace(0, 100, errors.size))
    axes["spread"].set(xlabel="error of a joint, mm", ylabel="% of joints below", xlim=(0, 300), ylim=(0, 100))
    by_joint = {j: v for j, v in scores["errors"]["by_joint_mm"].items() if math.isfinite(v)}
    axes["joints"].barh(list(by_joint), list(by_joint.values()))
    axes["joints"].set(xlabel="MPJPE, mm")
    people = sorted({person for _, person, _ in track})
    for number, person, name in track:
        axes["time"].plot(number, people.index(person), "s", color=f"C{name % 10}", markersize=4)
    axes["time"].set(xlabel="frame", ylabel="person of the truth (colour: identity)")
    axes["time"].set_yticks(range(len(people)), [str(p) for p in people])
    figure.suptitle(f"{Path(scores['result']).name} beside {scores['dataset']}")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as e:
        raise KinecastError(f"cannot write {path}: {e}") from None


def _spread(pairing: Pairing) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[tuple[int, int, int]]]:
    """Errors of all matched joints in m, and (frame, person, identity) of every match."""
    errors, track = [np.zeros(0)], []
    for f in pairing.both:
        people = list(f.truth)
        if not people or not len(f.predicted) or f.result is None:
            continue
        for row, g in assign(distances(f.predicted, np.stack([f.truth[p] for p in people]))):
            e = joint_errors(f.predicted[row], f.truth[people[g]]).ravel()
            errors.append(e[np.isfinite(e)])
            track.append((f.number, people[g], int(f.result.ids[row])))
    return np.concatenate(errors), track
