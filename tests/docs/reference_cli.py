"""``docs/reference/cli.md``: every command, subcommand, argument and default, as argparse has them."""

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinecast.capture import refusals
from kinecast.nodes.cli.main import COMMANDS
from tests.docs.markdown import plain, table

# where a job is told that a command does
TOLD = {
    "demo": "tutorials/first-run", "run": "reference/running-graph", "status": "reference/running-graph",
    "models": "reference/models", "rig": "reference/rig-formats", "calibrate": "how-to/calibrate-with-a-board",
    "info": "how-to/record-and-recover", "replay": "explanation/time-and-replay", "sync": "how-to/align-clocks",
    "cameras": "how-to/use-usb-rtsp-http-cameras", "smooth": "how-to/align-clocks", "clean": "how-to/clean-a-recording",
    "recover": "how-to/record-and-recover", "import": "how-to/import-openpose",
    "export": "how-to/export", "render": "how-to/render-and-watch", "fit": "explanation/body-solver",
    "evaluate": "how-to/evaluate-on-shelf-panoptic-mvor", "dataset": "how-to/build-a-data-set",
    "train": "how-to/retrain-promote-roll-back",
}  # fmt: skip
INTRO = """`--help` after a command says the same. Exit status: 0 done, 1 it ran and the answer is no, 2 something to
put right (one line says what), 130 interrupted, 128 + n ended by signal n.
"""


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    parser = argparse.ArgumentParser(prog=f"kinecast {command}", description=COMMANDS[command])
    module: Any = importlib.import_module(f"kinecast.nodes.cli.commands.{command}" + "_" * (command == "import"))
    module.add_arguments(parser)
    return parser


def _value(action: argparse.Action) -> str:
    """What follows an option: its metavar, as often as it may be said."""
    if action.nargs == 0:
        return ""
    words: Any = action.metavar or ("\\|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    first = " ".join(words) if isinstance(words, tuple) else str(words)
    return {"?": f"[{first}]", "*": f"[{first} …]", "+": f"{first} …"}.get(str(action.nargs or ""), first)


def _name(action: argparse.Action) -> str:
    value = _value(action).replace("\\|", "|")
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{option} {value}`" if value else f"`{option}`" for option in action.option_strings)


def _default(action: argparse.Action) -> str:
    if action.required and action.nargs not in ("?", "*"):
        return "required"
    if action.default in (None, False, argparse.SUPPRESS, [], ()):
        return ""
    if action.nargs == 0:
        return "on" if action.default is True else ""
    value: Any = action.default
    if isinstance(value, Path) and value.is_absolute():  # a file that comes with the program
        value = value.relative_to(Path(refusals.__file__).parents[1]).as_posix()
    return " ".join(f"`{v}`" for v in value) if isinstance(value, list | tuple) else f"`{value}`"


def rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of every argument, but for ``--help`` and what is hidden."""
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        yield _name(action), _default(action), plain(formatter._expand_help(action)) if action.help else ""


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, help and parser of every subcommand that is shown."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for shown in action._choices_actions:
                yield shown.dest, shown.help or "", action.choices[shown.dest]


def section(name: str, about: str, parser: argparse.ArgumentParser, level: int) -> str:
    """A command, and what is below it."""
    text = f"{'#' * level} {name}\n\n{plain(about)}\n\n"
    text += table(("argument", "default", "meaning"), rows(parser)) + "\n"
    if parser.epilog:
        text += plain(" ".join(parser.epilog.split())) + "\n\n"
    for sub, sub_about, sub_parser in subcommands(parser):
        text += section(f"{name} {sub}", sub_about or sub_parser.description or "", sub_parser, level + 1)
    return text


def page() -> str:
    """The whole page."""
    told = {name: f" See [{where.partition('/')[2].replace('-', ' ')}](../{where}.md)." for name, where in TOLD.items()}
    parts = [
        section(f"kinecast {name}", f"{about[0].upper()}{about[1:]}.{told.get(name, '')}", parser_of(name), 2)
        for name, about in COMMANDS.items()
    ]
    return "# Commands\n\n" + INTRO + "\n" + "".join(parts)
