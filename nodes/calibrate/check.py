"""``kinecast calibrate check``: which camera of a rig has moved, by how much and since when; the repaired rig."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.formats import load_rig
from kinecast.calibration.people.camera_poses import camera_poses_of
from kinecast.calibration.people.moved_cameras import MOVE, Drift, Event, drift
from kinecast.calibration.people.refine import faults
from kinecast.capture.errors import KinecastError
from kinecast.nodes.bus.messages import RigHealth
from kinecast.nodes.calibrate.walk_from_recording import walk_of, write_rig
from kinecast.nodes.fusion.rig_health import line
from kinecast.nodes.recording.file import Recording

LEAST_S = 8.0  # four seconds before a move and four after it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The rig, the recording, what to write."""
    parser.add_argument("rig", type=Path, help="the rig that the session was recorded with")
    parser.add_argument("recording", type=Path, metavar="SESSION.mcap", help="with people who walk about")
    parser.add_argument("-o", "--out", type=Path, metavar="RIG.toml", help="the repaired rig, as it is at the end")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="the same as JSON")
    parser.add_argument("--one-person", action="store_true", help="who is who: the tallest of every view, not fusion's")


def run(args: argparse.Namespace) -> int:
    """Print what happened to which camera. 0 where nothing did, 1 where something did."""
    rig = load_rig(args.rig)
    recording = Recording.open(args.recording)
    seen, walk = walk_of(recording, rig, "one" if args.one_person else "fused")
    wrong = faults(walk, camera_poses_of(seen))
    if not wrong and walk.span_s < LEAST_S:
        wrong = [f"{walk.span_s:.1f} s with people; a move shows in {LEAST_S:.0f} s or more: record for longer"]
    if wrong:
        raise KinecastError(f"{args.recording}: {'; '.join(wrong)}")
    found = drift(walk, camera_poses_of(seen))
    for text in [*recording.damage(), *lines(found, seen.names, seen_of(walk.t_s))]:
        print(text)
    told: RigHealth | None = None
    for _, _, record in recording.messages(("rig_health",)):
        told = record
    if told is not None and (said := line(told)):
        print(f"while it ran, fusion said: {said}")
    if args.json is not None:
        plain = [asdict(e) | {"camera": seen.names[e.camera], "since_s": _since(e)} for e in found.events]
        args.json.write_text(
            json.dumps({"events": plain, "residual_px": [found.before_px, found.after_px]}, indent=2) + "\n"
        )
    moved = [e for e in found.events if e.kind == MOVE]
    if args.out is not None and moved:
        write_rig(found.places.on(seen), rig, args.out, _warning(found, seen.names))
        print(f"{args.out}: the rig as it is since the last move")
    elif args.out is not None:
        print(f"{args.out} is not written: there is nothing to repair")
    elif moved:
        print("-o RIG.toml writes the repaired rig")
    return 1 if found.events else 0


def seen_of(t_s: NDArray[np.float64]) -> float:
    """How long the people were there, seconds."""
    return float(np.ptp(t_s)) if len(t_s) else 0.0


def _since(event: Event) -> float | None:
    return float(event.since_s) if np.isfinite(event.since_s) else None


def _warning(found: Drift, names: tuple[str, ...]) -> str:
    doubt = [f"{names[e.camera]} or {', '.join(names[r] for r in e.rivals)}" for e in found.events if e.rivals]
    return f"it is not sure which camera moved: {'; '.join(doubt)}" if doubt else ""


def _pair(e: Event, names: tuple[str, ...], when: str) -> str:
    """The sentence where there are two cameras, of which nobody can tell which one it was."""
    if e.kind != MOVE:
        return (
            f"neither camera has moved: the clocks of {names[0]} and {names[1]} are {1e3 * abs(e.clock_s):.1f} ± "
            f"{1e3 * e.clock_sigma_s:.1f} ms further apart, {when}; `kinecast sync` sets them, the rig stays"
        )
    return (
        f"{names[0]} or {names[1]} has moved, two cameras alone cannot tell which: turned against each other by "
        f"{np.rad2deg(e.turn_rad):.2f} ± {np.rad2deg(e.turn_sigma_rad):.2f}°, {when} ({e.px:.0f} px in the picture); "
        f"the repaired rig moves {names[e.camera]}: look which one it was, or add a camera"
    )


def lines(found: Drift, names: tuple[str, ...], span_s: float) -> list[str]:
    """A line an event, and the residuals; or that nothing has happened."""
    if not found.events:
        return [
            f"no camera has moved and no clock has jumped in {span_s:.0f} s (median residual {found.before_px:.1f} px)"
        ]
    out = []
    for e in found.events:
        when = f"since {e.since_s:.1f} s of the session" if np.isfinite(e.since_s) else "since before the session"
        if len(names) == 2:
            out.append(_pair(e, names, when))
            continue
        if e.kind != MOVE:
            out.append(
                f"camera {names[e.camera]} has not moved: its clock is {1e3 * e.clock_s:+.1f} ± "
                f"{1e3 * e.clock_sigma_s:.1f} ms off, {when}; `kinecast sync` sets it, the rig stays"
            )
            continue
        shift = f"shifted {1e3 * e.shift_m:.0f} ± {1e3 * e.shift_sigma_m:.0f} mm"
        if e.shift_m < 3 * e.shift_sigma_m:
            shift = f"not shifted as far as can be told ({1e3 * e.shift_m:.0f} ± {1e3 * e.shift_sigma_m:.0f} mm)"
        who = names[e.camera]
        doubt = f"; {', '.join(names[r] for r in e.rivals)} would explain it about as well" if e.rivals else ""
        out.append(
            f"camera {who} has moved: turned {np.rad2deg(e.turn_rad):.2f} ± "
            f"{np.rad2deg(e.turn_sigma_rad):.2f}°, {shift}, {when} ({e.px:.0f} px in its picture){doubt}"
        )
    if (
        len(found.events) > 1
        and len(found.events) >= len(names) - 1
        and all(not np.isfinite(e.since_s) for e in found.events)
    ):
        out.append(
            "so many cameras off from the start mean that the rig as a whole does not fit: `kinecast calibrate refine`"
        )
    return [*out, f"median residual {found.before_px:.1f} px with the rig, {found.after_px:.1f} px with this taken in"]
