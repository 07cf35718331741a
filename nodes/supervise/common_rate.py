"""Overload with grace: the rate that every camera of a realtime session holds, so that all take the same moments.

Cameras that cannot keep up each lose other frames; then few frame sets are whole, and people lose their identity. Here
the health of the cameras tells how many moments a second the slowest of them holds; all take these, in phase. Pure:
it is told the time and the health. Down at once where moments are missed, up again step by step, the more slowly the
more often that failed.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

from kinecast.nodes.bus.health_meter import LATENCY_SPAN_NS
from kinecast.nodes.bus.messages import CommonRate, Health
from kinecast.nodes.graph.records import CameraNode, Graph, fused_cameras

# of what the cameras give; parts with small numbers keep the moments even
STEPS = tuple(Fraction(s) for s in "1 5/6 3/4 2/3 1/2 2/5 1/3 1/4 1/5 1/6 1/8 1/10 1/15 1/20".split())
KNOWN_HZ = (10, 12, 12.5, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)  # rates that cameras are made for
SAME = 0.03
WINDOW_NS = 2_000_000_000  # of counts that are judged
SETTLE_NS = 1_500_000_000  # after a change, or the start, before counts mean anything
MISSED = 0.04  # share of the moments, of one camera
FEW = 3  # missed moments that may be an accident
HELD = 0.92  # of the rate that the slowest camera was seen to hold
BUSY = 0.8  # of a moment's time: a camera that needs no more of the next higher rate's is tried with it
UP_NS, UP_MOST_NS = 6_000_000_000, 120_000_000_000  # without a miss; doubled where going up failed


@dataclass(frozen=True, slots=True)
class _Counts:
    t_ns: int
    taken: int
    missed: int
    left_out: int


class CommonRateKeeper:
    """Watches the fused cameras of a graph. zero_ns: capture time of the first frame of recorded sources."""

    def __init__(self, graph: Graph, zero_ns: int) -> None:
        self._fusion = graph.of_kind("fusion")[0]
        self._topics = {n: f"keypoints/{graph.camera_of(n)}" for n in fused_cameras(graph, self._fusion)}
        self._promised = [_promised(graph, n) for n in self._topics]
        self._zero_ns = zero_ns
        self._counts: dict[str, deque[_Counts]] = {n: deque() for n in self._topics}
        self._step = 0
        self._full_hz = 0.0
        self._since_ns = self._calm_ns = zero_ns  # of the rate in force; nothing was missed since
        self._wait_ns = UP_NS
        self._tried = False  # the rate in force is higher than one that held

    @property
    def order(self) -> CommonRate:
        """What all cameras are to do now."""
        step = STEPS[self._step]
        rate = self._full_hz * step.numerator / step.denominator if self._step else 0.0
        # as far from any frame as can be: moments then are the same for all, however their stamps jitter
        early_ns = round(0.5e9 / self._full_hz / step.numerator) if rate else 0
        note = f"this machine holds {len(self._topics)} × {rate:.3g} Hz of {self._full_hz:.3g}" if rate else ""
        return CommonRate(rate, self._zero_ns - early_ns, self._full_hz, note)

    def observe(self, t_ns: int, healths: Mapping[str, Health]) -> bool:
        """Take in what every node says; whether there is another order now."""
        cameras = {n: h for n in self._topics if (h := healths.get(n)) is not None and h.state == "running"}
        if len(cameras) < len(self._topics):
            self._begin(max(t_ns, self._zero_ns))
        if t_ns - self._since_ns < SETTLE_NS:
            return False
        for node, health in cameras.items():
            self._add(node, health)
        if any(len(c) < 2 or c[-1].t_ns - c[0].t_ns < 0.9 * WINDOW_NS for c in self._counts.values()):
            return False
        return self._judge(t_ns, cameras, healths.get(self._fusion))

    def _begin(self, t_ns: int) -> None:
        self._since_ns = self._calm_ns = t_ns
        for counts in self._counts.values():
            counts.clear()

    def _add(self, node: str, health: Health) -> None:
        counts, taken = self._counts[node], health.published.get(self._topics[node], 0)
        if counts and taken < counts[-1].taken:
            counts.clear()  # another life
        if counts and health.t_ns <= counts[-1].t_ns:
            return
        missed, left_out = health.drops.get("skipped_at_source", 0), health.drops.get("left_out", 0)
        counts.append(_Counts(health.t_ns, taken, missed, left_out))
        while len(counts) > 2 and counts[-1].t_ns - counts[1].t_ns >= WINDOW_NS:
            counts.popleft()

    def _judge(self, t_ns: int, cameras: Mapping[str, Health], fusion: Health | None) -> bool:
        spans = [(c[0], c[-1], (c[-1].t_ns - c[0].t_ns) / 1e9) for c in self._counts.values()]
        taken = [b.taken - a.taken for a, b, _ in spans]
        missed = [b.missed - a.missed for a, b, _ in spans]
        if not self._full_hz:
            given = [
                (n + m + b.left_out - a.left_out) / s for n, m, (a, b, s) in zip(taken, missed, spans, strict=True)
            ]
            self._full_hz = max([p for p in self._promised if p] or [_known(median(given))])
        over = any(m > FEW and m > MISSED * (m + n) for n, m in zip(taken, missed, strict=True))
        if over or (t_ns - self._since_ns > LATENCY_SPAN_NS and self._late(fusion)):
            return self._down(t_ns, min(n / s for n, (_, _, s) in zip(taken, spans, strict=True)))
        if any(missed):
            self._calm_ns = t_ns
        if t_ns - self._calm_ns < self._wait_ns:
            return False
        if self._tried:
            self._tried, self._wait_ns = False, UP_NS
        if not self._step or not self._has_room(cameras):
            return False
        self._step, self._tried = self._step - 1, True
        self._begin(t_ns)
        return True

    def _down(self, t_ns: int, held_hz: float) -> bool:
        if self._step == len(STEPS) - 1:
            return False
        holds = [n for n, s in enumerate(STEPS) if n > self._step and s * self._full_hz <= HELD * held_hz]
        if self._tried:  # what held before will hold again
            self._step, self._wait_ns = self._step + 1, min(2 * self._wait_ns, UP_MOST_NS)
        else:
            self._step = holds[0] if holds else len(STEPS) - 1
        self._tried = False
        self._begin(t_ns)
        return True

    def _late(self, fusion: Health | None) -> bool:
        """Whether fusion is behind by more than a moment."""
        took = fusion.latency_ms.get("arrival to pose") if fusion is not None else None
        return took is not None and took[0] / 1e3 * self._full_hz * STEPS[self._step] > 1.5

    def _has_room(self, cameras: Mapping[str, Health]) -> bool:
        """Whether every camera is done with a picture well within a moment of the next higher rate."""
        next_s = 1 / (self._full_hz * STEPS[self._step - 1])
        for health in cameras.values():
            got, seen = (health.latency_ms.get(step, (0.0, 0.0)) for step in ("capture to memory", "detect"))
            # about the mean, where the model looks at some of the pictures only
            if (got[0] + (2 * seen[0] + seen[1]) / 3) / 1e3 > BUSY * next_s:
                return False
        return True


def _promised(graph: Graph, node: str) -> float | None:
    """Frames a second that the launch file says of a camera."""
    settings = graph.nodes[node]
    assert isinstance(settings, CameraNode)
    return settings.source.fps_hz or settings.rate_hz


def _known(rate_hz: float) -> float:
    """The rate that was meant by one that was counted."""
    near = min(KNOWN_HZ, key=lambda r: abs(r - rate_hz))
    return float(near) if abs(near - rate_hz) <= SAME * near else rate_hz
