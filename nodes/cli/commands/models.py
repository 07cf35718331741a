"""``kinecast models list | pull | verify``."""

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.engines.models import Card, builtin_names, load_card, load_profile, profile_names
from kinecast.engines.models.pull import cards_of, install, pull, verify
from kinecast.nodes.cli.table import print_whole
from kinecast.nodes.web import three


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="list | pull | verify", required=True)
    actions.add_parser("list", help="show every model: licence, size, whether it is in the cache, and who uses it")
    fetch = actions.add_parser("pull", help="fetch, verify and convert models into the cache")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="card, profile, or path of a card (default: all)")
    fetch.add_argument("--from", dest="given", type=Path, metavar="FILE", help="check and install a file that you have")
    fetch.add_argument("--all", action="store_true", help="every built-in model, which is the default")
    check = actions.add_parser("verify", help="hash every model in the cache again")
    check.add_argument("names", nargs="*", metavar="NAME", help="cards of your own to check as well")


def run(args: argparse.Namespace) -> int:
    """Returns 1 where ``verify`` found a damaged file; what cannot be pulled is an error."""
    console = plain_console(highlight=False)
    if args.action == "list":
        print_whole(console, _table())
        notes: dict[str, list[str]] = {}
        for card in map(load_card, builtin_names()):
            notes.setdefault(card.licence_note, []).append(card.name)
        for note, names in notes.items():
            console.print(f"{', '.join(names)}: {note}", soft_wrap=True)
        return 0
    if args.action == "pull":
        return _pull(args, console)
    return _verify(args, console)


def _table() -> Table:
    used_by: dict[str, list[str]] = {}
    for profile in profile_names():
        for reference in load_profile(profile).cards:
            used_by.setdefault(reference, []).append(profile)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("model", "licence", "size", "cached", "profiles"):
        table.add_column(heading, no_wrap=True)
    for name in builtin_names():
        card = load_card(name)
        there = card.onnx_path.is_file()
        size = f"{card.onnx_path.stat().st_size / 1e6:.1f} MB" if there else "–"
        table.add_row(name, card.licence, size, "yes" if there else "no", "\n".join(used_by.get(name, ["–"])))
    return table


def _pull(args: argparse.Namespace, console: Console) -> int:
    cards = cards_of([] if args.all else args.names)
    if args.given:
        if len(cards) != 1 or not args.names:
            raise KinecastError("--from FILE installs one model: name its card")
        _install(cards[0], args.given)
        console.print(f"{cards[0].name}: {cards[0].licence}: {cards[0].onnx_path}", soft_wrap=True)
        return 0
    pulled = pull(cards, say=console.print)
    if args.all or not args.names:
        try:
            console.print(f"three.js {three.VERSION}, for the page: MIT: {three.pull_three()}", soft_wrap=True)
        except KinecastError as e:  # the models are there: the page shows pictures and tables without it
            console.print(f"three.js {three.VERSION}: {e}: the page has no 3D view", soft_wrap=True)
    for card in pulled:
        console.print(f"{card.name}: {card.licence}: {card.onnx_path}", soft_wrap=True)
    if not pulled:
        console.print(f"all {len(cards)} models are in the cache and sound")
    return 0


def _install(card: Card, given: Path) -> None:
    """Put the user's file into the cache, where it opens as its card says."""
    from kinecast.engines.detect.opened_card import open_model

    def opens(network: Path) -> None:
        origin = replace(card.origin, registry="file", path=network.name)
        open_model(replace(card, origin=origin, card_path=network.resolve(), builtin=False), "auto", "f32", 1)

    install(card, given, opens)


def _verify(args: argparse.Namespace, console: Console) -> int:
    found = verify(cards_of([*builtin_names(), *args.names]))
    for name, wrong in found.items():
        console.print(f"{name}: {wrong or 'sound'}", soft_wrap=True)
    if not found:
        console.print("no model is in the cache: run `kinecast models pull`")
    return 1 if any(found.values()) else 0
