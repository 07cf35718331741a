"""What every node of a running graph does, from its health alone: as a table, as lines, as plain values."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from kinecast.capture.refusals import sentences
from kinecast.nodes.bus.health_verdict import Verdict, judge
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph.records import SUPERVISOR, Graph


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
        good = {"yes": Text("yes", style="green"), "no": Text("no", style="red")}
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
