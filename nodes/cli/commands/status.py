"""``kinecast status``: what every node of a running graph does, read from its health messages alone."""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import zmq
from rich.console import Console
from rich.live import Live
from rich.table import Table

from kinecast.capture.refusals import sentences
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.health_verdict import Verdict, judge
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.bus.reader import Reader
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import SUPERVISOR, Graph

FIRST_S = 2.5  # health comes twice a second; a node that is silent for this long is not alive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kinecast status``."""
    parser.add_argument("launch", nargs="?", default="launch.yaml", help="the launch file that is running")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="as given to `kinecast run`")
    parser.add_argument("--once", action="store_true", help="one look instead of a live table")
    parser.add_argument("--json", action="store_true", help="one look, as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 where every node is alive and valid, 1 where one is not."""
    graph = launch_file.load(args.launch, args.set)
    newest: dict[str, Health] = {}
    zctx: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    wanted: dict[str, tuple[str, ...]] = dict.fromkeys((*graph.nodes, SUPERVISOR), ("health",))
    reader = Reader(zctx, graph, wanted, HealthMeter("status", "status"))
    console = Console()
    try:
        _listen(reader, newest, len(wanted), FIRST_S)
        if not args.once and not args.json:
            with Live(health_table(graph, newest), console=console, auto_refresh=False) as live:
                while True:
                    _listen(reader, newest, None, 0.5)
                    live.update(health_table(graph, newest), refresh=True)
    finally:
        reader.close()
        zctx.term()
    if args.json:
        print(json.dumps(as_plain(graph, newest), indent=2))
    elif console.is_terminal:
        console.print(health_table(graph, newest))
    else:
        print("\n".join(health_lines(graph, newest)))
    now = time.monotonic_ns()
    verdicts = [judge(graph, node, newest.get(node), now) for node in graph.nodes]
    return int(not all(v.alive and v.valid for v in verdicts))


def _listen(reader: Reader, newest: dict[str, Health], enough: int | None, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while (left := until - time.monotonic()) > 0 and (enough is None or len(newest) < enough):
        message = reader.receive(left)
        if message is not None and isinstance(message.record, Health):
            newest[message.record.node] = message.record


def state_of(health: Health | None, verdict: Verdict) -> str:
    """One word."""
    if health is None:
        return "not heard"
    return health.state if verdict.alive or health.state == "ended" else "silent"


def _cells(graph: Graph, node: str, health: Health | None, now_ns: int, note: str) -> list[str]:
    verdict = judge(graph, node, health, now_ns)
    answers = {True: "yes", False: "no", None: "-"}
    rate = "-" if verdict.rate_hz is None else f"{verdict.rate_hz:.1f}"
    drops, latency, lives = "", "", "-"
    if health is not None:
        drops = sentences(health.drops)
        latency = ", ".join(f"{step} {p50:.1f}/{p95:.1f}" for step, (p50, p95) in health.latency_ms.items())
        lives = str(health.incarnation)
        note = note or health.note
    return [
        node,
        state_of(health, verdict),
        answers[verdict.alive],
        answers[verdict.on_rate],
        answers[verdict.valid],
        rate,
        lives,
        drops or "none",
        latency,
        note,
    ]


HEAD = ("node", "state", "alive", "on rate", "valid", "rate Hz", "restarts", "drops", "latency ms p50/p95", "note")


def health_table(graph: Graph, newest: Mapping[str, Health | None], notes: Mapping[str, str] | None = None) -> Table:
    """The live table; ``notes`` win over what a node says of itself."""
    table = Table(*HEAD, title=graph.session.name, title_justify="left")
    now = time.monotonic_ns()
    for node in graph.nodes:
        cells = _cells(graph, node, newest.get(node), now, (notes or {}).get(node, ""))
        good = {"yes": "[green]yes[/]", "no": "[red]no[/]"}
        table.add_row(*cells[:2], *(good.get(c, c) for c in cells[2:5]), *cells[5:])
    return table


def health_lines(graph: Graph, newest: Mapping[str, Health | None]) -> list[str]:
    """The same as plain lines, for a pipe."""
    now = time.monotonic_ns()
    out = []
    for node in graph.nodes:
        cells = _cells(graph, node, newest.get(node), now, "")
        pairs = zip(HEAD[1:], cells[1:], strict=True)
        out.append(f"{node}: " + "; ".join(f"{name} {cell}" for name, cell in pairs if cell and cell != "-"))
    return out


def as_plain(graph: Graph, newest: Mapping[str, Health]) -> dict[str, Any]:
    """``{node: {alive, on_rate, valid, rate_hz, health}}``; health is None for a node that was not heard."""
    now = time.monotonic_ns()
    out = {}
    for node in (*graph.nodes, SUPERVISOR):
        health = newest.get(node)
        out[node] = {**asdict(judge(graph, node, health, now)), "health": asdict(health) if health else None}
    return out
