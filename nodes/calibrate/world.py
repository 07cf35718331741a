"""``kinecast calibrate world``: origin, floor and upward axis of a rig, by a board on the floor or measured points."""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.board.board import Board, read_board
from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import format_of, load_rig, native, save_rig
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate import inputs
from kinecast.nodes.calibrate.report import WARNING

LEAST_ROWS = 20  # instants of a person
WORST_PX = 20.0  # of a rig that fits its recording: detectors are off by a few
NO_FLOOR = "no floor was filmed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    parser.add_argument("rig", type=Path, help="the rig to be placed")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the placed rig")
    parser.add_argument(
        "--floor",
        nargs="+",
        metavar="FOLDER|VIDEO|URL",
        help="a photo or video of each camera, the board flat on the floor",
    )
    parser.add_argument("--duration", type=float, metavar="S", help="film addresses for so long (default: 30 s)")
    inputs.add_board(parser)
    parser.add_argument(
        "--points", type=Path, metavar="CSV", help="point,x_m,y_m,z_m: where points are in the new world"
    )
    parser.add_argument("--seen", type=Path, metavar="CSV", help="point,camera,x_px,y_px: where the cameras see them")
    parser.add_argument(
        "--distance",
        nargs=3,
        metavar=("CAMERA", "CAMERA", "M"),
        help="a measured distance of two cameras: says how far off the scale is, and with --rescale puts it right",
    )
    parser.add_argument("--rescale", action="store_true", help="with --distance or --points: let the scale follow")
    parser.add_argument("--up", choices=("y", "z"), default="z", help="upward axis of the world")


def run(args: argparse.Namespace) -> int:
    """Place the rig and write it."""
    from kinecast.calibration.align import moved
    from kinecast.calibration.solve.world import from_points
    from kinecast.nodes.calibrate.gather import gathered

    rig = load_rig(args.rig)
    done, warnings = False, list[str]()
    if args.distance:
        scale = _scale(rig, args.distance)
        one, two, _ = args.distance
        said = f"the rig has {one} and {two} {100 * (1 / scale - 1):+.2f} % off the measured distance"
        if abs(scale - 1) > 0.01:
            said += ": the square of the board was measured wrong (pictures alone cannot tell), or the distance was"
        print(said)
        if args.rescale:
            rig, done = moved(rig, np.eye(4), scale), True
        elif abs(scale - 1) > 0.01:
            warnings.append(said)
    if args.floor:
        with gathered(args.floor, args.duration) as floor:
            rig, note, warnings = floor_world(rig, floor, inputs.board_of(args, floor), args.up)
        print(note)
        done = True
    elif args.points:
        if not args.seen:
            raise KinecastError("--points says where points are; --seen must say where the cameras see them")
        new, old = _points(args.points, args.seen, rig)
        rig, rms, scale = from_points(rig, old, new, args.up, args.rescale)
        print(
            f"{len(new)} points, {1000 * rms:.1f} mm RMS from where they were given"
            + (f", scale {scale:.4f}" if args.rescale else "")
        )
        done = True
    if not done:
        raise KinecastError("nothing to place the rig by: give --floor, --points, or --distance with --rescale")
    _save(rig, args.out, [*_earned(args.rig, placed=bool(args.floor or args.points)), *warnings])
    for warning in warnings:
        print(f"warning: {warning}")
    print(f"{args.out}: {len(rig)} cameras, {rig.up} up")
    return 0


def _earned(path: Path, placed: bool) -> list[str]:
    """The warnings at the head of a rig file, which hold for the same rig elsewhere; less the one that is mended."""
    if not path.is_file():
        return []
    head = [line for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line[:1] == "#"]
    said = [line.removeprefix(WARNING).strip() for line in head if line.startswith(WARNING)]
    return [w for w in said if not (placed and w.startswith(NO_FLOOR))]


def _save(rig: Rig, path: Path, warnings: list[str]) -> None:
    """Write a rig of any format; warnings stand at the head of our own."""
    if format_of(path) == "rig":
        atomic_write(path, "".join(f"{WARNING} {w}\n" for w in warnings) + native.dumps(rig))
    else:
        save_rig(rig, path)


def floor_world(rig: Rig, folder: Path, board: Board | str, up: Any) -> tuple[Rig, str, list[str]]:
    """The rig placed by a board on the floor, in a folder of one photo or video each; what to say, and warnings."""
    from kinecast.calibration.align import match
    from kinecast.calibration.board.detect import BoardDetector, BoardView
    from kinecast.calibration.footage import find_footage, pictures
    from kinecast.calibration.solve.world import board_in_world, floor_warnings, from_board

    board = board if isinstance(board, Board) else read_board(board)
    found = find_footage(folder, photo_each=True)
    detector = BoardDetector(board, thorough=True)
    views: dict[str, BoardView] = {}
    from dataclasses import replace

    pairs = (
        dict(match(Rig(tuple(replace(rig.cameras[0], name=f.name) for f in found)), rig))
        if len(found) > 1
        else {found[0].name: found[0].name}
    )
    for f in found:
        if f.name not in pairs or pairs[f.name] not in rig.names:
            continue
        camera = rig[pairs[f.name]]
        for n, t_ns, image in pictures(f, {0, 1, 2, 5, 10, 20, 30} if f.video else None):
            if not camera.fits((image.shape[1], image.shape[0])):
                raise KinecastError(
                    f"{f.paths[0]} is {image.shape[1]}×{image.shape[0]}, camera {camera.name} of the rig "
                    f"{camera.size_px[0]}×{camera.size_px[1]}: take the floor with the size of the rig"
                )
            view = detector(image, n, t_ns)
            if view is not None and (camera.name not in views or len(view) > len(views[camera.name])):
                views[camera.name] = view
    T, rms = board_in_world(rig, views, board)
    note = f"floor by {', '.join(views)}" + (
        f"; the board's corners fit within {1000 * rms:.1f} mm" if np.isfinite(rms) else ""
    )
    placed = from_board(rig, T, board, up, tuple(views))
    return placed, note, floor_warnings(placed, rms)


def _scale(rig: Rig, words: list[str]) -> float:
    one, two, text = words
    try:
        metres = float(text)
        gap = float(np.linalg.norm(rig[one].centre_world - rig[two].centre_world))
    except ValueError:
        raise KinecastError(f"--distance: {text!r} is no number of metres") from None
    except KeyError as e:
        raise KinecastError(f"--distance: {e.args[0]}") from None
    if not (0.01 < metres < 1000 and gap > 1e-6):
        raise KinecastError("--distance: two different cameras and a distance from 0.01 to 1000 m")
    return metres / gap


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise KinecastError(f"cannot read {path}: {e}") from None
    missing = [c for c in columns if not rows or c not in rows[0]]
    if missing:
        raise KinecastError(f"{path}: no column {missing[0]}; it needs {', '.join(columns)}")
    return rows


def _points(world: Path, seen: Path, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    from kinecast.calibration.solve.distances import triangulate

    try:
        new = {
            r["point"]: [float(r[k]) for k in ("x_m", "y_m", "z_m")]
            for r in _rows(world, ("point", "x_m", "y_m", "z_m"))
        }
        px = np.full((len(rig), len(new), 2), np.nan)
        for r in _rows(seen, ("point", "camera", "x_px", "y_px")):
            if r["point"] not in new:
                raise KinecastError(f"{seen}: point {r['point']!r} is not in {world}")
            if r["camera"] not in rig.names:
                raise KinecastError(f"{seen}: camera {r['camera']!r} is not in the rig ({', '.join(rig.names)})")
            px[rig.names.index(r["camera"]), list(new).index(r["point"])] = float(r["x_px"]), float(r["y_px"])
    except (TypeError, ValueError) as e:
        raise KinecastError(f"{world}, {seen}: a coordinate is no number ({e})") from None
    return np.array(list(new.values())), triangulate(rig.cameras, px)


def people_world(rig: Rig, session: Path, up: Any) -> tuple[Rig, str, list[str]]:
    """The rig placed by the people of a recording: they stand upright, on their feet; what to say, and warnings.

    The cameras' places are taken from ``rig``, and only keypoints from the recording, whatever world that was made in.
    """
    from kinecast.calibration.align import moved
    from kinecast.calibration.people.bundle import triangulated
    from kinecast.calibration.people.camera_poses import camera_poses_of
    from kinecast.calibration.people.initialise import STATURE_M
    from kinecast.calibration.people.metric_world import axes_of, ground
    from kinecast.calibration.rigid import transform
    from kinecast.calibration.solve.world import turned_up
    from kinecast.nodes.calibrate.walk_from_recording import walk_of
    from kinecast.nodes.recording.file import Recording

    recording = Recording.open(session)
    seen, walk = walk_of(recording, rig, "one")
    bundle = triangulated(walk, camera_poses_of(seen))
    if len(bundle.points) < LEAST_ROWS or not np.isfinite(bundle.median_px):
        raise KinecastError(f"{session}: too little of a person is seen by two cameras of this rig to tell what is up")
    below = ground(walk, bundle.points, STATURE_M)
    warnings = list(recording.damage())
    if bundle.median_px > WORST_PX:
        warnings.append(
            f"the people of {session.name} are {bundle.median_px:.0f} px off the views of this rig: is it of these "
            "cameras, as they stood then?"
        )
    Q, d = axes_of(seen.cameras[0].centre_world, below)
    placed = turned_up(moved(rig, transform(Q, d)), up)
    return placed, f"{below.source}, of {len(bundle.points)} instants", warnings
