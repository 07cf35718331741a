"""``kinecast calibrate rig``: all cameras from a board moved before them, and how good the rig is."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from kinecast.calibration.formats import load_rig
from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate import inputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    inputs.add_footage(parser, "a folder with a video, or a folder of photos, of each camera")
    inputs.add_board(parser)
    inputs.add_lens(parser)
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("rig.toml"), help="the rig; its numbers go beside it as JSON"
    )
    parser.add_argument(
        "--timestamps", type=Path, metavar="CSV", help="when each picture was taken (default: in the folder)"
    )
    parser.add_argument("--intrinsics", type=Path, metavar="RIG", help="lenses that are known: any rig file")
    parser.add_argument("--fix-lenses", action="store_true", help="keep the lenses as single cameras give them")
    parser.add_argument("--no-offsets", action="store_true", help="trust the stamps: estimate no time offsets")
    parser.add_argument(
        "--floor", nargs="+", metavar="FOLDER|VIDEO|URL", help="photos or videos of the board flat on the floor"
    )
    parser.add_argument("--floor-board", metavar="FILE|WORD", help="the board on the floor, where it is another")
    parser.add_argument("--up", choices=("y", "z"), default="z", help="upward axis of the world")
    parser.add_argument("--reference", type=Path, metavar="RIG", help="another rig of these cameras to stand beside")
    parser.add_argument("--most", type=int, default=400, metavar="N", help="frame sets looked at, evenly spread")


def run(args: argparse.Namespace) -> int:
    """Calibrate, write, and print what came out."""
    from kinecast.nodes.calibrate.gather import gathered

    if not 4 <= args.most <= 5000:
        raise KinecastError("--most is from 4 to 5000")
    require_suffix(args.out, ".toml")
    with gathered(args.footage, args.duration) as folder:
        return _calibrate(args, folder)


def _calibrate(args: argparse.Namespace, folder: Path) -> int:

    from kinecast.calibration.solve.extrinsics import Options, calibrate
    from kinecast.calibration.solve.world import upright
    from kinecast.nodes.calibrate import report
    from kinecast.nodes.calibrate.gather import gathered
    from kinecast.nodes.calibrate.world import NO_FLOOR, floor_world

    began = time.perf_counter()
    console = plain_console(width=None if plain_console().is_terminal else 150)
    board = inputs.board_of(args, folder)
    reference = load_rig(args.reference) if args.reference else None
    found, sets, said = inputs.synchronised(folder, args.cameras, args.timestamps, args.most)
    given = inputs.lenses_of(args.intrinsics, found)
    wanted: list[set[int] | None] = [{int(n) for n in sets.frame[:, c] if n >= 0} for c in range(len(found))]
    seen = inputs.look_at(found, board, wanted)
    faults = [inputs.blind(f, w, board, s) for f, w, s in zip(found, wanted, seen, strict=True) if not s.views]
    if faults:
        raise KinecastError("; ".join(faults))
    options = Options(args.lens, refine=not args.fix_lenses and given is None, offsets=not args.no_offsets)
    result = calibrate(seen, sets, board, options, given, said)
    assert result.rig is not None
    rig = replace(result.rig, name=args.out.stem)
    if args.floor:
        with gathered(args.floor, args.duration) as floor:
            rig, note, wrong = floor_world(rig, floor, args.floor_board or board, args.up)
        result = replace(result, warnings=(*result.warnings, *wrong))
    else:
        rig = upright(rig, rig.cameras, args.up)
        note = f"{NO_FLOOR}: up and origin are a guess from the cameras' attitudes"
        result = replace(
            result, warnings=(*result.warnings, note + "; give --floor, or use `kinecast calibrate world`")
        )
    placed = tuple(replace(c, camera=k, position_m=k.centre_world) for c, k in zip(result.cameras, rig, strict=True))
    result = replace(result, rig=rig, cameras=placed, seconds=time.perf_counter() - began)
    beside = report.save(result, args.out, rig)
    report.show_cameras(result, console)
    report.show_quality(result, console)
    if reference is not None:
        report.show_beside(rig, reference, console, args.reference.name)
        if result.rival is not None:
            report.show_beside(
                result.rival.rig, reference, console, f"{args.reference.name}, the rival without time offsets"
            )
    report.show_warnings(result, console)
    if args.floor:
        console.print(note)
    console.print(
        f"{args.out}: {len(rig)} cameras from {result.frame_sets} frame sets in {result.seconds:.1f} s; "
        f"all numbers in {beside}",
        highlight=False,
    )
    return 0
