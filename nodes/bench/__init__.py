"""Measurements of this machine: medians and ratios, run by ``kinecast bench``, never by a test."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line: what, how much, in which unit, and what to compare it with (None: nothing was promised)."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    note: str = ""


def median_us(call: Callable[[], object], seconds: float = 0.5, least: int = 20) -> float:
    """Median time of ``call`` in µs over at least ``least`` calls and ``seconds``; the first call is not counted."""
    call()
    times: list[int] = []
    until = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < until:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1e3
