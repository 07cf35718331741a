"""What a node counts and says of itself: totals, rates over 2 s, losses by cause, latencies over 10 s."""

import logging
import os
import threading
from collections import Counter, deque

from kinecast.capture.refusals import sentence
from kinecast.nodes.bus.messages import Health, State

PERIOD_NS = 500_000_000
RATE_SPAN_NS = 2_000_000_000
LATENCY_SPAN_NS = 10_000_000_000
_log = logging.getLogger("kinecast.bus")


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p95, nearest rank; of nothing, (nan, nan)."""
    if not values:
        return float("nan"), float("nan")
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[round(0.5 * last)], ordered[round(0.95 * last)]


class HealthMeter:
    """Counts of one node. Safe to use from any thread; it reads no clock."""

    def __init__(self, node: str, kind: str, incarnation: int = 0) -> None:
        self.node, self.kind, self.incarnation = node, kind, incarnation
        self.state: State = "starting"
        self.note = ""
        self.published: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self._history: deque[tuple[int, dict[str, int]]] = deque()
        self._latency: dict[str, deque[tuple[int, float]]] = {}
        self._lock = threading.Lock()

    def drop(self, cause: str, count: int = 1, why: str = "") -> None:
        """Count a loss by its cause (:mod:`capture.refusals`); the first of a cause is logged, with ``why``."""
        with self._lock:
            first = cause not in self.drops
            self.drops[cause] += count
        if first:
            _log.warning("%s%s", sentence(cause), f": {why}" if why else "")

    def find(self, what: str, count: int) -> None:
        """Count what came of the work."""
        with self._lock:
            self.found[what] += count

    def set_found(self, what: str, total: int) -> None:
        """Take over a total that is counted elsewhere."""
        with self._lock:
            self.found[what] = total

    def set_drops(self, cause: str, total: int) -> None:
        """Take over a total that is counted elsewhere (frames skipped at a source, say)."""
        with self._lock:
            if total:
                self.drops[cause] = total

    def latency(self, step: str, ns: int, t_ns: int) -> None:
        """Note that ``step`` took ``ns``, at monotonic time ``t_ns``."""
        with self._lock:
            # 4096 holds ten seconds of four cameras at 100 Hz
            self._latency.setdefault(step, deque(maxlen=4096)).append((t_ns, ns * 1e-6))

    def count_published(self, topic: str) -> None:
        """One more message went out."""
        with self._lock:
            self.published[topic] += 1

    def count_received(self, topic: str) -> None:
        """One more message was taken in."""
        with self._lock:
            self.received[topic] += 1

    def snapshot(self, t_ns: int) -> Health:
        """The health message of ``t_ns``."""
        with self._lock:
            totals = {**self.received, **self.published}
            self._history.append((t_ns, totals))
            while len(self._history) > 1 and self._history[1][0] <= t_ns - RATE_SPAN_NS:
                self._history.popleft()
            then, before = self._history[0]
            span_s = (t_ns - then) * 1e-9
            rates = {k: (n - before.get(k, 0)) / span_s for k, n in totals.items()} if span_s > 0 else {}
            latencies = {}
            for step, values in self._latency.items():
                while values and values[0][0] < t_ns - LATENCY_SPAN_NS:
                    values.popleft()
                if values:
                    latencies[step] = percentiles([ms for _, ms in values])
            return Health(
                node=self.node,
                kind=self.kind,
                pid=os.getpid(),
                state=self.state,
                t_ns=t_ns,
                incarnation=self.incarnation,
                published=dict(self.published),
                received=dict(self.received),
                rate_hz=rates,
                drops=dict(self.drops),
                latency_ms=latencies,
                note=self.note,
                found=dict(self.found),
            )
