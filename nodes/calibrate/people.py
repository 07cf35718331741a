"""``kinecast calibrate people``: where the cameras stand, from somebody who walks, without a board."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_lenses, load_rig
from kinecast.calibration.people.camera_poses import CameraPoses, camera_poses_of, pose_error
from kinecast.calibration.people.from_scratch import RigFromPeople, ToMetres, build, faults
from kinecast.calibration.people.metric_world import Float, Metres, from_cameras, from_distance, from_stature
from kinecast.calibration.people.walk import Roles
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate.walk_from_recording import SKELETON, roles, walk_of, write_rig
from kinecast.nodes.recording.file import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, the lenses, what tells the scale, what to write."""
    parser.add_argument("recording", type=Path, metavar="SESSION.mcap", help="with people who walk about")
    parser.add_argument("--rig-intrinsics", type=Path, metavar="RIG", help="lenses (default: the recording's own rig)")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--stature", type=float, metavar="M", help="height of the person in metres")
    scale.add_argument(
        "--distance", nargs=3, metavar=("JOINT", "JOINT", "M"), help="measured, of two joints of the person"
    )
    scale.add_argument("--camera-distance", nargs=3, metavar=("CAMERA", "CAMERA", "M"), help="measured, of two cameras")
    parser.add_argument("-o", "--out", type=Path, metavar="RIG.toml", help="the rig, where it is good")
    parser.add_argument("--beside", type=Path, metavar="RIG", help="say how far the cameras are from those of this rig")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="the same figures as JSON")
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="the same as a page with pictures")
    parser.add_argument(
        "--fused", action="store_true", help="several people: who is who as the recording's fusion said"
    )
    parser.add_argument("--anyway", action="store_true", help="write it although it is refused, with the reason in it")


def run(args: argparse.Namespace) -> int:
    """Print what was found and how good it is. 1 where it is not to be used."""
    recording = Recording.open(args.recording)
    rig = load_lenses(args.rig_intrinsics) if args.rig_intrinsics else recording.rig
    seen, walk = walk_of(recording, rig, "fused" if args.fused else "one")
    if wrong := faults(walk):
        raise KinecastError(f"{args.recording}: {'; '.join(wrong)}")
    metres, stature = _metres(args, roles(), seen)
    answer = build(walk, metres, stature)
    if isinstance(answer, list):
        raise KinecastError(f"{args.recording}: {'; '.join(answer)}")
    for line in [*recording.damage(), *lines(answer, walk.cameras)]:
        print(line)
    if args.beside:
        for line in beside(answer, walk.cameras, load_rig(args.beside)):
            print(line)
    print(answer.advice)
    if args.json is not None:
        args.json.write_text(json.dumps(plain(answer, walk.cameras), indent=2) + "\n")
    placed = answer.places.on(seen.subset(tuple(walk.cameras[i] for i in answer.index)))
    if args.report is not None:
        from kinecast.calibration.report import figures
        from kinecast.calibration.report.people import rig_from_people_page

        drawn = replace(placed, up="z")
        atomic_write(args.report, rig_from_people_page(answer, drawn, placed.names, figures.available()).html())
    if args.out is not None:
        if answer.verdict != "good" and not args.anyway:
            print(f"{args.out} is not written")
        else:
            told = "; ".join([*([answer.advice] if answer.verdict != "good" else []), *answer.warnings])
            write_rig(replace(placed, up="z", name="people"), replace(placed, up="z", name="people"), args.out, told)
            print(args.out)
    return 0 if answer.verdict == "good" else 1


def _number(text: str, option: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise KinecastError(f"{option}: {text!r} is not a number of metres") from None
    if not low <= value <= high:
        raise KinecastError(f"{option} {value:g}: expected {low:g} to {high:g} metres")
    return value


def _metres(args: argparse.Namespace, r: Roles, rig: Rig) -> tuple[ToMetres, float | None]:
    """What makes metres, and the stature where it is known. KinecastError where nothing tells the scale."""
    if args.stature is not None:
        stature = _number(str(args.stature), "--stature", 0.5, 2.5)
        return (lambda _, points: from_stature(points, r, stature)), stature
    if args.distance:
        a, b, text = args.distance
        for name in (a, b):
            if name not in r.names:
                raise KinecastError(f"--distance: no joint {name!r} in {SKELETON}; known are {', '.join(r.names)}")
        length = _number(text, "--distance", 0.05, 2.5)
        return (lambda _, points: from_distance(points, r.names.index(a), r.names.index(b), r, length)), None
    if args.camera_distance:
        a, b, text = args.camera_distance
        for name in (a, b):
            if name not in rig.names:
                raise KinecastError(
                    f"--camera-distance: no camera {name!r} with keypoints, only {', '.join(rig.names)}"
                )
        if a == b:
            raise KinecastError("--camera-distance: name two different cameras")
        length = _number(text, "--camera-distance", 0.05, 100.0)

        def spaced(places: CameraPoses, points: Float) -> Metres:
            return from_cameras(places, rig.names.index(a), rig.names.index(b), rig.names, length)

        return spaced, None
    raise KinecastError("nothing tells the scale: say --stature, --distance or --camera-distance")


def lines(answer: RigFromPeople, names: tuple[str, ...]) -> list[str]:
    """Cameras, scale, floor, links, warnings, each a line."""
    out = []
    for k, i in enumerate(answer.index):
        x, y, z = answer.places.centres[k]
        clock = ""
        if answer.found.clocks:
            clock = f", clock {1e3 * answer.places.delta_s[k]:+.1f} ± {1e3 * answer.clock_sigma_s[k]:.1f} ms"
        out.append(
            f"{names[i]}: at {x:.3f} {y:.3f} {z:.3f} m ± {1e3 * answer.sigma_m[k]:.0f} mm, halves differ by "
            f"{1e3 * answer.halves_m[k]:.0f} mm{clock}"
        )
    out.append(f"residual: median {answer.median_px:.2f} px")
    out.append(f"scale: {answer.metres.source} ({100 * answer.metres.sigma:.1f} %)")
    out.append(
        f"world: {answer.ground.source}; z up, origin under the middle of the walk, x towards {names[answer.index[0]]}"
    )
    return [*out, *(f"warning: {w}" for w in answer.warnings)]


def beside(answer: RigFromPeople, names: tuple[str, ...], rig: Rig) -> list[str]:
    """How far from a known rig, after laying one on the other: with the scale as told, and with the scale fitted."""
    mine = tuple(names[i] for i in answer.index)
    common = [k for k, n in enumerate(mine) if n in rig.names]
    if len(common) < 2:
        raise KinecastError(
            f"--beside: the rig has {', '.join(rig.names)}, found are {', '.join(mine)}: nothing to compare"
        )
    p = answer.places
    own = CameraPoses(p.R[common], p.t[common], p.delta_s[common])
    other = camera_poses_of(rig.subset(tuple(mine[k] for k in common)))
    out = []
    for fitted, told in ((False, "scale as told"), (True, "scale fitted")):
        d, angle = pose_error(own, other, fitted)
        told_mm = " ".join(f"{1e3 * v:.0f}" for v in d)
        out.append(f"from {rig.name}, {told}: {told_mm} mm, up to {np.rad2deg(angle.max()):.2f}°")
    spread = [np.linalg.norm(c.centres - c.centres.mean(0), axis=1).mean() for c in (own, other)]
    out.append(f"scale against {rig.name}: {100 * (spread[0] / spread[1] - 1):+.1f} %")
    return out


def plain(answer: RigFromPeople, names: tuple[str, ...]) -> dict[str, object]:
    """The same as plain data under stable keys."""
    return {
        "verdict": answer.verdict,
        "advice": answer.advice,
        "warnings": list(answer.warnings),
        "cameras": [names[i] for i in answer.index],
        "centres_m": np.round(answer.places.centres, 4).tolist(),
        "sigma_mm": np.round(1e3 * answer.sigma_m, 1).tolist(),
        "halves_mm": np.round(1e3 * answer.halves_m, 1).tolist(),
        "residual_px": round(answer.median_px, 3),
        "scale": {"told": answer.metres.source, "sigma": round(answer.metres.sigma, 4)},
        "floor": answer.ground.floor,
        "clocks_ms": np.round(1e3 * answer.places.delta_s, 2).tolist(),
    }
