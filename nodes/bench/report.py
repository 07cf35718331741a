"""What ``kinecast bench`` prints and writes: rows as a table, and as JSON."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from kinecast.capture.atomic_write import atomic_write, require_suffix
from kinecast.capture.console import plain_console
from kinecast.nodes.bench import Row


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")


def check_json(args: argparse.Namespace) -> None:
    """Before the work: KinecastError where the name says that it is another kind of file."""
    if args.json:
        require_suffix(args.json, ".json")


def emit(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Print the table; write the file that ``--json`` names."""
    plain_console().print(table(rows))
    if args.json:
        atomic_write(args.json, json.dumps([asdict(r) for r in rows], indent=1) + "\n")


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table; a value that misses its aim is marked."""
    out = Table("what", "value", "unit", "aim", "note")
    for row in rows:
        missed = row.aim is not None and row.value > row.aim
        value = f"{row.value:.3g}" if row.value < 1000 else f"{row.value:,.0f}"
        out.add_row(
            row.name, Text(value, style="red" if missed else ""), row.unit, "" if row.aim is None else f"≤ {row.aim:g}",
            row.note,
        )  # fmt: skip
    return out
