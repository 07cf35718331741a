"""``kinecast calibrate refine``: an existing rig refined from the people of a recording, and whether to believe it."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from kinecast.calibration.formats import load_rig
from kinecast.calibration.people.camera_poses import camera_poses_of
from kinecast.calibration.people.refine import RigRefinement, faults, refine_rig
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate.walk_from_recording import walk_of, write_rig
from kinecast.nodes.recording.file import Recording

NAMES = {"places": "places", "clocks": "clocks only", "both": "places and clocks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The rig, the recording, what to write."""
    parser.add_argument("rig", type=Path, help="the rig that the session was recorded with")
    parser.add_argument("recording", type=Path, metavar="SESSION.mcap", help="with people who walk about")
    parser.add_argument("-o", "--out", type=Path, metavar="RIG.toml", help="the refined rig, where it is better")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="the same figures as JSON")
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="the same as a page with pictures")
    parser.add_argument("--one-person", action="store_true", help="who is who: the tallest of every view, not fusion's")
    parser.add_argument("--anyway", action="store_true", help="write it although it is refused, with the reason in it")


def run(args: argparse.Namespace) -> int:
    """Print both residuals, the agreement and the advice. 1 where the supplied rig is to be kept."""
    rig = load_rig(args.rig)
    recording = Recording.open(args.recording)
    seen, walk = walk_of(recording, rig, "one" if args.one_person else "fused")
    wrong = faults(walk, camera_poses_of(seen))
    if wrong:
        raise KinecastError(f"{args.recording}: {'; '.join(wrong)}")
    done = refine_rig(walk, camera_poses_of(seen))
    for line in recording.damage():
        print(line)
    plain_console(width=130).print(table(done))
    for line in clocks(done):
        print(line)
    print(done.advice)
    for name in rig.names:
        if name not in seen.names:
            print(f"camera {name} gave no keypoints: its place stays as it was")
    if args.json is not None:
        args.json.write_text(json.dumps(plain(done), indent=2) + "\n")
    if args.report is not None:
        from kinecast.calibration.report import figures
        from kinecast.calibration.report.people import refinement_page

        refined = done.refined.whole.places.on(seen)
        atomic_write(args.report, refinement_page(done, refined, args.rig.stem, figures.available()).html())
    if args.out is not None:
        if done.verdict != "better" and not args.anyway:
            print(f"{args.out} is not written")
        else:
            write_rig(done.refined.whole.places.on(seen), rig, args.out, done.advice if args.anyway else "")
            print(args.out)
    return 0 if done.verdict == "better" else 1


def _mm(values: Any) -> str:
    return " ".join(f"{1e3 * v:.0f}" for v in values)


def table(done: RigRefinement) -> Table:
    """Residuals and distances of the three models beside the supplied rig."""
    out = Table(title=f"{', '.join(done.cameras)}: median residual px, and how far camera centres are apart, mm")
    for column in ("", "supplied", *NAMES.values()):
        out.add_column(column, no_wrap=True)
    m = [done.models[k] for k in NAMES]
    out.add_row("residual, all data", f"{done.before_px:.2f}", *(f"{x.whole.median_px:.2f}" for x in m))
    for half, name in ((1, "first half → second"), (0, "second half → first")):
        out.add_row(f"residual, {name}", f"{done.held_before_px[half]:.2f}", *(f"{x.held_px[half]:.2f}" for x in m))
    out.add_row("from the supplied rig", "", *(_mm(x.change_m) for x in m))
    out.add_row("between the halves' rigs", "", *(_mm(x.halves_m) for x in m))
    out.add_row("standard deviation", "", *(_mm(x.sigma_m) for x in m))
    out.add_row("with clocks, from without", "", "", "", _mm(done.clocks_m))
    return out


def clocks(done: RigRefinement) -> list[str]:
    """A line a camera: its clock, told by clocks alone and together with the places."""
    alone, both = done.models["clocks"], done.models["both"]
    return [
        f"clock of {name}: {1e3 * alone.whole.places.delta_s[c]:+.1f} ± {1e3 * alone.clock_sigma_s[c]:.1f} ms alone, "
        f"{1e3 * both.whole.places.delta_s[c]:+.1f} ± {1e3 * both.clock_sigma_s[c]:.1f} ms with places"
        for c, name in enumerate(done.cameras)
    ]


def plain(done: RigRefinement) -> dict[str, Any]:
    """The same as plain data under stable keys."""

    def mm(values: Any) -> list[float]:
        return [round(1e3 * float(v), 1) for v in values]

    return {
        "verdict": done.verdict,
        "advice": done.advice,
        "cameras": list(done.cameras),
        "residual_px": {"supplied": round(done.before_px, 3), "refined": round(done.after_px, 3)},
        "held_out_px": {"supplied": [round(v, 3) for v in done.held_before_px]}
        | {k: [round(v, 3) for v in m.held_px] for k, m in done.models.items()},
        "change_mm": {k: mm(m.change_m) for k, m in done.models.items()},
        "halves_mm": {k: mm(m.halves_m) for k, m in done.models.items()},
        "sigma_mm": {k: mm(m.sigma_m) for k, m in done.models.items()},
        "clocks_ms": {k: [round(1e3 * float(v), 2) for v in m.whole.places.delta_s] for k, m in done.models.items()},
        "clocks_sigma_ms": {
            k: [round(1e3 * float(np.nan_to_num(v)), 2) for v in m.clock_sigma_s] for k, m in done.models.items()
        },
        "chosen": done.chosen,
    }
