"""``kinecast calibrate intrinsics``: the lens of each camera from videos or photos of a board."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate import inputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    inputs.add_footage(parser, "a folder with a video or a folder of photos for each camera")
    inputs.add_board(parser)
    inputs.add_lens(parser)
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("lenses.toml"), help="a rig file with every camera at the origin"
    )
    parser.add_argument("--reference", type=Path, metavar="RIG", help="another rig whose focal lengths to stand beside")
    parser.add_argument(
        "--most", type=int, default=400, metavar="N", help="pictures of a video looked at, evenly spread"
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate each lens, write, and print what came out. 1 where a camera could not be calibrated."""
    from kinecast.nodes.calibrate.gather import gathered

    require_suffix(args.out, ".toml")
    with gathered(args.footage, args.duration) as folder:
        return _calibrate(args, folder)


def _calibrate(args: argparse.Namespace, folder: Path) -> int:
    import numpy as np

    from kinecast.calibration.align import match
    from kinecast.calibration.footage import find_footage, video_stamps_ns
    from kinecast.calibration.solve.intrinsics import fit_lens, focal_warning
    from kinecast.calibration.solve.result import Calibration
    from kinecast.calibration.solve.warnings import lens_result
    from kinecast.nodes.calibrate import report

    began = time.perf_counter()
    console = plain_console(width=None if plain_console().is_terminal else 150)
    board = inputs.board_of(args, folder)
    found = find_footage(folder, args.cameras)
    wanted: list[set[int] | None] = []
    for f in found:
        count = len(video_stamps_ns(f)) if f.video else len(f.paths)
        wanted.append(set(np.linspace(0, count - 1, min(count, args.most)).round().astype(int).tolist()))
    results, said, faults = [], [], []
    for footage, numbers, seen in zip(found, wanted, inputs.look_at(found, board, wanted), strict=True):
        try:
            if not seen.views:
                raise KinecastError(inputs.blind(footage, numbers, board, seen))
            fit = fit_lens(seen.views, board, seen.size_px, seen.name, args.lens)
        except KinecastError as e:
            faults.append(str(e))
            continue
        results.append(lens_result(seen, fit))
        said += [*fit.warnings, *focal_warning(seen.name, fit.camera.K[0, 0], fit.solution.sd(0, "fx"))]
    if not results:
        raise KinecastError("; ".join(faults))
    scale = float(np.median([r.rms_px for r in results]) / np.sqrt(2))
    result = Calibration(
        None, str(board), tuple(results), (), 0, scale, None, None, None, (*said, *faults), time.perf_counter() - began
    )
    rig = Rig(tuple(r.camera for r in results), args.out.stem)
    beside = report.save(result, args.out, rig)
    report.show_cameras(result, console)
    if args.reference:
        reference = load_rig(args.reference)
        for name, other in match(rig, reference):
            f, g = rig[name].K[0, 0], reference[other].K[0, 0]
            console.print(
                f"{name}: focal length {f:.1f} px, {args.reference.name} has {g:.1f}: {100 * (f / g - 1):+.2f} %",
                highlight=False,
            )
    report.show_warnings(replace(result), console)
    console.print(f"{args.out}: {len(rig)} lenses in {result.seconds:.1f} s; all numbers in {beside}", highlight=False)
    return 1 if faults else 0
