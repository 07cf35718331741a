"""``kinecast bench``: measure the parts of the system on this machine."""

import argparse
import importlib
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bench import Row
from kinecast.nodes.recording.paths import named

# what runs without being named, and what is asked for by name because it takes minutes
QUICK = ("codec", "bus", "recorder", "fusion", "replay", "body", "lifter")
LONG, LIVE = ("crowd", "calibration", "calibrate-people"), ("live",)
SLOW = LONG + LIVE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which parts, and where to write the figures."""
    parser.add_argument("part", nargs="*", help=f"of {', '.join((*QUICK, *SLOW))}; default: {' '.join(QUICK)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    parser.add_argument("--profile", default="lightweight", help="live: the detector profile")
    parser.add_argument("--fps", type=float, default=30, help="live: frames per second of each camera")
    parser.add_argument("--seconds", type=float, default=60, help="live: how long, after warm-up")
    parser.add_argument(
        "--walks",
        type=float,
        nargs="+",
        default=[10, 30, 60],
        metavar="S",
        help="calibrate-people: seconds of each",
    )
    parser.add_argument("--cameras", type=int, default=4, help="calibrate-people: in the ring")
    parser.add_argument("--seeds", type=int, default=5, help="calibrate-people: rigs and worlds of each length")
    parser.add_argument("--preload", action="store_true", help="live: frames already decoded, in memory")


def table(rows: list[Row]) -> Table:
    """The rows as a table; a value that misses its aim is marked."""
    out = Table("what", "value", "unit", "aim", "note")
    for row in rows:
        missed = row.aim is not None and row.value > row.aim
        value = f"{row.value:.3g}" if row.value < 1000 else f"{row.value:,.0f}"
        out.add_row(
            row.name,
            f"[red]{value}[/]" if missed else value,
            row.unit,
            "" if row.aim is None else f"≤ {row.aim:g}",
            row.note,
        )
    return out


def run(args: argparse.Namespace) -> int:
    """Print the table. Always 0: a benchmark measures, it does not judge."""
    parts = args.part or list(QUICK)
    unknown = [p for p in parts if p not in QUICK + SLOW]
    if unknown:
        raise KinecastError(f"no part {unknown[0]!r}; there are {', '.join((*QUICK, *SLOW))}")
    if not 1 <= args.fps <= 1000 or not 1 <= args.seconds <= 3600:
        raise KinecastError("--fps is from 1 to 1000, --seconds from 1 to 3600")
    if args.json:
        named(args.json, ".json")
    rows: list[Row] = []
    for part in parts:
        if part == "calibrate-people":
            from kinecast.nodes.bench.calibration_from_people import table as walks

            Console(width=130).print(walks(args.walks, args.cameras, args.seeds))
            continue
        module = importlib.import_module(f"kinecast.nodes.bench.{part}")
        options = (args.profile, args.fps, args.seconds, args.preload) if part in LIVE else ()
        rows += module.run(*options)
    if rows:
        Console().print(table(rows))
    if args.json:
        atomic_write(args.json, json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    return 0
