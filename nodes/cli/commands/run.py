"""``kinecast run``: supervise a launch file until it is over, with a live table on a terminal and plain lines else."""

import argparse
import sys
import time
from collections.abc import Callable

from rich.live import Live

from kinecast.calibration.formats import load_rig
from kinecast.calibration.rig_check import rig_faults
from kinecast.capture.console import plain_console
from kinecast.capture.refusals import sentences
from kinecast.nodes.bus.health_table import health_lines, health_table
from kinecast.nodes.bus.session_warnings import warnings
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import Graph
from kinecast.nodes.supervise.supervisor import NodeStatus, Outcome, Supervisor, print_line

LINES_S = 5.0  # between reports where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kinecast run``."""
    parser.add_argument("launch", nargs="?", default="launch.yaml", help="the launch file")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of the file")
    parser.add_argument(
        "--duration", metavar="S", type=float, help="stop cleanly so many seconds after every node is ready"
    )


def run(args: argparse.Namespace) -> int:
    """Exit status 0 where all went well (stopping by Ctrl-C is well), 1 where a node failed, 2 where one refused."""
    graph = launch_file.load(args.launch, args.set)
    if launch_file.takes_lossless(args.launch, args.set):
        print("session.pace: lossless, as all sources are recorded; say pace: realtime to play them in real time")
    launch_file.check_secrets(graph)
    rig = load_rig(graph.session.rig)
    launch_file.check_rig(graph, rig.names)
    for fault in rig_faults(rig):  # a wrong rig runs, and its people are wrong: nothing later can say it as plainly
        print(f"{graph.session.rig}: {fault}", file=sys.stderr)
    outcome = supervise(graph, args.duration)
    for status in outcome.nodes.values():
        print(_line(status))
    for line in warnings(graph, {n: s.health for n, s in outcome.nodes.items()}):
        print(f"{graph.session.name}: warning: {line}", file=sys.stderr)
    print(f"{graph.session.name}: {outcome.stopped or 'done'} after {outcome.wall_s:.1f} s; see {graph.session.out}")
    return outcome.code


def _line(status: NodeStatus) -> str:
    health = status.health
    counts = {k: n for k, n in health.published.items() if not k.startswith("health/")} if health else {}
    parts = [f"{status.name}: {status.state}"]
    parts += [f"published {', '.join(f'{k} {n}' for k, n in counts.items())}"] if counts else []
    parts += [f"drops {sentences(health.drops)}"] if health and health.drops else []
    parts += [f"restarts {status.restarts}"] if status.restarts else []
    parts += [status.reason] if status.state == "failed" and status.reason else []
    return "; ".join(parts)


def supervise(graph: Graph, duration_s: float | None = None) -> Outcome:
    """Run ``graph`` and show it meanwhile."""
    console = plain_console()
    if not console.is_terminal:
        return Supervisor(graph).run(_every(LINES_S, lambda s: _print_lines(graph, s)), duration_s)
    with Live(health_table(graph, {}), console=console, auto_refresh=False) as live:

        def show(statuses: dict[str, NodeStatus]) -> None:
            notes = {n: s.reason or ("" if s.state == "running" else s.state) for n, s in statuses.items()}
            live.update(health_table(graph, {n: s.health for n, s in statuses.items()}, notes), refresh=True)

        def say(node: str, line: str) -> None:
            live.console.print(f"{node}: {line}", markup=False, highlight=False)

        return Supervisor(graph, on_line=say).run(show, duration_s)


def _every(period_s: float, show: Callable[[dict[str, NodeStatus]], None]) -> Callable[[dict[str, NodeStatus]], None]:
    due = time.monotonic() + period_s

    def maybe(statuses: dict[str, NodeStatus]) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + period_s
            show(statuses)

    return maybe


def _print_lines(graph: Graph, statuses: dict[str, NodeStatus]) -> None:
    for line in health_lines(graph, {n: s.health for n, s in statuses.items()}):
        node, _, rest = line.partition(": ")
        print_line(node, rest)
    sys.stderr.flush()
