"""``kinecast import``: turn keypoints made elsewhere into a recording."""

import argparse
from pathlib import Path

from kinecast.nodes.exchange.import_keypoints import import_openpose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The format, the folder and the rig."""
    parser.add_argument("format", choices=("openpose",), help="OpenPose JSON, one folder a camera")
    parser.add_argument("folder", type=Path, help="one folder of JSON files for each camera is in it")
    parser.add_argument("--rig", type=Path, required=True, help="any rig file that `kinecast rig` reads")
    parser.add_argument("--rig-units", choices=("m", "mm"), help="where the rig file does not say")
    parser.add_argument("--fps", type=float, default=60.0, help="frames per second of the videos (default 60)")
    parser.add_argument(
        "--cameras", nargs="+", default=(), metavar="CAMERA[=FOLDER]", help="use these cameras of the rig and no others"
    )
    parser.add_argument(
        "--skeleton", choices=("body25", "body25b"), help="order of 25 joints (default: by what the people look like)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="OUT.mcap", help="default: the folder's name, here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. nodes.fusion.min_views=3")


def run(args: argparse.Namespace) -> int:
    """Import and say what came of it."""
    out = args.out or Path(f"{args.folder.resolve().name}.mcap")
    done = import_openpose(args.folder, args.rig, out, args.fps, args.cameras, args.set, args.rig_units, args.skeleton)
    print(f"{len(done.without_file)} cameras, {done.frames} frames, {done.skeleton}")
    print(f"{done.sets} frame sets, {done.people} people")
    for camera, count in done.without_file.items():
        if count:
            print(f"{camera}: {count} frames have no file and count as empty")
    print(done.out)
    return 0
