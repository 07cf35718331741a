"""Which rate this machine holds with each profile, four cameras at once, and which profile to take.

Every profile is played live from files of 60 Hz, decoding included, with the common rate of overload
(:mod:`nodes.supervise.common_rate`) in force: what it settles on is what the machine holds.
"""

import argparse
from dataclasses import dataclass

from kinecast.capture.errors import KinecastError
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.live import Case, Played, play
from kinecast.nodes.bench.report import add_json, check_json, emit

PROFILES = ("lightweight", "balanced", "performance")  # the last is the most accurate
FPS_HZ = 60.0
ENOUGH_HZ = 25.0  # below, fast motion is torn apart, and the lifter was not made for it


@dataclass(frozen=True, slots=True)
class Held:
    """What a machine holds with a profile: frames a second of each camera, and the latency, ms."""

    profile: str
    whole: bool
    rate_hz: float
    p50_ms: float
    p95_ms: float
    dropped: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which profiles, how long."""
    parser.add_argument("--profiles", nargs="+", default=list(PROFILES), help=f"by default {', '.join(PROFILES)}")
    parser.add_argument("--seconds", type=float, default=20, help="of each, after warm-up")
    parser.add_argument("--plain", action="store_true", help="without lifter and bodies")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print and recommend; KinecastError where a node failed."""
    if not 5 <= args.seconds <= 3600:
        raise KinecastError("--seconds is from 5 to 3600")
    check_json(args)
    held = [held_of(Case(p, FPS_HZ, not args.plain), play(Case(p, FPS_HZ, not args.plain), args.seconds))
            for p in args.profiles]  # fmt: skip
    emit(args, [_row(h) for h in held])
    print(recommendation(held))
    return 0


def held_of(case: Case, played: Played) -> Held:
    """What a run at full rate has shown."""
    figures = played.figures
    latency = figures["latency_ms"].get("total") or next(iter(figures["latency_ms"].values()), None)
    cameras = figures["cameras"].values()
    lost, frames = sum(c["dropped"] for c in cameras), sum(c["frames"] + c["skipped_at_source"] for c in cameras)
    return Held(
        case.profile,
        case.whole,
        played.held.rate_hz or case.fps_hz,
        latency["p50"] if latency else float("nan"),
        latency["p95"] if latency else float("nan"),
        lost / max(1, frames),
    )


def _row(held: Held) -> Row:
    what = "lifter and bodies" if held.whole else "skeletons alone"
    note = f"latency p50 {held.p50_ms:.0f}, p95 {held.p95_ms:.0f} ms; dropped beside {held.dropped:.1%}"
    return Row(f"{held.profile}, {what}: this machine holds 4 ×", held.rate_hz, "Hz", note=note)


def recommendation(held: list[Held]) -> str:
    """The most accurate profile that is fast enough, else the fastest; in words."""
    order = {p: n for n, p in enumerate(PROFILES)}
    enough = [h for h in held if h.rate_hz >= ENOUGH_HZ]
    if enough:
        best = max(enough, key=lambda h: (order.get(h.profile, -1), h.rate_hz))
        return f"recommended: profile: {best.profile}, cameras at {best.rate_hz:.0f} Hz"
    best = max(held, key=lambda h: h.rate_hz)
    less = "; lifter and bodies may be fitted afterwards (kinecast replay --set, kinecast fit)" if best.whole else ""
    return (
        f"recommended: profile: {best.profile}, cameras at {best.rate_hz:.0f} Hz, or fewer cameras: no profile holds "
        f"4 × {ENOUGH_HZ:.0f} Hz{less}"
    )
