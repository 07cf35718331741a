"""Subcommands as a table: what each does, and the module of ``kinecast.nodes`` that has its arguments and runs it."""

import argparse
import importlib
from collections.abc import Mapping
from typing import Any

Table = Mapping[str, tuple[str, str]]  # word → (what it does, module with add_arguments(parser) and run(args))


def add_subcommands(parser: argparse.ArgumentParser, table: Table, required: bool = True) -> Any:
    """A parser for each line of the table, with the arguments of its module; what argparse adds more of them to."""
    sub = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=required)
    for word, (text, module) in table.items():
        _module(module).add_arguments(sub.add_parser(word, help=text, description=text))
    return sub


def run_subcommand(table: Table, args: argparse.Namespace) -> int:
    """Run the one that was asked for. Raises KinecastError."""
    return int(_module(table[args.subcommand][1]).run(args))


def _module(name: str) -> Any:
    return importlib.import_module(f"kinecast.nodes.{name}")
