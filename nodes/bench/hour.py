"""``kinecast bench hour``: all that fusion learns over time, for as long as a session lasts, against the truth.

People live before cameras in step on a rig that is right, seen by a detector with habits or by one with white noise;
the fusion core takes their keypoints as fast as it can. Then the same world in which something does happen: a camera
is turned, shifted, or sags, a clock is off. Figures are per hour, so that minutes of any number compare.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from heapq import merge

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.rigid import rotation, transform
from kinecast.capture.errors import KinecastError
from kinecast.engines.associate.birth import bone_table, plausible
from kinecast.engines.records import FrameSet, Keypoints2D, Poses
from kinecast.engines.synth.detector import SKELETON, TrueView, report
from kinecast.engines.synth.habitual import detector_names
from kinecast.engines.synth.lasting import LastingScene, lasting_scene
from kinecast.engines.synth.scene import frame_rng, message
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit
from kinecast.nodes.bus.messages import RigHealth
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode

Float = NDArray[np.float64]
Change = Callable[[float, Camera], Camera]  # a camera at a time in seconds

BLOCK_S = 5.0  # that a camera stands still for: a sag is in steps of this
EVENT_S, EVENT_MOST_S = 90.0, 900.0  # when something happens, and how long it may take to be found
SETTLED_S = 30.0  # figures of what is learnt count from here on
TURN_DEG, SHIFT_M, SAG_DEG_PER_S, LATE_MS = 1.0, 0.03, 1.0 / 600.0, 10.0
MOVED = "cam02"
HABITUAL = "blazepose-heavy"


def turned(camera: Camera, degrees: float) -> Camera:
    """The camera turned about its own vertical."""
    turn = transform(rotation(np.array([[0.0, np.deg2rad(degrees), 0.0]]))[0], np.zeros(3))
    return replace(camera, cam_from_world=turn @ camera.cam_from_world)


def shifted(camera: Camera, metres: float) -> Camera:
    """The camera shifted to its left."""
    return replace(camera, cam_from_world=transform(np.eye(3), np.array([metres, 0.0, 0.0])) @ camera.cam_from_world)


EVENTS: dict[str, Change] = {
    f"a camera turned by {TURN_DEG:g}°": lambda s, c: turned(c, TURN_DEG) if s >= EVENT_S else c,
    f"a camera shifted by {1e3 * SHIFT_M:g} mm": lambda s, c: shifted(c, SHIFT_M) if s >= EVENT_S else c,
    f"a camera that sags by {60 * SAG_DEG_PER_S:g}° a minute": (
        lambda s, c: turned(c, max(0.0, s - EVENT_S) * SAG_DEG_PER_S)
    ),
}


def views(life: LastingScene, change: Change | None = None, late_ms: float = 0.0) -> Iterator[Keypoints2D]:
    """What the cameras report, in the order of time; MOVED changes, its stamps are ``late_ms`` ahead of the time."""

    def of_camera(c: int, camera: Camera) -> Iterator[tuple[int, int, Keypoints2D]]:
        step, own = round(BLOCK_S * life.rate_hz), camera.name == MOVED
        late_ns = round(1e6 * late_ms) if own else 0
        for start in range(0, life.frames, step):
            ticks = np.arange(start, min(start + step, life.frames))
            t_ns = np.round(ticks / life.rate_hz * 1e9).astype(np.int64)
            there = change(float(t_ns[0]) / 1e9, camera) if own and change else camera
            rng = frame_rng(life.scene.seed, camera.name, int(t_ns[0]))
            found = life.scene.detector.detect(TrueView.of(life.people.points_at(t_ns), (there,), t_ns), rng)
            for i, (k, t) in enumerate(zip(ticks.tolist(), t_ns.tolist(), strict=True)):
                yield t, c, message(camera, k, t + late_ns, report(found, i)[0])

    for _, _, view in merge(*(of_camera(c, camera) for c, camera in enumerate(life.rig)), key=lambda row: row[:2]):
        yield view


@dataclass(slots=True)
class Learnt:
    """What fusion said of what it learns, once a second. in_force_ms: (C,) the largest correction of each clock.

    ids: everybody whom it knew. stature_m: of everybody, second by second. core: as it is at the end.
    """

    core: FusionCore
    health: list[RigHealth] = field(default_factory=list)
    factor: list[Float] = field(default_factory=list)
    stature_m: list[Float] = field(default_factory=list)
    in_force_ms: float = 0.0
    ids: set[int] = field(default_factory=set)

    def of(self, name: str) -> Float:
        """(S, C) an array of ``rig_health``, from SETTLED_S on."""
        late = [h for h in self.health if h.t_set_ns > SETTLED_S * 1e9] or self.health[-1:]
        return np.array([getattr(h, name) for h in late], np.float64)

    def alarms(self) -> list[tuple[float, str]]:
        """When which camera was said to have moved, each time anew."""
        out, before = [], np.zeros(len(self.core.rig), np.bool_)
        for h in self.health:
            now = h.moved_since_ns > 0
            out += [(h.t_set_ns / 1e9, self.core.rig.names[c]) for c in np.flatnonzero(now & ~before)]
            before = now
        return out


def learn(rig: Rig, seen: Iterator[Keypoints2D], until: Callable[[Learnt], bool] = lambda _: False) -> Learnt:
    """Fuse the views, until something is so."""
    out = Learnt(FusionCore(rig, FusionNode()))
    bones = bone_table(SKELETON)
    for view in seen:
        for o in out.core.handle(0, f"keypoints/{view.camera}", view):
            if isinstance(o.record, FrameSet):
                out.in_force_ms = max(out.in_force_ms, float(np.abs(o.record.offsets_ns).max()) / 1e6)
            elif isinstance(o.record, Poses):
                poses = o.record
                out.ids |= set(poses.person_ids.tolist())
            elif isinstance(o.record, RigHealth):
                out.health.append(o.record)
                out.factor.append(out.core.noise_factor)
                if len(poses.person_ids):
                    out.stature_m.append(plausible(poses.points_world_m.astype(np.float64), bones)[1])
                if until(out):
                    return out
    return out


def still_rows(name: str, life: LastingScene) -> list[Row]:
    """What is learnt of a rig that is right, and how far it strays."""
    told = learn(life.rig, views(life))
    hours = life.frames / life.rate_hz / 3600
    offset, sigma, moved = told.of("offset_ms"), told.of("offset_sigma_ms"), told.of("moved_px")
    ratio, known = moved / told.of("moved_sigma_px"), np.isfinite(offset)
    z = np.abs(offset / sigma)[known]
    inside = ", ".join(f"{100 * (z < k).mean():.0f}" for k in (1, 2, 3))
    rms = float(np.sqrt((offset[known] ** 2).mean()))
    note = f"at most {np.abs(offset[known]).max():.1f}; says ± {np.median(sigma[known]):.1f}; {inside} % in 1, 2, 3 σ"
    factor = np.stack(told.factor)
    first, last = factor[: len(factor) // 2], factor[len(factor) // 2 :]
    drift = np.abs(last.mean(axis=(0, 2)) / first[len(first) // 4 :].mean(axis=(0, 2)) - 1)
    residual, base = told.of("residual_px")[-60:].mean(axis=0), told.of("baseline_px")[-1]
    stature = np.array([s[0] for s in told.stature_m])
    tenth = max(1, len(stature) // 10)
    wander = 1e3 * float(np.nanmedian(stature[-tenth:]) - np.nanmedian(stature[tenth : 2 * tenth]))
    return [
        Row(f"{name}: clocks in step, rms of the offsets", rms, "ms", None, note),
        Row(f"{name}: clocks in step, largest correction in force", told.in_force_ms, "ms"),
        Row(f"{name}: still cameras said to have moved", len(told.alarms()) / hours, "/h", 0.0,
            f"at most {np.nanmax(moved):.1f} px and {np.nanmax(ratio):.1f} σ, of {5.0:g} asked for"),
        Row(f"{name}: noise factor of a camera, first half to second", 100 * float(drift.max()), "%", None,
            "factors " + ", ".join(f"{f:.2f}" for f in last.mean(axis=(0, 2)))),
        Row(f"{name}: residual over that of the start", float(np.max(residual / base)), "×"),
        Row(f"{name}: identities given", len(told.ids) / len(life.people.motions), "a person", 1.0),
        Row(f"{name}: stature by its joints, last tenth less second", wander, "mm", None,
            f"± {1e3 * float(np.nanstd(stature)):.0f} from second to second"),
    ]  # fmt: skip


def event_rows(name: str, life: LastingScene) -> list[Row]:
    """How long it takes until what happens is found; NaN where it is not."""
    out = []
    for what, change in EVENTS.items():
        told = learn(life.rig, views(life, change), until=lambda t: bool(t.alarms()))
        found = told.alarms()
        wrong = [camera for _, camera in found if camera != MOVED]
        after = found[0][0] - EVENT_S if found and not wrong else float("nan")
        note = f"the wrong one is named: {wrong[0]}" if wrong else "" if found else "not found"
        if found and not wrong:
            c = life.rig.names.index(MOVED)
            last = told.health[-1]
            note = f"{last.moved_px[c]:.1f} ± {last.moved_sigma_px[c]:.1f} px"
        out.append(Row(f"{name}: {what}, named after", after, "s", None, note))
    told = learn(life.rig, views(life, late_ms=LATE_MS), until=lambda t: t.health[-1].t_set_ns > EVENT_S * 1e9)
    own = np.array([LATE_MS if c == MOVED else 0.0 for c in life.rig.names])
    left = told.health[-1].offset_ms - (own - own.mean())
    note = f"says ± {np.max(told.health[-1].offset_sigma_ms):.1f}"
    out.append(
        Row(
            f"{name}: a clock off by {LATE_MS:g} ms, left after {EVENT_S:g} s",
            float(np.abs(left).max()),
            "ms",
            None,
            note,
        )
    )
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long, which detector, which world."""
    parser.add_argument("--minutes", type=float, default=60.0, help="of the still rig (60)")
    parser.add_argument("--detector", choices=["both", *detector_names()], default="both",
                        help=f"with habits, or white noise (both: white and {HABITUAL})")  # fmt: skip
    parser.add_argument("--people", type=int, default=1, help="1 to 6 (1)")
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second (25)")
    parser.add_argument("--seed", type=int, default=0, help="of the people and the detector (0)")
    parser.add_argument("--still", action="store_true", help="leave out what happens to cameras and clocks")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table. Always 0: a benchmark measures, it does not judge."""
    if not 0.5 <= args.minutes <= 600 or not 5 <= args.rate <= 240 or not 1 <= args.people <= 6:
        raise KinecastError("bench hour takes --minutes 0.5 to 600, --rate 5 to 240 and --people 1 to 6")
    check_json(args)
    rows: list[Row] = []
    chosen = (
        ["white", next(n for n in detector_names() if n != "white")] if args.detector == "both" else [args.detector]
    )
    for detector in chosen:
        how = {"people": args.people, "rate_hz": args.rate, "seed": args.seed}
        rows += still_rows(detector, lasting_scene(detector, seconds=60 * args.minutes, **how))
        if not args.still:
            rows += event_rows(detector, lasting_scene(detector, seconds=EVENT_S + EVENT_MOST_S, **how))
    emit(args, rows)
    return 0
