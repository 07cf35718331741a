"""Ports for graphs that nobody else has to find: the demo's and the benchmarks'."""

import socket

from kinecast.capture.errors import KinecastError

FIRST, LAST = 20_000, 60_000


def free_ports(count: int) -> int:
    """The first of ``count`` neighbouring ports that are free now on this host."""
    for first in range(FIRST, LAST, count):
        if all(_free(port) for port in range(first, first + count)):
            return first
    raise KinecastError(f"no {count} neighbouring ports are free between {FIRST} and {LAST}: stop another graph")


def _free(port: int) -> bool:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
