"""The pages show commands that exist, with options that they take, and link to pages that are there."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from kinecast.nodes.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "calibration/README.md"]
# `kinecast …` in code: inline between backticks, or a line of a block
SHOWN = re.compile(r"`(?:\$ )?(kinecast [^`\n]+)`|^(?:\$ )?(kinecast .+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)")


def name(page: Path) -> str:
    """Of a test: the page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Every option string, those of subcommands too."""
    out: set[str] = set()
    for action in parser._actions:
        out |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                out |= options(sub)
    return out


def faults(text: str) -> list[str]:
    """What is wrong with the commands that ``text`` shows."""
    found = []
    for inline, line in SHOWN.findall(text):
        shown = (inline or line).split("#")[0].split(" > ")[0].split(" | ")[0].strip()
        try:
            words = shlex.split(shown)[1:]
        except ValueError:
            found.append(f"{shown}: not a command line")
            continue
        if words[0].startswith("-") or not words[0].isidentifier():
            continue
        if words[0] not in COMMANDS:
            found.append(f"{shown}: no such command")
            continue
        module = importlib.import_module(
            f"kinecast.nodes.cli.commands.{words[0]}" + ("_" if words[0] == "import" else "")
        )
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        known = options(parser)
        asked = [re.split(r"[=\]|]", w.lstrip("["))[0] for w in words if w.lstrip("[").startswith("--")]
        found += [f"{shown}: no option {o}" for o in asked if o not in known]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_on_the_page_exist(page: Path) -> None:
    assert not faults(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_on_the_page_lead_somewhere(page: Path) -> None:
    targets = [t for t in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in t]
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("text", ["`kinecast fly`", "kinecast demo --colour red", "`kinecast info --nothing x`"])
def test_a_wrong_command_is_found(text: str) -> None:
    assert faults(text)
