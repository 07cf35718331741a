"""``kinecast status``: what every node of a running graph does, read from its health messages alone."""

import argparse
import json
import time

import zmq
from rich.live import Live

from kinecast.capture.console import plain_console
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.health_table import as_plain, health_lines, health_table
from kinecast.nodes.bus.health_verdict import judge
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.bus.reader import Reader
from kinecast.nodes.bus.session_warnings import warnings
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import SUPERVISOR

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
    console = plain_console()
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
    if not args.json:
        for line in warnings(graph, newest):
            print(f"warning: {line}")
    now = time.monotonic_ns()
    verdicts = [judge(graph, node, newest.get(node), now) for node in graph.nodes]
    return int(not all(v.alive and v.valid for v in verdicts))


def _listen(reader: Reader, newest: dict[str, Health], enough: int | None, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while (left := until - time.monotonic()) > 0 and (enough is None or len(newest) < enough):
        message = reader.receive(left)
        if message is not None and isinstance(message.record, Health):
            newest[message.record.node] = message.record
